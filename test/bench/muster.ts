import { randomBytes } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { createMusterClient } from "@muster/client/node";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import postgres from "postgres";
import { type Child, startChild } from "./child.ts";
import type { Environment, RunningSystem, System } from "./system.ts";

/** Muster: coordinators, workers and what submits, each in a process of its own, over the network. */
export const musterSystem: System = {
  key: "muster",
  name: "Muster",
  store: "postgres",
  stopsTheClock: "no row is left in muster.job_queue: each run's end is committed with its history",
  durability: "fsync, synchronous_commit on; each result in the worker's outbox first",
  history: "job, attempt with result, change feed",
  async start(environment) {
    const coordinators = await startCoordinators(environment, environment.fleet.coordinators);
    const { key, apiAddress } = coordinators;
    const producer = await startChild("./producer-process.ts", {
      peer: "muster",
      options: { url: apiAddress, queue: "", key },
    });
    const consumers = await startWorkers(environment, coordinators);
    return runningSystem(coordinators, producer, consumers);
  },
};

/** Coordinators of one database. */
export interface Coordinators {
  readonly children: readonly Child[];
  readonly apiAddress: string;
  /** The admin key. */
  readonly key: string;
  readonly databaseUrl: string;
  /** For the superuser. */
  readonly sql: postgres.Sql;
  /** Starts one more. */
  add(): Promise<Child>;
  /** Ends all. */
  halt(): Promise<void>;
  /** Ends all, and drops the database. */
  stop(): Promise<void>;
}

const databaseName = "bench_muster";
// The roles are the cluster's: one secret for all databases of a run.
const secret = randomBytes(24).toString("hex");

/** Starts so many, one after the other: the first one migrates. */
export async function startCoordinators(
  { postgres: server, folder }: Pick<Environment, "postgres" | "folder">,
  count: number,
  options: {
    readonly flags?: Readonly<Record<string, string>>;
    readonly runtimeFlags?: readonly string[];
  } = {},
): Promise<Coordinators> {
  const databaseUrl = await server.createDatabase(databaseName);
  const sql = postgres(databaseUrl, { max: 2, onnotice: () => {} });
  const children: Child[] = [];
  const add = async (): Promise<Child> => {
    const dataDir = join(await mkdtemp(join(folder, "coordinator-")), "data");
    const { flags = {}, runtimeFlags } = options;
    const child = await startChild(
      "./coordinator-process.ts",
      { dataDir, databaseUrl, secret, flags },
      runtimeFlags,
    );
    children.push(child);
    return child;
  };
  for (let n = 0; n < count; n++) await add();
  const halt = async () => {
    await Promise.all(children.map((child) => child.stop()));
  };
  return {
    children,
    apiAddress: String(children[0]?.ready["apiAddress"]),
    key: String(children[0]?.ready["key"]),
    databaseUrl,
    sql,
    add,
    halt,
    async stop() {
      await halt();
      await sql.end({ timeout: 5 });
      await server.dropDatabase(databaseName);
    },
  };
}

/** Registers workers; returns their keys. */
export async function createWorkers(
  { apiAddress: address, key }: Pick<Coordinators, "apiAddress" | "key">,
  count: number,
  name = "bench",
): Promise<string[]> {
  const admin = createMusterClient(WorkerAdminService, { address, key });
  const keys: string[] = [];
  for (let next = 0; next < count; next += 20) {
    const some = Array.from({ length: Math.min(20, count - next) }, (_, n) => `${name}-${next + n}`);
    keys.push(...(await Promise.all(some.map(async (one) => (await admin.createWorker({ name: one })).key))));
  }
  return keys;
}

/** Loads the processes of the workers: one a coordinator. */
export async function startWorkers(
  { folder, fleet }: Pick<Environment, "folder" | "fleet">,
  coordinators: Coordinators,
): Promise<Child[]> {
  const keys = await createWorkers(coordinators, fleet.workers);
  const each = Math.ceil(keys.length / coordinators.children.length);
  return Promise.all(
    coordinators.children.map(async (coordinator, n) =>
      startChild("./workers-process.ts", {
        address: coordinator.ready["workerAddress"],
        keys: keys.slice(n * each, (n + 1) * each),
        slots: fleet.slots,
        skills: [],
        folder: await mkdtemp(join(folder, "workers-")),
      }),
    ),
  );
}

function runningSystem(
  coordinators: Coordinators,
  producer: Child,
  consumers: readonly Child[],
): RunningSystem {
  const halt = async () => {
    await Promise.all([producer, ...consumers].map((child) => child.stop()));
    await coordinators.halt();
  };
  return {
    producer,
    consumers,
    servers: coordinators.children,
    databaseName,
    databaseUrl: coordinators.databaseUrl,
    async work() {
      await Promise.all(consumers.map((child) => child.call("start")));
    },
    left: () => leftOf(coordinators.sql),
    halt,
    async stop() {
      await halt();
      await coordinators.stop();
    },
  };
}

/** Live jobs, as the database says. */
export async function leftOf(sql: postgres.Sql): Promise<number> {
  const [row] = await sql`select count(*)::int as left from muster.job_queue`;
  return row?.["left"];
}
