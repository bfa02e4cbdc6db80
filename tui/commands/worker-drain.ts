import { setTimeout as delay } from "node:timers/promises";
import { type Worker, WorkerState } from "@muster/client/v1/worker";
import {
  DrainWorkerResponseSchema,
  GetWorkerResponseSchema,
  ResumeWorkerResponseSchema,
  WorkerAdminService,
} from "@muster/client/v1/worker_admin_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { sanitize } from "../output/sanitize.ts";
import { workerLooks } from "../output/states.ts";
import { waitUntilDone } from "./job-wait.ts";
import { forEachId } from "./several.ts";

/** How often `--wait` looks. */
const lookMs = 1_000;

/** Registers `muster worker drain` and `muster worker resume`. */
export function registerDrain(worker: MusterCommand, cli: Cli): void {
  worker
    .command("drain <worker...>")
    .description("Give a worker nothing new and let it finish what it has. Stands until it is resumed.")
    .examples(
      'muster worker drain gpu-1 --reason "new driver"',
      "muster worker drain gpu-1 gpu-2 --wait --timeout 10m && reboot",
    )
    .option("--reason <text>", "for people")
    .option("--wait", "wait until it holds no job")
    .action(
      cli.action((call, workers: string[], options: { reason?: string; wait?: boolean }) =>
        forEachId(call, workers, (idOrName) => drainWorker(call, idOrName, options)),
      ),
    );
  worker
    .command("resume <worker...>")
    .description("Let a worker take jobs again: ends a drain, and lifts a quarantine.")
    .examples("muster worker resume gpu-1", "muster worker resume gpu-1 gpu-2")
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, workers: string[], options: { reason?: string }) =>
        forEachId(call, workers, async (idOrName) => {
          const request = { ...workerName(idOrName), reason: options.reason ?? "" };
          const response = await call.client(WorkerAdminService).resumeWorker(request, call.once());
          call.output.printOne({
            schema: ResumeWorkerResponseSchema,
            message: response,
            text: () => [`${sanitize(response.worker?.name ?? idOrName)}\tresumed`],
            names: () => [response.worker?.workerId ?? ""],
          });
        }),
      ),
    );
}

/** How a request names a worker: by its id or its name. */
export function workerName(idOrName: string): { readonly workerId: string } | { readonly name: string } {
  return idOrName.startsWith("wrk_") ? { workerId: idOrName } : { name: idOrName };
}

async function drainWorker(
  call: Call,
  idOrName: string,
  options: { readonly reason?: string; readonly wait?: boolean },
): Promise<void> {
  const request = { ...workerName(idOrName), reason: options.reason ?? "" };
  const drained = await call.client(WorkerAdminService).drainWorker(request, call.once());
  if (options.wait !== true) {
    call.output.printOne({
      schema: DrainWorkerResponseSchema,
      message: drained,
      text: () => [drainLine(idOrName, drained.worker)],
      names: () => [drained.worker?.workerId ?? ""],
    });
    return;
  }
  const { worker } = await waitUntilDone(call, `the drain of ${idOrName}`, true, async (timeoutMs, once) => {
    const response = await call.client(WorkerAdminService).getWorker(workerName(idOrName), once);
    const done = (response.worker?.leases ?? 0) === 0;
    if (!done) await delay(Math.min(lookMs, timeoutMs), undefined, { signal: call.signal });
    return { ...response, done };
  });
  call.output.printOne({
    schema: GetWorkerResponseSchema,
    message: { $typeName: "muster.v1.GetWorkerResponse", ...(worker ? { worker } : {}) },
    text: () => [drainLine(idOrName, worker)],
    names: () => [worker?.workerId ?? ""],
  });
}

function drainLine(idOrName: string, worker: Worker | undefined): string {
  const leases = worker?.leases ?? 0;
  const left = leases === 0 ? "drained: it holds no job" : `${leases} ${leases === 1 ? "job" : "jobs"} left`;
  const { word } = workerLooks[worker?.state ?? WorkerState.UNSPECIFIED];
  return `${sanitize(worker?.name ?? idOrName)}\t${word}\t${left}`;
}
