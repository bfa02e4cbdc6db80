import type { Coordinator } from "../domain/context.ts";
import { Grain, StatsDimension } from "../domain/rules/stats.ts";
import { type Call, call, runInOrg } from "../store/statement.ts";
import { dropSpanStats, dropStats, foldDeltas, foldStats } from "../store/stats.ts";

/** Rows that one statement folds: each is of a flush. */
const foldRows = 200;

const dimensions = Object.values(StatsDimension);

/** Folds what flushes appended of an org into minutes, until nothing is left. */
export async function foldFlushes(
  c: Pick<Coordinator, "db">,
  orgId: string,
  signal: AbortSignal,
): Promise<void> {
  for (let more = true; more && !signal.aborted; ) {
    const [rows] = await runInOrg(c.db.sweepClient, orgId, [
      call(foldDeltas, { org: orgId, dimensions, limit: foldRows }),
    ]);
    more = Number(rows?.[0]?.["n"]) === foldRows;
  }
}

/** The statements that fold minutes into hours, hours into days, and drop old days. */
export function keepStats({ config }: Pick<Coordinator, "config">, org: string): Call[] {
  const { statsMinutesMs, statsHoursMs, statsDaysMs } = config;
  return [
    call(foldStats, {
      ...{ org, dimensions, from: Grain.minute, to: Grain.hour, unit: "hour", keep: statsMinutesMs },
    }),
    call(foldStats, {
      ...{ org, dimensions, from: Grain.hour, to: Grain.day, unit: "day", keep: statsHoursMs },
    }),
    call(dropStats, { org, dimensions, keep: statsDaysMs }),
    call(dropSpanStats, { org, keep: statsHoursMs }),
  ];
}
