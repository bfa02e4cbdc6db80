import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HourWindowSchema } from "@muster/client/v1/worker";
import {
  ApproveWorkerResponseSchema,
  LimitWorkerResponseSchema,
  RejectWorkerResponseSchema,
  SetWorkerAvailabilityResponseSchema,
  WorkerAdminService,
} from "@muster/client/v1/worker_admin_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, dangerOfMany, quote } from "../input/confirm.ts";
import {
  hoursOption,
  hoursText,
  isAnyLimit,
  type LimitOptions,
  limitsOf,
  limitsText,
  withLimits,
} from "../input/limit-options.ts";
import { wholeOrNoneOption } from "../input/options.ts";
import { sanitize } from "../output/sanitize.ts";
import { showCounted } from "../output/time.ts";
import { forEachId } from "./several.ts";
import { workerName } from "./worker-drain.ts";

interface ReasonOption {
  readonly reason?: string;
}

interface AvailabilityOptions extends ReasonOption {
  readonly slots?: number | "none";
  readonly points?: number | "none";
  readonly hours?: readonly MessageInitShape<typeof HourWindowSchema>[];
  readonly zone?: string;
  readonly always?: boolean;
}

/** Registers `muster worker approve`, `reject`, `limit` and `availability`. */
export function registerLimit(worker: MusterCommand, cli: Cli): void {
  worker
    .command("approve <worker...>")
    .description("Approve machines that people enrolled: they get jobs, without the limits of newcomers.")
    .examples("muster worker approve mac", "muster worker list --filter state:pending")
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, workers: string[], { reason = "" }: ReasonOption) =>
        forEachId(call, workers, async (idOrName) => {
          const request = { ...workerName(idOrName), reason };
          const response = await call.client(WorkerAdminService).approveWorker(request, call.once());
          call.output.printOne({
            schema: ApproveWorkerResponseSchema,
            message: response,
            text: () => [`${sanitize(response.worker?.name ?? idOrName)}\tapproved`],
            names: () => [response.worker?.workerId ?? ""],
          });
        }),
      ),
    );
  worker
    .command("reject <worker...>")
    .description("Reject machines that people enrolled: they are disabled until an operator approves them.")
    .examples('muster worker reject mac --reason "nobody knows it" --yes')
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, workers: string[], { reason = "" }: ReasonOption) => reject(call, workers, reason)),
    );
  withLimits(
    worker
      .command("limit <worker>")
      .description("Say what the server allows a worker, whatever it says of itself.")
      .examples("muster worker limit gpu-1 --skill gpu,linux --slots 2", "muster worker limit gpu-1 --none")
      .option("--none", "no limits: what it says of itself counts")
      .option("--reason <text>", "for people"),
    "the only skills that it may have; repeat or use commas for more (any)",
  )
    .notes("Replaces all its limits. It attaches anew at once, and keeps what it holds.")
    .action(
      cli.action(
        (call, idOrName: string, options: LimitOptions & ReasonOption & { readonly none?: boolean }) =>
          limit(call, idOrName, options),
      ),
    );
  worker
    .command("availability <worker>")
    .description("Say how much of a machine is given, and when: for its owner, and for operators.")
    .examples(
      "muster worker availability mac --slots 2 --hours 'mon-fri 18:00-08:00' --zone Europe/Berlin",
      "muster worker availability mac --always",
    )
    .option("--slots <number>", "jobs at once, or none for all that it has", wholeOrNoneOption(1, 10_000))
    .option("--points <number>", "points at once, or none for all", wholeOrNoneOption(1, 1_000_000))
    .option("--hours <days times>", "when it takes jobs; repeat for more", hoursOption)
    .option("--zone <name>", "time zone of the hours (this machine's)")
    .option("--always", "at all hours")
    .option("--reason <text>", "for people")
    .notes("What is not named stays. Outside of its hours it finishes what it has.")
    .action(
      cli.action((call, idOrName: string, options: AvailabilityOptions) =>
        setAvailability(call, idOrName, options),
      ),
    );
}

