import { isMailAddress, type Mailer } from "../outbound/mail.ts";
import { OutboundError, type OutboundHttp } from "../outbound/outbound-http.ts";
import {
  type AlertChannelRow,
  countAlertChannels,
  deleteAlertChannelRow,
  readAlertChannel,
  readAlertChannels,
  rulesOfChannel,
  upsertAlertChannel,
} from "../store/alert-channels.ts";
import { makeDue } from "../store/alert-work.ts";
import { inOrg, type Tx } from "../store/database.ts";
import { readOrg } from "../store/snapshot.ts";
import { reasonViolations } from "./alert-rules.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, failedPrecondition, invalidArgument, notFound, type Violation } from "./errors.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import {
  type AlertTarget,
  channelViolations,
  type NewAlertChannel,
  openPartOf,
  secretOf,
  targetOf,
  urlsOf,
  withOldSecret,
} from "./rules/alert-channels.ts";
import { openSecret, type SealKeys, sealSecret } from "./rules/sealed-secrets.ts";
import { slugRule } from "./rules/texts.ts";
import { newWebhookSecret } from "./rules/webhook-signatures.ts";

/** What channels work with, besides a coordinator. */
export interface ChannelParts {
  readonly http: OutboundHttp;
  readonly mailer: Mailer;
  /** What seals the secrets of channels. */
  readonly sealKeys: SealKeys;
}

/** A channel with how it stands; its target has no secrets. */
export interface AlertChannelView extends Omit<AlertChannelRow, "target" | "secret" | "type" | "failures"> {
  readonly target: AlertTarget;
}

/** Channels an org may have. */
const mostChannels = 100;

/** Lists channels by name. */
export async function listAlertChannels(
  c: Pick<Coordinator, "db">,
  { orgId }: Pick<Caller, "orgId">,
  page: PageRequest,
): Promise<Page<AlertChannelView>> {
  const identity: ListIdentity = { list: "alert-channels", orgId };
  const limit = pageRows(page);
  const [after = ""] = readPageToken(identity, page, [slugRule.form]) ?? [];
  const rows = await readOrg(c.db.app, orgId, (tx) =>
    readAlertChannels(tx, orgId, { after, limit: limit + 1 }),
  );
  return pageOf(rows, limit, identity, ({ name }) => [name], viewOf);
}

/** Reads a channel. */
export async function getAlertChannel(
  c: Pick<Coordinator, "db">,
  { orgId }: Pick<Caller, "orgId">,
  name: string,
): Promise<AlertChannelView> {
  return viewOf(await inOrg(c.db.app, orgId, (tx) => foundChannel(tx, orgId, name, { isLocked: false })));
}

/**
 * Makes a channel, or replaces the one of its name. A secret that is left out stays as it is; of a new webhook one is
 * made, and answered here alone. Addresses are looked up now, and again at each sending.
 */
export async function putAlertChannel(
  c: Coordinator & ChannelParts,
  caller: Caller,
  {
    channel,
    reason,
    isDryRun,
    signal,
  }: {
    readonly channel: NewAlertChannel;
    readonly reason: string;
    readonly isDryRun: boolean;
    readonly signal: AbortSignal;
  },
): Promise<{ readonly channel: AlertChannelView; readonly secret: string }> {
  const { orgId } = caller;
  const { name, isDisabled } = channel;
  const old = await inOrg(c.db.app, orgId, (tx) => readAlertChannel(tx, orgId, name, { isLocked: false }));
  const given = withOldSecret(channel.target, old === null ? null : openTarget(c.sealKeys, orgId, old));
  const made = given.type === "webhook" && given.secret === "" ? newWebhookSecret() : "";
  const target = given.type === "webhook" && made !== "" ? { ...given, secret: made } : given;
  const wrong = [
    ...channelViolations({ ...channel, target }, isMailAddress),
    ...reasonViolations(reason),
    ...(await blockedUrls(c.http, target, signal)),
  ];
  if (wrong.length > 0) throw invalidArgument(wrong);
  const secret = secretOf(target);
  const row = {
    ...{ name, isDisabled, type: target.type, target: openPartOf(target) },
    secret: secret === null ? null : sealSecret(c.sealKeys, placeOf(orgId, name), secret),
    // Of a webhook that is being changed the new secret's.
    secretHint: secret === null ? "" : (secret.split(" ")[0] ?? "").slice(-4),
  };
  return inOrg(c.db.app, orgId, async (tx) => {
    const before = await readAlertChannel(tx, orgId, name, { isLocked: true });
    if (before === null && (await countAlertChannels(tx, orgId)) >= mostChannels) {
      throw new DomainError("ALERTS_FULL", { message: `An org has at most ${mostChannels} alert channels` });
    }
    if (isDryRun) return { channel: viewOf({ ...(before ?? unsaved), ...row }), secret: "" };
    await upsertAlertChannel(tx, orgId, row);
    await makeDue(tx, orgId, name, { inMs: isDisabled ? null : 0 });
    const details = {
      before: before === null ? null : { type: before.type, ...before.target },
      after: { type: row.type, ...row.target },
      isDisabled,
      isSecretChanged: before?.secretHint !== row.secretHint,
    };
    await audit(tx, c, caller, { action: "alert-channel.put", target: name, reason, details });
    const after = await foundChannel(tx, orgId, name, { isLocked: false });
    return { channel: viewOf(after), secret: made };
  });
}

