import { widthOf } from "../../output/width.ts";
import { layLine, type Piece } from "../lines.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import type { TextInput } from "../shell/text-input.ts";

/** The widest that a box gets, in cells. */
const widest = 100;

/** The frame inside of a box: what its lines are laid for. */
export function insideBox(frame: ScreenFrame): ScreenFrame {
  if (frame.isLinear) return frame;
  return {
    ...frame,
    columns: Math.max(1, Math.min(frame.columns, widest) - 4),
    rows: Math.max(0, frame.rows - 2),
  };
}

/** Lines in a box with a title at the top and a hint at the bottom; without the box for screen readers. */
export function layBox(title: string, lines: readonly string[], hint: string, frame: ScreenFrame): string[] {
  const inner = insideBox(frame);
  const shown = lines.slice(0, inner.rows);
  if (frame.isLinear) {
    const last = hint === "" ? [] : [layLine([{ text: hint }], frame)];
    return [layLine([{ text: title, style: "bold" }], frame), ...shown, ...last];
  }
  const isAscii = frame.glyphs === "ascii";
  const side = frame.paint("dim", isAscii ? "|" : "│");
  const edge = (text: string, left: string, right: string): string => {
    const piece =
      text === "" ? "" : ` ${layLine([{ text, style: "bold" }], { ...inner, columns: inner.columns - 2 })} `;
    const rule = (isAscii ? "-" : "─").repeat(Math.max(0, inner.columns + 2 - widthOf(piece)));
    return frame.paint("dim", left) + piece + frame.paint("dim", rule + right);
  };
  return [
    edge(title, isAscii ? "+" : "╭", isAscii ? "+" : "╮"),
    ...shown.map((line) => `${side} ${padLine(line, inner.columns)} ${side}`),
    edge(hint, isAscii ? "+" : "╰", isAscii ? "+" : "╯"),
  ];
}

/** A painted line filled to so many cells. */
export function padLine(line: string, cells: number): string {
  return line + " ".repeat(Math.max(0, cells - widthOf(line)));
}

/** A text that is being written, with the cursor in it: the part around the cursor when it is too long. */
export function inputPieces({ text, cursor }: TextInput, cells: number, frame: ScreenFrame): Piece[] {
  const bar = frame.glyphs === "ascii" ? "|" : "▏";
  const before = text.slice(0, cursor);
  const room = Math.max(1, cells - 1);
  const start = widthOf(before) > room ? lastCells(before, room) : before;
  return [{ text: start }, { text: bar, style: "bold" }, { text: text.slice(cursor) }];
}

function lastCells(text: string, cells: number): string {
  let kept = "";
  for (const { segment } of [...new Intl.Segmenter().segment(text)].reverse()) {
    if (widthOf(segment + kept) > cells) break;
    kept = segment + kept;
  }
  return kept;
}

/** Text broken at blanks into lines of so many cells; longer words are cut. */
export function wrapText(text: string, cells: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split("\n")) {
    let line = "";
    for (const word of paragraph.split(" ")) {
      const longer = line === "" ? word : `${line} ${word}`;
      if (widthOf(longer) <= cells) {
        line = longer;
        continue;
      }
      if (line !== "") lines.push(line);
      line = word;
      while (widthOf(line) > cells && cells > 0) {
        const head = firstCells(line, cells);
        lines.push(head);
        line = line.slice(head.length);
      }
    }
    lines.push(line);
  }
  return lines;
}

function firstCells(text: string, cells: number): string {
  let kept = "";
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    if (kept !== "" && widthOf(kept + segment) > cells) break;
    kept += segment;
  }
  return kept;
}
