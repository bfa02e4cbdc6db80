import {
  DisableWorkerResponseSchema,
  EnableWorkerResponseSchema,
  RemoveWorkerResponseSchema,
  WorkerAdminService,
} from "@muster/client/v1/worker_admin_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, dangerOfMany, quote } from "../input/confirm.ts";
import { sanitize } from "../output/sanitize.ts";
import { showCounted } from "../output/time.ts";
import { forEachId } from "./several.ts";
import { workerName } from "./worker-drain.ts";

interface ReasonOption {
  readonly reason?: string;
}

/** Registers `muster worker disable`, `muster worker enable` and `muster worker remove`. */
export function registerDisable(worker: MusterCommand, cli: Cli): void {
  worker
    .command("disable <worker...>")
    .description(
      "Shut workers out at once: their keys are refused, their links end, their leases are taken back as lost.",
    )
    .examples(
      'muster worker disable gpu-1 --reason "was stolen" --yes',
      "muster worker drain gpu-1 --wait && muster worker disable gpu-1",
    )
    .option("--reason <text>", "for people")
    .notes(
      "Leases of exclusive jobs come back only when the worker must have stopped (reclaim-after).\n" +
        "To let it finish what it has, drain it instead.",
    )
    .action(
      cli.action((call, workers: string[], { reason = "" }: ReasonOption) => disable(call, workers, reason)),
    );
  worker
    .command("enable <worker...>")
    .description("Let disabled workers in again.")
    .examples("muster worker enable gpu-1")
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, workers: string[], { reason = "" }: ReasonOption) =>
        forEachId(call, workers, async (idOrName) => {
          const request = { ...workerName(idOrName), reason };
          const response = await call.client(WorkerAdminService).enableWorker(request, call.once());
          call.output.printOne({
            schema: EnableWorkerResponseSchema,
            message: response,
            text: () => [`${sanitize(response.worker?.name ?? idOrName)}\tenabled`],
            names: () => [response.worker?.workerId ?? ""],
          });
        }),
      ),
    );
  worker
    .command("remove <worker>")
    .alias("rm")
    .description("Remove a worker that is offline and holds nothing, with its keys and sessions.")
    .examples('muster worker remove gpu-1 --reason "was sold"', "muster worker remove gpu-1 --confirm gpu-1")
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, idOrName: string, { reason = "" }: ReasonOption) => remove(call, idOrName, reason)),
    );
}

async function disable(call: Call, workers: readonly string[], reason: string): Promise<number> {
  await confirmDanger(call, {
    level: dangerOfMany(workers.length, false),
    what: await disablePlan(call, workers),
    count: workers.length,
    command: `muster worker disable ${workers.map(quote).join(" ")}${reasonFlag(reason)}`,
  });
  return forEachId(call, workers, async (idOrName) => {
    const request = { ...workerName(idOrName), reason };
    const response = await call.client(WorkerAdminService).disableWorker(request, call.once());
    const left = response.worker?.leases ?? 0;
    const still = left === 0 ? "" : `\t${showCounted(left, "exclusive job")} until it must have stopped`;
    call.output.printOne({
      schema: DisableWorkerResponseSchema,
      message: response,
      text: () => [`${sanitize(response.worker?.name ?? idOrName)}\tdisabled${still}`],
      names: () => [response.worker?.workerId ?? ""],
    });
  });
}

async function remove(call: Call, idOrName: string, reason: string): Promise<number> {
  const client = call.client(WorkerAdminService);
  const { worker } = await client.getWorker(workerName(idOrName), call.once());
  const { workerId = "", name = idOrName } = worker ?? {};
  await confirmDanger(call, {
    level: "severe",
    what: `Remove the worker ${name}, with its keys and sessions`,
    expected: name,
    command: `muster worker remove ${quote(idOrName)}${reasonFlag(reason)}`,
  });
  const response = await client.removeWorker({ workerId, reason }, call.once());
  call.output.print({
    schema: RemoveWorkerResponseSchema,
    message: response,
    text: () => [`${sanitize(name)}\tremoved`],
    names: () => [workerId],
  });
  return exitCodes.done;
}

// What it costs, as the server counts it now.
async function disablePlan(call: Call, workers: readonly string[]): Promise<string> {
  const client = call.client(WorkerAdminService);
  let leases = 0;
  const names: string[] = [];
  for (const idOrName of workers.slice(0, 50)) {
    const { worker } = await client.getWorker(workerName(idOrName), call.once());
    leases += worker?.leases ?? 0;
    names.push(worker?.name ?? idOrName);
  }
  const shown = names.length <= 3 ? names.join(", ") : showCounted(workers.length, "worker");
  const cost = leases === 0 ? "nothing is taken back" : `${showCounted(leases, "lease")} taken back`;
  return `Disable ${shown}: ${cost}`;
}

function reasonFlag(reason: string): string {
  return reason === "" ? "" : ` --reason ${quote(reason)}`;
}
