import { readSilences, type SilenceRow } from "../store/alert-silences.ts";
import {
  type AlertStateRow,
  type DueRule,
  dropAlertStates,
  endAlerts,
  finishRule,
  insertDeliveries,
  readAlertStates,
  takeDueRule,
  upsertAlert,
  writeAlertState,
} from "../store/alert-work.ts";
import { inOrg, type Tx } from "../store/database.ts";
import { readClock } from "../store/explain.ts";
import { tellAlert } from "./alert-events.ts";
import type { Observation } from "./alert-looks.ts";
import { type AlertSources, observe } from "./alert-sources.ts";
import type { Coordinator } from "./context.ts";
import { encodeId } from "./ids.ts";
import { stepGroup } from "./rules/alert-firing.ts";
import type { AlertLine, AlertMessage } from "./rules/alert-texts.ts";

/** Rules of an org that one pass looks at. */
const mostRules = 250;
/** Alerts that a message names. */
const mostLines = 10;
/** Silences that are looked at. */
const mostSilences = 1_000;

/**
 * Looks at the rules of an org that are due, each in a transaction of its own: whoever locks its row looks. What was
 * counted, the alerts that begin and end, and their messages are one commit.
 */
export async function evaluateAlerts(
  c: Coordinator & AlertSources,
  orgId: string,
  signal: AbortSignal,
): Promise<void> {
  for (let n = 0; n < mostRules && !signal.aborted; n++) {
    const isDone = await inOrg(c.db.sweep, orgId, async (tx) => {
      const rule = await takeDueRule(tx, orgId);
      if (rule === null) return true;
      await evaluateRule(c, tx, orgId, rule);
      return false;
    });
    if (isDone) return;
  }
}

/** A group that is told of. */
interface Told {
  readonly alertId: string;
  readonly line: AlertLine;
}

async function evaluateRule(
  c: Coordinator & AlertSources,
  tx: Tx,
  orgId: string,
  rule: DueRule,
): Promise<void> {
  const { name, definition } = rule;
  const now = await readClock(tx);
  const states = new Map((await readAlertStates(tx, orgId, name)).map((row) => [row.group, row]));
  const seen = await observe(c, tx, orgId, { rule, states, now });
  const silences = await readSilences(tx, orgId, mostSilences);
  const told: Record<"firing" | "resolved", Told[]> = { firing: [], resolved: [] };
  const ended: string[] = [];
  const forgotten: string[] = [];
  let hasBegun = false;
  for (const one of withAbsent(seen.observations, states, seen.isKept)) {
    const state = states.get(one.group);
    const isSilenced = silences.some((silence) => holds(silence, name, one.group));
    const step = stepGroup(
      standingOf(state),
      { ...one, isSilenced },
      {
        nowMs: now.getTime(),
        throttleMs: definition.throttleMs,
        resolveMessage: definition.resolveMessage,
      },
    );
    hasBegun ||= step.change === "begin";
    const alertId = state?.alertId ?? (step.change === "begin" ? c.newId() : null);
    if (alertId !== null && step.change !== "end") {
      const isTold = step.tell === "firing";
      await upsertAlert(tx, orgId, {
        alertId,
        ...{
          rule: name,
          condition: definition.condition,
          groupKey: one.group,
          severity: definition.severity,
        },
        ...{ summary: one.summary, value: one.value, jobIds: [...one.jobIds], occurrences: step.occurrences },
        startedAt: state?.startedAt ?? now,
        told: isTold ? step.occurrences : (state?.told ?? 0),
        notifiedAt: isTold ? now : state?.alertId ? state.notifiedAt : null,
        isSilenced,
      });
    }
    if (alertId !== null && step.change === "end") ended.push(alertId);
    if (alertId !== null && (step.change === "begin" || step.change === "end")) {
      const { condition, severity } = definition;
      await tellAlert(tx, c, orgId, step.change === "begin" ? "alert.fired" : "alert.resolved", {
        ...{ alertId, rule: name, group: one.group, condition, severity, isSilenced },
        ...{ summary: one.summary || (state?.summary ?? ""), startedAt: state?.startedAt ?? now },
      });
    }
    if (alertId !== null && step.tell !== null) {
      told[step.tell].push({ alertId, line: lineOf(alertId, one, state, step.occurrences, now) });
    }
    const notifiedAt = step.tell === "firing" ? now : (state?.notifiedAt ?? null);
    const isThrottling = notifiedAt !== null && now.getTime() - notifiedAt.getTime() < definition.throttleMs;
    const firingId = step.change === "end" ? null : alertId;
    if (firingId === null && one.counts === null && !isThrottling) {
      if (state !== undefined) forgotten.push(one.group);
    } else {
      await writeAlertState(tx, orgId, {
        ...{ rule: name, group: one.group, alertId: firingId, counts: one.counts, notifiedAt },
      });
    }
  }
  await dropAlertStates(tx, orgId, name, forgotten);
  await endAlerts(tx, orgId, ended);
  for (const event of ["firing", "resolved"] as const)
    await tell(c, tx, orgId, { rule, event, told: told[event], now });
  await finishRule(tx, orgId, { name, cursor: seen.cursor, inMs: seen.againInMs, hasBegun });
}

