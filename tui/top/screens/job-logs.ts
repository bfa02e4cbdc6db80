import { ArtifactService } from "@muster/client/v1/artifact_service";
import type { Job } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { timeFromMs } from "../../input/values.ts";
import { sanitize } from "../../output/sanitize.ts";
import { isTerminal } from "../../output/states.ts";
import { showCount, showTime } from "../../output/time.ts";
import { layEnds, layLine } from "../lines.ts";
import { promptOverlay } from "../overlays/prompt.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine } from "../shell/command-line.ts";
import { shortId } from "../shell/frame.ts";
import type { Screen, ScreenFrame, Shell } from "../shell/screen.ts";
import { createJobRecord, type JobRecord } from "../store/job-record.ts";
import type { RecordLine } from "../store/log-ring.ts";
import { holds, type LogTime, logLine } from "./log-view.ts";

/** Follows a job that a list knows. */
export function recordOf(shell: Shell, jobId: string, known?: Job): JobRecord {
  const record = createJobRecord({
    clients: { jobs: shell.client(JobService), artifacts: shell.client(ArtifactService) },
    jobId,
    known,
    now: shell.now,
    changed: shell.changed,
  });
  // A job with many attempts said a lot: the present one is what people look for.
  if (known !== undefined && known.attempt > 1) record.readLogFrom(known.attempt);
  return record;
}

/** Opens the log of a job on the whole screen. */
export function openLogs(shell: Shell, job: Job): void {
  shell.push(createLogs(shell, recordOf(shell, job.jobId, job)));
}

/** Where the log may begin: `tail`, `head`, or so many milliseconds ago. */
const windows: readonly {
  readonly key: string;
  readonly label: string;
  readonly sinceMs: number | undefined;
}[] = [
  { key: "2", label: "1m", sinceMs: 60_000 },
  { key: "3", label: "5m", sinceMs: 300_000 },
  { key: "4", label: "15m", sinceMs: 900_000 },
  { key: "5", label: "1h", sinceMs: 3_600_000 },
  { key: "6", label: "all", sinceMs: undefined },
];

/** What the user chose on the log screen. */
export interface LogChoices {
  readonly isFollowing: boolean;
  readonly isWrapped: boolean;
  readonly time: LogTime;
  readonly find: string;
  readonly filter: string;
  readonly sinceMs: number | undefined;
  readonly sinceLabel: string;
  /** The line at the cursor, by its number; undefined: the last. */
  readonly cursor: number | undefined;
  readonly skip: number;
}

