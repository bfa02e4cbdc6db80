import { readMissedFires } from "../store/alert-facts.ts";
import type { Tx } from "../store/database.ts";
import { type LookOptions, mostGroups, type Observation } from "./alert-looks.ts";
import { mostSchedules } from "./rules/schedules.ts";

/**
 * Looks at the fire times that schedules missed, or that came to nothing, within the window of a rule. The entries of one
 * schedule are written while it is locked, so those that are later than the newest that was seen are those that were not.
 */
export async function observeMissed(
  tx: Tx,
  orgId: string,
  { rule: { definition }, states }: LookOptions,
): Promise<Observation[]> {
  const { windowMs, threshold, groupBy } = definition;
  const isTogether = groupBy === "none";
  const seen = new Map([...states.values()].flatMap(({ counts }) => Object.entries(newestOf(counts))));
  const missed = await readMissedFires(tx, orgId, {
    ...{ windowMs, seen },
    ...(isTogether ? { least: 0, most: mostSchedules } : { least: threshold, most: mostGroups }),
  });
  const byGroup = Map.groupBy(missed, ({ name }) => (isTogether ? "" : name));
  return [...byGroup].map(([group, of]) => {
    const value = of.reduce((sum, { times }) => sum + times, 0);
    const last = of.reduce((one, other) => (BigInt(other.newest) > BigInt(one.newest) ? other : one));
    const { name, outcome, fireAt, errorReason } = last;
    const why = errorReason === "" ? "" : `: ${errorReason}`;
    const others = value > 1 ? ` (and ${value - 1} more)` : "";
    return {
      ...{ group, value, isFiring: value >= threshold, jobIds: [] },
      more: states.get(group)?.alertId == null ? value : of.reduce((sum, { fresh }) => sum + fresh, 0),
      summary: `Schedule ${name} ${outcome} its fire of ${fireAt.toISOString()}${why}${others}`,
      counts: { newest: Object.fromEntries(of.map(({ scheduleId, newest }) => [scheduleId, newest])) },
    };
  });
}

function newestOf(counts: unknown): Readonly<Record<string, string>> {
  const newest = typeof counts === "object" && counts !== null ? Reflect.get(counts, "newest") : null;
  if (typeof newest !== "object" || newest === null) return {};
  const entries = Object.entries(newest).map(([schedule, at]): [string, string] => [schedule, String(at)]);
  return Object.fromEntries(entries.filter(([, at]) => /^\d{1,18}$/.test(at)));
}
