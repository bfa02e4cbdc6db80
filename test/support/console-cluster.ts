import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { DescService, MessageInitShape } from "@bufbuild/protobuf";
import { type Client, ConnectError } from "@connectrpc/connect";
import { createMusterClient } from "@muster/client/node";
import type { JobSpecSchema } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { startOwnPostgres } from "./own-postgres.ts";

/** A coordinator, a worker and a load, each real and apart from the others: what a console is watched with. */
export interface ConsoleCluster {
  /** Of the API; the same after a restart. */
  readonly address: string;
  /** Of an admin. */
  readonly key: string;
  client<T extends DescService>(service: T): Client<T>;
  /** Submits jobs that take so many milliseconds, or wait so long for what they need; answers their ids. */
  submit(...jobs: readonly ClusterJob[]): Promise<string[]>;
  /** `kill -9` of the coordinator. */
  killCoordinator(): Promise<void>;
  /** Starts it again, at the same ports. */
  startCoordinator(): Promise<void>;
  close(): Promise<void>;
}

/** A job, and how long its handler works. */
export type ClusterJob = Omit<MessageInitShape<typeof JobSpecSchema>, "payload" | "$typeName"> & {
  readonly kind: string;
  readonly workMs?: number;
};

const slots = 12;
/** Short jobs go in bundles of so many, so many milliseconds apart. */
const load = { jobs: 4, workMs: 200, everyMs: 250 };

/** Starts all of it, on a Postgres of its own. Short jobs come and go until it is closed. */
export async function startConsoleCluster(): Promise<ConsoleCluster> {
  const folder = await mkdtemp(join(tmpdir(), "muster-console-"));
  await chmod(folder, 0o755);
  const postgres = await startOwnPostgres();
  const children = new Set<ChildProcess>();
  const stopping = new AbortController();
  const ended: Promise<void>[] = [];
  const close = async (): Promise<void> => {
    stopping.abort();
    await Promise.all(ended);
    await Promise.all([...children].map(killChild));
    await postgres.close();
    await rm(folder, { recursive: true, force: true });
  };
  const start = async (program: string, settings: object): Promise<[ChildProcess, ReadyLine]> => {
    const path = new URL(program, import.meta.url).pathname;
    const stdio = ["ignore", "ignore", "inherit", "pipe"] as const;
    const child = spawn(process.execPath, [path, JSON.stringify(settings)], { stdio: [...stdio] });
    children.add(child);
    child.once("exit", () => children.delete(child));
    const lines = createInterface({ input: child.stdio[3] as Readable })[Symbol.asyncIterator]();
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`${program} ended before it was ready`);
    return [child, JSON.parse(value)];
  };
  const startCoordinator = (ports: Readonly<Record<string, string>>) =>
    start("coordinator-process.ts", {
      flags: { "data-dir": join(folder, "coordinator"), ...ports },
      databaseUrl: postgres.url,
      secret: "a secret of no value",
    });
  try {
    let [coordinator, first] = await startCoordinator({});
    const { apiAddress: address, workerAddress, bootstrapKey: key } = first;
    const ports = {
      "api-port": new URL(address).port,
      "worker-port": new URL(`http://${workerAddress}`).port,
    };
    const client = <T extends DescService>(service: T): Client<T> =>
      createMusterClient(service, { address, key });
    const { key: workerKey } = await client(WorkerAdminService).createWorker({ name: "gpu-1" });
    const stateDir = join(folder, "worker");
    await start("busy-worker-process.ts", { address: workerAddress, key: workerKey, stateDir, slots });
    const submit = async (...jobs: readonly ClusterJob[]): Promise<string[]> => {
      const ids = [];
      for (const { workMs = 0, ...job } of jobs) {
        const payload = { content: { case: "data" as const, value: Buffer.from(String(workMs)) } };
        ids.push((await client(JobService).submitJob({ job: { ...job, payload } })).jobId);
      }
      return ids;
    };
    ended.push(keepBusy(submit, stopping.signal));
    return {
      address,
      key,
      client,
      submit,
      killCoordinator: () => killChild(coordinator),
      async startCoordinator() {
        [coordinator] = await startCoordinator(ports);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

interface ReadyLine {
  readonly apiAddress: string;
  readonly workerAddress: string;
  readonly bootstrapKey: string;
}

// While the coordinator is away the load waits for it.
async function keepBusy(submit: ConsoleCluster["submit"], signal: AbortSignal): Promise<void> {
  const job = { kind: "index.repo", title: "acme/web", workMs: load.workMs };
  while (!signal.aborted) {
    await submit(...Array.from({ length: load.jobs }, () => job)).catch((error: unknown) => {
      if (!(error instanceof ConnectError)) throw error;
    });
    await delay(load.everyMs, undefined, { signal }).catch(() => {});
  }
}

async function killChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}