/** The log of a job: it follows, and says what is missing. */
export function createLogs(shell: Shell, record: JobRecord): Screen {
  let choices: LogChoices = {
    isFollowing: true,
    isWrapped: false,
    time: "clock",
    find: "",
    filter: "",
    sinceMs: undefined,
    sinceLabel: "all",
    cursor: undefined,
    skip: 0,
  };
  let height = 10;
  const set = (change: Partial<LogChoices>): void => {
    choices = { ...choices, ...change };
  };
  const lines = (): readonly RecordLine[] => chosenLines(record.log.lines(), choices, shell.serverNow());
  const place = (all: readonly RecordLine[]): number => placeOf(all, choices.cursor);
  const move = (by: number): void => {
    const all = lines();
    const to = Math.max(0, Math.min(all.length - 1, place(all) + by));
    set({ cursor: all[to]?.number, isFollowing: to === all.length - 1 && by > 0 });
  };
  const jump = (by: 1 | -1): void => {
    const all = lines();
    const at = place(all);
    const rest = by > 0 ? all.slice(at + 1) : all.slice(0, at).reverse();
    const hit = rest.find((line) => holds(line, choices.find));
    if (hit === undefined) shell.say({ text: `no more lines with "${choices.find}"`, kind: "warning" });
    else set({ cursor: hit.number, isFollowing: false });
  };
  const prompt = (label: string, key: "find" | "filter", about: string): void => {
    shell.open((close) =>
      promptOverlay(
        {
          label,
          value: choices[key],
          about,
          change: (text) => set(key === "find" ? { find: text } : { filter: text }),
        },
        close,
      ),
    );
  };
  const current = (): RecordLine | undefined => {
    const all = lines();
    return all[place(all)];
  };
  const key = (
    id: string,
    keys: readonly string[],
    label: string | (() => string),
    run: () => void,
    more: Partial<KeyBinding> = {},
  ): KeyBinding => ({ id, keys, label, group: "look", danger: "none", run, ...more });
  const noFind = (): string | undefined => (choices.find === "" ? "find something first" : undefined);
  const attemptStep = (by: number): void => {
    const job = record.state().job;
    const to = Math.max(0, Math.min(job?.attempt ?? 0, record.logFrom() + by));
    if (to === record.logFrom()) return;
    record.readLogFrom(to);
    set({ cursor: undefined, isFollowing: true });
    shell.restart();
  };

  return {
    id: "job.logs",
    title: () => "Logs",
    keys: () => [
      key(
        "log.follow",
        ["s"],
        () => (choices.isFollowing ? "scroll lock" : "follow"),
        () =>
          set({
            isFollowing: !choices.isFollowing,
            cursor: choices.isFollowing ? current()?.number : undefined,
          }),
        { hint: 1 },
      ),
      key(
        "log.wrap",
        ["w"],
        () => (choices.isWrapped ? "do not wrap" : "wrap"),
        () => set({ isWrapped: !choices.isWrapped, skip: 0 }),
        { hint: 2 },
      ),
      key("log.time", ["t"], "time", () => set({ time: nextTime(choices.time) }), { hint: 3 }),
      key(
        "log.find",
        ["/"],
        "find",
        () => prompt("find", "find", "text to find; capitals count when it has some"),
        { hint: 4 },
      ),
      key("log.find.next", ["n"], "next hit", () => jump(1), { when: noFind }),
      key("log.find.previous", ["N"], "previous hit", () => jump(-1), { when: noFind }),
      key(
        "log.filter",
        ["&"],
        "only lines with...",
        () => prompt("only lines with", "filter", "empty: all lines"),
        { hint: 5 },
      ),
      key("log.tail", ["0"], "tail", () => set({ isFollowing: true, cursor: undefined }), { group: "move" }),
      key("log.head", ["1"], "head", () => set({ isFollowing: false, cursor: lines()[0]?.number }), {
        group: "move",
      }),
      ...windows.map(({ key: digit, label, sinceMs }) =>
        key(
          `log.since.${label}`,
          [digit],
          sinceMs === undefined ? "all that is kept" : `the last ${label}`,
          () => set({ sinceMs, sinceLabel: label, isFollowing: true, cursor: undefined }),
        ),
      ),
      key("log.attempt.earlier", ["["], "from an earlier attempt", () => attemptStep(-1), {
        when: () => (record.logFrom() === 0 ? "it begins with the first" : undefined),
      }),
      key("log.attempt.later", ["]"], "from a later attempt", () => attemptStep(1), {
        when: () =>
          (record.state().job?.attempt ?? 0) <= record.logFrom() ? "it begins with the latest" : undefined,
      }),
      key(
        "log.save",
        ["ctrl-s"],
        "save to a file",
        () => void shell.save(`${record.jobId}.log`, savedLines(lines())),
        { hint: 6 },
      ),
      key("copy.line", ["y"], "copy line", () => {
        const line = current();
        if (line !== undefined) shell.copy(sanitize(line.text), "the line");
      }),
      ...moveKeys(
        move,
        () => height,
        (skip) => set({ skip: Math.max(0, choices.skip + skip) }),
        {
          first: () => set({ isFollowing: false, cursor: lines()[0]?.number }),
          last: () => set({ isFollowing: true, cursor: undefined }),
        },
      ),
    ],
    view: (frame) => {
      height = Math.max(1, frame.rows - 2);
      return logScreenLines(record, choices, lines(), frame);
    },
    follow: record.follow,
    freshness: record.state,
    equals: [{ command: "job logs", method: "JobService.WatchJob" }],
    command: () =>
      commandLine(
        "job logs",
        record.jobId,
        record.logFrom() > 0 ? ["--attempt", String(record.logFrom())] : "",
        "-f",
      ),
    escape: () => {
      if (choices.find === "" && choices.filter === "") return false;
      set({ find: "", filter: "" });
      return true;
    },
    scroll: move,
    currentId: () => record.jobId,
  };
}

