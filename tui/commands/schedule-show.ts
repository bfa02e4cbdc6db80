import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { JobState } from "@muster/client/v1/job";
import {
  CatchUpPolicy,
  type Fire,
  FireCause,
  FireOutcome,
  OverlapPolicy,
  type PreviewScheduleResponse,
  type Schedule,
  ScheduleState,
} from "@muster/client/v1/schedule_service";
import { usageError } from "../errors.ts";
import { nearest } from "../input/suggest.ts";
import type { Output } from "../output/output.ts";
import { jobLooks } from "../output/states.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { durationToMs, showAge, showDuration, showTime } from "../output/time.ts";

/** The word of a value of an enum of schedules: `skip`, `catch-up`. */
export function wordOf(name: string | undefined): string {
  return name === undefined || name === "UNSPECIFIED" ? "-" : name.toLowerCase().replaceAll("_", "-");
}

/** The overlap policy of a word. */
export function readOverlap(text: string | undefined): OverlapPolicy {
  return readWord("--overlap", text, OverlapPolicy);
}

/** The catch-up policy of a word. */
export function readCatchUp(text: string | undefined): CatchUpPolicy {
  return readWord("--catch-up", text, CatchUpPolicy);
}

/** The state of a word. */
export function readState(text: string | undefined): ScheduleState {
  return readWord("--state", text, ScheduleState);
}

/** The outcome of a word. */
export function readOutcome(text: string | undefined): FireOutcome {
  return readWord("--outcome", text, FireOutcome);
}

/** When it fires next, for people. */
export function showNext(schedule: Schedule | undefined, nowMs: number): string {
  if (schedule === undefined) return "-";
  if (schedule.paused) return "paused";
  const { nextFireTime } = schedule;
  return nextFireTime === undefined ? "ended" : until(nextFireTime, nowMs);
}

/** Schedules, a row each. */
export function scheduleTable(schedules: readonly Schedule[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "SCHEDULE" },
    { title: "CRON" },
    { title: "ZONE", drop: 2 },
    { title: "NEXT" },
    { title: "LAST", drop: 4 },
    { title: "POLICY", drop: 1 },
    { title: "KIND", drop: 3 },
  ] as const;
  const rows = schedules.map((one): Cell[] => [
    one.name,
    one.cron,
    one.zone,
    showNext(one, nowMs),
    showLast(one.lastFire, nowMs),
    wordOf(OverlapPolicy[one.overlap]),
    one.job?.kind ?? "",
  ]);
  return layTable(columns, rows, output.layout);
}

