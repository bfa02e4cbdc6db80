import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  CatchUpPolicy,
  type Fire,
  FireOutcome,
  OverlapPolicy,
  type PreviewScheduleResponse,
  type Schedule,
} from "@muster/client/v1/schedule_service";
import { wordOf } from "../../commands/schedule-show.ts";
import { jobLooks } from "../../output/states.ts";
import { durationToMs, showDuration } from "../../output/time.ts";
import { layHeading, type Piece } from "../lines.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import { type Fact, factLines, textLines, whenText } from "./facts.ts";
import type { ColumnSpec } from "./list-view.ts";

/** What is shown of a schedule beside what it says itself. */
export interface ScheduleRecord {
  readonly preview: PreviewScheduleResponse;
  /** The latest of its history, newest first. */
  readonly fires: readonly Fire[];
}

/** The columns of the list of schedules. */
export const scheduleColumns: readonly ColumnSpec<Schedule>[] = [
  { id: "paused", title: "", width: 1, cell: (schedule, frame) => statePiece(schedule, frame) },
  { id: "name", title: "SCHEDULE", width: 20, cell: ({ name }) => ({ text: name }) },
  { id: "cron", title: "CRON", width: 15, cell: ({ cron }) => ({ text: cron }) },
  { id: "zone", title: "ZONE", width: 17, rank: 2, cell: ({ zone }) => ({ text: zone }) },
  { id: "next", title: "NEXT", width: 10, cell: (schedule, frame) => nextPiece(schedule, frame) },
  {
    id: "last",
    title: "LAST",
    width: 12,
    rank: 1,
    cell: ({ lastFire }, frame) => firePiece(lastFire, frame),
  },
  {
    id: "policy",
    title: "POLICY",
    width: 7,
    rank: 3,
    cell: ({ overlap }) => ({ text: wordOf(OverlapPolicy[overlap]), style: "dim" }),
  },
  { id: "kind", title: "KIND", width: 0, cell: ({ job }) => ({ text: job?.kind ?? "", style: "dim" }) },
];

/** A schedule beside the list, or on a screen of its own. */
export function scheduleLines(
  schedule: Schedule,
  record: ScheduleRecord | undefined,
  frame: ScreenFrame,
): string[] {
  const { name, cron, words, zone, jitter, overlap, catchUp, catchUpLimit, paused, job, lastFire } = schedule;
  const limit = catchUp === CatchUpPolicy.ALL ? `, at most ${catchUpLimit}` : "";
  const facts: Fact[] = [
    ["cron", `${cron}  ${words}`],
    ["zone", `${zone}${jitter === undefined ? "" : `, late by up to ${showDuration(durationToMs(jitter))}`}`],
    ["paused", paused ? `${whenText(schedule.pauseTime, frame)}  ${schedule.pauseReason}` : ""],
    ["next", [nextPiece(schedule, frame)]],
    ["last", lastFire === undefined ? "never" : [firePiece(lastFire, frame), { text: ` ${lastFire.note}` }]],
    ["overlap", `${wordOf(OverlapPolicy[overlap])}; catch-up ${wordOf(CatchUpPolicy[catchUp])}${limit}`],
    ["job", `${job?.kind ?? ""} ${job?.title ?? ""} in ${job?.queue ?? ""}`],
  ];
  return [
    layHeading([{ text: `schedule ${name}`, style: "bold" }], frame),
    ...factLines(facts, frame),
    ...(record === undefined ? [] : recordLines(record, frame)),
  ];
}

/** When it fires next, and what the changes of the clocks do to it: in lines without paint. */
export function previewTexts({ fireTimes, clockChanges }: PreviewScheduleResponse): string[] {
  return [
    ...fireTimes.map(
      ({ wallTime, offset, note }) => `${wallTime} ${offset}${note === "" ? "" : `  ${note}`}`,
    ),
    ...(fireTimes.length === 0 ? ["it fires no more"] : []),
    ...clockChanges.map(
      ({ fromWallTime, note, affects }) => `${affects ? "!" : "·"} ${fromWallTime}  ${note}`,
    ),
  ];
}

function recordLines({ preview, fires }: ScheduleRecord, frame: ScreenFrame): string[] {
  return [
    layHeading([{ text: "next", style: "dim" }], frame),
    ...previewTexts(preview).flatMap((text) => textLines(text, frame)),
    ...(fires.length === 0 ? [] : [layHeading([{ text: "history", style: "dim" }], frame)]),
    ...fires.flatMap((fire) =>
      textLines(
        `${fire.fireTime === undefined ? "" : new Date(timestampMs(fire.fireTime)).toISOString()}  ${fireText(fire)}`,
        frame,
      ),
    ),
  ];
}

function fireText({ outcome, jobId, jobState, note, count }: Fire): string {
  if (outcome === FireOutcome.SUBMITTED) return `${jobId} ${jobLooks[jobState].word}`;
  return `${wordOf(FireOutcome[outcome])}${count > 1n ? ` ×${count}` : ""}: ${note}`;
}

function statePiece({ paused, lastFire, nextFireTime }: Schedule, { glyphs }: ScreenFrame): Piece {
  const isAscii = glyphs === "ascii";
  if (paused) return { text: isAscii ? "=" : "‖", style: "bold-yellow" };
  if (lastFire?.outcome === FireOutcome.FAILED) return { text: "!", style: "red" };
  if (nextFireTime === undefined) return { text: "-", style: "dim" };
  return { text: isAscii ? "@" : "◷", style: "blue" };
}

function nextPiece({ paused, nextFireTime }: Schedule, { nowMs }: ScreenFrame): Piece {
  if (paused) return { text: "paused", style: "yellow" };
  if (nextFireTime === undefined) return { text: "ended", style: "dim" };
  const ms = timestampMs(nextFireTime) - nowMs;
  return { text: ms <= 0 ? "now" : `in ${showDuration(Math.ceil(ms / 1_000) * 1_000)}` };
}

function firePiece(fire: Fire | undefined, frame: ScreenFrame): Piece {
  if (fire === undefined) return { text: "-", style: "dim" };
  const moment = showMoment(fire.fireTime, frame);
  if (fire.outcome !== FireOutcome.SUBMITTED) {
    return { text: `${moment} ${wordOf(FireOutcome[fire.outcome])}`, style: "yellow" };
  }
  const look = jobLooks[fire.jobState];
  return { text: `${frame.glyphs === "ascii" ? look.ascii : look.glyph} ${moment}`, style: look.style };
}
