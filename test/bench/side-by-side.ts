import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBenchPostgres } from "./bench-postgres.ts";
import { startBenchRedis } from "./bench-redis.ts";
import type { Measurement } from "./measurement.ts";
import { showMeasurement } from "./show.ts";
import type { Environment, FleetSize, System } from "./system.ts";
import { systems } from "./systems.ts";

const endSignals = ["SIGINT", "SIGTERM"] as const;

/** Makes what a run has, and takes it down again, also when the run is given up. */
export async function withEnvironment<T>(
  options: {
    readonly fleet: FleetSize;
    readonly log: (line: string) => void;
    readonly withRedis: boolean;
    /** More settings of Postgres. */
    readonly settings?: Record<string, string>;
  },
  body: (environment: Environment) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "muster-bench-"));
  await chmod(folder, 0o755);
  const postgres = await startBenchPostgres(options.settings);
  const redis = options.withRedis ? await startBenchRedis(process.env) : undefined;
  if (options.withRedis && redis === undefined)
    options.log("BullMQ is left out: REDIS_URL is not set, and there is no redis-server in PATH");
  let ending: Promise<void> | undefined;
  const end = () => {
    // Once: a run that is given up fails too, because its database is away.
    ending ??= (async () => {
      await redis?.stop();
      await postgres.stop();
      await rm(folder, { recursive: true, force: true });
    })();
    return ending;
  };
  // Our children end with us; the databases would stay.
  const giveUp = () => void end().finally(() => process.exit(130));
  for (const signal of endSignals) process.once(signal, giveUp);
  try {
    return await body({ postgres, redis, folder, fleet: options.fleet, log: options.log });
  } finally {
    for (const signal of endSignals) process.off(signal, giveUp);
    await end();
  }
}

/** The systems of those keys, in our order; all without any. Throws for one that there is not. */
export function systemsOf(keys: readonly string[]): readonly System[] {
  const unknown = keys.filter((key) => !systems.some((system) => system.key === key));
  if (unknown.length > 0) {
    const known = systems.map(({ key }) => key).join(", ");
    throw new Error(`--systems: there is no ${unknown.join(", ")}; there are ${known}`);
  }
  return keys.length === 0 ? systems : systems.filter(({ key }) => keys.includes(key));
}

/** Measures one system after the other; one that fails is named, and is not among what is returned: the run goes on, and ends with 1. */
export async function measureSystems(
  environment: Environment,
  chosen: readonly System[],
  measure: (system: System) => Promise<Measurement>,
): Promise<readonly Measurement[]> {
  const measurements: Measurement[] = [];
  for (const system of chosen) {
    if (system.store === "redis" && environment.redis === undefined) continue;
    try {
      const one = await measure(system);
      environment.log(showMeasurement(one));
      measurements.push(one);
    } catch (error) {
      process.exitCode = 1;
      process.stderr.write(`bench: ${system.name} is left out: ${error}\n`);
    }
  }
  return measurements;
}
