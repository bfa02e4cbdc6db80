import { sanitizeLines } from "../../output/sanitize.ts";
import { layLine, safeText } from "../lines.ts";
import { wrapText } from "../overlays/box.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import type { ScreenFrame } from "../shell/screen.ts";

/** The part of a long text that is shown: it scrolls, and never beyond its end. */
export interface Scroll {
  readonly by: (rows: number) => void;
  readonly toStart: () => void;
  readonly toEnd: () => void;
  /** The lines of the window, given all of them. */
  readonly window: (lines: readonly string[], rows: number) => string[];
  readonly height: () => number;
}

/** Makes a window at the start of a text. */
export function createScroll(): Scroll {
  let top = 0;
  let height = 1;
  return {
    by: (rows) => {
      top = Math.max(0, top + rows);
    },
    toStart: () => {
      top = 0;
    },
    toEnd: () => {
      top = Number.MAX_SAFE_INTEGER;
    },
    window: (lines, rows) => {
      height = rows;
      top = Math.max(0, Math.min(top, lines.length - rows));
      return lines.slice(top, top + rows);
    },
    height: () => height,
  };
}

/** The keys that scroll a text. */
export function scrollKeys(scroll: Scroll): KeyBinding[] {
  const go = (id: string, keys: readonly string[], label: string, run: () => void): KeyBinding => ({
    id,
    keys,
    label,
    group: "move",
    danger: "none",
    run,
  });
  const half = (): number => Math.max(1, scroll.height() >> 1);
  return [
    go("move.down", ["j", "down"], "down", () => scroll.by(1)),
    go("move.up", ["k", "up"], "up", () => scroll.by(-1)),
    go("move.half-down", ["ctrl-d"], "half a page down", () => scroll.by(half())),
    go("move.half-up", ["ctrl-u"], "half a page up", () => scroll.by(-half())),
    go("move.page-down", ["ctrl-f", "pagedown"], "a page down", () => scroll.by(scroll.height())),
    go("move.page-up", ["ctrl-b", "pageup"], "a page up", () => scroll.by(-scroll.height())),
    go("move.first", ["g", "home"], "start", scroll.toStart),
    go("move.last", ["G", "end"], "end", scroll.toEnd),
  ];
}

/** Untrusted text of several lines, wrapped to the screen, one blank in front. */
export function textLines(text: string, frame: ScreenFrame): string[] {
  return sanitizeLines(text)
    .split("\n")
    .flatMap((line) => wrapText(line, Math.max(1, frame.columns - 2)))
    .map((line) => layLine([{ text: ` ${safeText(line, frame)}` }], frame));
}