async function reject(call: Call, workers: readonly string[], reason: string): Promise<number> {
  await confirmDanger(call, {
    level: dangerOfMany(workers.length, false),
    what: `Reject ${workers.length <= 3 ? workers.join(", ") : showCounted(workers.length, "worker")}`,
    count: workers.length,
    command: `muster worker reject ${workers.map(quote).join(" ")}${reason === "" ? "" : ` --reason ${quote(reason)}`}`,
  });
  return forEachId(call, workers, async (idOrName) => {
    const request = { ...workerName(idOrName), reason };
    const response = await call.client(WorkerAdminService).rejectWorker(request, call.once());
    call.output.printOne({
      schema: RejectWorkerResponseSchema,
      message: response,
      text: () => [`${sanitize(response.worker?.name ?? idOrName)}\trejected`],
      names: () => [response.worker?.workerId ?? ""],
    });
  });
}

async function limit(
  call: Call,
  idOrName: string,
  options: LimitOptions & ReasonOption & { readonly none?: boolean },
): Promise<number> {
  const isNone = options.none === true;
  if (isNone === isAnyLimit(options)) {
    throw usageError(
      "name limits, or --none for no limits",
      "Write it like: muster worker limit gpu-1 --slots 2",
    );
  }
  const { reason = "" } = options;
  const request = { ...workerName(idOrName), reason, ...(isNone ? {} : { limits: limitsOf(options) }) };
  const response = await call.client(WorkerAdminService).limitWorker(request, call.once());
  const { worker } = response;
  call.output.print({
    schema: LimitWorkerResponseSchema,
    message: response,
    text: () => [
      `${sanitize(worker?.name ?? idOrName)}\t${sanitize(limitsText(worker?.limits) ?? "no limits")}`,
    ],
    names: () => [worker?.workerId ?? ""],
  });
  return exitCodes.done;
}

async function setAvailability(call: Call, idOrName: string, options: AvailabilityOptions): Promise<number> {
  const { slots, points, hours, zone, always, reason = "" } = options;
  if (always === true && hours !== undefined) {
    throw usageError("--always and --hours contradict each other", "Give one of the two.");
  }
  if (zone !== undefined && hours === undefined)
    throw usageError("--zone is of --hours", "Give --hours too.");
  if ([slots, points, hours, always].every((one) => one === undefined)) {
    throw usageError("nothing is to be changed", "Give --slots, --points, --hours or --always.");
  }
  const client = call.client(WorkerAdminService);
  const { worker: before } = await client.getWorker(workerName(idOrName), call.once());
  const { workerId = "", availability } = before ?? {};
  const kept = always === true ? undefined : availability?.hours;
  const timeZone = zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const weekHours = hours === undefined ? kept : { timeZone, windows: [...hours] };
  const request = {
    ...{ workerId, reason },
    availability: {
      slots: countOf(slots, availability?.slots),
      points: countOf(points, availability?.points),
      ...(weekHours === undefined ? {} : { hours: weekHours }),
    },
  };
  const response = await client.setWorkerAvailability(request, call.once());
  const { worker } = response;
  const given = worker?.availability;
  const parts = [
    given?.slots ? `slots ${given.slots}` : "all slots",
    given?.points ? `points ${given.points}` : "all points",
    given?.hours === undefined ? "always" : hoursText(given.hours),
  ];
  call.output.print({
    schema: SetWorkerAvailabilityResponseSchema,
    message: response,
    text: () => [`${sanitize(worker?.name ?? idOrName)}\t${sanitize(parts.join(", "))}`],
    names: () => [worker?.workerId ?? ""],
  });
  return exitCodes.done;
}

function countOf(given: number | "none" | undefined, before: number | undefined): number {
  return given === undefined ? (before ?? 0) : given === "none" ? 0 : given;
}
