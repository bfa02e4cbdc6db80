import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Artifact } from "@muster/client/v1/artifact_service";
import { type Attempt, AttemptOutcome, type Job, JobState } from "@muster/client/v1/job";
import { textOfPayload } from "../../input/payload.ts";
import { showPriority } from "../../input/values.ts";
import type { Style } from "../../output/paint.ts";
import { profileRows } from "../../output/profiles.ts";
import { isolationWord, lookOfJob, outcomeWord } from "../../output/states.ts";
import { durationToMs, showCount, showCounted, showDuration } from "../../output/time.ts";
import { layEnds, layHeading, layLine, type Piece } from "../lines.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import type { JobRecordState } from "../store/job-record.ts";
import type { RecordLine } from "../store/log-ring.ts";
import { progressText } from "./job-columns.ts";
import { logLine } from "./log-view.ts";
import { textLines } from "./text-pane.ts";

/** The tabs of a job, in their order. */
export const jobTabNames = ["Summary", "Logs", "Attempts", "Payload", "Timeline", "Artifacts"] as const;

/** One of them. */
export type JobTab = (typeof jobTabNames)[number];

/** The line of tabs, with how many there are of what can be counted. */
export function jobTabLine(state: JobRecordState, tab: JobTab, frame: ScreenFrame): string {
  const counts: Partial<Record<JobTab, number>> = {
    Attempts: state.attempts.length,
    Artifacts: state.artifacts.length,
  };
  const mark = frame.glyphs === "ascii" ? "*" : "·";
  const pieces = jobTabNames.map((name): Piece => {
    const count = counts[name];
    const text = `${name}${count === undefined ? "" : `(${count})`}`;
    return { text: ` ${text}${name === tab ? mark : " "}`, style: name === tab ? "bold" : "dim" };
  });
  return layEnds(pieces, frame.layout === "compact" ? [] : [{ text: "[ ] tabs ", style: "dim" }], frame);
}

/** All lines of a tab; the screen shows a window of them. */
export function jobTabBody(
  state: JobRecordState,
  tab: JobTab,
  log: readonly RecordLine[],
  frame: ScreenFrame,
): string[] {
  const { job, refusal } = state;
  if (refusal !== undefined) return [layLine([{ text: ` ${refusal.rawMessage}`, style: "red" }], frame)];
  if (job === undefined) return [layLine([{ text: " Loading...", style: "dim" }], frame)];
  switch (tab) {
    case "Summary":
      return summaryLines(state, job, log, frame);
    case "Logs":
      return log.length === 0
        ? [
            layLine(
              [{ text: " Nothing is logged yet. L shows the log on the whole screen.", style: "dim" }],
              frame,
            ),
          ]
        : log.map((line) => logLine(line, { time: "clock", isWrapped: false, find: "" }, frame)[0] ?? "");
    case "Attempts":
      return attemptLines(state.attempts, frame);
    case "Payload":
      return payloadLines(job, frame);
    case "Timeline":
      return timelineLines(job, state.attempts, frame);
    case "Artifacts":
      return artifactLines(state.artifacts, frame);
  }
}

/** Log lines at the end of the summary. */
const lastLines = 6;

function summaryLines(
  state: JobRecordState,
  job: Job,
  log: readonly RecordLine[],
  frame: ScreenFrame,
): string[] {
  const last = log.slice(-lastLines);
  return [
    headLine(job, frame),
    ...factLines(job, frame),
    ...(job.error === undefined
      ? []
      : textLines(`error  ${job.error.code}: ${job.error.message}`, frame).slice(0, 3)),
    layHeading([{ text: "Timeline", style: "bold" }], frame),
    ...timelineLines(job, state.attempts, frame).slice(-(frame.layout === "wide" ? 8 : 4)),
    layHeading([{ text: "Last log lines", style: "bold" }], frame),
    ...(last.length === 0
      ? [layLine([{ text: " none", style: "dim" }], frame)]
      : last.map((line) => logLine(line, { time: "clock", isWrapped: false, find: "" }, frame)[0] ?? "")),
  ];
}

