import { holdAlertChannels } from "../store/alert-channels.ts";
import {
  type AlertRuleRow,
  countAlertRules,
  deleteAlertRuleRow,
  readAlertRule,
  readAlertRules,
  upsertAlertRule,
} from "../store/alert-rules.ts";
import { inOrg, type Tx } from "../store/database.ts";
import { readOrg } from "../store/snapshot.ts";
import { forgetRule } from "./alert-events.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, invalidArgument, notFound, type Violation } from "./errors.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { type AlertRuleDefinition, countsApart, ruleViolations } from "./rules/alert-rules.ts";
import { slugRule, textViolations } from "./rules/texts.ts";

/** A rule with how it stands. */
export type AlertRuleView = AlertRuleRow;

/** What a person says of a rule. */
export interface NewAlertRule {
  readonly name: string;
  readonly definition: AlertRuleDefinition;
  readonly isDisabled: boolean;
}

/** Rules an org may have: each is looked at every few seconds. */
const mostRules = 200;

/** Lists rules by name. */
export async function listAlertRules(
  c: Pick<Coordinator, "db">,
  { orgId }: Pick<Caller, "orgId">,
  page: PageRequest,
): Promise<Page<AlertRuleView>> {
  const identity: ListIdentity = { list: "alert-rules", orgId };
  const limit = pageRows(page);
  const [after = ""] = readPageToken(identity, page, [slugRule.form]) ?? [];
  const rows = await readOrg(c.db.app, orgId, (tx) => readAlertRules(tx, orgId, { after, limit: limit + 1 }));
  return pageOf(
    rows,
    limit,
    identity,
    ({ name }) => [name],
    (row) => row,
  );
}

/** Reads a rule. */
export function getAlertRule(
  c: Pick<Coordinator, "db">,
  { orgId }: Pick<Caller, "orgId">,
  name: string,
): Promise<AlertRuleView> {
  return inOrg(c.db.app, orgId, (tx) => found(tx, orgId, name, { isLocked: false }));
}

/**
 * Makes a rule, or replaces the one of its name. What it counted stays, unless it counts something else from now on:
 * then its alerts end. With `isDryRun` all is checked and nothing kept.
 */
export async function putAlertRule(
  c: Coordinator,
  caller: Caller,
  {
    rule,
    reason,
    isDryRun,
  }: { readonly rule: NewAlertRule; readonly reason: string; readonly isDryRun: boolean },
): Promise<AlertRuleView> {
  const { name, definition, isDisabled } = rule;
  const { orgId } = caller;
  const wrong: Violation[] = [...ruleViolations(name, definition), ...reasonViolations(reason)];
  return inOrg(c.db.app, orgId, async (tx) => {
    const channels = await holdAlertChannels(tx, orgId, definition.channels);
    definition.channels.forEach((channel, index) => {
      if (channels.has(channel)) return;
      wrong.push({ field: `rule.channels[${index}]`, message: "names no channel of the org" });
    });
    if (wrong.length > 0) throw invalidArgument(wrong);
    const before = await readAlertRule(tx, orgId, name, { isLocked: true });
    if (before === null && (await countAlertRules(tx, orgId)) >= mostRules) {
      throw new DomainError("ALERTS_FULL", { message: `An org has at most ${mostRules} alert rules` });
    }
    if (isDryRun) return before === null ? unsaved(rule) : { ...before, ...rule };
    const isAnew =
      before === null || before.isDisabled !== isDisabled || countsApart(before.definition, definition);
    if (isAnew) await forgetRule(tx, c, orgId, name);
    await upsertAlertRule(tx, orgId, { name, definition, isDisabled, isAnew });
    const details = { before: before?.definition ?? null, after: definition, isDisabled };
    await audit(tx, c, caller, { action: "alert-rule.put", target: name, reason, details });
    return found(tx, orgId, name, { isLocked: false });
  });
}

/** Deletes a rule; its alerts end without a message. */
export async function deleteAlertRule(
  c: Coordinator,
  caller: Caller,
  { name, reason }: { readonly name: string; readonly reason: string },
): Promise<void> {
  refuse(reasonViolations(reason));
  const { orgId } = caller;
  await inOrg(c.db.app, orgId, async (tx) => {
    const { definition } = await found(tx, orgId, name, { isLocked: true });
    await forgetRule(tx, c, orgId, name);
    await deleteAlertRuleRow(tx, orgId, name);
    await audit(tx, c, caller, {
      action: "alert-rule.delete",
      target: name,
      reason,
      details: { before: definition },
    });
  });
}

/** Enables or disables a rule. One that is disabled forgets what it counted, and its alerts end without a message. */
export async function setAlertRuleEnabled(
  c: Coordinator,
  caller: Caller,
  {
    name,
    isEnabled,
    reason,
  }: { readonly name: string; readonly isEnabled: boolean; readonly reason: string },
): Promise<AlertRuleView> {
  refuse(reasonViolations(reason));
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const { definition, isDisabled } = await found(tx, orgId, name, { isLocked: true });
    if (isDisabled === isEnabled) {
      await forgetRule(tx, c, orgId, name);
      await upsertAlertRule(tx, orgId, { name, definition, isDisabled: !isEnabled, isAnew: true });
    }
    const action = isEnabled ? "alert-rule.enable" : "alert-rule.disable";
    await audit(tx, c, caller, { action, target: name, reason });
    return found(tx, orgId, name, { isLocked: false });
  });
}

/** What is wrong with the reason of an act. */
export function reasonViolations(reason: string): Violation[] {
  return textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
}

function refuse(violations: readonly Violation[]): void {
  if (violations.length > 0) throw invalidArgument(violations);
}

async function found(
  tx: Tx,
  orgId: string,
  name: string,
  options: { readonly isLocked: boolean },
): Promise<AlertRuleRow> {
  const row = slugRule.form.test(name) ? await readAlertRule(tx, orgId, name, options) : null;
  if (row === null) throw notFound("ALERT_RULE_NOT_FOUND", name);
  return row;
}

function unsaved(rule: NewAlertRule): AlertRuleView {
  return { ...rule, lastFiredAt: null, createdAt: new Date(0), updatedAt: new Date(0), firing: 0 };
}
