import { readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { createMusterClient } from "@muster/client/node";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { type Child, exitText, startChild } from "./child.ts";
import { messageOf } from "./failure.ts";
import { areGone, describeProcess, findMarked, killAll } from "./processes.ts";
import { coordinatorFlags, coordinatorRuntimeFlags, slotsPerWorker, workerNames } from "./settings.ts";

/** What the demo runs on: a coordinator with a database of its own, and workers, each a process. */
export interface Cluster {
  /** URL of the API. */
  readonly address: string;
  /** The admin key that the coordinator made at its first start. */
  readonly key: string;
  readonly coordinator: Child;
  /** In the order of their names. */
  readonly workers: readonly Child[];
}

/** How long a worker and a coordinator have to end in order before they are killed. */
const workerGraceMs = 5_000;
const coordinatorGraceMs = 8_000;
/** How long the last processes may need to be gone once everything is stopped. */
const settleMs = 1_000;

/**
 * Starts the coordinator, registers the workers, starts them, and resolves when all are attached. Each process is
 * added to `children` at once, so that it is stopped whatever happens then.
 */
export async function startCluster(folder: string, children: Child[], signal: AbortSignal): Promise<Cluster> {
  const mark = basename(folder);
  const coordinator = startChild({
    name: "coordinator",
    program: "coordinator-process.ts",
    runtimeFlags: coordinatorRuntimeFlags,
    mark,
    settings: { ...coordinatorFlags, "data-dir": join(folder, "data"), "api-port": "0", "worker-port": "0" },
  });
  children.push(coordinator);
  const { apiAddress: address = "", workerAddress = "", key = "" } = await coordinator.ready;
  const admin = createMusterClient(WorkerAdminService, { address, key });
  const workers = await Promise.all(
    workerNames.map(async (name) => {
      const { key: workerKey } = await admin.createWorker({ name }, { signal });
      const stateDir = join(folder, name);
      const settings = { address: workerAddress, key: workerKey, stateDir, slots: String(slotsPerWorker) };
      const worker = startChild({ name, program: "worker-process.ts", mark, settings });
      children.push(worker);
      return worker;
    }),
  );
  await Promise.all(workers.map((worker) => worker.ready));
  return { address, key, coordinator, workers };
}

/** Rejects when a child ends that nobody asked to. */
export async function childDied(children: readonly Child[]): Promise<never> {
  return await new Promise((_, reject) => {
    for (const child of children) {
      void child.exited.then((exit) => {
        if (!child.isKilled) reject(new Error(`${child.name} ${exitText(exit)} in the middle of the demo`));
      }, reject);
    }
  });
}

/** What was not in order when everything was stopped. */
export interface Stopping {
  /** Children that had to be killed, ended with an error, or never started. */
  readonly unclean: readonly string[];
  /** Processes and files that were still there; killed and removed now as far as it goes. */
  readonly left: readonly string[];
}

/** Stops everything, the workers first, looks for what is left, and removes the folder. Never rejects. */
export async function stopAll(folder: string, children: readonly Child[]): Promise<Stopping> {
  const [coordinator, ...workers] = children;
  const ends = await Promise.all(workers.map((worker) => stopChild(worker, workerGraceMs)));
  if (coordinator !== undefined) ends.push(await stopChild(coordinator, coordinatorGraceMs));
  const pids = await leftProcesses(folder);
  const left = await Promise.all(pids.map(async (pid) => `left behind: ${await describeProcess(pid)}`));
  killAll(pids);
  await areGone(pids, settleMs);
  return { unclean: ends.filter((end) => end !== null), left: [...left, ...(await removeFolder(folder))] };
}

/** Kills everything at once and removes the folder as far as it goes: the last resort. */
export async function killEverything(folder: string, children: readonly Child[]): Promise<void> {
  for (const child of children) void child.kill();
  const left = await findMarked(basename(folder), folder);
  killAll(left);
  await areGone([...left, ...children.map((child) => child.pid)], settleMs);
  await removeFolder(folder);
}

/** Null when it ended as it should. */
async function stopChild(child: Child, graceMs: number): Promise<string | null> {
  try {
    const exit = await child.stop(graceMs);
    return exit.code === 0 || child.isKilled ? null : `${child.name} ${exitText(exit)} when it was stopped`;
  } catch (error) {
    return `${child.name} did not start: ${messageOf(error)}`;
  }
}

async function leftProcesses(folder: string): Promise<number[]> {
  const giveUpAt = performance.now() + settleMs;
  for (;;) {
    const left = await findMarked(basename(folder), folder);
    if (left.length === 0 || performance.now() > giveUpAt) return left;
    await areGone(left, giveUpAt - performance.now());
  }
}

// Where the account of Postgres cannot reach the temporary folder, its data is elsewhere, and a file says where.
async function removeFolder(folder: string): Promise<string[]> {
  const elsewhere = await readFile(join(folder, "data", "postgres.location"), "utf8").catch(() => "");
  const problems: string[] = [];
  for (const path of [elsewhere.trim(), folder]) {
    if (path === "") continue;
    await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }).catch(
      (error: unknown) => {
        problems.push(`left behind: ${path} (${messageOf(error)})`);
      },
    );
  }
  return problems;
}
