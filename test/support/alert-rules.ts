import { evaluateAlerts } from "../../server/domain/alert-evaluation.ts";
import { createAlertParts } from "../../server/domain/alert-parts.ts";
import { putAlertRule } from "../../server/domain/alert-rules.ts";
import { type AlertView, listAlerts } from "../../server/domain/alerts.ts";
import {
  type AlertCondition,
  type AlertRuleDefinition,
  conditionFacts,
  ruleDefaults,
} from "../../server/domain/rules/alert-rules.ts";
import { type TestCoordinator, type TestDatabase, testCaller } from "./database.ts";

/** A rule of a condition with its defaults, without channels. */
export function ruleOf(
  condition: AlertCondition,
  rule: Partial<AlertRuleDefinition> = {},
): AlertRuleDefinition {
  return {
    ...ruleDefaults,
    condition,
    threshold: conditionFacts[condition].threshold,
    filter: { queue: "", kind: "", project: "" },
    channels: [],
    groupBy: "natural",
    resolveMessage: true,
    severity: "warning",
    note: "",
    ...rule,
  };
}

/** Makes a rule of an org, or replaces it. */
export async function putRule(
  c: TestCoordinator,
  orgId: string,
  definition: AlertRuleDefinition,
): Promise<void> {
  const rule = { name: "rule", definition, isDisabled: false };
  await putAlertRule(c, testCaller(orgId), { rule, reason: "", isDryRun: false });
}

/** Looks at the rules of an org, whenever they are due, and returns the alerts that fire, by their groups. */
export async function lookAtRules(
  db: TestDatabase,
  c: TestCoordinator,
  orgId: string,
): Promise<readonly AlertView[]> {
  await db.admin`update muster.alert_rules set due_at = muster.muster_clock() where org_id = ${orgId}`;
  // A new one: what attention read is kept for a second.
  const parts = createAlertParts(c, ["secret"]);
  await evaluateAlerts({ ...c, ...parts }, orgId, new AbortController().signal);
  const page = { rule: "", isFiring: true, pageSize: 1_000, pageToken: "" };
  const { items } = await listAlerts(c, testCaller(orgId), page);
  return [...items].sort((a, b) => (a.groupKey < b.groupKey ? -1 : 1));
}
