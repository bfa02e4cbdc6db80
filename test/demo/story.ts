import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Child } from "./child.ts";
import { childDied, startCluster } from "./cluster.ts";
import { listFiles, takeInputs } from "./inputs.ts";
import { planJobs } from "./jobs.ts";
import { peakMemoryBytes } from "./processes.ts";
import { readRecords } from "./records.ts";
import { flagsText, slotsPerWorker } from "./settings.ts";
import { type Api, cancelEndless, killWorker, openApi, submit, waitForAll } from "./steps.ts";
import type { Report } from "./table.ts";
import { judge } from "./verify.ts";
import type { View } from "./view.ts";

/** What the story is played on. */
export interface Scene {
  /** Root of the repository. */
  readonly root: string;
  /** For everything that is written; the caller removes it. */
  readonly folder: string;
  /** Every process that is started comes in here at once; the caller stops them. */
  readonly children: Child[];
  readonly view: View;
  /** Called when it is known how many jobs there will be. */
  readonly onPlanned: (jobs: number) => void;
  readonly signal: AbortSignal;
}

/** Between two messages of the status. */
const statusEveryMs = 250;

/**
 * Starts everything, submits a job a file, cancels one, kills a worker, waits for the end, and judges what came of
 * it. Rejects when it cannot go on; what merely came out wrong is in the verdict.
 */
export async function playStory(scene: Scene): Promise<Report> {
  const { root, folder, children, view, signal } = scene;
  const { source, paths } = await listFiles(root, signal);
  const [files, cluster] = await Promise.all([
    takeInputs(root, paths, folder, signal),
    startCluster(folder, children, signal),
  ]);
  const died = childDied(children);
  died.catch(() => {});
  view.note(`coordinator at ${cluster.address} with ${flagsText()}, so that the demo need not wait`);
  view.note(`${cluster.workers.length} workers attached, ${slotsPerWorker} slots each`);

  const inputs = join(folder, "inputs");
  const gate = join(folder, "gate");
  const plan = planJobs(files, { inputs, gate, mark: basename(folder) });
  scene.onPlanned(plan.batch.length + 2);
  const api = openApi(cluster);
  const submittedMs = performance.now();
  const submission = await submit(api, plan, signal);
  view.note(`${plan.batch.length} jobs submitted as one batch, and two by themselves`);

  const watching = new AbortController();
  const shown = showStatus(api, view, AbortSignal.any([signal, watching.signal]));
  const work = async () => {
    const cancelledProcesses = await cancelEndless(api, submission.endlessId, signal);
    view.note("one job cancelled while it ran, and its processes are gone");
    const kill = await killWorker(api, cluster, submission, signal);
    view.note(`kill -9 of ${kill.workerName} (process ${kill.pid}) while it ran ${kill.heldJobs} jobs`);
    await writeFile(gate, "");
    await waitForAll(api, submission, signal);
    return { cancelledProcesses, kill };
  };
  try {
    const { cancelledProcesses, kill } = await Promise.race([work(), died, shown]);
    const workSeconds = (performance.now() - submittedMs) / 1000;
    view.note("all jobs have ended; reading and checking every one");
    const records = await Promise.race([readRecords(api, submission, signal), died]);
    const verdict = judge(records, kill.workerName);
    const peakBytes = await peakMemoryBytes(cluster.coordinator.pid);
    return { verdict, source, kill, cancelledProcesses, peakBytes, workSeconds };
  } finally {
    watching.abort();
    await shown.catch(() => {});
  }
}

/** Shows the status until it is told to stop; never resolves before. */
async function showStatus(api: Api, view: View, signal: AbortSignal): Promise<never> {
  const interval = durationFromMs(statusEveryMs);
  for await (const { status } of api.status.watchStatus({ detail: true, interval }, { signal })) {
    if (status !== undefined) view.show(status);
  }
  throw new Error("the stream of the status ended by itself");
}
