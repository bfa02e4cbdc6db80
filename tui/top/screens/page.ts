import type { Equal, KeyBinding } from "../shell/bindings.ts";
import type { Screen, ScreenFrame, Shell } from "../shell/screen.ts";
import { polledSource } from "../sources/polled.ts";
import { followFeed } from "../store/feed.ts";
import { createListStore, reportingSink } from "../store/list.ts";
import { quietLine, textLines } from "./facts.ts";
import { createScroll, scrollKeys } from "./text-pane.ts";

/** One thing on a screen of its own: facts that are read again and again, and can be scrolled. */
export interface PageOptions<Value> {
  readonly id: string;
  readonly title: () => string;
  readonly read: (signal: AbortSignal) => Promise<Value>;
  /** Time between two readings, in milliseconds. Default 2 s. */
  readonly everyMs?: number;
  readonly lines: (value: Value, frame: ScreenFrame) => readonly string[];
  readonly keys?: (current: () => Value | undefined) => readonly KeyBinding[];
  readonly command: () => string;
  readonly equals: readonly Equal[];
  /** For `y`. */
  readonly subject: () => string | undefined;
  readonly copies?: (value: Value) => readonly (readonly [what: string, text: string])[];
  /** Something that lasts as long as the page is on top. */
  readonly besides?: (signal: AbortSignal) => Promise<void>;
}

/** Makes the screen. */
export function createPage<Value>(shell: Shell, options: PageOptions<Value>): Screen {
  const list = createListStore<Value>({ idOf: () => options.id, nowMs: shell.now() });
  const source = polledSource<Value>(
    async (signal) => ({ rows: [await options.read(signal)], tokens: { next: "", previous: "" } }),
    options.everyMs === undefined ? {} : { everyMs: options.everyMs },
  );
  const scroll = createScroll();
  return {
    id: options.id,
    title: options.title,
    keys: () => [...(options.keys?.(list.current) ?? []), ...scrollKeys(scroll)],
    view: (frame) => {
      const { refusal } = list.state();
      if (refusal !== undefined) return textLines(refusal.rawMessage, frame, "red");
      const value = list.current();
      if (value === undefined)
        return [quietLine(frame.glyphs === "ascii" ? "Loading..." : "Loading…", frame)];
      return scroll.window(options.lines(value, frame), frame.rows);
    },
    follow: async (signal) => {
      const told = reportingSink(list, shell.changed);
      await Promise.all([followFeed(source, told, { signal, now: shell.now }), options.besides?.(signal)]);
    },
    freshness: list.state,
    command: options.command,
    equals: options.equals,
    scroll: scroll.by,
    currentId: options.subject,
    copies: () => {
      const value = list.current();
      return value === undefined ? [] : (options.copies?.(value) ?? []);
    },
  };
}