function headLine(job: Job, frame: ScreenFrame): string {
  const look = lookOfJob(job);
  const most = job.spec?.retry?.maxAttempts;
  return layLine(
    [
      { text: ` ${frame.glyphs === "ascii" ? look.ascii : look.glyph} ${look.word}`, style: look.style },
      { text: `  ${job.spec?.kind ?? ""}`, style: "bold" },
      { text: `  ${job.spec?.title ?? ""}` },
      { text: `  priority ${showPriority(job.spec?.priority)}` },
      { text: `  attempt ${job.attempt}${most === undefined ? "" : ` of ${most}`}` },
      ...(job.generation > 1 ? [{ text: `  run ${job.generation}` }] : []),
    ],
    frame,
  );
}

/** The facts of a job in two columns: only those that it has. */
export function factLines(job: Job, frame: ScreenFrame): string[] {
  const { spec } = job;
  const moment = (time: Parameters<typeof showMoment>[0]): string => {
    if (time === undefined) return "";
    const isAhead = timestampMs(time) > frame.nowMs;
    if (isAhead && frame.time === "relative") return `in ${showDuration(timestampMs(time) - frame.nowMs)}`;
    return `${showMoment(time, frame)}${frame.time === "relative" ? " ago" : ""}`;
  };
  const labels = Object.entries(spec?.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  const facts: (readonly [name: string, value: string])[] = [
    ["worker", job.workerName],
    ["lease", job.leaseId],
    ["queue", spec?.queue ?? ""],
    ["project", spec?.project ?? ""],
    ["needs", spec?.requiredSkills.join(" ") ?? ""],
    ["points", String(spec?.points ?? 1)],
    ["submitted", moment(job.createTime)],
    ["started", moment(job.startTime)],
    ["ended", moment(job.endTime)],
    [
      "next try",
      job.state === JobState.SCHEDULED || job.state === JobState.PARKED ? moment(job.wakeTime) : "",
    ],
    ["deadline", moment(spec?.deadline)],
    [
      "timeout",
      spec?.softTimeout === undefined ? "" : `soft ${showDuration(durationToMs(spec.softTimeout))}`,
    ],
    ["failed", job.failures === 0 ? "" : `${job.failures} times`],
    ["lost", job.losses === 0 ? "" : `${job.losses} times`],
    ["waits for", job.waitingOn === 0 ? "" : showCounted(job.waitingOn, "job")],
    ["batch", job.batchId],
    ["parent", job.parentJobId],
    ["session", job.sessionId],
    ["external id", spec?.externalId ?? ""],
    ["labels", labels.join(" ")],
    ["pull request", job.prUrl],
    ["reason", job.reason],
    ["progress", job.state === JobState.RUNNING ? progressText(job, frame) : ""],
  ];
  const shown = facts.filter(([, value]) => value !== "");
  if (frame.isLinear || frame.layout === "compact")
    return shown.map((fact) => factLine([fact], frame.columns, frame));
  // What does not fit into half a line gets one of its own.
  const half = Math.floor(frame.columns / 2);
  const lines: string[] = [];
  let open: readonly [string, string] | undefined;
  for (const fact of shown) {
    const isLong = fact[1].length + 12 > half;
    if (isLong || open !== undefined) {
      lines.push(
        ...(isLong
          ? [
              ...(open === undefined ? [] : [factLine([open], half, frame)]),
              factLine([fact], frame.columns, frame),
            ]
          : [factLine([open ?? fact, fact], half, frame)]),
      );
      open = undefined;
    } else open = fact;
  }
  return open === undefined ? lines : [...lines, factLine([open], half, frame)];
}

function factLine(facts: readonly (readonly [string, string])[], width: number, frame: ScreenFrame): string {
  return facts
    .map(([name, value], at) => {
      const line = layLine([{ text: ` ${name.padEnd(12)}`, style: "dim" }, { text: value }], {
        ...frame,
        columns: at === facts.length - 1 ? Math.min(width, frame.columns) : width - 1,
      });
      return at === facts.length - 1
        ? line
        : `${line}${" ".repeat(Math.max(0, width - 13 - visible(value, width)))}`;
    })
    .join("");
}

function visible(value: string, width: number): number {
  return Math.min(value.length, width - 14);
}

const outcomeStyles: Readonly<Partial<Record<AttemptOutcome, Style>>> = {
  [AttemptOutcome.SUCCEEDED]: "dim-green",
  [AttemptOutcome.FAILED]: "red",
  [AttemptOutcome.LOST]: "yellow",
  [AttemptOutcome.TIMED_OUT]: "red",
  [AttemptOutcome.UNSPECIFIED]: "green",
};

function attemptLines(attempts: readonly Attempt[], frame: ScreenFrame): string[] {
  if (attempts.length === 0) return [layLine([{ text: " No attempts yet.", style: "dim" }], frame)];
  const title = ` ${"ATT".padStart(4)} ${"OUTCOME".padEnd(16)} ${"WORKER".padEnd(16)} ${"STARTED".padStart(frame.time === "iso" ? 20 : 8)} ${"TOOK".padStart(7)} ${"ISOLATION".padEnd(9)}  ERROR`;
  const lines = attempts.map((one) =>
    layLine(
      [
        { text: ` ${String(one.attempt).padStart(4)} ` },
        { text: outcomeWord(one.outcome).padEnd(16), style: outcomeStyles[one.outcome] ?? "plain" },
        { text: ` ${(one.workerName || "-").slice(0, 16).padEnd(16)}` },
        {
          text: ` ${showMoment(one.startTime, frame).padStart(frame.time === "iso" ? 20 : 8)}`,
          style: "dim",
        },
        { text: ` ${tookText(one, frame.nowMs).padStart(7)} ` },
        { text: `${isolationWord(one.isolation).padEnd(9)}  `, style: "dim" },
        { text: one.error === undefined ? "" : `${one.error.code}: ${one.error.message}`, style: "red" },
      ],
      frame,
    ),
  );
  const details = attempts.flatMap((one) =>
    one.error?.detail
      ? [
          "",
          layHeading([{ text: `Attempt ${one.attempt}`, style: "bold" }], frame),
          ...textLines(one.error.detail, frame),
        ]
      : [],
  );
  const profiles = attempts.flatMap((one) => (one.profile === undefined ? [] : profileLines(one, frame)));
  return [layLine([{ text: title, style: "dim" }], frame), ...lines, ...details, ...profiles];
}

function profileLines({ attempt, profile }: Attempt, frame: ScreenFrame): string[] {
  const rows = profile === undefined ? [] : profileRows(profile, frame.glyphs);
  const heading = [{ text: `Attempt ${attempt}`, style: "bold" } as const, { text: ": where the time went" }];
  return [
    "",
    layHeading(heading, frame),
    ...rows.map(({ name, count, total, self, share }) =>
      layLine(
        [
          { text: ` ${total.padStart(8)} ${self.padStart(8)} ${share.padStart(6)} `, style: "dim" },
          { text: name },
          { text: count > 1n ? ` x${count}` : "", style: "dim" },
        ],
        frame,
      ),
    ),
  ];
}

function tookText({ startTime, endTime }: Attempt, nowMs: number): string {
  if (startTime === undefined) return "-";
  return showDuration(
    Math.max(0, (endTime === undefined ? nowMs : timestampMs(endTime)) - timestampMs(startTime)),
  );
}

function payloadLines(job: Job, frame: ScreenFrame): string[] {
  const block = (title: string, text: string | undefined): string[] =>
    text === undefined || text === ""
      ? []
      : [layHeading([{ text: title, style: "bold" }], frame), ...textLines(indented(text), frame)];
  return [
    ...(job.spec?.payload === undefined ? [layLine([{ text: " No payload.", style: "dim" }], frame)] : []),
    ...block("Payload", textOfPayload(job.spec?.payload)),
    ...block("Result", textOfPayload(job.result)),
    ...block(
      "Error",
      job.error === undefined ? undefined : `${job.error.code}: ${job.error.message}\n${job.error.detail}`,
    ),
  ];
}

// Shown in the form that people read best; what is not JSON is shown as it is.
function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** What happened to a job, oldest first, as its attempts and its own times tell. */
export function timelineLines(job: Job, attempts: readonly Attempt[], frame: ScreenFrame): string[] {
  const isAscii = frame.glyphs === "ascii";
  const happened: {
    readonly atMs: number;
    readonly glyph: string;
    readonly text: string;
    readonly style: Style;
  }[] = [];
  const add = (
    time: { seconds: bigint; nanos: number } | undefined,
    glyph: readonly [string, string],
    text: string,
    style: Style,
  ): void => {
    if (time === undefined) return;
    happened.push({
      atMs: Number(time.seconds) * 1000 + time.nanos / 1e6,
      glyph: isAscii ? glyph[1] : glyph[0],
      text,
      style,
    });
  };
  add(job.createTime, ["○", "."], "submitted", "plain");
  for (const one of attempts) {
    const worker = one.workerName === "" ? "" : ` on ${one.workerName}`;
    if (one.leaseId !== "") add(one.startTime, ["▶", ">"], `attempt ${one.attempt} leased${worker}`, "green");
    const error = one.error === undefined ? "" : `: ${one.error.code}: ${one.error.message}`;
    const ended = one.outcome === AttemptOutcome.SUCCEEDED ? (["✔", "+"] as const) : (["✖", "x"] as const);
    add(
      one.endTime,
      ended,
      `attempt ${one.attempt} ${outcomeWord(one.outcome).toLowerCase()}${error}`,
      outcomeStyles[one.outcome] ?? "plain",
    );
  }
  const look = lookOfJob(job);
  if (attempts.length === 0) add(job.endTime, [look.glyph, look.ascii], look.word.toLowerCase(), look.style);
  if (job.state === JobState.SCHEDULED)
    add(job.wakeTime, ["◷", "@"], job.failures > 0 ? "next try" : "becomes ready", "blue");
  if (job.state === JobState.PARKED) add(job.wakeTime, ["‖", "="], "goes on", "blue");
  return happened
    .sort((one, other) => one.atMs - other.atMs)
    .map(({ atMs, glyph, text, style }) => {
      const time = {
        seconds: BigInt(Math.floor(atMs / 1000)),
        nanos: 0,
        $typeName: "google.protobuf.Timestamp" as const,
      };
      const shown = showMoment(time, frame.time === "relative" ? { ...frame, time: "clock" } : frame);
      return layLine([{ text: ` ${shown} `, style: "dim" }, { text: `${glyph} `, style }, { text }], frame);
    });
}

function artifactLines(artifacts: readonly Artifact[], frame: ScreenFrame): string[] {
  if (artifacts.length === 0) return [layLine([{ text: " No artifacts.", style: "dim" }], frame)];
  return artifacts.map((one) =>
    layEnds(
      [{ text: ` ${one.name}` }, { text: `  ${one.contentType}`, style: "dim" }],
      [
        {
          text: `attempt ${one.attempt}  ${sizeText(one.sizeBytes)}  ${showMoment(one.createTime, frame)} `,
          style: "dim",
        },
      ],
      frame,
    ),
  );
}

function sizeText(bytes: bigint): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  let size = Number(bytes);
  let at = 0;
  for (; size >= 1024 && at < units.length - 1; at++) size /= 1024;
  return `${at === 0 ? showCount(size) : size.toFixed(1)} ${units[at] ?? ""}`;
}
