import type { DescService } from "@bufbuild/protobuf";
import {
  type Client,
  type ConnectRouter,
  createClient,
  createRouterTransport,
  type Transport,
} from "@connectrpc/connect";
import { paintFor } from "../../../tui/output/paint.ts";
import type { GlyphSet } from "../../../tui/output/states.ts";
import { layoutOf } from "../../../tui/top/lines.ts";
import { views } from "../../../tui/top/screens/views.ts";
import { keyPresses } from "../../../tui/top/shell/keys.ts";
import type { Screen, ScreenFrame, Shell, ViewEntry } from "../../../tui/top/shell/screen.ts";
import { defaultSettings, type Settings } from "../../../tui/top/shell/settings.ts";
import { type Console, createConsole, type ShellOptions } from "../../../tui/top/shell/shell.ts";
import { sampleMs } from "./sample.ts";

// The clock on the screen is of this machine's zone.
process.env["TZ"] = "UTC";

/** A console over services in memory, without Ink: keys go in, lines come out. */
export interface Stage {
  readonly console: Console;
  readonly shell: Shell;
  /** Everything that was written besides frames. */
  readonly written: string[];
  readonly quits: string[];
  readonly press: (...names: string[]) => void;
  readonly type: (text: string) => void;
  /** The screen at a size, without paint. */
  readonly at: (columns: number, rows: number) => string[];
  readonly text: () => string;
  /** Resolves when the screen says so. */
  readonly shown: (wanted: string | RegExp) => Promise<void>;
  readonly clock: { nowMs: number };
  readonly close: () => Promise<void>;
}

/** What a stage may be given. */
export interface StageOptions
  extends Partial<Pick<ShellOptions, "glyphs" | "isLinear" | "isReadOnly" | "wait">> {
  readonly routes?: (router: ConnectRouter) => void;
  readonly settings?: Partial<Settings>;
  readonly views?: readonly ViewEntry[];
  readonly columns?: number;
  readonly rows?: number;
}

/** Sets up a console; `run` it to let its feeds begin. */
export function stage(options: StageOptions = {}): Stage {
  const transport: Transport = createRouterTransport((router) => options.routes?.(router));
  const ending = new AbortController();
  const written: string[] = [];
  const quits: string[] = [];
  const clock = { nowMs: sampleMs };
  const size = { columns: options.columns ?? 80, rows: options.rows ?? 24 };
  const client = <T extends DescService>(service: T): Client<T> => createClient(service, transport);
  const shown = createConsole({
    client,
    views: options.views ?? views,
    settings: { ...defaultSettings, ...options.settings },
    context: "http://127.0.0.1:7070",
    addressFlag: "",
    version: "0.1.0",
    isReadOnly: options.isReadOnly ?? false,
    isMono: true,
    isLinear: options.isLinear ?? false,
    glyphs: options.glyphs ?? "unicode",
    terminal: {
      write: (sequence) => void written.push(sequence),
      suspend: (during) => during(),
      env: {},
    },
    now: () => clock.nowMs,
    save: async (name, lines) => {
      written.push(...lines);
      return `/tmp/${name}`;
    },
    onQuit: (by) => void quits.push(by),
    later: (run) => {
      const timer = setImmediate(run);
      return () => clearImmediate(timer);
    },
    ...(options.wait === undefined ? {} : { wait: options.wait }),
  });
  const running = options.routes === undefined ? undefined : shown.run(ending.signal);
  const at = (columns: number, rows: number): string[] =>
    shown.lines(columns, rows).map((line) => stripPaint(line));
  const text = (): string => at(size.columns, size.rows).join("\n");
  return {
    console: shown,
    shell: shown.shell,
    written,
    quits,
    clock,
    press: (...names) => {
      for (const name of names)
        shown.press({ name, text: name.length === 1 ? name : name === "space" ? " " : "" });
    },
    type: (typed) => {
      for (const press of keyPresses(typed, noKey)) shown.press(press);
    },
    at,
    text,
    shown: (wanted) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const look = (): void => {
        const now = text();
        if (typeof wanted === "string" ? now.includes(wanted) : wanted.test(now)) {
          unsubscribe();
          resolve();
        }
      };
      const unsubscribe = shown.publisher.subscribe(look);
      look();
      return promise;
    },
    close: async () => {
      ending.abort();
      await running;
    },
  };
}

/** A frame for a view by itself, without paint. */
export function frameAt(columns: number, rows: number, change: Partial<ScreenFrame> = {}): ScreenFrame {
  return {
    columns,
    rows,
    paint: paintFor("none"),
    glyphs: "unicode" as GlyphSet,
    layout: layoutOf(columns, rows),
    nowMs: sampleMs,
    time: "relative",
    isLinear: false,
    ...change,
  };
}

/** A view with one screen that is made already. */
export function viewOf(screen: (shell: Shell) => Screen): ViewEntry {
  return { id: "only", key: "1", title: "Only", open: screen };
}

function stripPaint(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: our own colours
  return line.replace(/\u001b\[[0-9;]*m/g, "");
}

/** No special key. */
export const noKey = {
  upArrow: false,
  downArrow: false,
  leftArrow: false,
  rightArrow: false,
  pageDown: false,
  pageUp: false,
  home: false,
  end: false,
  return: false,
  escape: false,
  ctrl: false,
  shift: false,
  tab: false,
  backspace: false,
  delete: false,
  meta: false,
};
