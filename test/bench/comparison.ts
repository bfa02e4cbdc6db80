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