/** Deletes a channel that no rule sends to. */
export async function deleteAlertChannel(
  c: Coordinator,
  caller: Caller,
  { name, reason }: { readonly name: string; readonly reason: string },
): Promise<void> {
  refuse(reasonViolations(reason));
  const { orgId } = caller;
  await inOrg(c.db.app, orgId, async (tx) => {
    const { type } = await foundChannel(tx, orgId, name, { isLocked: true });
    const rules = await rulesOfChannel(tx, orgId, name);
    if (rules.length > 0) throw failedPrecondition("ALERT_CHANNEL_USED", { rules: rules.join(" ") });
    await deleteAlertChannelRow(tx, orgId, name);
    await audit(tx, c, caller, { action: "alert-channel.delete", target: name, reason, details: { type } });
  });
}

/** Enables or disables a channel. What comes while it is disabled waits. */
export async function setAlertChannelEnabled(
  c: Coordinator,
  caller: Caller,
  {
    name,
    isEnabled,
    reason,
  }: { readonly name: string; readonly isEnabled: boolean; readonly reason: string },
): Promise<AlertChannelView> {
  refuse(reasonViolations(reason));
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const { type, target, secret, secretHint } = await foundChannel(tx, orgId, name, { isLocked: true });
    await upsertAlertChannel(tx, orgId, { name, type, target, secret, secretHint, isDisabled: !isEnabled });
    await makeDue(tx, orgId, name, { inMs: isEnabled ? 0 : null });
    const action = isEnabled ? "alert-channel.enable" : "alert-channel.disable";
    await audit(tx, c, caller, { action, target: name, reason });
    return viewOf(await foundChannel(tx, orgId, name, { isLocked: false }));
  });
}

/** The target of a channel with its secrets; null when none of our keys opens them. */
export function openTarget(
  keys: SealKeys,
  orgId: string,
  { name, type, target, secret }: Pick<AlertChannelRow, "name" | "type" | "target" | "secret">,
): AlertTarget | null {
  const text = secret === null ? "" : openSecret(keys, placeOf(orgId, name), secret);
  return text === null ? null : targetOf(type, target, text);
}

/** A channel, or ALERT_CHANNEL_NOT_FOUND. */
export async function foundChannel(
  tx: Tx,
  orgId: string,
  name: string,
  options: { readonly isLocked: boolean },
): Promise<AlertChannelRow> {
  const row = slugRule.form.test(name) ? await readAlertChannel(tx, orgId, name, options) : null;
  if (row === null) throw notFound("ALERT_CHANNEL_NOT_FOUND", name);
  return row;
}

async function blockedUrls(
  http: OutboundHttp,
  target: AlertTarget,
  signal: AbortSignal,
): Promise<Violation[]> {
  const wrong: Violation[] = [];
  for (const [field, url] of urlsOf(target)) {
    if (url === "") continue;
    try {
      await http.check(url, signal);
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error;
      wrong.push({ field, message: error.message.replace("the address ", ""), reason: "WEBHOOK_BLOCKED" });
    }
  }
  return wrong;
}

function viewOf(row: AlertChannelRow): AlertChannelView {
  const { type, target, secret: _, failures: __, ...rest } = row;
  return { ...rest, target: targetOf(type, target, "") };
}

function placeOf(orgId: string, name: string): string {
  return `${orgId} ${name}`;
}

function refuse(violations: readonly Violation[]): void {
  if (violations.length > 0) throw invalidArgument(violations);
}

const unsaved = {
  failures: 0,
  failingSince: null,
  lastError: "",
  lastSentAt: null,
  createdAt: new Date(0),
  updatedAt: new Date(0),
  pending: 0,
};
