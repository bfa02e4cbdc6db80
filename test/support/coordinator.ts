import { randomUUID } from "node:crypto";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { createMusterClient } from "@muster/client/node";
import { type Job, JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { type Config, loadConfig } from "../../server/config.ts";
import { type RunningServer, startServer } from "../../server/server.ts";
import type { WorkerOptions } from "../../worker/options.ts";
import { Worker } from "../../worker/worker.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { testSecret } from "./postgres.ts";

/** A whole coordinator on a database of its own, with both listeners. */
export interface TestServer {
  readonly server: RunningServer;
  readonly database: TestDatabase;
  readonly key: string;
  /** A folder that goes with the server. */
  readonly folder: string;
  client<T extends DescService>(service: T): Client<T>;
  /** Registers a worker; answers its key. */
  workerKey(name?: string): Promise<string>;
  /** Registers and starts a worker, which stops with the server. */
  startWorker(options: Partial<WorkerOptions> & Pick<WorkerOptions, "handlers">): Promise<Worker>;
  /** Starts another coordinator on the same database. */
  startPeer(settings?: Partial<Config>): Promise<RunningServer>;
  /** Resolves with a job once it is in a state; rejects when it ends in another. */
  reach(jobId: string, state: JobState): Promise<Job>;
  close(): Promise<void>;
}

/** Starts one. `settings` are single settings of its configuration. */
export async function startTestServer(settings: Partial<Config> = {}): Promise<TestServer> {
  const database = await createTestDatabase();
  const folder = await mkdtemp(join(tmpdir(), "muster-server-"));
  await chmod(folder, 0o755);
  const workers: Worker[] = [];
  const servers: RunningServer[] = [];
  const start = async (own: Partial<Config>): Promise<RunningServer> => {
    const config = { ...baseConfig(database.url, folder), ...settings, ...own };
    const server = await startServer(config, { logger: silentLog, signal: new AbortController().signal });
    servers.push(server);
    return server;
  };
  const server = await start({});
  const key = server.bootstrapKey ?? "";
  const client = <T extends DescService>(service: T): Client<T> =>
    createMusterClient(service, { address: server.apiAddress, key });
  const workerKey = async (name: string = `worker-${randomUUID().slice(0, 8)}`): Promise<string> =>
    (await client(WorkerAdminService).createWorker({ name })).key;
  return {
    server,
    database,
    key,
    folder,
    client,
    workerKey,
    async startWorker(options) {
      const worker = new Worker({
        address: server.workerAddress,
        key: await workerKey(),
        stateDir: join(folder, `state-${randomUUID()}`),
        linkThread: false,
        logger: () => {},
        ...options,
      });
      workers.push(worker);
      await worker.start();
      return worker;
    },
    startPeer: (own = {}) => start(own),
    async reach(jobId, state) {
      const stopped = AbortSignal.timeout(15_000);
      for await (const { body } of client(JobService).watchJob({ jobId }, { signal: stopped })) {
        if (body.case !== "job") continue;
        if (body.value.state === state) return body.value;
        if (body.value.state >= JobState.SUCCEEDED) {
          throw new Error(
            `the job ended as ${JobState[body.value.state]}: ${body.value.error?.message ?? ""}`,
          );
        }
      }
      const { job } = await client(JobService).getJob({ jobId });
      if (job?.state === state) return job;
      throw new Error(`the watch ended and the job is ${JobState[job?.state ?? 0]}`);
    },
    async close() {
      await Promise.all(workers.map((worker) => worker.stop({ graceMs: 0 })));
      await Promise.all(servers.map((one) => one.stop({ graceMs: 500 })));
      await database.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function baseConfig(databaseUrl: string, folder: string): Config {
  const config = loadConfig({
    flags: { "api-port": "0", "worker-port": "0", "data-dir": join(folder, "data") },
    env: { HOME: folder, MUSTER_DATABASE_URL: databaseUrl },
    readFile: (path) => {
      throw new Error(`a test reads no ${path}`);
    },
  });
  return { ...config, secret: testSecret };
}

const silentLog = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
