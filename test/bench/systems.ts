import { Queue } from "bullmq";
import postgres from "postgres";
import { type Child, startChild } from "./child.ts";
import { musterSystem } from "./muster.ts";
import type { PeerOptions } from "./peers/peer.ts";
import type { Environment, RunningSystem, System } from "./system.ts";

const synchronous = "fsync, synchronous_commit on";

/** All systems, Muster first, by the keys of `--systems`. */
export const systems: readonly System[] = [
  musterSystem,
  graphile("graphile", "graphile-worker", { isBatching: true, batchSize: 500, concurrency: 24 }),
  graphile("graphile-default", "graphile-worker, defaults", { concurrency: 24 }),
  boss("pg-boss-500", "pg-boss 500 × 4", { batchSize: 500, concurrency: 4 }),
  boss("pg-boss-2000", "pg-boss 2,000 × 4", { batchSize: 2_000, concurrency: 4 }),
  bull("bullmq", "BullMQ, removed", { concurrency: 200 }),
  bull("bullmq-kept", "BullMQ, kept", { concurrency: 200, keepsHistory: true }),
];

type Settings = Omit<PeerOptions, "url" | "queue">;

function graphile(key: string, name: string, settings: Settings): System {
  return {
    key,
    name,
    store: "postgres",
    stopsTheClock: "no row is left in graphile_worker._private_jobs",
    durability: synchronous,
    history: "none: a finished job is deleted",
    start: (environment) =>
      startPostgresPeer(environment, "graphile-worker", key, settings, async (sql) => {
        const [row] = await sql`select count(*)::int as left from graphile_worker._private_jobs`;
        return row?.["left"];
      }),
  };
}

function boss(key: string, name: string, settings: Settings): System {
  return {
    key,
    name,
    store: "postgres",
    stopsTheClock: "no row of pgboss.job is below completed",
    durability: synchronous,
    history: "the job's row",
    start: (environment) =>
      startPostgresPeer(environment, "pg-boss", key, settings, async (sql) => {
        const [row] = await sql`
          select count(*)::int as left from pgboss.job where name = ${queue} and state < 'completed'`;
        return row?.["left"];
      }),
  };
}

function bull(key: string, name: string, settings: Settings): System {
  return {
    key,
    name,
    store: "redis",
    stopsTheClock: "the queue counts no job that waits or is active",
    durability: "AOF, fsync each second",
    history: settings.keepsHistory ? "the job's hash" : "none: a finished job is removed",
    start: (environment) => startBull(environment, key, settings),
  };
}

const queue = "bench";

async function startPostgresPeer(
  { postgres: server }: Environment,
  peer: string,
  key: string,
  settings: Settings,
  leftOf: (sql: postgres.Sql) => Promise<number>,
): Promise<RunningSystem> {
  const databaseName = `peer_${key.replaceAll("-", "_")}`;
  const url = await server.createDatabase(databaseName);
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  const processes = await startProcesses(peer, { ...settings, url, queue });
  return {
    ...processes,
    databaseName,
    databaseUrl: url,
    left: () => leftOf(sql),
    async stop() {
      await processes.halt();
      await sql.end({ timeout: 5 });
      await server.dropDatabase(databaseName);
    },
  };
}

async function startBull({ redis }: Environment, key: string, settings: Settings): Promise<RunningSystem> {
  if (redis === undefined) throw new Error("there is no Redis");
  const name = `${queue}-${key}-${process.pid}`;
  const bullQueue = new Queue(name, { connection: redis.client });
  const processes = await startProcesses("bullmq", { ...settings, url: redis.url, queue: name });
  return {
    ...processes,
    databaseName: undefined,
    databaseUrl: undefined,
    left: () => bullQueue.getJobCountByTypes("waiting", "active", "prioritized", "delayed"),
    async stop() {
      await processes.halt();
      await bullQueue.obliterate({ force: true });
      await bullQueue.close();
    },
  };
}

async function startProcesses(peer: string, options: PeerOptions) {
  const producer = await startChild("./producer-process.ts", { peer, options });
  const consumer: Child = await startChild("./consumer-process.ts", { peer, options });
  return {
    producer,
    consumers: [consumer],
    servers: [],
    async work() {
      await consumer.call("start");
    },
    async halt() {
      await Promise.all([producer.stop(), consumer.stop()]);
    },
  };
}
