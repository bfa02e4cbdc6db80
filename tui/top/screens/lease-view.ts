import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Lease } from "@muster/client/v1/lease_service";
import { cancellingLook, jobLooks, type Look } from "../../output/states.ts";
import { durationToMs, showDuration } from "../../output/time.ts";
import { layLine, type Piece } from "../lines.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import { type Fact, factLines, textLines, whenText } from "./facts.ts";
import type { ColumnSpec } from "./list-view.ts";

/** The columns of the list of leases. */
export const leaseColumns: readonly ColumnSpec<Lease>[] = [
  {
    id: "job",
    title: "JOB",
    width: 9,
    cell: ({ jobId }, frame) => ({ text: shortened(jobId, frame), style: "dim" }),
  },
  {
    id: "state",
    title: "STATE",
    width: ({ layout }) => (layout === "compact" ? 1 : 9),
    cell: (lease, frame) => statePiece(lease, frame),
  },
  { id: "kind", title: "KIND", width: 16, rank: 3, cell: ({ kind }) => ({ text: kind }) },
  { id: "worker", title: "WORKER", width: 16, cell: ({ workerName }) => ({ text: workerName }) },
  {
    id: "attempt",
    title: "ATT",
    width: 3,
    align: "right",
    rank: 2,
    cell: ({ attempt }) => ({ text: String(attempt) }),
  },
  {
    id: "held",
    title: "HELD",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    cell: ({ grantTime }, frame) => ({ text: showMoment(grantTime, frame) }),
  },
  {
    id: "ends",
    title: "ENDS",
    width: 7,
    align: "right",
    rank: 1,
    cell: (lease, frame) => ({ text: endsText(lease, frame), style: "dim" }),
  },
  { id: "silence", title: "WORKER'S LIFE", width: 0, cell: (lease, frame) => silencePiece(lease, frame) },
];

/** A lease in one line, where its worker is known. */
export function leaseLine(lease: Lease, frame: ScreenFrame): string {
  return layLine(
    [
      { text: " " },
      statePiece(lease, frame),
      { text: `  ${shortened(lease.jobId, frame)}`, style: "dim" },
      { text: `  ${lease.kind}  attempt ${lease.attempt}` },
      { text: `  ${showMoment(lease.grantTime, frame)}`, style: "dim" },
    ],
    frame,
  );
}

/** A lease beside the list. */
export function leaseLines(lease: Lease, frame: ScreenFrame): string[] {
  const facts: Fact[] = [
    ["lease", lease.leaseId],
    ["job", lease.jobId],
    ["worker", `${lease.workerName}  ${lease.workerId}`],
    ["attempt", String(lease.attempt)],
    ["granted", whenText(lease.grantTime, frame)],
    ["ends", `${endsText(lease, frame)}, however lively it is`],
    ["silence", [silencePiece(lease, frame)]],
    ["cancel", lease.cancelRequested ? "somebody asked to cancel" : ""],
  ];
  const risk = lease.atRisk
    ? textLines("Its worker is late: the job is taken back when it stays silent.", frame, "yellow")
    : [];
  return [...factLines(facts, frame), ...risk];
}

function statePiece(lease: Lease, { glyphs, layout }: ScreenFrame): Piece {
  const look: Look = lease.cancelRequested ? cancellingLook : jobLooks[lease.state];
  const glyph = glyphs === "ascii" ? look.ascii : look.glyph;
  return { text: layout === "compact" ? glyph : `${glyph} ${look.word}`, style: look.style };
}

function endsText({ expireTime }: Lease, { nowMs }: ScreenFrame): string {
  if (expireTime === undefined) return "-";
  const ms = timestampMs(expireTime) - nowMs;
  return ms <= 0 ? "now" : `in ${showDuration(Math.ceil(ms / 1000) * 1000)}`;
}

function silencePiece({ silence, atRisk }: Lease, { glyphs }: ScreenFrame): Piece {
  const text = silence === undefined ? "not attached" : `heard ${showDuration(durationToMs(silence))} ago`;
  if (!atRisk) return { text, style: "dim" };
  return { text: `${glyphs === "ascii" ? "!" : "▲"} at risk: ${text}`, style: "yellow" };
}

function shortened(id: string, { glyphs }: ScreenFrame): string {
  return (glyphs === "ascii" ? "~" : "…") + id.slice(-8);
}
