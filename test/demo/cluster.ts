import { readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
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

/**
 * How long a worker and a coordinator have to end in order before they are killed. A worker that finds no
 * coordinator any more waits 5 s for one to take its last results.
 */
const workerGraceMs = 8_000;
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
      // Who is told to stop must be able to stop every child that there is.
      signal.throwIfAborted();
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

/**
 * Stops everything, the workers first, looks for what is left, and removes the folder, once what writes there
 * has `settled`. Never rejects.
 */
export async function stopAll(
  folder: string,
  children: readonly Child[],
  settled: Promise<unknown>,
): Promise<Stopping> {
  const [coordinator, ...workers] = children;
  const ends = await Promise.all(workers.map((worker) => stopChild(worker, workerGraceMs)));
  if (coordinator !== undefined) ends.push(await stopChild(coordinator, coordinatorGraceMs));
  await Promise.race([settled.catch(() => {}), delay(settleMs, undefined, { ref: false })]);
  const folders = await foldersOf(folder);
  const pids = await leftProcesses(basename(folder), folders);
  const left = await Promise.all(pids.map(async (pid) => `left behind: ${await describeProcess(pid)}`));
  killAll(pids);
  await areGone(pids, settleMs);
  return { unclean: ends.filter((end) => end !== null), left: [...left, ...(await removeFolders(folders))] };
}

/** Kills everything at once and removes the folder as far as it goes: the last resort. */
export async function killEverything(folder: string, children: readonly Child[]): Promise<void> {
  for (const child of children) void child.kill();
  const folders = await foldersOf(folder);
  const left = await findMarked(basename(folder), folders);
  killAll(left);
  await areGone([...left, ...children.map((child) => child.pid)], settleMs);
  await removeFolders(folders);
}

/** Null when it ended as it should. */
async function stopChild(child: Child, graceMs: number): Promise<string | null> {
  const when = child.isRunning ? "when it was stopped" : "before it was told to stop";
  try {
    const exit = await child.stop(graceMs);
    return exit.code === 0 || child.isKilled ? null : `${child.name} ${exitText(exit)} ${when}`;
  } catch (error) {
    return `${child.name} did not start: ${messageOf(error)}`;
  }
}

async function leftProcesses(mark: string, folders: readonly string[]): Promise<number[]> {
  const giveUpAt = performance.now() + settleMs;
  for (;;) {
    const left = await findMarked(mark, folders);
    if (left.length === 0 || performance.now() > giveUpAt) return left;
    await areGone(left, giveUpAt - performance.now());
  }
}

// Where the account of Postgres cannot reach the temporary folder, its data is elsewhere, and a file says where.
async function foldersOf(folder: string): Promise<string[]> {
  const elsewhere = await readFile(join(folder, "data", "postgres.location"), "utf8").catch(() => "");
  return [elsewhere.trim(), folder].filter((path) => path !== "");
}

async function removeFolders(folders: readonly string[]): Promise<string[]> {
  const options = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 };
  const removed = await Promise.allSettled(folders.map((path) => rm(path, options)));
  return removed.flatMap((end, index) =>
    end.status === "fulfilled" ? [] : [`left behind: ${folders[index]} (${messageOf(end.reason)})`],
  );
}
