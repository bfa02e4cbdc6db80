import type { Worker } from "@muster/client/v1/worker";
import { WorkerApproval, WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { showCounted } from "../../output/time.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";
import { writeTerm } from "../shell/term-values.ts";
import { type Act, ask, doNow } from "./ask.ts";
import { needsRow, relatedKey, wayTo } from "./go.ts";
import { createWorkerWhy } from "./worker-why.ts";

/** What can be done to a worker: the same keys in the list and on its own screen. */
export function workerKeys(shell: Shell, current: () => Worker | undefined): KeyBinding[] {
  const withWorker = (run: (worker: Worker) => void) => (): void => {
    const worker = current();
    if (worker !== undefined) run(worker);
  };
  const needs = (fits?: (worker: Worker) => string | undefined, scope: "operate" | "admin" = "operate") =>
    needsRow(shell, current, scope, fits);
  return [
    {
      id: "worker.drain",
      keys: ["d"],
      label: "drain",
      group: "act",
      danger: "moderate",
      equal: { command: "worker drain", method: "WorkerAdminService.DrainWorker" },
      hint: 3,
      when: needs((worker) => (worker.drainRequested ? "it is being drained" : undefined)),
      run: withWorker((worker) => askDrain(shell, worker)),
    },
    {
      id: "worker.resume",
      keys: ["r"],
      label: "resume",
      group: "act",
      danger: "mild",
      equal: { command: "worker resume", method: "WorkerAdminService.ResumeWorker" },
      hint: 4,
      when: needs((worker) =>
        worker.drainRequested || worker.quarantineReason !== "" ? undefined : "it takes work already",
      ),
      run: withWorker((worker) => void resumeWorker(shell, worker)),
    },
    {
      id: "worker.approve",
      keys: ["a"],
      label: "approve",
      group: "act",
      danger: "moderate",
      equal: { command: "worker approve", method: "WorkerAdminService.ApproveWorker" },
      hint: 1,
      when: needs(({ approval }) =>
        approval === WorkerApproval.UNSPECIFIED || approval === WorkerApproval.APPROVED
          ? "it needs no approval"
          : undefined,
      ),
      run: withWorker((worker) => askApprove(shell, worker)),
    },
    {
      id: "worker.reject",
      keys: ["A"],
      label: "reject",
      group: "act",
      danger: "moderate",
      equal: { command: "worker reject", method: "WorkerAdminService.RejectWorker" },
      when: needs(({ approval }) =>
        approval === WorkerApproval.UNSPECIFIED
          ? "no person enrolled it"
          : approval === WorkerApproval.REJECTED
            ? "it is rejected"
            : undefined,
      ),
      run: withWorker((worker) => askReject(shell, worker)),
    },
    {
      id: "worker.disable",
      keys: ["p"],
      label: () => (isDisabled(current()) ? "enable" : "disable"),
      group: "act",
      danger: "moderate",
      equal: { command: "worker disable", method: "WorkerAdminService.DisableWorker" },
      inverse: { command: "worker enable", method: "WorkerAdminService.EnableWorker" },
      hint: 5,
      when: needs(),
      run: withWorker((worker) =>
        isDisabled(worker) ? void enableWorker(shell, worker) : askDisable(shell, worker),
      ),
    },
    {
      id: "worker.remove",
      keys: ["x"],
      label: "remove",
      group: "act",
      danger: "severe",
      equal: { command: "worker remove", method: "WorkerAdminService.RemoveWorker" },
      hint: 6,
      when: needs((worker) => {
        if (worker.leases > 0) return `it holds ${showCounted(worker.leases, "lease")}`;
        return [WorkerState.OFFLINE, WorkerState.DISABLED].includes(worker.state)
          ? undefined
          : "it is attached: stop or disable it first";
      }, "admin"),
      run: withWorker((worker) => askRemove(shell, worker)),
    },
    {
      id: "worker.why",
      keys: ["w"],
      label: "why idle?",
      group: "look",
      danger: "none",
      equal: { command: "worker explain", method: "ExplainService.ExplainWorker" },
      hint: 2,
      when: () => (current() === undefined ? "nothing is selected" : undefined),
      run: withWorker((worker) => shell.push(createWorkerWhy(shell, worker.workerId, worker.name))),
    },
    relatedKey(shell, current, ({ name }) => [
      wayTo(shell, "jobs that it has or had", "jobs", writeTerm("worker", name)),
      wayTo(shell, "jobs that it runs", "jobs", `state:running,offered ${writeTerm("worker", name)}`),
      wayTo(shell, "its leases", "leases", writeTerm("worker", name)),
      wayTo(shell, "its sessions", "sessions", writeTerm("worker", name)),
    ]),
  ];
}

/** Lets a worker take work again; what was a drain can be undone. */
export async function resumeWorker(shell: Shell, { workerId, name, drainRequested }: Worker): Promise<void> {
  const client = shell.client(WorkerAdminService);
  await doNow(shell, {
    run: ({ options }) => client.resumeWorker({ workerId }, options),
    done: () => `${name} takes work again`,
    ...(drainRequested
      ? {
          undo: () => ({
            label: "drain it again",
            run: () => void doNow(shell, drain(shell, workerId, name)),
          }),
        }
      : {}),
  });
}

function askDrain(shell: Shell, { workerId, name, leases }: Worker): void {
  ask(
    shell,
    {
      title: `Drain ${name}?`,
      lines: [
        `It gets no offers from now on; ${leases === 0 ? "it holds nothing" : `${showCounted(leases, "job")} that it has it finishes`}.`,
        "That stands until it is resumed, through restarts of the worker.",
      ],
      verb: "Drain it",
      command: (reason) => commandLine("worker drain", shellWord(name), ["--reason", reason]),
    },
    drain(shell, workerId, name),
  );
}

function drain(shell: Shell, workerId: string, name: string): Act<unknown> {
  return {
    run: ({ options }, reason) => shell.client(WorkerAdminService).drainWorker({ workerId, reason }, options),
    done: () => `${name} is being drained`,
  };
}

function askDisable(shell: Shell, { workerId, name, leases }: Worker): void {
  ask(
    shell,
    {
      title: `Disable ${name}?`,
      lines: [
        "Its key is refused and its link ends within 2 s.",
        leases === 0 ? "It holds nothing." : `${showCounted(leases, "lease")} of it taken back as lost.`,
      ],
      verb: "Disable it",
      command: (reason) => commandLine("worker disable", shellWord(name), ["--reason", reason]),
    },
    {
      run: ({ options }, reason) =>
        shell.client(WorkerAdminService).disableWorker({ workerId, reason }, options),
      done: () => `${name} is disabled`,
    },
  );
}

async function enableWorker(shell: Shell, { workerId, name }: Worker): Promise<void> {
  await doNow(shell, {
    run: ({ options }) => shell.client(WorkerAdminService).enableWorker({ workerId }, options),
    done: () => `${name} may attach again`,
  });
}

function askApprove(shell: Shell, { workerId, name, owner, approval }: Worker): void {
  ask(
    shell,
    {
      title: `Approve ${name}?`,
      lines: [
        `It is the machine of ${owner || "somebody"}.`,
        approval === WorkerApproval.NEWCOMER
          ? "The limits of newcomers end."
          : "It gets jobs from now on, with what is in them.",
      ],
      verb: "Approve it",
      command: (reason) => commandLine("worker approve", shellWord(name), ["--reason", reason]),
    },
    {
      run: ({ options }, reason) =>
        shell.client(WorkerAdminService).approveWorker({ workerId, reason }, options),
      done: () => `${name} is approved`,
    },
  );
}

function askReject(shell: Shell, { workerId, name, owner, leases }: Worker): void {
  ask(
    shell,
    {
      title: `Reject ${name}?`,
      lines: [
        `It is the machine of ${owner || "somebody"}. It is disabled until an operator approves it.`,
        leases === 0 ? "It holds nothing." : `${showCounted(leases, "lease")} of it taken back as lost.`,
      ],
      verb: "Reject it",
      command: (reason) => commandLine("worker reject", shellWord(name), ["--reason", reason]),
    },
    {
      run: ({ options }, reason) =>
        shell.client(WorkerAdminService).rejectWorker({ workerId, reason }, options),
      done: () => `${name} is rejected`,
    },
  );
}

function askRemove(shell: Shell, { workerId, name }: Worker): void {
  ask(
    shell,
    {
      title: `Remove ${name}?`,
      lines: [
        "It goes with its keys and sessions. It cannot be undone: it would have to be registered anew.",
      ],
      verb: "Remove it",
      typed: name,
      command: (reason) =>
        commandLine("worker remove", shellWord(name), ["--reason", reason], ["--confirm", name]),
    },
    {
      run: ({ options }, reason) =>
        shell.client(WorkerAdminService).removeWorker({ workerId, reason }, options),
      done: () => `removed ${name}`,
    },
  );
}

function isDisabled(worker: Worker | undefined): boolean {
  return worker?.state === WorkerState.DISABLED;
}