// What fires and is not seen any more is over, unless the look was not at all of it.
function withAbsent(
  observations: readonly Observation[],
  states: ReadonlyMap<string, AlertStateRow>,
  isKept: (state: AlertStateRow) => boolean,
): Observation[] {
  const groups = new Set(observations.map(({ group }) => group));
  const absent = [...states.values()].filter((state) => !groups.has(state.group) && !isKept(state));
  return [
    ...observations,
    ...absent.map(({ group, summary, value }) => ({
      ...{
        group,
        isFiring: false,
        more: 0,
        value: value ?? 0,
        summary: summary ?? "",
        jobIds: [],
        counts: null,
      },
    })),
  ];
}

function standingOf(state: AlertStateRow | undefined) {
  return {
    isFiring: state?.alertId != null,
    occurrences: state?.occurrences ?? 0,
    told: state?.told ?? 0,
    notifiedAtMs: state?.notifiedAt?.getTime() ?? null,
  };
}

function holds({ rule, groupKey }: SilenceRow, name: string, group: string): boolean {
  return (rule === "" || rule === name) && (groupKey === "" || groupKey === group);
}

function lineOf(
  alertId: string,
  { group, summary, value, jobIds }: Observation,
  state: AlertStateRow | undefined,
  occurrences: number,
  now: Date,
): AlertLine {
  return {
    alertId: encodeId("alert", alertId),
    ...{ group, value, occurrences },
    summary: summary || (state?.summary ?? ""),
    since: (state?.startedAt ?? now).toISOString(),
    jobIds: jobIds.map((id) => encodeId("job", id)),
  };
}

// All groups of a rule that are to be told at once are one message a channel.
async function tell(
  c: Coordinator,
  tx: Tx,
  orgId: string,
  {
    rule: { name, definition },
    event,
    told,
    now,
  }: {
    readonly rule: DueRule;
    readonly event: "firing" | "resolved";
    readonly told: readonly Told[];
    readonly now: Date;
  },
): Promise<void> {
  if (told.length === 0) return;
  const { condition, severity, note, channels } = definition;
  const message: AlertMessage = {
    ...{ event, rule: name, condition, severity, note, org: encodeId("org", orgId), time: now.toISOString() },
    alerts: told.slice(0, mostLines).map(({ line }) => line),
    others: Math.max(0, told.length - mostLines),
  };
  await insertDeliveries(tx, orgId, {
    ...{ channels, event, newId: c.newId, message: { ...message } },
    alertIds: told.map(({ alertId }) => alertId),
  });
}
