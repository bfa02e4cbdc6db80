import postgres from "postgres";
import { median, round } from "./figures.ts";
import { musterSystem } from "./muster.ts";
import { measureSustained, type SustainedOptions } from "./sustained.ts";
import type { Environment, RunningSystem, System } from "./system.ts";

/** What row-level security costs. */
export interface TenancyResult {
  /** As it is. */
  readonly closedPerSecond: number;
  /** With row-level security taken off every table: nothing of the policies is in any plan. */
  readonly openPerSecond: number;
  readonly ratio: number;
  /** Rates of all rounds, in turn. */
  readonly closedRounds: readonly number[];
  readonly openRounds: readonly number[];
}

/**
 * The sustained rate with row-level security as it is, and without it, in turn in one run. Who may call a method is
 * asked in both: that is a look into a list a call, where a call submits 1,000 jobs.
 */
export async function measureTenancy(
  environment: Environment,
  { rounds, ...options }: SustainedOptions & { readonly rounds: number },
): Promise<TenancyResult> {
  const closedRounds: number[] = [];
  const openRounds: number[] = [];
  const rateOf = async (system: System) =>
    (await measureSustained(environment, system, options)).jobsPerSecond;
  for (let done = 0; done < rounds; done++) {
    // Each is first as often as the other: what the machine does besides drifts.
    const isClosedFirst = done % 2 === 0;
    if (isClosedFirst) closedRounds.push(await rateOf(musterSystem));
    openRounds.push(await rateOf(openSystem));
    if (!isClosedFirst) closedRounds.push(await rateOf(musterSystem));
  }
  const [closed, open] = [median(closedRounds), median(openRounds)];
  return {
    closedPerSecond: closed,
    openPerSecond: open,
    ratio: round(closed / open, 3),
    closedRounds,
    openRounds,
  };
}

const openSystem: System = {
  ...musterSystem,
  name: "Muster without row-level security",
  async start(environment) {
    const running = await musterSystem.start(environment);
    await openTables(running);
    return running;
  },
};

// Every cached plan falls with it, also those of connections that are open.
async function openTables({ databaseUrl }: RunningSystem): Promise<void> {
  if (databaseUrl === undefined) throw new Error("the system has no database");
  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} });
  try {
    const tables = await client<{ name: string }[]>`
      select c.oid::regclass::text as name from pg_class c
      where c.relnamespace = 'muster'::regnamespace and c.relrowsecurity`;
    for (const { name } of tables) {
      await client.unsafe(`alter table ${name} disable row level security, no force row level security`);
    }
  } finally {
    await client.end({ timeout: 5 });
  }
}
