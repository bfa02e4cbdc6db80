import { type Batch, BatchService } from "@muster/client/v1/batch_service";
import { JobAction } from "@muster/client/v1/job_service";
import { jobLooks } from "../../output/states.ts";
import { showCount } from "../../output/time.ts";
import { progressBar } from "../bars.ts";
import { layHeading, type Piece } from "../lines.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine } from "../shell/command-line.ts";
import { shortId } from "../shell/frame.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame, Shell } from "../shell/screen.ts";
import { pagedSources, pageSize } from "../sources/paged.ts";
import { createAside } from "../store/aside.ts";
import { type Fact, factLines, whenText } from "./facts.ts";
import { goToJobs, needsRow, relatedKey, wayTo } from "./go.ts";
import { askJobs } from "./job-acts.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import type { ColumnSpec } from "./list-view.ts";

/** The columns of the list of batches. */
const batchColumns: readonly ColumnSpec<Batch>[] = [
  {
    id: "batch",
    title: "BATCH",
    width: 9,
    cell: ({ batchId }, { glyphs }) => ({
      text: (glyphs === "ascii" ? "~" : "…") + batchId.slice(-8),
      style: "dim",
    }),
  },
  {
    id: "progress",
    title: "PROGRESS",
    width: ({ layout }) => (layout === "compact" ? 8 : 15),
    cell: (batch, frame) => progressPiece(batch, frame),
  },
  { id: "total", title: "JOBS", width: 6, align: "right", cell: ({ total }) => ({ text: showCount(total) }) },
  {
    id: "pending",
    title: "PENDING",
    width: 7,
    align: "right",
    cell: ({ pending }) => ({ text: showCount(pending) }),
  },
  {
    id: "succeeded",
    title: "OK",
    width: 6,
    align: "right",
    rank: 2,
    cell: ({ succeeded }) => ({ text: showCount(succeeded), style: "dim-green" }),
  },
  {
    id: "cancelled",
    title: "CANCEL",
    width: 6,
    align: "right",
    rank: 1,
    cell: ({ cancelled }) => ({ text: showCount(cancelled), style: "dim" }),
  },
  {
    id: "dead",
    title: "DEAD",
    width: 5,
    align: "right",
    cell: ({ dead }) => ({ text: showCount(dead), style: dead > 0 ? "magenta" : "dim" }),
  },
  {
    id: "age",
    title: "AGE",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    rank: 3,
    cell: ({ createTime }, frame) => ({ text: showMoment(createTime, frame) }),
  },
  { id: "title", title: "TITLE", width: 0, cell: ({ title }) => ({ text: title }) },
];

/** A batch beside the list, with its jobs by state where they were counted. */
function batchLines(batch: Batch, frame: ScreenFrame): string[] {
  const states = batch.states.flatMap(({ state, count }): Piece[] => {
    const look = jobLooks[state];
    const glyph = frame.glyphs === "ascii" ? look.ascii : look.glyph;
    return [{ text: `${glyph} ${look.word} `, style: look.style }, { text: `${showCount(count)}  ` }];
  });
  const facts: Fact[] = [
    ["title", batch.title],
    ["progress", [progressPiece(batch, frame)]],
    ["ended", `${showCount(batch.total - batch.pending)} of ${showCount(batch.total)}`],
    ["jobs", states],
    ["submitted", whenText(batch.createTime, frame)],
  ];
  return [layHeading([{ text: batch.batchId, style: "bold" }], frame), ...factLines(facts, frame)];
}

/** The batches, newest first. */
export function createBatches(shell: Shell): ListScreen<Batch> {
  const client = shell.client(BatchService);
  const aside = createAside<Batch | undefined>({
    read: async (batchId, call) => (await client.getBatch({ batchId }, call)).batch,
    now: shell.now,
    changed: shell.changed,
  });
  return createListScreen<Batch>(shell, {
    id: "batches",
    title: () => "Batches",
    idOf: ({ batchId }) => batchId,
    isChanged: (before, after) => before.pending !== after.pending,
    columns: batchColumns,
    source: pagedSources<Batch>(async (_query, pageToken, signal) => {
      const answer = await client.listBatches({ pageSize, pageToken }, { signal, timeoutMs: 30_000 });
      return { rows: answer.batches, nextPageToken: answer.nextPageToken };
    }),
    none: "There are no batches: muster job submit -f makes one.",
    openRow: ({ batchId }) => goToJobs(shell, `batch:${batchId}`),
    preview: (batch, frame) => batchLines(aside.of(batch.batchId).value ?? batch, frame),
    previewRows: 6,
    keys: (list) => batchKeys(shell, list.current),
    equals: [
      { command: "batch list", method: "BatchService.ListBatches" },
      { command: "batch get", method: "BatchService.GetBatch" },
    ],
    command: () => commandLine("batch list"),
    copies: ({ batchId }) => [["the command that shows it", commandLine("batch get", batchId)]],
    besides: aside.follow,
  });
}

function batchKeys(shell: Shell, current: () => Batch | undefined): KeyBinding[] {
  const act =
    (action: JobAction, filter: (batch: Batch) => string, command: (batch: Batch) => string) => (): void => {
      const batch = current();
      if (batch === undefined) return;
      askJobs(
        shell,
        action,
        { kind: "filter", filter: filter(batch) },
        {
          what: `all jobs of batch ${shortId(batch.batchId)}`,
          command: command(batch),
          after: () => shell.restart(),
        },
      );
    };
  return [
    {
      id: "batch.cancel",
      keys: ["x"],
      label: "cancel",
      group: "act",
      danger: "severe",
      equal: { command: "batch cancel", method: "JobService.ActOnJobs" },
      hint: 2,
      when: needsRow(shell, current, "operate", ({ pending }) =>
        pending === 0 ? "all its jobs have ended" : undefined,
      ),
      run: act(
        JobAction.CANCEL,
        ({ batchId }) => `batch:${batchId} ${unendedTerm}`,
        ({ batchId }) => `batch cancel ${batchId}`,
      ),
    },
    {
      id: "batch.retry",
      keys: ["r"],
      label: "retry its dead",
      group: "act",
      danger: "severe",
      equal: { command: "job retry", method: "JobService.ActOnJobs" },
      hint: 3,
      when: needsRow(shell, current, "operate", ({ dead }) =>
        dead === 0 ? "none of its jobs is dead" : undefined,
      ),
      run: act(
        JobAction.RETRY,
        ({ batchId }) => `batch:${batchId} state:dead`,
        ({ batchId }) => `job retry --filter 'batch:${batchId} state:dead'`,
      ),
    },
    relatedKey(shell, current, ({ batchId }) => [
      wayTo(shell, "its jobs", "jobs", `batch:${batchId}`),
      wayTo(shell, "its running jobs", "jobs", `state:running,offered batch:${batchId}`),
      wayTo(shell, "its dead jobs", "jobs", `state:dead batch:${batchId}`),
    ]),
  ];
}

const unendedTerm = "state:blocked,scheduled,ready,offered,running,parked";

function progressPiece({ total, pending }: Batch, { glyphs, layout }: ScreenFrame): Piece {
  const fraction = total === 0 ? 0 : (total - pending) / total;
  const percent = `${Math.floor(fraction * 100)}%`.padStart(4);
  const bar = progressBar(fraction, layout === "compact" ? 3 : 10, glyphs);
  return { text: `${bar} ${percent}`, style: pending === 0 ? "dim-green" : "plain" };
}
