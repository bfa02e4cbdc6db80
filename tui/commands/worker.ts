import { create } from "@bufbuild/protobuf";
import { type Worker, WorkerApproval, WorkerState } from "@muster/client/v1/worker";
import {
  CreateWorkerResponseSchema,
  GetWorkerResponseSchema,
  ListWorkersResponseSchema,
  WorkerAdminService,
} from "@muster/client/v1/worker_admin_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { keepNewKey } from "../input/key-file.ts";
import { hoursText, limitsText } from "../input/limit-options.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { workerLooks } from "../output/states.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { showTimeAndAge } from "../output/time.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { registerDisable } from "./worker-disable.ts";
import { registerDrain, workerName } from "./worker-drain.ts";
import { registerEnrol } from "./worker-enrol.ts";
import { registerWorkerExplain } from "./worker-explain.ts";
import { registerLimit } from "./worker-limit.ts";
import { registerWorkerNew } from "./worker-new.ts";
import { registerWorkerRun } from "./worker-run.ts";

/** Registers `muster worker`. */
export function registerWorker(cli: Cli): void {
  const worker = cli.program.command("worker").alias("workers").description("Run and look after workers.");
  registerWorkerRun(worker, cli);
  registerCreate(worker, cli);
  registerWorkerNew(worker, cli);
  registerLook(worker, cli);
  registerWorkerExplain(worker, cli);
  registerDrain(worker, cli);
  registerDisable(worker, cli);
  registerEnrol(worker, cli);
  registerLimit(worker, cli);
}

function registerCreate(worker: MusterCommand, cli: Cli): void {
  worker
    .command("create <name>")
    .description("Register a worker and make its key. The key is shown this once: stdout has nothing else.")
    .examples(
      "muster worker create gpu-1 --key-file gpu-1.key",
      "MUSTER_WORKER_KEY_FILE=gpu-1.key muster worker run --address coordinator:7071",
    )
    .option("--key-file <path>", "write the key to this new file, for your user alone, instead of stdout")
    .action(
      cli.action((call, name: string, options: { keyFile?: string }) => createWorker(call, name, options)),
    );
}

function registerLook(worker: MusterCommand, cli: Cli): void {
  withPages(worker.command("list").alias("ls"))
    .description("List workers by name: what they do, hold and can.")
    .examples(
      "muster worker list",
      "muster worker list --online --json",
      "muster worker list --filter 'state:stale,offline skill:gpu'",
    )
    .option("--online", "only workers that are attached")
    .option("--mine", "only workers that are yours")
    .option("--filter <filter>", "terms as in `muster help filter`")
    .action(
      cli.action(
        async (
          call,
          options: PageOptions & {
            readonly online?: boolean;
            readonly mine?: boolean;
            readonly filter?: string;
          },
        ) => {
          const page = await collectPages(options, async (pageSize, pageToken) => {
            const online = options.online === true;
            const mine = options.mine === true;
            const request = { pageSize, pageToken, online, mine, filterText: options.filter ?? "" };
            const response = await call.client(WorkerAdminService).listWorkers(request, call.once());
            return { rows: response.workers, nextPageToken: response.nextPageToken };
          });
          call.output.print({
            schema: ListWorkersResponseSchema,
            message: create(ListWorkersResponseSchema, {
              workers: page.rows,
              nextPageToken: page.nextPageToken,
            }),
            text: () => workerTable(page.rows, call.output, call.surroundings.now()),
            names: () => page.rows.map((one) => one.workerId),
          });
          notePage(call.output, page, "workers");
          return exitCodes.done;
        },
      ),
    );
  worker
    .command("get <worker>")
    .description("Show everything about a worker, by its name or id.")
    .examples("muster worker get gpu-1")
    .action(
      cli.action(async (call, idOrName: string) => {
        const response = await call.client(WorkerAdminService).getWorker(workerName(idOrName), call.once());
        const { worker: found } = response;
        call.output.print({
          schema: GetWorkerResponseSchema,
          message: response,
          text: () => (found === undefined ? [] : workerFacts(found, call.output, call.surroundings.now())),
          names: () => (found === undefined ? [] : [found.workerId]),
        });
        return exitCodes.done;
      }),
    );
}

async function createWorker(call: Call, name: string, options: { keyFile?: string }): Promise<number> {
  const { output } = call;
  const { keyFile } = options;
  const make = () => call.client(WorkerAdminService).createWorker({ name }, call.once());
  const response =
    keyFile === undefined
      ? await make()
      : await keepNewKey(call.surroundings, keyFile, async () => {
          const answer = await make();
          const suggestion = "Register a worker of another name.";
          return { answer, key: answer.key, made: "the worker is registered", suggestion };
        });
  const shown = keyFile === undefined ? response : { ...response, key: "" };
  output.print({
    schema: CreateWorkerResponseSchema,
    message: create(CreateWorkerResponseSchema, shown),
    text: () => (keyFile === undefined ? [sanitize(response.key)] : []),
    names: () => [response.worker?.workerId ?? ""],
  });
  output.note(
    keyFile === undefined
      ? `Registered worker ${name} (${response.worker?.workerId}). This is its key; it is not shown again.`
      : `Registered worker ${name} (${response.worker?.workerId}). Its key is in ${keyFile}.`,
  );
  return exitCodes.done;
}

