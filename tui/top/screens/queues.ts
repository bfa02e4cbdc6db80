import { type Queue, QueueService, type QueueType } from "@muster/client/v1/queue_service";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Screen, Shell } from "../shell/screen.ts";
import { writeTerm } from "../shell/term-values.ts";
import { pagedSources, pageSize } from "../sources/paged.ts";
import { tabLine } from "./facts.ts";
import { goToJobs } from "./go.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import { createPage } from "./page.ts";
import { queueKeys } from "./queue-keys.ts";
import { nounOf, queueColumns, queueLines, queueNouns } from "./queue-view.ts";
import { tabKeys } from "./tab-keys.ts";

/** The queues, the kinds and the pools: a tab each. */
export function createQueues(shell: Shell): ListScreen<Queue> {
  const client = shell.client(QueueService);
  // The tab is what the list is asked by, as a filter is of other lists.
  const noun = (): string => screen.query().filter || "queue";
  const screen: ListScreen<Queue> = createListScreen<Queue>(shell, {
    id: "queues",
    title: () => "Queues",
    idOf: ({ type, name }) => `${nounOf(type)}:${name}`,
    isChanged: (before, after) => before.paused !== after.paused,
    columns: queueColumns,
    source: pagedSources<Queue>(async ({ filter }, pageToken, signal) => {
      const type = queueNouns.find(([word]) => word === (filter || "queue"))?.[1];
      const answer = await client.listQueues(
        { ...(type === undefined ? {} : { type }), pageSize, pageToken },
        { signal, timeoutMs: 30_000 },
      );
      return { rows: answer.queues, nextPageToken: answer.nextPageToken };
    }),
    orders: [
      { id: "name", label: "by name" },
      { id: "depth", label: "deepest first", compare: (one, other) => readyOf(other) - readyOf(one) },
      {
        id: "oldest",
        label: "oldest waiting first",
        compare: (one, other) => oldestOf(one) - oldestOf(other),
      },
    ],
    head: (_list, frame) => [
      tabLine(
        queueNouns.map(([word]) => ({ label: `${word}s`, isChosen: word === noun() })),
        frame,
      ),
    ],
    none: "There are none yet: they exist when a job names them.",
    openRow: ({ type, name }) => goToJobs(shell, writeTerm(nounOf(type), name)),
    preview: queueLines,
    previewRows: 8,
    keys: (list) => [
      ...queueKeys(shell, list.current),
      ...tabKeys(
        "sort of queue",
        queueNouns.map(([word]) => word as string),
        {
          chosen: noun,
          choose: (word) => screen.setFilter(word === "queue" ? "" : word),
        },
      ),
    ],
    equals: [{ command: "queue list", method: "QueueService.ListQueues" }],
    command: () => commandLine(`${noun()} list`),
    copies: ({ type, name }) => [
      ["name", name],
      ["the command that shows it", commandLine(`${nounOf(type)} get`, shellWord(name))],
    ],
  });
  return screen;
}

/** One queue, kind or pool on a screen of its own. */
export function createQueuePage(shell: Shell, type: QueueType, name: string): Screen {
  const client = shell.client(QueueService);
  return createPage<Queue>(shell, {
    id: "queue",
    title: () => `${nounOf(type)} ${name}`,
    read: async (signal) => {
      const { queue } = await client.getQueue({ type, name }, { signal, timeoutMs: 30_000 });
      if (queue === undefined) throw new Error("the coordinator answered without it");
      return queue;
    },
    lines: queueLines,
    keys: (current) => queueKeys(shell, current),
    equals: [{ command: "queue get", method: "QueueService.GetQueue" }],
    command: () => commandLine(`${nounOf(type)} get`, shellWord(name)),
    subject: () => name,
  });
}

function readyOf({ counts }: Queue): number {
  return Number(counts?.ready ?? 0n);
}

function oldestOf({ oldestReadyTime }: Queue): number {
  return oldestReadyTime === undefined ? Number.POSITIVE_INFINITY : Number(oldestReadyTime.seconds);
}