function logScreenLines(
  record: JobRecord,
  choices: LogChoices,
  lines: readonly RecordLine[],
  frame: ScreenFrame,
): string[] {
  const { job } = record.state();
  const dot = frame.glyphs === "ascii" ? "-" : "·";
  const from = record.logFrom();
  const hits =
    choices.find === ""
      ? ""
      : `  find "${choices.find}" ${showCount(lines.filter((line) => holds(line, choices.find)).length)} hits`;
  const only = choices.filter === "" ? "" : `  only "${choices.filter}"`;
  const dropped = record.log.dropped();
  const head = layEnds(
    [
      {
        text: ` ${shortId(record.jobId)}  ${from === 0 ? "all attempts" : `from attempt ${from}`}`,
        style: "dim",
      },
      { text: `  since ${choices.sinceLabel}${hits}${only}`, style: "dim" },
    ],
    [
      {
        text: `${showCount(lines.length)} lines${dropped === 0 ? "" : `, ${showCount(dropped)} older dropped here`} `,
        style: "dim",
      },
    ],
    frame,
  );
  const room = Math.max(1, frame.rows - 2);
  const at = choices.isFollowing ? lines.length - 1 : placeOf(lines, choices.cursor);
  const shown = windowAround(lines, at, choices, { ...frame, rows: room });
  const isOver = job !== undefined && isTerminal(job.state);
  const state = choices.isFollowing
    ? isOver
      ? "the run has ended"
      : "following"
    : `line ${showCount(at + 1)} of ${showCount(lines.length)}`;
  const arrow = choices.isFollowing ? (frame.glyphs === "ascii" ? "v" : "▼") : dot;
  return [
    head,
    ...shown,
    layLine([{ text: ` ${arrow} ${state}`, style: choices.isFollowing ? "green" : "yellow" }], frame),
  ];
}

// The lines that end with the cursor's, or the first page when there are fewer.
function windowAround(
  lines: readonly RecordLine[],
  at: number,
  choices: LogChoices,
  frame: ScreenFrame,
): string[] {
  const look = { time: choices.time, isWrapped: choices.isWrapped, find: choices.find, skip: choices.skip };
  const rows: string[] = [];
  for (let index = at; index >= 0 && rows.length < frame.rows; index--) {
    const line = lines[index];
    if (line !== undefined) rows.unshift(...logLine(line, look, frame));
  }
  for (let index = at + 1; index < lines.length && rows.length < frame.rows; index++) {
    const line = lines[index];
    if (line !== undefined) rows.push(...logLine(line, look, frame));
  }
  return rows.length > frame.rows ? rows.slice(-frame.rows) : rows;
}

function chosenLines(
  lines: readonly RecordLine[],
  { sinceMs, filter }: LogChoices,
  nowMs: number,
): readonly RecordLine[] {
  if (sinceMs === undefined && filter === "") return lines;
  return lines.filter(
    (line) =>
      (sinceMs === undefined || line.atMs === undefined || line.atMs >= nowMs - sinceMs) &&
      holds(line, filter),
  );
}

function placeOf(lines: readonly RecordLine[], cursor: number | undefined): number {
  if (cursor === undefined) return Math.max(0, lines.length - 1);
  const at = lines.findIndex(({ number }) => number >= cursor);
  return at < 0 ? Math.max(0, lines.length - 1) : at;
}

function nextTime(time: LogTime): LogTime {
  return time === "relative" ? "clock" : time === "clock" ? "none" : "relative";
}

function* savedLines(lines: readonly RecordLine[]): Generator<string, void> {
  for (const { atMs, attempt, source, text } of lines) {
    const time = atMs === undefined ? "" : showTime(timeFromMs(atMs));
    yield `${time} ${attempt} ${source} ${sanitize(text)}`;
  }
}

function moveKeys(
  move: (by: number) => void,
  height: () => number,
  shift: (by: number) => void,
  ends: { readonly first: () => void; readonly last: () => void },
): KeyBinding[] {
  const go = (id: string, keys: readonly string[], label: string, run: () => void): KeyBinding => ({
    id,
    keys,
    label,
    group: "move",
    danger: "none",
    run,
  });
  return [
    go("move.down", ["j", "down"], "down", () => move(1)),
    go("move.up", ["k", "up"], "up", () => move(-1)),
    go("move.half-down", ["ctrl-d"], "half a page down", () => move(height() >> 1)),
    go("move.half-up", ["ctrl-u"], "half a page up", () => move(-(height() >> 1))),
    go("move.page-down", ["ctrl-f", "pagedown"], "a page down", () => move(height())),
    go("move.page-up", ["ctrl-b", "pageup"], "a page up", () => move(-height())),
    go("move.first", ["g", "home"], "start", ends.first),
    go("move.last", ["G", "end"], "end", ends.last),
    go("move.right", ["l", "right"], "to the right", () => shift(10)),
    go("move.left", ["h", "left"], "to the left", () => shift(-10)),
  ];
}
