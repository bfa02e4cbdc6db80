import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { measureBurndown } from "./burndown.ts";
import { median, round } from "./figures.ts";
import { measureLatency } from "./latency.ts";
import { musterSystem } from "./muster.ts";
import { plainSql } from "./plain-sql.ts";
import { withEnvironment } from "./side-by-side.ts";
import type { Environment } from "./system.ts";

/** How Muster does against plain SQL on the same machine in the same minute. */
export interface SmokeRatios {
  /** Jobs a second of a burndown, to those of the loop. */
  readonly throughputRatio: number;
  /** Time of a single lifecycle of the loop, to Muster's from submit to start, half of the samples each. */
  readonly latencyRatio: number;
}

const jobs = 15_000;
const samples = 100;
const fleet = { workers: 50, slots: 40, coordinators: 1 };
const recordedRuns = 3;
/** A ratio may fall to so much of the recorded one. */
const allowed = 0.5;

const file = fileURLToPath(new URL("./smoke.json", import.meta.url));

/**
 * `npm run bench -- smoke`: fails when a hot path has fallen by half against the ratio that is recorded in smoke.json.
 * `--record` writes it: the medians of three runs.
 */
export async function smoke(options: {
  readonly isRecording: boolean;
  readonly log: (line: string) => void;
}): Promise<Readonly<Record<string, unknown>>> {
  const { isRecording, log } = options;
  const runs: SmokeRatios[] = [];
  for (let n = 0; n < (isRecording ? recordedRuns : 1); n++) {
    runs.push(await withEnvironment({ fleet, log, withRedis: false }, (environment) => measure(environment)));
  }
  const ratios = {
    throughputRatio: round(median(runs.map((run) => run.throughputRatio)), 4),
    latencyRatio: round(median(runs.map((run) => run.latencyRatio)), 4),
  };
  if (isRecording) {
    writeFileSync(file, `${JSON.stringify(ratios, null, 2)}\n`);
    return { ...ratios, recorded: ratios, fallen: [] };
  }
  const recorded: SmokeRatios = JSON.parse(readFileSync(file, "utf8"));
  const fallen = fallenOf(ratios, recorded);
  for (const line of fallen) process.stderr.write(`bench: ${line}\n`);
  if (fallen.length > 0) process.exitCode = 1;
  return { ...ratios, recorded, fallen };
}

/** What has fallen under half of what was recorded, in words. */
export function fallenOf(ratios: SmokeRatios, recorded: SmokeRatios): readonly string[] {
  const names = ["throughputRatio", "latencyRatio"] as const;
  return names.flatMap((name) =>
    // What is no number has not been measured, and that is no pass.
    ratios[name] >= recorded[name] * allowed
      ? []
      : [`${name} has fallen to ${ratios[name]}: ${recorded[name]} is recorded, and half of it is allowed`],
  );
}

async function measure(environment: Environment): Promise<SmokeRatios> {
  const plain = await plainSql(environment.postgres, { jobs: 2 * jobs, batch: 250, samples });
  const burndown = await measureBurndown(environment, musterSystem, { jobs });
  const latency = await measureLatency(environment, musterSystem, { samples });
  environment.log(
    `plain SQL ${Math.round(plain.jobsPerSecond)} jobs/s, ${round(plain.lifecycleP50Ms, 2)} ms a job alone; ` +
      `Muster ${burndown.jobsPerSecond} jobs/s, ${latency.p50Ms} ms to start`,
  );
  return {
    throughputRatio: burndown.jobsPerSecond / plain.jobsPerSecond,
    latencyRatio: plain.lifecycleP50Ms / (latency.p50Ms ?? Number.NaN),
  };
}
