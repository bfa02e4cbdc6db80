import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { sharedMs } from "./clock.ts";
import { round, slope } from "./figures.ts";
import { delaysOf, withSystem } from "./measurement.ts";
import { musterSystem } from "./muster.ts";
import { memoryOf } from "./process-usage.ts";
import { finished } from "./sustained.ts";
import type { Environment, RunningSystem } from "./system.ts";

/** What grows while a coordinator works for long. */
export interface SoakResult {
  readonly seconds: number;
  readonly perSecond: number;
  /** Resident memory by the hour, of the line through the samples after the first quarter of the time. */
  readonly coordinatorMbPerHour: number;
  readonly workersMbPerHour: number;
  readonly coordinatorRssMb: number;
  readonly workersRssMb: number;
  /** Size with indexes of the tables that hold only what lives, after the first quarter, and at the end. */
  readonly liveTablesMbEarly: number;
  readonly liveTablesMb: number;
  readonly p99Ms: number;
  /** Jobs that are not done at the end: the rate was held when they are few. */
  readonly left: number;
}

/** Tables whose rows go when what they stand for ends. */
const liveTables = ["job_queue", "links", "gates", "progress", "edges", "releases", "commands", "tallies"];

/** Submits at a steady rate and looks at memory and tables all the while. */
export function measureSoak(
  environment: Environment,
  { seconds, perSecond }: { readonly seconds: number; readonly perSecond: number },
): Promise<SoakResult> {
  return withSystem(environment, musterSystem, async (running) => {
    const sql = postgres(running.databaseUrl ?? "", { max: 1, onnotice: () => {} });
    await running.work();
    await running.producer.call("pace", { perSecond });
    const startedMs = sharedMs();
    const coordinator: [number, number][] = [];
    const workers: [number, number][] = [];
    const stepMs = Math.min(10_000, (seconds * 1_000) / 20);
    let early: number | undefined;
    let finishedBefore = 0;
    for (let nowMs = 0; nowMs < seconds * 1_000; nowMs = sharedMs() - startedMs) {
      await sleep(stepMs);
      const hours = (sharedMs() - startedMs) / 3_600_000;
      coordinator.push([hours, rssMb(running.servers)]);
      workers.push([hours, rssMb(running.consumers)]);
      if (nowMs >= (seconds * 1_000) / 4) early ??= await liveMb(sql);
      const { count } = await finished(running);
      const rate = Math.round((count - finishedBefore) / (stepMs / 1_000));
      finishedBefore = count;
      environment.log(
        `${Math.round(nowMs / 1_000)} s: ${rate} jobs/s, coordinator ${coordinator.at(-1)?.[1]} MiB`,
      );
    }
    const delays = await delaysOf(running);
    const left = await running.left();
    const late = await liveMb(sql);
    await running.producer.call("halt");
    await sql.end();
    const lateOnes = (points: readonly [number, number][]) => points.slice(Math.ceil(points.length / 4));
    return {
      seconds,
      perSecond: Math.round(perSecond),
      coordinatorMbPerHour: round(slope(lateOnes(coordinator)), 1),
      workersMbPerHour: round(slope(lateOnes(workers)), 1),
      coordinatorRssMb: coordinator.at(-1)?.[1] ?? 0,
      workersRssMb: workers.at(-1)?.[1] ?? 0,
      liveTablesMbEarly: early ?? late,
      liveTablesMb: late,
      p99Ms: round(delays.quantile(0.99), 2),
      left,
    };
  });
}

function rssMb(children: RunningSystem["consumers"]): number {
  return Math.round(children.reduce((sum, { pid }) => sum + memoryOf(pid).rssBytes, 0) / 1_048_576);
}

async function liveMb(sql: postgres.Sql): Promise<number> {
  const [row] = await sql<{ bytes: string }[]>`
    select coalesce(sum(pg_total_relation_size(c.oid)), 0)::text as bytes
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'muster' and c.relkind = 'r' and c.relname = any(${liveTables})`;
  return round(Number(row?.bytes ?? 0) / 1_048_576, 1);
}
