import { readAlertRule } from "../store/alert-rules.ts";
import { noteWorking } from "../store/alert-work.ts";
import { inOrg } from "../store/database.ts";
import { type ChannelParts, foundChannel, openTarget } from "./alert-channels.ts";
import { renderMessage, sendMessage } from "./alert-sending.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import type { AlertMessage } from "./rules/alert-texts.ts";
import { slugRule } from "./rules/texts.ts";

/** What a test came to. `error` is empty when it got through, or when nothing was to be sent. */
export interface AlertTest {
  readonly text: string;
  readonly body: string;
  readonly error: string;
}

/**
 * Renders a sample message for a channel, of a rule if one is named, and sends it at once unless `isDryRun`. A channel
 * that it gets through to fails no more.
 */
export async function testAlertChannel(
  c: Coordinator & ChannelParts,
  caller: Caller,
  wanted: {
    readonly name: string;
    readonly rule: string;
    readonly isDryRun: boolean;
    readonly signal: AbortSignal;
  },
): Promise<AlertTest> {
  const { orgId } = caller;
  const { name, rule, isDryRun, signal } = wanted;
  const { row, message } = await inOrg(c.db.app, orgId, async (tx) => {
    const channel = await foundChannel(tx, orgId, name, { isLocked: false });
    const isName = slugRule.form.test(rule);
    const found = isName ? await readAlertRule(tx, orgId, rule, { isLocked: false }) : null;
    if (rule !== "" && found === null) throw notFound("ALERT_RULE_NOT_FOUND", rule);
    // Before it is sent: what was sent and is not written would be the worse of the two.
    if (!isDryRun) await audit(tx, c, caller, { action: "alert-channel.test", target: name });
    const sample: AlertMessage = {
      event: "test",
      org: encodeId("org", orgId),
      rule: rule || "sample",
      condition: found?.definition.condition ?? "job-dead",
      severity: found?.definition.severity ?? "warning",
      note: found?.definition.note ?? "",
      time: new Date(c.nowMs()).toISOString(),
      alerts: [
        {
          alertId: encodeId("alert", c.newId()),
          group: "",
          summary: "A job of kind shell.run is dead: exit code 1",
          value: 1,
          occurrences: 1,
          since: new Date(c.nowMs()).toISOString(),
          jobIds: [],
        },
      ],
      others: 0,
    };
    return { row: channel, message: sample };
  });
  const target = openTarget(c.sealKeys, orgId, row);
  if (target === null)
    return { text: "", body: "", error: "its secret was sealed by another coordinator's secret" };
  const rendered = renderMessage(target, message);
  if (isDryRun) return { ...rendered, error: "" };
  const messageId = encodeId("alertDelivery", c.newId());
  const { error } = await sendMessage(c, { target, message, messageId, signal });
  if (error === "") await inOrg(c.db.app, orgId, (tx) => noteWorking(tx, orgId, name));
  return { ...rendered, error };
}
