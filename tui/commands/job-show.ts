import type { Duration } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Attempt, Job, JobTarget } from "@muster/client/v1/job";
import { JobState } from "@muster/client/v1/job";
import { textOfPayload } from "../input/payload.ts";
import { showPriority } from "../input/values.ts";
import type { Output } from "../output/output.ts";
import { sanitize, sanitizeLines } from "../output/sanitize.ts";
import { isolationWord, lookOfJob, outcomeWord } from "../output/states.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { durationToMs, showAge, showCounted, showDuration } from "../output/time.ts";

/** A table of jobs. */
export function jobTable(jobs: readonly Job[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "JOB" },
    { title: "STATE" },
    { title: "KIND" },
    { title: "PRI", drop: 1 },
    { title: "ATT", align: "right", drop: 2 },
    { title: "WORKER", drop: 4 },
    { title: "AGE", align: "right", drop: 3 },
    { title: "QUEUE", isWide: true },
    { title: "PROJECT", isWide: true },
    { title: "LABELS", isWide: true },
    { title: "ABOUT" },
  ] as const;
  const rows = jobs.map((job) => [
    job.jobId,
    stateCell(job, output),
    job.spec?.kind ?? "",
    showPriority(job.spec?.priority),
    String(job.attempt),
    job.workerName,
    output.age(job.createTime, nowMs),
    job.spec?.queue ?? "",
    job.spec?.project ?? "",
    labelsOf(job).join(","),
    aboutJob(job),
  ]);
  return layTable(columns, rows, output.layout);
}

function labelsOf(job: Job): string[] {
  return Object.entries(job.spec?.labels ?? {}).map(([key, value]) => `${key}=${value}`);
}

/** Everything about a job. */
export function jobDetail(job: Job, output: Output, nowMs: number): string[] {
  const { spec } = job;
  const duration = (value: Duration | undefined): string | undefined =>
    value === undefined ? undefined : showDuration(durationToMs(value));
  const labels = labelsOf(job);
  const facts = layFacts(
    [
      ["job", job.jobId],
      ["title", spec?.title],
      ["state", stateCell(job, output)],
      ["reason", job.reason],
      ["kind", spec?.kind],
      ["queue", spec?.queue],
      ["pool", spec?.pool],
      ["priority", showPriority(spec?.priority)],
      ["points", spec?.points === undefined ? undefined : String(spec.points)],
      ["needs", spec?.requiredSkills.join(", ")],
      ["instructions", spec?.instructions.join(", ")],
      ["project", spec?.project],
      ["only", targetText(spec?.target)],
      ["session", job.sessionId],
      ["labels", labels.join(", ")],
      ["external id", spec?.externalId],
      ["batch", job.batchId],
      ["parent", job.parentJobId],
      [job.waitingOn > 0 ? "waits for" : "after", parentsText(job)],
      ["attempt", attemptText(job)],
      ["worker", job.workerName === "" ? job.workerId : `${job.workerName} (${job.workerId})`],
      ["lease", job.leaseId],
      ["submitted", output.timeAndAge(job.createTime, nowMs)],
      ["started", output.timeAndAge(job.startTime, nowMs)],
      ["ended", output.timeAndAge(job.endTime, nowMs)],
      ["next try", output.timeAndAge(job.wakeTime, nowMs)],
      ["deadline", output.timeAndAge(spec?.deadline, nowMs)],
      ["soft timeout", duration(spec?.softTimeout)],
      ["hard timeout", duration(spec?.hardTimeout)],
      ["progress", progressText(job)],
      ["pull request", job.prUrl],
      ["error", errorCell(job)],
    ],
    output.layout,
  );
  return [
    ...facts,
    ...block("payload", textOfPayload(spec?.payload), output),
    ...block("result", job.state === JobState.SUCCEEDED ? textOfPayload(job.result) : undefined, output),
    ...block("error detail", job.error?.detail, output),
  ];
}

/** A table of the executions of a job. */
export function attemptTable(attempts: readonly Attempt[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "ATT", align: "right" },
    { title: "RUN", align: "right", drop: 1 },
    { title: "OUTCOME" },
    { title: "WORKER" },
    ...(attempts.some((one) => one.sessionId !== "") ? [{ title: "SESSION", drop: 3 } as const] : []),
    ...(attempts.some(({ isolation }) => isolation !== 0) ? [{ title: "ISOLATION", drop: 4 } as const] : []),
    { title: "STARTED", drop: 2 },
    { title: "TOOK", align: "right" },
    { title: "ERROR" },
  ] as const;
  const rows = attempts.map((one): Cell[] => [
    String(one.attempt),
    String(one.generation),
    outcomeWord(one.outcome) + (one.final ? " (final)" : ""),
    one.workerName || one.workerId || "-",
    ...(attempts.some(({ sessionId }) => sessionId !== "") ? [one.sessionId || "-"] : []),
    ...(attempts.some(({ isolation }) => isolation !== 0) ? [isolationWord(one.isolation)] : []),
    output.timeAndAge(one.startTime, nowMs) || "-",
    tookText(one, nowMs),
    one.error === undefined ? "" : `${one.error.code}: ${one.error.message}`,
  ]);
  return layTable(columns, rows, output.layout);
}