/** A table of workers. */
export function workerTable(workers: readonly Worker[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "WORKER" },
    { title: "STATE" },
    { title: "JOBS", align: "right" },
    { title: "POINTS", align: "right", drop: 3 },
    { title: "SEEN", align: "right", drop: 2 },
    { title: "VERSION", drop: 1 },
    { title: "ID", isWide: true },
    { title: "HOST", isWide: true },
    { title: "KINDS", isWide: true },
    { title: "SKILLS" },
    ...(workers.some(isOfPerson) ? [{ title: "OWNER", drop: 0 } as const] : []),
    ...(workers.some(whyHeld) ? [{ title: "WHY" } as const] : []),
  ] as const;
  const rows = workers.map((one): Cell[] => [
    one.name,
    workerStateCell(one, output),
    `${one.leases}/${one.capacity?.slots ?? 0}`,
    `${one.pointsUsed}/${one.capacity?.points ?? 0}`,
    output.age(one.seenTime, nowMs),
    one.version || "-",
    one.workerId,
    one.host || "-",
    one.kinds.join(" "),
    one.skills.map(({ name }) => name).join(" "),
    ...(workers.some(isOfPerson) ? [one.owner] : []),
    ...(workers.some(whyHeld) ? [whyHeld(one) ?? ""] : []),
  ]);
  return layTable(columns, rows, output.layout);
}

function workerFacts(worker: Worker, output: Output, nowMs: number): string[] {
  const labels = Object.entries(worker.labels).map(([key, value]) => `${key}=${value}`);
  const isKnown = worker.state !== WorkerState.OFFLINE || worker.seenTime !== undefined;
  return layFacts(
    [
      ["worker", worker.name],
      ["id", worker.workerId],
      ["state", workerStateCell(worker, output)],
      ["drain", worker.drainRequested ? "requested; muster worker resume ends it" : undefined],
      ["quarantine", quarantineFact(worker, nowMs)],
      [
        "suspect",
        worker.suspectSince &&
          `leaves a cancel unanswered since ${output.timeAndAge(worker.suspectSince, nowMs)}`,
      ],
      ["jobs", isKnown ? `${worker.leases} of ${worker.capacity?.slots ?? 0} slots` : undefined],
      ["points", isKnown ? `${worker.pointsUsed} of ${worker.capacity?.points ?? 0}` : undefined],
      ["kinds", worker.kinds.join(", ")],
      ["skills", worker.skills.map(({ name }) => name).join(", ")],
      ["labels", labels.join(", ")],
      ["refused", worker.refusals.join("; ")],
      ["limits", limitsText(worker.limits)],
      ["newcomer", limitsText(worker.newcomerLimits)],
      ["owner", worker.owner],
      ["approval", approvalFact(worker)],
      ["given", givenFact(worker)],
      ["hours", worker.availability?.hours && hoursText(worker.availability.hours)],
      ["host", worker.host],
      ["version", worker.version],
      ["transport", worker.transport],
      ["registered", output.timeAndAge(worker.createTime, nowMs)],
      ["last seen", output.timeAndAge(worker.seenTime, nowMs)],
    ],
    output.layout,
  );
}

// Why it gets nothing new, where an operator or the system decided so.
function whyHeld(worker: Worker): string | undefined {
  if (worker.quarantineTime !== undefined) return worker.quarantineReason;
  if (worker.approval === WorkerApproval.PENDING) return "waits for approval";
  if (worker.approval === WorkerApproval.REJECTED) return "rejected";
  if (worker.drainRequested) return "drain requested";
  if (worker.offHours) return "outside of its hours";
  const mostPrs = Math.min(
    worker.limits?.openPrs || worker.openPrs + 1,
    worker.newcomerLimits?.openPrs || worker.openPrs + 1,
  );
  if (worker.openPrs >= mostPrs) return `${worker.openPrs} open pull requests`;
  return worker.suspectSince === undefined ? undefined : "a cancel is unanswered";
}

function isOfPerson({ owner }: Worker): boolean {
  return owner.startsWith("person:");
}

function approvalFact({ approval, name }: Worker): string | undefined {
  switch (approval) {
    case WorkerApproval.PENDING:
      return `pending; muster worker approve ${name}`;
    case WorkerApproval.NEWCOMER:
      return `newcomer; muster worker approve ${name} lifts its limits`;
    case WorkerApproval.REJECTED:
      return `rejected; muster worker approve ${name} lets it in`;
    case WorkerApproval.APPROVED:
      return "approved";
    case WorkerApproval.UNSPECIFIED:
      return undefined;
  }
}

function givenFact({ availability }: Worker): string | undefined {
  const { slots = 0, points = 0 } = availability ?? {};
  const parts = [slots === 0 ? "" : `${slots} slots`, points === 0 ? "" : `${points} points`];
  return parts.filter((part) => part !== "").join(", ") || undefined;
}

function quarantineFact(worker: Worker, nowMs: number): string | undefined {
  if (worker.quarantineTime === undefined) return undefined;
  return `${worker.quarantineReason || "no reason given"}, since ${showTimeAndAge(worker.quarantineTime, nowMs)}`;
}

function workerStateCell(worker: Worker, output: Output): Cell {
  const look = workerLooks[worker.state];
  if (!output.isTty) return look.word;
  return { text: `${output.glyphs === "ascii" ? look.ascii : look.glyph} ${look.word}`, style: look.style };
}
