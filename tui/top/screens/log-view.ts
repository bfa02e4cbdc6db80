import type { Style } from "../../output/paint.ts";
import { sanitize } from "../../output/sanitize.ts";
import { showClock, showDuration } from "../../output/time.ts";
import { layLine, type Piece, safeText } from "../lines.ts";
import { wrapText } from "../overlays/box.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import type { RecordLine } from "../store/log-ring.ts";

/** How the time of a line is shown. */
export type LogTime = "relative" | "clock" | "none";

/** How lines of a log look. */
export interface LogLook {
  readonly time: LogTime;
  readonly isWrapped: boolean;
  /** Text that is set off; empty: none. */
  readonly find: string;
  /** Columns that are scrolled out at the left. */
  readonly skip?: number;
}

const sourceStyles: Readonly<Record<string, Style>> = {
  err: "yellow",
  error: "red",
  warn: "yellow",
  sys: "blue",
  gap: "bold-yellow",
  message: "cyan",
  partial: "cyan",
  debug: "dim",
};

/** A line of the log as lines of the screen: one, unless it is wrapped. */
export function logLine(line: RecordLine, look: LogLook, frame: ScreenFrame): string[] {
  const dots = frame.glyphs === "ascii" ? "..." : "…";
  if (line.source === "gap") {
    return [layLine([{ text: `        ${dots} ${line.text} ${dots}`, style: "bold-yellow" }], frame)];
  }
  const front = `${timeText(line, look.time, frame)}${line.source.slice(0, 7).padEnd(4)} `;
  const style = sourceStyles[line.source] ?? "plain";
  // What starts behind the left edge is made safe before it is cut: a piece of an escape is no escape.
  const text = safeText(sanitize(line.text.replaceAll("\t", "    ")), frame).slice(look.skip ?? 0);
  const room = Math.max(8, frame.columns - front.length - 1);
  const parts = look.isWrapped ? wrapText(text, room) : [text];
  return parts.map((part, at) =>
    layLine(
      [
        { text: at === 0 ? ` ${front}` : " ".repeat(front.length + 1), style: "dim" },
        ...foundPieces(part, look.find, style),
      ],
      frame,
    ),
  );
}

/** Whether a line holds a text; case does not count unless the text has capitals. */
export function holds(line: RecordLine, wanted: string): boolean {
  if (wanted === "") return true;
  return wanted === wanted.toLowerCase()
    ? line.text.toLowerCase().includes(wanted)
    : line.text.includes(wanted);
}

function timeText({ atMs }: RecordLine, time: LogTime, { nowMs }: ScreenFrame): string {
  if (time === "none" || atMs === undefined) return "";
  if (time === "clock") return `${showClock(atMs)} `;
  return `${`-${showDuration(Math.max(0, Math.floor((nowMs - atMs) / 1000) * 1000))}`.padStart(7)} `;
}

function foundPieces(text: string, find: string, style: Style): Piece[] {
  if (find === "") return [{ text, style }];
  const isExact = find !== find.toLowerCase();
  const where = isExact ? text : text.toLowerCase();
  const pieces: Piece[] = [];
  let from = 0;
  for (let at = where.indexOf(find); at >= 0; at = where.indexOf(find, from)) {
    pieces.push(
      { text: text.slice(from, at), style },
      { text: text.slice(at, at + find.length), style: "selected" },
    );
    from = at + find.length;
  }
  return [...pieces, { text: text.slice(from), style }];
}