/** One line about where a job stands, for people: `RUNNING attempt 2 on gpu-1`. */
export function jobLine(job: Job): string {
  const { word } = lookOfJob(job);
  const on = job.workerName === "" || job.attempt === 0 ? "" : ` on ${job.workerName}`;
  const attempt = job.attempt === 0 ? "" : ` attempt ${job.attempt}${on}`;
  const cancelling = job.cancelRequested && word === "RUNNING" ? ", cancel requested" : "";
  const why = !job.error || !hasOwnError(job) ? job.reason : `${job.error.code}: ${job.error.message}`;
  return sanitize(`${word}${attempt}${cancelling}${why === "" ? "" : `: ${why}`}`);
}

// The error stays with the job through its next attempt, of which it says nothing.
function hasOwnError({ state, failures }: Job): boolean {
  if (state === JobState.SCHEDULED) return failures > 0;
  return state === JobState.DEAD || state === JobState.CANCELLED;
}

/** How far a job is, for people: `74% frame 296/400`; empty without progress. */
export function progressText(job: Job): string {
  const { progress } = job;
  if (progress === undefined) return "";
  const percent = progress.fraction === undefined ? "" : `${Math.round(progress.fraction * 100)}%`;
  return [percent, progress.message].filter((part) => part !== "").join(" ");
}

/** The state of a job with its glyph, or the bare word where output is for programs. */
export function stateCell(job: Job, output: Output): Cell {
  const look = lookOfJob(job);
  if (!output.isTty) return look.word;
  return { text: `${output.glyphs === "ascii" ? look.ascii : look.glyph} ${look.word}`, style: look.style };
}

function aboutJob(job: Job): string {
  const progress = progressText(job);
  if (job.error !== undefined && job.state !== JobState.SUCCEEDED)
    return `${job.error.code}: ${job.error.message}`;
  return progress !== "" && job.state === JobState.RUNNING ? progress : (job.spec?.title ?? "");
}

// Who alone may run it.
function targetText(target: JobTarget | undefined): string | undefined {
  switch (target?.target.case) {
    case "worker":
      return `worker ${target.target.value}`;
    case "sessionId":
      return `session ${target.target.value}`;
    case "projectSession":
      return target.target.value ? "a session of its project" : undefined;
    case undefined:
      return undefined;
  }
}

function parentsText({ spec, waitingOn }: Job): string {
  const ids = (spec?.dependsOn ?? []).map(({ parent }) => parent.value ?? "");
  const named = ids.slice(0, shownParents).join(", ");
  const more = ids.length > shownParents ? `, and ${ids.length - shownParents} more` : "";
  if (waitingOn === 0) return named + more;
  if (ids.length === 0) return showCounted(waitingOn, "job");
  return `${waitingOn} of ${showCounted(ids.length, "job")}: ${named}${more}`;
}

const shownParents = 10;

function attemptText(job: Job): string {
  const most = job.spec?.retry?.maxAttempts;
  const parts = [
    job.failures > 0 ? `${job.failures} failed` : "",
    job.losses > 0 ? `${job.losses} lost` : "",
    job.releases > 0 ? `${job.releases} given back` : "",
    most === undefined ? "" : `${most} may fail`,
    job.generation > 1 ? `run ${job.generation}` : "",
  ].filter((part) => part !== "");
  return parts.length === 0 ? String(job.attempt) : `${job.attempt} (${parts.join(", ")})`;
}

function errorCell(job: Job): Cell | undefined {
  return job.error === undefined
    ? undefined
    : { text: `${job.error.code}: ${job.error.message}`, style: "red" };
}

function tookText({ startTime, endTime }: Attempt, nowMs: number): string {
  if (startTime === undefined) return "-";
  if (endTime === undefined) return showAge(startTime, nowMs);
  return showDuration(Math.max(0, timestampMs(endTime) - timestampMs(startTime)));
}

function block(name: string, text: string | undefined, output: Output): string[] {
  if (text === undefined || text === "") return [];
  return [
    output.paint("dim", name),
    ...sanitizeLines(text.trimEnd())
      .split("\n")
      .map((line) => `  ${line}`),
  ];
}
