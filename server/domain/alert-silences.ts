import { readAlertRule } from "../store/alert-rules.ts";
import {
  deleteSilence,
  readSilences,
  type Silenced,
  type SilenceRow,
  upsertSilence,
} from "../store/alert-silences.ts";
import { inOrg } from "../store/database.ts";
import { reasonViolations } from "./alert-rules.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, invalidArgument, notFound } from "./errors.ts";
import { slugRule, textViolations } from "./rules/texts.ts";

/** A time without messages. */
export type SilenceView = SilenceRow;

/** Silences that a list shows at most. */
const mostSilences = 1_000;

/** Lists the silences that hold, the first to end first. */
export function listSilences(
  c: Pick<Coordinator, "db">,
  { orgId }: Pick<Caller, "orgId">,
): Promise<SilenceView[]> {
  return inOrg(c.db.app, orgId, (tx) => readSilences(tx, orgId, mostSilences));
}

/** Sends no messages of a rule or a group for a while, in place of an earlier silence of the same. */
export async function silenceAlerts(
  c: Coordinator,
  caller: Caller,
  { durationMs, reason, ...of }: Silenced & { readonly durationMs: number; readonly reason: string },
): Promise<SilenceView> {
  const isDuration = durationMs >= 60_000 && durationMs <= 30 * 86_400_000;
  const violations = [
    ...textViolations("group", of.groupKey, { min: 0, max: 300 }),
    ...(of.rule === "" && of.groupKey !== "" ? [{ field: "group", message: "is of a rule: name it" }] : []),
    ...(isDuration ? [] : [{ field: "duration", message: "must be 1 min to 30 days" }]),
    ...reasonViolations(reason),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const isRule =
      of.rule === "" ||
      (slugRule.form.test(of.rule) &&
        (await readAlertRule(tx, orgId, of.rule, { isLocked: false })) !== null);
    if (!isRule) throw notFound("ALERT_RULE_NOT_FOUND", of.rule);
    const silence = await upsertSilence(tx, orgId, { ...of, durationMs, reason, creator: caller.actor });
    const details = { group: of.groupKey, endTime: silence.endsAt.toISOString() };
    await audit(tx, c, caller, { action: "alert.silence", target: of.rule || "*", reason, details });
    return silence;
  });
}

/** Ends a silence: what still fires and was not told is told now. */
export async function unsilenceAlerts(
  c: Coordinator,
  caller: Caller,
  { reason, ...of }: Silenced & { readonly reason: string },
): Promise<void> {
  const violations = reasonViolations(reason);
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  await inOrg(c.db.app, orgId, async (tx) => {
    const isForm = slugRule.form.test(of.rule || "x") && !/\p{Cc}/u.test(of.groupKey);
    if (!isForm || !(await deleteSilence(tx, orgId, of))) throw new DomainError("ALERT_SILENCE_NOT_FOUND");
    const details = { group: of.groupKey };
    await audit(tx, c, caller, { action: "alert.unsilence", target: of.rule || "*", reason, details });
  });
}
