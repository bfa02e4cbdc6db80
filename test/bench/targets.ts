import { type Comparison, compare, compareTimes } from "./comparison.ts";
import { round } from "./figures.ts";
import type { Measurement } from "./measurement.ts";

/** All that a run has found. What was not measured is absent. */
export interface Findings {
  readonly submit?: readonly Measurement[];
  readonly submitOneByOne?: readonly Measurement[];
  readonly burndown?: readonly Measurement[];
  readonly sustained?: readonly Measurement[];
  readonly latency?: readonly Measurement[];
  readonly loadedLatency?: readonly Measurement[];
  /** Figures of what Muster alone was measured in, by workload and name. */
  readonly alone: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** A target, what was measured, and whether it is met; null: not measured. */
export interface Target {
  readonly what: string;
  readonly target: string;
  readonly measured: string;
  readonly isMet: boolean | null;
}

/** Judges a run by the targets that the project has set itself. */
export function judge(findings: Findings): readonly Target[] {
  const sustained = findings.sustained && compare(findings.sustained);
  const burndown = findings.burndown && compare(findings.burndown);
  const latency = findings.latency && compareTimes(findings.latency);
  const loaded = findings.loadedLatency && compareTimes(findings.loadedLatency);
  const { links, soak } = findings.alone;
  const pinned = findings.alone["pinned-xmin"];
  const two = findings.alone["two-coordinators"];
  return [
    ...throughput("sustained", sustained),
    ...throughput("burndown", burndown),
    atLeast("bulk submit", 0.5, "× graphile-worker", submitRatio(findings, "graphile")),
    atLeast("bulk submit", 1, "× pg-boss", submitRatio(findings, "pg-boss-500", "pg-boss-2000")),
    atLeast("bulk submit", 2, "× BullMQ", submitRatio(findings, "bullmq", "bullmq-kept")),
    atMost("idle submit → start, p50", 0.7, "× graphile-worker", latency?.p50RatioToGraphile),
    atMost("idle submit → start, p99", 3, "× own p50", latency?.p99RatioToOwnP50),
    atMost(
      "loaded submit → start, p99",
      0.25,
      "× the best Postgres peer",
      loaded?.p99RatioToBestPostgresPeer,
    ),
    atMost("WAL a job, sustained", 1_600, "B", sustained?.walBytesPerJob),
    atMost("commits a job, sustained", 0.05, "", sustained?.commitsPerJob),
    atLeast("links on one coordinator", 10_000, "", kept(links, "links", "lostLinks")),
    atMost("memory of a link", 60, "KiB", links?.["rssKbPerLink"]),
    atMost("statements with idle links", 5, "a second", links?.["statementsPerSecond"]),
    atMost("heartbeat round p99", 500, "ms", links?.["heartbeatP99Ms"]),
    atLeast("rate kept with a pinned xmin", 0.9, "", pinned?.["kept"]),
    atLeast("two coordinators", 0.95, "× one", two?.["ratio"]),
    atMost("memory at half rate", 5, "MiB more an hour", soak?.["coordinatorMbPerHour"]),
    atMost("live tables at half rate", 1.1, "× early", growth(soak)),
  ];
}

function throughput(what: string, compared: Comparison | undefined): readonly Target[] {
  return [
    atLeast(what, 1.5, "× the best peer at up to 500 a batch", compared?.ratioToBestPeer500),
    atLeast(what, 1, "× the best peer, pg-boss at 2,000 × 4 counted", compared?.ratioToBestPeer),
  ];
}

function submitRatio({ submit = [] }: Findings, ...keys: readonly string[]): number | null {
  const rate = (key: string) => submit.find((one) => one.key === key)?.jobsPerSecond;
  const own = rate("muster");
  const peers = keys.flatMap((key) => rate(key) ?? []);
  return own === undefined || peers.length === 0 ? null : round(own / Math.max(...peers), 3);
}

function kept(figures: Readonly<Record<string, number>> | undefined, all: string, lost: string) {
  return figures === undefined ? undefined : Number(figures[all]) - Number(figures[lost]);
}

function growth(soak: Readonly<Record<string, number>> | undefined): number | undefined {
  if (soak === undefined) return undefined;
  return round(Number(soak["liveTablesMb"]) / Number(soak["liveTablesMbEarly"]), 3);
}

function atLeast(what: string, least: number, of: string, measured: number | null | undefined): Target {
  return target(what, `≥ ${least.toLocaleString("en-US")}`, of, measured, (value) => value >= least);
}

function atMost(what: string, most: number, of: string, measured: number | null | undefined): Target {
  return target(what, `≤ ${most.toLocaleString("en-US")}`, of, measured, (value) => value <= most);
}

function target(
  what: string,
  bound: string,
  of: string,
  measured: number | null | undefined,
  holds: (value: number) => boolean,
): Target {
  const isKnown = measured !== null && measured !== undefined && !Number.isNaN(measured);
  return {
    what,
    target: `${bound} ${of}`.trim(),
    measured: isKnown ? measured.toLocaleString("en-US", { maximumFractionDigits: 4 }) : "not measured",
    isMet: isKnown ? holds(measured) : null,
  };
}
