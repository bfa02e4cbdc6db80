import { round } from "./figures.ts";
import { Histogram, type HistogramEntries } from "./histogram.ts";
import { commitsOf, costOf, peakRssMb, type Reading } from "./meter.ts";
import type { Environment, RunningSystem, System } from "./system.ts";
import { itemiseWal, type WalItem } from "./wal.ts";

/** What one system did in one workload. */
export interface Measurement {
  readonly key: string;
  readonly name: string;
  readonly store: "postgres" | "redis";
  readonly workload: string;
  readonly stopsTheClock: string;
  readonly durability: string;
  readonly history: string;
  readonly jobs: number;
  readonly seconds: number;
  readonly jobsPerSecond: number;
  /** Of the times that `timesAre` names, in milliseconds; null when none were taken. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly timesAre: string;
  readonly walBytesPerJob: number | null;
  readonly commitsPerJob: number | null;
  readonly cpuMicrosPerJob: number | null;
  /** Node processes together, in MiB. */
  readonly peakRssMb: number;
  /** Bytes of WAL a job by table; null when nobody looked. */
  readonly wal: readonly WalItem[] | null;
  /** What only this workload has. */
  readonly more: Readonly<Record<string, number>>;
}

/** What a workload has found; the rest follows from the readings around it. */
export interface Found {
  readonly workload: string;
  readonly jobs: number;
  readonly ms: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly timesAre: string;
  readonly before: Reading;
  readonly after: Reading;
  /** Nothing runs any more: its processes are ended, so that Postgres has counted all their commits. */
  readonly isOver: boolean;
  readonly more?: Readonly<Record<string, number>>;
}

/** Completes a measurement; its processes still run. */
export async function measurementOf(
  environment: Environment,
  system: System,
  running: RunningSystem,
  { before, after, ms, more = {}, ...found }: Found,
): Promise<Measurement> {
  const from = before.lsn;
  const to = after.lsn;
  const peakMb = peakRssMb(running);
  if (found.isOver) await running.halt();
  const commits =
    found.isOver && after.commits !== null ? await commitsOf(environment.postgres, running) : after.commits;
  const isItemised = system.key === "muster" && from !== null && to !== null && running.databaseUrl;
  return {
    key: system.key,
    name: system.name,
    store: system.store,
    workload: found.workload,
    stopsTheClock: system.stopsTheClock,
    durability: (system.store === "redis" && environment.redis?.durability) || system.durability,
    history: system.history,
    jobs: found.jobs,
    seconds: round(ms / 1_000, 3),
    jobsPerSecond: Math.round(found.jobs / (ms / 1_000)),
    p50Ms: found.p50Ms === undefined ? null : round(found.p50Ms, 2),
    p99Ms: found.p99Ms === undefined ? null : round(found.p99Ms, 2),
    timesAre: found.timesAre,
    ...costOf(before, { ...after, commits }, found.jobs),
    peakRssMb: peakMb,
    wal: isItemised ? await itemiseWal(environment.postgres, running.databaseUrl, { from, to }) : null,
    more,
  };
}

/** How long after its submit each job was started, since the last `clearDelays`. */
export async function delaysOf({ consumers }: RunningSystem): Promise<Histogram> {
  const all = new Histogram();
  for (const child of consumers) {
    // Safe: it comes from a Histogram, as JSON.
    all.merge((await child.call("delays"))["entries"] as HistogramEntries);
  }
  return all;
}

/** Forgets the times so far. */
export async function clearDelays({ consumers }: RunningSystem): Promise<void> {
  await Promise.all(consumers.map((child) => child.call("clear")));
}

/** Jobs that handlers have started so far. */
export async function seenBy({ consumers }: RunningSystem): Promise<number> {
  const counts = await Promise.all(
    consumers.map(async (child) => Number((await child.call("seen"))["count"])),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Runs a system through a workload and ends it, whatever comes. */
export async function withSystem<T>(
  environment: Environment,
  system: System,
  body: (running: RunningSystem) => Promise<T>,
): Promise<T> {
  // What the one before has left to write is not the next one's.
  await environment.postgres.admin`checkpoint`;
  const running = await system.start(environment);
  try {
    return await body(running);
  } finally {
    await running.stop();
  }
}
