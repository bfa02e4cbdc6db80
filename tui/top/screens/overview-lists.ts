import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Job } from "@muster/client/v1/job";
import type { Status } from "@muster/client/v1/status_service";
import type { Worker } from "@muster/client/v1/worker";
import { lookOfJob, workerLooks } from "../../output/states.ts";
import { showAge, showCount } from "../../output/time.ts";
import { progressBar } from "../bars.ts";
import { type ListColumn, layLine, layRow, layTitles, type Piece } from "../lines.ts";
import type { ScreenFrame } from "../shell/screen.ts";

/** The workers, with titles from 80×24 on, in at most so many rows besides them. */
export function workerLines(status: Status, nowMs: number, rows: number, frame: ScreenFrame): string[] {
  const columns = workerColumns(frame);
  const cells = (worker: Worker): Piece[] =>
    workerCells(worker, status, nowMs, frame).slice(0, columns.length);
  return listLines(status.workerList, cells, columns, rows, frame, "No workers are registered.");
}

/** The running jobs, oldest first, with titles from 80×24 on, in at most so many rows besides them. */
export function runningLines(status: Status, rows: number, frame: ScreenFrame): string[] {
  const cells = (job: Job): Piece[] => jobCells(job, status, frame);
  return listLines(status.running, cells, jobColumns(frame), rows, frame, "Nothing is running.");
}

function listLines<Row>(
  all: readonly Row[],
  cells: (row: Row) => Piece[],
  columns: readonly ListColumn[],
  rows: number,
  frame: ScreenFrame,
  none: string,
): string[] {
  const titles = isRoomy(frame) ? [layTitles(columns, frame)] : [];
  if (all.length === 0)
    return [...titles, layLine([{ text: ` ${none}`, style: "dim" }], frame)].slice(0, rows + titles.length);
  const isCut = all.length > rows;
  const shown = all.slice(0, isCut ? Math.max(0, rows - 1) : rows);
  const more = `${frame.glyphs === "ascii" ? "..." : "…"} ${showCount(all.length - shown.length)} more`;
  return [
    ...titles,
    ...shown.map((row) => layRow(cells(row), columns, frame)),
    ...(isCut && rows > 0 ? [layLine([{ text: ` ${more}`, style: "dim" }], frame)] : []),
  ];
}

function workerColumns(frame: ScreenFrame): ListColumn[] {
  const name = frame.columns >= 110 ? 24 : 16;
  const first: ListColumn[] = [
    { title: "NAME", width: name },
    { title: "STATE", width: 10 },
    { title: "JOBS", width: 7, align: "right" },
    { title: "POINTS", width: 9, align: "right" },
    { title: "SEEN", width: 6, align: "right" },
  ];
  if (frame.columns < 110) return [...first, { title: " SKILLS", width: 0 }];
  return [
    ...first,
    { title: "VERSION", width: 10 },
    { title: "HOST", width: 16 },
    { title: "SKILLS", width: 0 },
  ];
}

function workerCells(worker: Worker, status: Status, nowMs: number, frame: ScreenFrame): Piece[] {
  const look = workerLooks[worker.state];
  const skills = worker.skills.map(({ name }) => name).join(" ");
  const first: Piece[] = [
    { text: worker.name },
    { text: `${frame.glyphs === "ascii" ? look.ascii : look.glyph} ${look.word}`, style: look.style },
    { text: `${worker.leases}/${worker.capacity?.slots ?? 0}` },
    { text: `${worker.pointsUsed}/${worker.capacity?.points ?? 0}` },
    { text: showAge(worker.seenTime, serverNowMs(status, nowMs)) },
  ];
  if (frame.columns < 110) return [...first, { text: ` ${skills}` }];
  return [...first, { text: worker.version || "-" }, { text: worker.host || "-" }, { text: skills }];
}

function jobColumns(frame: ScreenFrame): ListColumn[] {
  const isWide = frame.columns >= 110;
  const isNormal = frame.columns >= 80;
  return [
    ...(isWide ? [{ title: "JOB", width: 30 }] : isNormal ? [{ title: "JOB", width: 9 }] : []),
    { title: "", width: 1 },
    { title: "KIND / TITLE", width: isWide ? 26 : isNormal ? 20 : 16 },
    { title: "WORKER", width: isNormal ? 12 : 10 },
    ...(isNormal ? [{ title: "ATT", width: 3, align: "right" as const }] : []),
    { title: "TIME", width: 6, align: "right" },
    { title: "PROGRESS", width: 0 },
  ];
}

function jobCells(job: Job, status: Status, frame: ScreenFrame): Piece[] {
  const look = lookOfJob(job);
  const isWide = frame.columns >= 110;
  const isNormal = frame.columns >= 80;
  const dots = frame.glyphs === "ascii" ? "~" : "…";
  const id: Piece = { text: isWide ? job.jobId : dots + job.jobId.slice(-8), style: "dim" };
  const title = job.spec?.title ? `${job.spec.kind} ${job.spec.title}` : (job.spec?.kind ?? "");
  return [
    ...(isNormal ? [id] : []),
    { text: frame.glyphs === "ascii" ? look.ascii : look.glyph, style: look.style },
    { text: title },
    { text: job.workerName },
    ...(isNormal ? [{ text: String(job.attempt) }] : []),
    { text: showAge(job.startTime, serverNowMs(status, 0)) },
    { text: progressCell(job, frame) },
  ];
}

function progressCell(job: Job, { columns, glyphs }: ScreenFrame): string {
  if (job.cancelRequested) return "stopping";
  const { progress } = job;
  if (progress === undefined) return "";
  const cells = columns >= 80 ? 10 : 6;
  const bar =
    progress.fraction === undefined
      ? ""
      : `${progressBar(progress.fraction, cells, glyphs)} ${String(Math.round(progress.fraction * 100)).padStart(3)}%`;
  return [bar, progress.message].filter((part) => part !== "").join(" ");
}

// Ages are by the server's clock: times of the server minus the time at which it read them.
function serverNowMs(status: Status, nowMs: number): number {
  return status.time === undefined ? nowMs : timestampMs(status.time);
}

function isRoomy({ layout }: ScreenFrame): boolean {
  return layout !== "compact";
}
