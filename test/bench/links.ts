import { setTimeout as sleep } from "node:timers/promises";
import { type Child, startChild } from "./child.ts";
import { round } from "./figures.ts";
import { Histogram, type HistogramEntries } from "./histogram.ts";
import { createWorkers, startCoordinators } from "./muster.ts";
import type { Environment } from "./system.ts";

/** Postgres must have been started with these, to count statements. */
export const linksSettings: Record<string, string> = { shared_preload_libraries: "pg_stat_statements" };

/** What so many idle workers cost a coordinator. */
export interface LinksResult {
  readonly links: number;
  /** Hellos answered a second, with as many in flight as there are processes times 50. */
  readonly connectsPerSecond: number;
  /** Resident memory of the coordinator that came with the links, each, in KiB. */
  readonly rssKbPerLink: number;
  readonly heapKbPerLink: number;
  readonly heartbeatP50Ms: number;
  readonly heartbeatP99Ms: number;
  /** All that Postgres was asked, BEGIN and COMMIT too, while nothing happens. */
  readonly statementsPerSecond: number;
  readonly transactionsPerSecond: number;
  readonly lostLinks: number;
}

const heartbeatMs = 5_000;
// Their keys are one argument, which may have 128 KiB.
const linksPerProcess = 1_500;

/** Attaches idle workers to one coordinator, each on a connection of its own, and looks at it for some seconds. */
export async function measureLinks(
  environment: Environment,
  { links, seconds }: { readonly links: number; readonly seconds: number },
): Promise<LinksResult> {
  const { admin } = environment.postgres;
  const coordinators = await startCoordinators(environment, 1, {
    // What is measured is how fast it can, not how fast it lets workers in.
    flags: { "hellos-per-second": "100000" },
    runtimeFlags: ["--expose-gc"],
  });
  const children: Child[] = [];
  try {
    const [coordinator] = coordinators.children;
    if (coordinator === undefined) throw new Error("there is no coordinator");
    const keys = await createWorkers(coordinators, links, "link");
    for (let next = 0; next < links; next += linksPerProcess) {
      const options = { keys: keys.slice(next, next + linksPerProcess), flights: 50, heartbeatMs };
      const address = coordinator.ready["workerAddress"];
      children.push(await startChild("./links-process.ts", { ...options, address }));
    }
    // The first ones make room for many: what is measured is one more link, not a coordinator that wakes up.
    const warm = Math.ceil(links / 20 / children.length);
    await Promise.all(children.map((child) => child.call("attach", { count: warm })));
    await sleep(2 * heartbeatMs);
    const bare = await coordinator.call("collect");
    const measured = links - warm * children.length;
    const times = await Promise.all(children.map((child) => child.call("attach", { count: links })));
    environment.log(`${links} links are attached`);
    await sleep(2 * heartbeatMs);
    await Promise.all(children.map((child) => child.call("clear")));
    await admin`create extension if not exists pg_stat_statements`;
    await admin`select pg_stat_statements_reset()`;
    const before = await statements(environment);
    await sleep(seconds * 1_000);
    const after = await statements(environment);
    for (const { query, calls } of await busiest(environment))
      environment.log(`${calls} × ${query.replace(/\s+/g, " ").slice(0, 90)}`);
    const rounds = new Histogram();
    let lost = 0;
    for (const child of children) {
      const { entries, lost: gone } = await child.call("rounds");
      // Safe: it comes from a Histogram, as JSON.
      rounds.merge(entries as HistogramEntries);
      lost += Number(gone);
    }
    const full = await coordinator.call("collect");
    const each = (name: string) => round((Number(full[name]) - Number(bare[name])) / 1_024 / measured, 1);
    return {
      links,
      connectsPerSecond: Math.round(measured / (Math.max(...times.map(({ ms }) => Number(ms))) / 1_000)),
      rssKbPerLink: each("rssBytes"),
      heapKbPerLink: each("heapBytes"),
      heartbeatP50Ms: round(rounds.quantile(0.5), 2),
      heartbeatP99Ms: round(rounds.quantile(0.99), 2),
      statementsPerSecond: round((after.statements - before.statements) / seconds, 2),
      transactionsPerSecond: round((after.transactions - before.transactions) / seconds, 2),
      lostLinks: lost,
    };
  } finally {
    await Promise.all(children.map((child) => child.stop()));
    await coordinators.stop();
  }
}

async function statements({ postgres: { admin } }: Environment) {
  const [row] = await admin<{ statements: string; transactions: string }[]>`
    select coalesce(sum(calls), 0)::text as statements,
      coalesce(sum(calls) filter (where query ilike 'commit%'), 0)::text as transactions
    from pg_stat_statements join pg_database on pg_database.oid = dbid where datname = 'bench_muster'`;
  return { statements: Number(row?.statements), transactions: Number(row?.transactions) };
}

async function busiest({ postgres: { admin } }: Environment) {
  return admin<{ query: string; calls: string }[]>`
    select query, calls::text from pg_stat_statements join pg_database on pg_database.oid = dbid
    where datname = 'bench_muster' order by pg_stat_statements.calls desc limit 12`;
}
