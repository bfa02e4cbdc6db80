import { seededRandom } from "../chaos/random.ts";
import { simulate } from "../dispatch/simulation.ts";
import { benchBackup } from "./backup.ts";
import { compare, compareTimes } from "./comparison.ts";
import { benchConsole } from "./console.ts";
import { benchFairShare } from "./fair-share.ts";
import { readFlags } from "./flags.ts";
import { fullRun } from "./full-run.ts";
import type { Measurement } from "./measurement.ts";
import { benchOverview } from "./overview.ts";
import { benchScheduler } from "./scheduler.ts";
import { benchSchedules } from "./schedules.ts";
import { measureSystems, systemsOf, withEnvironment } from "./side-by-side.ts";
import { smoke } from "./smoke.ts";
import {
  alone,
  burndown,
  fleetOf,
  latency,
  loadedLatency,
  type SideBySide,
  settingsOf,
  submit,
  submitOneByOne,
  sustained,
} from "./workloads.ts";

/*
 * `npm run bench` measures this machine: `npm run bench -- WHAT [--json]`; without WHAT everything, beside the peers,
 * with a report in `docs/`. The last line is one JSON object; with `--json` it is the only one. README.md here says
 * what there is.
 */
const flags = readFlags(process.argv.slice(2));
const isJson = flags.has("--json");
const log = (line: string) => {
  if (!isJson) process.stdout.write(`${line}\n`);
};

type Result = Readonly<Record<string, unknown>>;

const commands: Readonly<Record<string, () => Promise<Result>>> = {
  all: () => fullRun(flags, log),
  submit: async () => ({ ...(await sideBySide(submit)), oneByOne: await sideBySide(submitOneByOne) }),
  burndown: () => sideBySide(burndown),
  sustained: () => sideBySide(sustained),
  latency: () => sideBySide(latency, compareTimes),
  "loaded-latency": () => sideBySide(loadedLatency(), compareTimes),
  ...Object.fromEntries(Object.keys(alone).map((name) => [name, () => musterAlone(name)])),
  backup: () => benchBackup(flags.number("--jobs", 1_000_000), log),
  smoke: () => smoke({ isRecording: flags.has("--record"), log }),
  overview: () =>
    benchOverview({
      jobsTotal: flags.number("--jobs", 60_000),
      workerCount: flags.number("--workers", 100),
      slots: flags.number("--slots", 20),
      samples: flags.number("--samples", 200),
    }),
  scheduler: async () => ({
    ...(await benchScheduler({
      ready: flags.number("--ready", 1_000_000),
      blocked: flags.number("--blocked", 100_000),
      shapes: flags.number("--shapes", 500),
      workers: flags.number("--workers", 100),
      slots: flags.number("--slots", 20),
      steps: flags.number("--steps", 200),
      explained: flags.number("--explained", 100),
      log,
    })),
    ...simulated(),
  }),
  "fair-share": async () => ({
    ...(await benchFairShare({
      burst: flags.number("--burst", 100_000),
      samples: flags.number("--samples", 300),
    })),
  }),
  schedules: async () => ({
    ...(await benchSchedules(flags.number("--schedules", 10_000))),
  }),
  simulation: async () => simulated(),
  console: () =>
    benchConsole({
      jobs: flags.number("--jobs", 100_000),
      changes: flags.number("--changes", 1_000),
      seconds: flags.number("--seconds", 30),
      columns: flags.number("--columns", 160),
      rows: flags.number("--rows", 50),
      starts: flags.number("--starts", 5),
      log,
    }),
};

const what = flags.what ?? "all";
const command = commands[what];
if (!command) {
  process.stderr.write(`bench: there is no ${what}; there are ${Object.keys(commands).join(", ")}\n`);
  process.exit(2);
}
const result = await command();
log(
  Object.entries(result)
    .filter(([, value]) => typeof value === "number")
    .map(([name, value]) => `${name.padEnd(28)} ${Number(value).toLocaleString("en-US").padStart(12)}`)
    .join("\n"),
);
process.stdout.write(`${JSON.stringify(result)}\n`);

// One workload, one system after the other.
async function sideBySide(
  workload: SideBySide,
  comparison: (measurements: readonly Measurement[]) => object | undefined = compare,
): Promise<Result> {
  const chosen = systemsOf(flags.text("--systems")?.split(",") ?? []);
  const withRedis = chosen.some(({ store }) => store === "redis");
  return withEnvironment({ fleet: fleetOf(flags), log, withRedis }, async (environment) => {
    const measured = await measureSystems(environment, chosen, (system) =>
      workload(environment, system, flags),
    );
    return { ...comparison(measured), measurements: measured };
  });
}

async function musterAlone(name: string): Promise<Result> {
  const options = { fleet: fleetOf(flags), log, withRedis: false, settings: settingsOf(name) };
  const found = await withEnvironment(options, async (environment) => alone[name]?.(environment, flags));
  return { ...found };
}

// How well the matcher uses a fleet, in time that is only counted.
function simulated(): Readonly<Record<string, number>> {
  const scenario = {
    workers: flags.number("--fleet", 1_000),
    jobs: flags.number("--simulated", 100_000),
    shapes: flags.number("--simulated-shapes", 200),
    claimMs: flags.number("--claim-ms", 10),
  };
  const { matcher, oracle, ratio } = simulate(scenario, () => seededRandom(7));
  log(`${scenario.workers} workers, ${scenario.jobs} jobs, ${scenario.shapes} shapes`);
  log("           slots used  points used   last job   rounds");
  for (const [name, one] of [["matcher", matcher] as const, ["oracle", oracle] as const]) {
    const share = (value: number) => `${(100 * value).toFixed(1)} %`.padStart(10);
    const last = `${one.seconds.toFixed(1)} s`.padStart(10);
    log(
      `${name.padEnd(10)} ${share(one.slotsUsed)}   ${share(one.pointsUsed)} ${last} ${String(one.rounds).padStart(8)}`,
    );
  }
  return { utilisationRatio: Number(ratio.toFixed(4)) };
}
