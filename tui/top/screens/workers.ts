import { LeaseService } from "@muster/client/v1/lease_service";
import { SessionService } from "@muster/client/v1/session_service";
import { WatchService } from "@muster/client/v1/watch_service";
import type { Worker } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { commandLine, shellWord } from "../shell/command-line.ts";
import { workerTerms } from "../shell/filter-terms.ts";
import { shortId } from "../shell/frame.ts";
import type { Screen, Shell } from "../shell/screen.ts";
import { workersSource } from "../sources/workers.ts";
import { createAside } from "../store/aside.ts";
import { stateOf, withState } from "./job-columns.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import { createPage } from "./page.ts";
import { tabKeys } from "./tab-keys.ts";
import { workerKeys } from "./worker-keys.ts";
import {
  totalOfWorkers,
  type WorkerRecord,
  workerColumns,
  workerLines,
  workerStateWord,
  workerTabStates,
  workerTabs,
} from "./worker-view.ts";

/** The workers: tabs by state, a filter, and the one under the cursor beside them. */
export function createWorkers(shell: Shell): ListScreen<Worker> {
  const clients = { watch: shell.client(WatchService), workers: shell.client(WorkerAdminService) };
  const aside = createAside<WorkerRecord>({
    read: (workerId, call) => readRecord(shell, workerId, call),
    now: shell.now,
    changed: shell.changed,
  });
  const screen: ListScreen<Worker> = createListScreen<Worker>(shell, {
    id: "workers",
    title: () => "Workers",
    idOf: ({ workerId }) => workerId,
    compare: (one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0),
    isChanged: (before, after) => before.state !== after.state,
    quietMs: 20_000,
    columns: workerColumns,
    source: ({ filter, pageToken }) => workersSource(clients, { filter, pageToken }),
    terms: workerTerms,
    orders: [
      { id: "name", label: "by name" },
      { id: "load", label: "busiest first", compare: (one, other) => other.leases - one.leases },
      { id: "seen", label: "longest silent first", compare: (one, other) => seenMs(one) - seenMs(other) },
    ],
    head: (list, frame) => [workerTabs(list, stateOf(screen.query().filter), frame)],
    total: totalOfWorkers,
    none: "No workers match.",
    openRow: ({ workerId, name }) => shell.push(createWorkerPage(shell, workerId, name)),
    preview: (worker, frame) => workerLines(worker, aside.of(worker.workerId).value, frame),
    previewRows: 8,
    keys: (list) => [
      ...workerKeys(shell, list.current),
      ...tabKeys("state", [undefined, ...workerTabStates.map(workerStateWord)], {
        chosen: () => stateOf(screen.query().filter),
        choose: (word) => screen.setFilter(withState(screen.query().filter, word)),
      }),
    ],
    equals: [
      { command: "worker list", method: "WatchService.WatchWorkers" },
      { command: "worker list", method: "WorkerAdminService.ListWorkers" },
    ],
    command: ({ filter }) => commandLine("worker list", ["--filter", filter]),
    copies: ({ name }) => [
      ["name", name],
      ["the command that shows it", commandLine("worker get", shellWord(name))],
    ],
    besides: aside.follow,
  });
  return screen;
}

/** One worker, with its leases, sessions and linked projects. */
export function createWorkerPage(shell: Shell, workerId: string, name = ""): Screen {
  const workers = shell.client(WorkerAdminService);
  let known = name;
  return createPage<{ readonly worker: Worker; readonly record: WorkerRecord }>(shell, {
    id: "worker",
    title: () => known || shortId(workerId),
    read: async (signal) => {
      const call = { signal, timeoutMs: 10_000 };
      const [{ worker }, record] = await Promise.all([
        workers.getWorker({ workerId }, call),
        readRecord(shell, workerId, call),
      ]);
      if (worker === undefined) throw new Error("the coordinator answered without the worker");
      known = worker.name;
      return { worker, record };
    },
    lines: ({ worker, record }, frame) => workerLines(worker, record, frame),
    keys: (current) => workerKeys(shell, () => current()?.worker),
    equals: [
      { command: "worker get", method: "WorkerAdminService.GetWorker" },
      { command: "lease list", method: "LeaseService.ListLeases" },
      { command: "session list", method: "SessionService.ListSessions" },
      { command: "project links", method: "SessionService.ListLinkedProjects" },
    ],
    command: () => commandLine("worker get", shellWord(known || workerId)),
    subject: () => workerId,
    copies: ({ worker }) => [["name", worker.name]],
  });
}

async function readRecord(
  shell: Shell,
  worker: string,
  call: { signal: AbortSignal; timeoutMs: number },
): Promise<WorkerRecord> {
  const sessions = shell.client(SessionService);
  const [held, published, linked] = await Promise.all([
    shell.client(LeaseService).listLeases({ worker, pageSize: 50 }, call),
    sessions.listSessions({ worker, pageSize: 20 }, call),
    sessions.listLinkedProjects({ worker, pageSize: 20 }, call),
  ]);
  return {
    leases: held.leases,
    hasMore: held.nextPageToken !== "",
    sessions: published.sessions,
    projects: linked.linkedProjects,
  };
}

function seenMs({ seenTime }: Worker): number {
  return Number(seenTime?.seconds ?? 0n);
}
