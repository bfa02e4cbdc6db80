import type { Paint, Style } from "../output/paint.ts";
import { sanitize } from "../output/sanitize.ts";
import type { GlyphSet } from "../output/states.ts";
import { fitTo, truncate, widthOf } from "../output/width.ts";

/** The screen that lines are made for. */
export interface Frame {
  readonly columns: number;
  readonly rows: number;
  readonly paint: Paint;
  readonly glyphs: GlyphSet;
}

/** How much fits beside and above each other: from 110×30 on, from 80×24 on, below that. */
export type Layout = "wide" | "normal" | "compact";

/** The layout of a terminal of this size. */
export function layoutOf(columns: number, rows: number): Layout {
  if (columns >= 110 && rows >= 30) return "wide";
  return columns >= 80 && rows >= 24 ? "normal" : "compact";
}

/** A piece of a line: untrusted text is made safe when the line is laid. */
export interface Piece {
  readonly text: string;
  readonly style?: Style;
}

/** A cell of a list: its column says how wide it is. */
export interface ListColumn {
  readonly title: string;
  /** Cells; the last column takes what is left. */
  readonly width: number;
  readonly align?: "left" | "right";
}

/** Pieces on the left and on the right of one line. What does not fit is cut from the left pieces. */
export function layEnds(left: readonly Piece[], right: readonly Piece[], frame: Frame): string {
  const rightWidth = right.reduce((sum, { text }) => sum + widthOf(safeText(text, frame)), 0);
  const room = Math.max(0, frame.columns - rightWidth - 1);
  const { line, used } = layPieces(left, room, frame);
  const tail = rightWidth > frame.columns ? "" : right.map((piece) => paintPiece(piece, frame)).join("");
  return line + " ".repeat(Math.max(0, frame.columns - used - (tail === "" ? 0 : rightWidth))) + tail;
}

/** A heading with a rule to the edge of the screen: `─ Jobs ─────`. */
export function layHeading(title: readonly Piece[], frame: Frame): string {
  const rule = frame.glyphs === "ascii" ? "-" : "─";
  const { line, used } = layPieces(title, frame.columns - 4, frame);
  const rest = Math.max(0, frame.columns - used - 3);
  return `${frame.paint("dim", rule)} ${line} ${frame.paint("dim", rule.repeat(rest))}`;
}

/** A row of a list, one blank in front of it and between its cells; exactly as wide as the screen at most. */
export function layRow(cells: readonly Piece[], columns: readonly ListColumn[], frame: Frame): string {
  let used = 1;
  const shown = columns.map((column, at) => {
    const isLast = at === columns.length - 1;
    const width = isLast ? Math.max(0, frame.columns - used) : column.width;
    used += width + 1;
    const { text = "", style = "plain" } = cells[at] ?? {};
    const safe = safeText(text, frame);
    const mark = frame.glyphs === "ascii" ? "~" : "…";
    const cell = isLast ? truncate(safe, width, mark) : fitTo(safe, width, column.align ?? "left", mark);
    return frame.paint(style, cell);
  });
  return ` ${shown.join(" ")}`;
}

/** The titles of a list. */
export function layTitles(columns: readonly ListColumn[], frame: Frame): string {
  return layRow(
    columns.map(({ title }) => ({ text: title, style: "dim" })),
    columns,
    frame,
  );
}

/** Pieces one after the other, cut to the width of the screen. */
export function layLine(pieces: readonly Piece[], frame: Frame): string {
  return layPieces(pieces, frame.columns, frame).line;
}

/** Text as it may be shown: untrusted characters made visible; where the terminal knows ASCII alone, `?` for others. */
export function safeText(text: string, { glyphs }: Frame): string {
  const safe = sanitize(text);
  return glyphs === "ascii" ? safe.replace(/[^ -~]/gu, (character) => plainSigns[character] ?? "?") : safe;
}

// The signs that the console itself writes into texts.
const plainSigns: Readonly<Record<string, string>> = {
  "…": "~",
  "▸": ">",
  "·": "-",
  "▲": "!",
  "†": "D",
  "–": "-",
};

function layPieces(pieces: readonly Piece[], room: number, frame: Frame): { line: string; used: number } {
  const mark = frame.glyphs === "ascii" ? "~" : "…";
  let line = "";
  let used = 0;
  for (const { text, style = "plain" } of pieces) {
    const safe = truncate(safeText(text, frame), Math.max(0, room - used), mark);
    line += frame.paint(style, safe);
    used += widthOf(safe);
    if (used >= room) break;
  }
  return { line, used };
}

function paintPiece({ text, style = "plain" }: Piece, frame: Frame): string {
  return frame.paint(style, safeText(text, frame));
}
