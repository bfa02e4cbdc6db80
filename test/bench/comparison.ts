import { round } from "./figures.ts";
import type { Measurement } from "./measurement.ts";

/** How Muster compares with its peers in one workload: a ratio above 1 means that Muster is ahead. */
export interface Comparison {
  readonly jobsPerSecond: number;
  /** Jobs a second by the name of the peer. */
  readonly peers: Readonly<Record<string, number>>;
  /** To the best of all peers. */
  readonly ratioToBestPeer: number | null;
  /** To the best of those that take up to 500 at once. */
  readonly ratioToBestPeer500: number | null;
  /** To graphile-worker at its best. */
  readonly ratioToGraphile: number | null;
  readonly walBytesPerJob: number | null;
  readonly commitsPerJob: number | null;
  readonly cpuMicrosPerJob: number | null;
}

/** Compares the measurements of a workload; undefined when Muster is not among them. A peer that was not measured makes null. */
export function compare(measurements: readonly Measurement[]): Comparison | undefined {
  const muster = measurements.find(({ key }) => key === "muster");
  if (muster === undefined) return undefined;
  const peers = measurements.filter(({ key }) => key !== "muster");
  const ratioTo = (some: readonly Measurement[]): number | null => {
    const best = Math.max(...some.map(({ jobsPerSecond }) => jobsPerSecond));
    return some.length === 0 ? null : round(muster.jobsPerSecond / best, 3);
  };
  return {
    jobsPerSecond: muster.jobsPerSecond,
    peers: Object.fromEntries(peers.map(({ name, jobsPerSecond }) => [name, jobsPerSecond])),
    ratioToBestPeer: ratioTo(peers),
    ratioToBestPeer500: ratioTo(peers.filter(({ key }) => key !== "pg-boss-2000")),
    ratioToGraphile: ratioTo(peers.filter(({ key }) => key === "graphile")),
    walBytesPerJob: muster.walBytesPerJob,
    commitsPerJob: muster.commitsPerJob,
    cpuMicrosPerJob: muster.cpuMicrosPerJob,
  };
}

/** How Muster's times compare with its peers': a ratio below 1 means that Muster is faster. */
export interface TimesComparison {
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  /** Milliseconds by the name of the peer. */
  readonly peersP50Ms: Readonly<Record<string, number | null>>;
  readonly peersP99Ms: Readonly<Record<string, number | null>>;
  /** Its p50 to that of graphile-worker: the better of its two settings. */
  readonly p50RatioToGraphile: number | null;
  /** Its p99 to the best p99 of the peers on Postgres. */
  readonly p99RatioToBestPostgresPeer: number | null;
  readonly p99RatioToOwnP50: number | null;
}

/** Compares the times of a workload; undefined when Muster is not among them. */
export function compareTimes(measurements: readonly Measurement[]): TimesComparison | undefined {
  const muster = measurements.find(({ key }) => key === "muster");
  if (muster === undefined) return undefined;
  const peers = measurements.filter(({ key }) => key !== "muster");
  const best = (some: readonly Measurement[], of: "p50Ms" | "p99Ms"): number | null => {
    const times = some.flatMap((one) => one[of] ?? []);
    return times.length === 0 ? null : Math.min(...times);
  };
  const ratio = (own: number | null, other: number | null): number | null =>
    own === null || other === null ? null : round(own / other, 3);
  return {
    p50Ms: muster.p50Ms,
    p99Ms: muster.p99Ms,
    peersP50Ms: Object.fromEntries(peers.map(({ name, p50Ms }) => [name, p50Ms])),
    peersP99Ms: Object.fromEntries(peers.map(({ name, p99Ms }) => [name, p99Ms])),
    p50RatioToGraphile: ratio(
      muster.p50Ms,
      best(
        peers.filter(({ key }) => key.startsWith("graphile")),
        "p50Ms",
      ),
    ),
    p99RatioToBestPostgresPeer: ratio(
      muster.p99Ms,
      best(
        peers.filter(({ store }) => store === "postgres"),
        "p99Ms",
      ),
    ),
    p99RatioToOwnP50: ratio(muster.p99Ms, muster.p50Ms),
  };
}
