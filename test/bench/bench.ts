import { seededRandom } from "../chaos/random.ts";
import { simulate } from "../dispatch/simulation.ts";
import { measureBurndown } from "./burndown.ts";
import { compare } from "./comparison.ts";
import { benchFairShare } from "./fair-share.ts";
import type { Measurement } from "./measurement.ts";
import { benchOverview } from "./overview.ts";
import { benchScheduler } from "./scheduler.ts";
import { measureSystems, systemsOf, withEnvironment } from "./side-by-side.ts";
import { measureSustained } from "./sustained.ts";
import type { Environment, System } from "./system.ts";

/*
 * `npm run bench` measures this machine: `npm run bench -- WHAT [--json]`. The last line is one JSON object; with
 * `--json` it is the only one.
 */
const [, , ...words] = process.argv;
const isJson = words.includes("--json");
const what = words[0]?.startsWith("--") === false ? words[0] : "overview";
const log = (line: string) => {
  if (!isJson) process.stdout.write(`${line}\n`);
};

const measurements: Readonly<Record<string, () => Promise<Readonly<Record<string, unknown>>>>> = {
  overview: () =>
    benchOverview({
      jobsTotal: numberOf("--jobs", 60_000),
      workerCount: numberOf("--workers", 100),
      slots: numberOf("--slots", 20),
      samples: numberOf("--samples", 200),
    }),
  scheduler: async () => ({
    ...(await benchScheduler({
      ready: numberOf("--ready", 1_000_000),
      blocked: numberOf("--blocked", 100_000),
      shapes: numberOf("--shapes", 500),
      workers: numberOf("--workers", 100),
      slots: numberOf("--slots", 20),
      steps: numberOf("--steps", 200),
      explained: numberOf("--explained", 100),
      log,
    })),
    ...simulated(),
  }),
  "fair-share": async () => ({
    ...(await benchFairShare({ burst: numberOf("--burst", 100_000), samples: numberOf("--samples", 300) })),
  }),
  simulation: async () => simulated(),
  burndown: () =>
    sideBySide((environment, system) =>
      measureBurndown(environment, system, { jobs: numberOf("--jobs", 200_000) }),
    ),
  sustained: () =>
    sideBySide((environment, system) =>
      measureSustained(environment, system, {
        seconds: numberOf("--seconds", 60),
        depth: numberOf("--depth", 20_000),
      }),
    ),
};

const measure = measurements[what];
if (!measure) {
  process.stderr.write(`bench: there is no ${what}; there are ${Object.keys(measurements).join(", ")}\n`);
  process.exit(2);
}
const result = await measure();
log(
  Object.entries(result)
    .filter(([, value]) => typeof value === "number")
    .map(([name, value]) => `${name.padEnd(28)} ${Number(value).toLocaleString("en-US").padStart(12)}`)
    .join("\n"),
);
process.stdout.write(`${JSON.stringify(result)}\n`);

// One workload, one system after the other.
async function sideBySide(
  measureOne: (environment: Environment, system: System) => Promise<Measurement>,
): Promise<Readonly<Record<string, unknown>>> {
  const chosen = systemsOf(textOf("--systems")?.split(",") ?? []);
  const fleet = {
    workers: numberOf("--workers", 100),
    slots: numberOf("--slots", 40),
    coordinators: numberOf("--coordinators", 1),
  };
  const withRedis = chosen.some(({ store }) => store === "redis");
  return withEnvironment({ fleet, log, withRedis }, async (environment) => {
    const measured = await measureSystems(environment, chosen, (system) => measureOne(environment, system));
    return { ...compare(measured), measurements: measured };
  });
}

// How well the matcher uses a fleet, in time that is only counted.
function simulated(): Readonly<Record<string, number>> {
  const scenario = {
    workers: numberOf("--fleet", 1_000),
    jobs: numberOf("--simulated", 100_000),
    shapes: numberOf("--simulated-shapes", 200),
    claimMs: numberOf("--claim-ms", 10),
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

function numberOf(flag: string, standard: number): number {
  const value = textOf(flag);
  return value === undefined ? standard : Number(value);
}

function textOf(flag: string): string | undefined {
  const index = words.indexOf(flag);
  return index < 0 ? undefined : words[index + 1];
}