/** All of a schedule. */
export function scheduleFacts(schedule: Schedule, output: Output, nowMs: number): string[] {
  const { job, lastFire, jitter, catchUp, catchUpLimit } = schedule;
  const limit = catchUp === CatchUpPolicy.ALL ? `, at most ${catchUpLimit}` : "";
  const time = (at: Timestamp | undefined): string => output.timeAndAge(at, nowMs);
  return layFacts(
    [
      ["schedule", schedule.name],
      ["id", schedule.scheduleId],
      ["cron", schedule.cron],
      ["words", schedule.words],
      ["zone", schedule.zone],
      ["jitter", jitter === undefined ? undefined : `up to ${showDuration(durationToMs(jitter))}`],
      ["start", showTime(schedule.startTime)],
      ["end", showTime(schedule.endTime)],
      ["overlap", wordOf(OverlapPolicy[schedule.overlap])],
      ["catch-up", `${wordOf(CatchUpPolicy[catchUp])}${limit}`],
      [
        "paused",
        schedule.paused
          ? `${time(schedule.pauseTime)}${schedule.pauseReason === "" ? "" : `: ${schedule.pauseReason}`}`
          : undefined,
      ],
      ["next", schedule.paused ? "paused" : time(schedule.nextFireTime) || "ended"],
      ["last", lastFire === undefined ? "never" : `${time(lastFire.fireTime)} ${showFire(lastFire)}`],
      ["kind", job?.kind],
      ["title", job?.title],
      ["queue", job?.queue],
      ["project", job?.project],
      [
        "labels",
        Object.entries(schedule.labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(" "),
      ],
      ["created", time(schedule.createTime)],
      ["updated", time(schedule.updateTime)],
      ["etag", schedule.etag],
    ],
    output.layout,
  );
}

/** History, a row an entry. */
export function fireTable(fires: readonly Fire[], output: Output): string[] {
  const columns = [
    { title: "TIME" },
    { title: "OUTCOME" },
    { title: "CAUSE", drop: 1 },
    { title: "JOB" },
    { title: "STATE", drop: 2 },
    { title: "NOTE" },
  ] as const;
  const rows = fires.map((fire): Cell[] => [
    showTime(fire.fireTime),
    `${wordOf(FireOutcome[fire.outcome])}${fire.count > 1n ? ` ×${fire.count}` : ""}`,
    wordOf(FireCause[fire.cause]),
    fire.jobId || "-",
    fire.jobState === JobState.UNSPECIFIED ? "-" : jobLooks[fire.jobState].word,
    fire.errorReason === "" ? fire.note : `${fire.errorReason}: ${fire.note}`,
  ]);
  return layTable(columns, rows, output.layout);
}

/** A preview: words, times, and changes of the clocks. */
export function previewLines(
  { words, fireTimes, clockChanges }: PreviewScheduleResponse,
  output: Output,
  nowMs: number,
): string[] {
  const rows = fireTimes.map((one): Cell[] => [
    one.wallTime,
    one.offset,
    one.fireTime === undefined ? "" : until(one.fireTime, nowMs),
    one.note,
  ]);
  const columns = [{ title: "WALL CLOCK" }, { title: "OFFSET" }, { title: "WHEN" }, { title: "NOTE" }];
  const changes = clockChanges.map((one): Cell[] => [
    one.fromWallTime,
    one.toWallTime,
    { text: one.note, style: one.affects ? "yellow" : "dim" },
  ]);
  return [
    ...layFacts([["words", words]], output.layout),
    ...(rows.length === 0 ? ["It fires no more."] : layTable(columns, rows, output.layout)),
    ...(changes.length === 0
      ? []
      : layTable(
          [{ title: "CLOCKS GO FROM" }, { title: "TO" }, { title: "EFFECT" }],
          changes,
          output.layout,
        )),
  ];
}

function showLast(fire: Fire | undefined, nowMs: number): Cell {
  if (fire?.fireTime === undefined) return "-";
  const age = showAge(fire.fireTime, nowMs);
  if (fire.outcome !== FireOutcome.SUBMITTED) {
    return { text: `${age} ${wordOf(FireOutcome[fire.outcome])}`, style: "yellow" };
  }
  const { word, style } = jobLooks[fire.jobState];
  return { text: `${age} ${word.toLowerCase()}`, style };
}

function showFire({ outcome, jobId, jobState, note }: Fire): string {
  if (outcome !== FireOutcome.SUBMITTED) return `${wordOf(FireOutcome[outcome])}: ${note}`;
  return `${jobId} ${jobLooks[jobState].word}`;
}

function until(time: Timestamp, nowMs: number): string {
  const ms = timestampMs(time) - nowMs;
  return ms <= 0 ? "now" : `in ${showDuration(Math.ceil(ms / 1000) * 1000)}`;
}

// The words of an enum are the names of its values.
function readWord<Value extends number>(
  option: string,
  text: string | undefined,
  values: Readonly<Record<string, Value | string>>,
): Value {
  const known = Object.entries(values).flatMap(([name, value]) =>
    typeof value === "number" ? [[wordOf(name), value] as const] : [],
  );
  const asked = text === undefined ? "-" : text.toLowerCase();
  const found = known.find(([word]) => word === asked);
  if (found !== undefined && (text === undefined || asked !== "-")) return found[1];
  const words = known.flatMap(([word]) => (word === "-" ? [] : [word]));
  const near = nearest(asked, words);
  throw usageError(
    `${option} must be one of ${words.join(", ")}, not ${JSON.stringify(asked.slice(0, 60))}`,
    near === undefined ? `Like: ${option} ${words[0]}` : `Did you mean ${near}?`,
  );
}
