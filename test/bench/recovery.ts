import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobService } from "@muster/client/v1/job_service";
import { type Child, startChild } from "./child.ts";
import { sharedMs } from "./clock.ts";
import { quantile, round } from "./figures.ts";
import { createWorkers, startCoordinators } from "./muster.ts";
import type { Environment } from "./system.ts";

/** How long work stands still after a `kill -9`, with the timers as they are by default. */
export interface RecoveryResult {
  /** From the kill of a worker's process to the next start of its jobs at other workers. */
  readonly otherWorkerP50Ms: number;
  readonly otherWorkerP99Ms: number;
  /** The same when the process is started again at once: its new boot says that the old one is dead. */
  readonly sameWorkerP50Ms: number;
  readonly sameWorkerP99Ms: number;
  /** From the kill of a coordinator to the start of a job that was submitted to the other one right after. */
  readonly coordinatorMs: number;
  readonly jobs: number;
}

/** Kills what works and what coordinates. */
export async function measureRecovery(
  environment: Environment,
  { jobs: asked }: { readonly jobs: number },
): Promise<RecoveryResult> {
  // As many for each of ten workers.
  const jobs = Math.ceil(asked / 10) * 10;
  const coordinators = await startCoordinators(environment, 2, {
    // A worker that was killed is as good as before.
    flags: { "quarantine-losses": "0" },
  });
  const children: Child[] = [];
  try {
    const client = { address: coordinators.apiAddress, key: coordinators.key };
    const batches = createMusterClient(BatchService, client);
    // The second one is the one that is killed at the end: all workers are linked to it first.
    const address = [...coordinators.children].reverse().map(({ ready }) => ready["workerAddress"]);
    // Room for twice as many: a job goes to another worker than the one that lost it.
    const slots = (2 * jobs) / 10;
    const start = async (keys: readonly string[], skill: string, folder: string): Promise<Child> => {
      const options = { address: address.join(","), keys, slots, skills: [skill], folder, ownState: true };
      const child = await startChild("./workers-process.ts", options);
      children.push(child);
      await child.call("start");
      return child;
    };
    const folder = () => mkdtemp(join(environment.folder, "workers-"));
    const hold = async (child: Child, skill: string) => {
      const job = { kind: "bench.hold", requiredSkills: [skill] };
      await batches.submitBatch({ jobs: Array.from({ length: jobs }, () => job) });
      await starts(child, jobs);
    };

    const first = await start(await createWorkers(coordinators, 10, "first"), "one", await folder());
    await hold(first, "one");
    const second = await start(await createWorkers(coordinators, 10, "second"), "one", await folder());
    const diedMs = await kill(first);
    const other = await starts(second, jobs);
    environment.log("jobs of killed workers run at others");

    const thirdKeys = await createWorkers(coordinators, 10, "third");
    const thirdFolder = await folder();
    const third = await start(thirdKeys, "two", thirdFolder);
    await hold(third, "two");
    const againMs = await kill(third);
    const same = await starts(await start(thirdKeys, "two", thirdFolder), jobs);
    environment.log("jobs of killed workers run at the same, started again");

    const fourth = await start(await createWorkers(coordinators, 1, "fourth"), "three", await folder());
    const [, doomed] = coordinators.children;
    if (doomed === undefined) throw new Error("nothing is there to be killed");
    const coordinatorMs = await kill(doomed);
    await createMusterClient(JobService, client).submitJob({
      job: { kind: "bench.stamp", requiredSkills: ["three"] },
    });
    const { startedMs } = await fourth.next();
    const since = (times: readonly number[], from: number, q: number) => round(quantile(times, q) - from, 0);
    return {
      otherWorkerP50Ms: since(other, diedMs, 0.5),
      otherWorkerP99Ms: since(other, diedMs, 0.99),
      sameWorkerP50Ms: since(same, againMs, 0.5),
      sameWorkerP99Ms: since(same, againMs, 0.99),
      coordinatorMs: round(Number(startedMs) - coordinatorMs, 0),
      jobs,
    };
  } finally {
    await Promise.all(children.map((child) => child.stop()));
    await coordinators.stop();
  }
}

/** Kills a process; returns when that was. */
async function kill(child: Child): Promise<number> {
  const atMs = sharedMs();
  child.process.kill("SIGKILL");
  while (child.process.signalCode === null) await sleep(1);
  return atMs;
}

/** When so many jobs were started. */
async function starts(child: Child, jobs: number): Promise<number[]> {
  const times: number[] = [];
  while (times.length < jobs) times.push(Number((await child.next())["startedMs"]));
  return times;
}
