import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Style } from "../../output/paint.ts";
import { sanitizeLines } from "../../output/sanitize.ts";
import { layLine, type Piece, safeText } from "../lines.ts";
import { wrapText } from "../overlays/box.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";

/** A fact: its name and what it is. Facts without text are left out. */
export type Fact = readonly [name: string, text: string | readonly Piece[]];

/** Cells of the names of facts. */
const nameCells = 11;

/** Facts one below the other, their names at the left; long texts go on below. */
export function factLines(facts: readonly Fact[], frame: ScreenFrame): string[] {
  return facts.flatMap(([name, text]) => {
    if (text.length === 0) return [];
    const label: Piece = { text: frame.isLinear ? `${name}: ` : ` ${name.padEnd(nameCells)}`, style: "dim" };
    if (typeof text !== "string") return [layLine([label, ...text], frame)];
    const room = Math.max(8, frame.columns - (frame.isLinear ? 0 : nameCells + 2));
    return safeLines(text, room, frame).map((line, row) =>
      layLine([row === 0 ? label : { text: " ".repeat(nameCells + 1) }, { text: line }], frame),
    );
  });
}

/** A text of others as lines of so many cells, safe to show; its own line breaks are kept. */
function safeLines(text: string, cells: number, frame: ScreenFrame): string[] {
  return sanitizeLines(text)
    .split("\n")
    .flatMap((line) => {
      // Indented text (JSON, code) keeps its shape.
      const indent = " ".repeat(Math.min(line.search(/[^ ]|$/u), cells >> 1));
      return wrapText(safeText(line.trimStart(), frame), cells - indent.length).map((part) => indent + part);
    });
}

/** A time in a sentence: `4m05s ago`, or as the user wants times. */
export function whenText(time: Timestamp | undefined, frame: ScreenFrame): string {
  return `${showMoment(time, frame)}${time !== undefined && frame.time === "relative" ? " ago" : ""}`;
}

/** A text in whole lines, one cell from the edge. */
export function textLines(text: string, frame: ScreenFrame, style: Style = "plain"): string[] {
  return safeLines(text, Math.max(8, frame.columns - 2), frame).map((line) =>
    layLine([{ text: ` ${line}`, style }], frame),
  );
}

/** A line in the background: something is not there, or not yet. */
export function quietLine(text: string, frame: ScreenFrame): string {
  return layLine([{ text: ` ${text}`, style: "dim" }], frame);
}

/** A tab of a list. */
export interface Tab {
  readonly label: string;
  readonly glyph?: Piece;
  readonly isChosen: boolean;
}

/** Tabs in one line, the chosen one set off by bold and a dot. */
export function tabLine(tabs: readonly Tab[], frame: ScreenFrame): string {
  const dot = frame.glyphs === "ascii" ? "*" : "·";
  return layLine(
    tabs.flatMap(({ label, glyph, isChosen }): Piece[] => [
      { text: "  " },
      ...(glyph === undefined ? [] : [glyph, { text: " " }]),
      { text: isChosen ? `${label}${dot}` : label, style: isChosen ? "bold" : "dim" },
    ]),
    frame,
  );
}
