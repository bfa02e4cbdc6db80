import type { DescService } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { StatusService } from "@muster/client/v1/status_service";
import type { GlyphSet } from "../../output/states.ts";
import { showDuration } from "../../output/time.ts";
import { layoutOf } from "../lines.ts";
import { filterOverlay } from "../overlays/filter.ts";
import { helpOverlay } from "../overlays/help.ts";
import { followStatus } from "../sources/status.ts";
import type { Freshness } from "../store/connection.ts";
import type { FeedOptions } from "../store/feed.ts";
import { createPublisher, type Publisher, type PublisherOptions } from "../store/publisher.ts";
import { createStatusStore } from "../store/status.ts";
import { createActs } from "./acts.ts";
import { type KeyTable, keyTable } from "./bindings.ts";
import { everywhereKeys } from "./everywhere.ts";
import { chromeRows, composeFrame } from "./frame.ts";
import { holdKeys } from "./held-keys.ts";
import type { KeyPress } from "./keys.ts";
import { openCopyMenu, openPalette } from "./menus.ts";
import { makeOutside } from "./outside.ts";
import type { Overlay, Screen, ScreenFrame, Shell, ViewEntry } from "./screen.ts";
import { type Settings, timeFormats } from "./settings.ts";
import { createStack } from "./stack.ts";
import { type MouseReport, mouseSequence, stopProcess, type Terminal } from "./terminal.ts";
import { themePaint } from "./themes.ts";
import { createToasts } from "./toasts.ts";

/** What the console is made of. */
export interface ShellOptions extends Pick<FeedOptions, "wait" | "random"> {
  readonly client: <T extends DescService>(service: T) => Client<T>;
  readonly views: readonly ViewEntry[];
  readonly settings: Settings;
  /** Name of the context, or the address. */
  readonly context: string;
  /** For commands that are shown: ` --address …`, or empty. */
  readonly addressFlag: string;
  readonly version: string;
  readonly isReadOnly: boolean;
  /** No colours, whatever the theme. */
  readonly isMono: boolean;
  readonly isLinear: boolean;
  readonly glyphs: GlyphSet;
  readonly terminal: Terminal;
  readonly now: () => number;
  /** Where ^S saves. */
  readonly save: (name: string, lines: Iterable<string>) => Promise<string>;
  readonly onQuit: (by: "q" | "ctrl-c") => void;
  /** A key that is refused from the start is shown, for the user to choose another context. Default: `run` throws. */
  readonly outlivesRefusal?: boolean;
  readonly later?: PublisherOptions["later"];
}

/** The console behind its screen: keys go in, lines come out. */
export interface Console {
  readonly shell: Shell;
  readonly publisher: Publisher;
  readonly press: (press: KeyPress) => void;
  readonly paste: (text: string) => void;
  readonly mouse: (report: MouseReport | "other") => void;
  readonly lines: (columns: number, rows: number) => string[];
  readonly screen: () => Screen;
  readonly overlay: () => Overlay | undefined;
  /** The keys in force. */
  readonly keys: () => KeyTable;
  /** Follows status and screens until the signal. Throws when the first call of all is refused, unless it outlives that. */
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** Who the caller is, once that is known. */
  readonly identify: (role: string, scopes: readonly string[]) => void;
  /** Actions that changed something. */
  readonly actions: () => { readonly count: number; readonly sinceMs: number };
}

/** Makes the console; nothing runs before `run`. */
export function createConsole(options: ShellOptions): Console {
  const { terminal, now, views } = options;
  let settings = options.settings;
  let role = "";
  let isMouseOn = false;
  let lastPress = "";
  let size = { columns: 80, rows: 24 };
  let lastClick = { atMs: 0, row: -1 };
  let life: AbortSignal | undefined;
  let following = new AbortController();
  const overlays: Overlay[] = [];
  const toasts = createToasts();
  const held = holdKeys();
  const badges = new Map<string, string>();
  const filters: string[] = [];
  const screens = new Map<string, Screen>();
  const status = createStatusStore(now());
  const everyMs = options.isLinear ? 5_000 : 1000 / settings.refresh;
  const publisher = createPublisher({
    everyMs,
    now,
    ...(options.later === undefined ? {} : { later: options.later }),
  });

  const acts = createActs({
    ...options,
    life: () => life,
    failed: (text) => shell.say({ text, kind: "error" }),
  });
  const shell: Shell = {
    client: options.client,
    settings: () => settings,
    now,
    serverNow: () => {
      const { status: latest, receivedMs } = status.state();
      return latest?.time === undefined ? now() : timestampMs(latest.time) + (now() - receivedMs);
    },
    status: status.state,
    views,
    changed: () => {
      if (overlays.length === 0) held.release(stack.top(), route);
      publisher.soon();
    },
    push: (screen) => moved(() => stack.push(screen)),
    show: (viewId, arrange) => {
      const screen = screenOf(viewId);
      if (screen === undefined) return;
      arrange?.(screen);
      moved(() => stack.show(viewId, screen));
    },
    back: () => moved(() => stack.pop()),
    restart: () => follow(),
    open: (make) => {
      const close = (): void => {
        const at = overlays.indexOf(overlay);
        if (at < 0) return;
        overlays.splice(at, 1);
        overlay.closed?.();
        if (overlays.length === 0) stack.top().freeze?.("dialog", false);
        publisher.now();
      };
      const overlay = make(close);
      overlays.push(overlay);
      stack.top().freeze?.("dialog", true);
      publisher.now();
    },
    say: (toast) => {
      toasts.say(toast, now());
      publisher.now();
    },
    ...makeOutside({ terminal, save: options.save, say: (toast) => shell.say(toast) }),
    barrier: (scope) => acts.barrier(scope, freshness()),
    act: acts.act,
    badge: (viewId, text) => {
      if (text === "") badges.delete(viewId);
      else badges.set(viewId, text);
    },
  };

  const screenOf = (viewId: string): Screen | undefined => {
    const known = screens.get(viewId);
    if (known !== undefined) return known;
    const made = views.find(({ id }) => id === viewId)?.open(shell);
    if (made !== undefined) screens.set(viewId, made);
    return made;
  };
  const firstId = views.some(({ id }) => id === settings.view) ? settings.view : (views[0]?.id ?? "");
  const first = screenOf(firstId);
  if (first === undefined) throw new Error("a console needs a view");
  const stack = createStack({ viewId: firstId, screens: [first] });

  const freshness = (): Freshness => {
    const whole = status.state();
    const own = stack.top().freshness?.();
    return own === undefined || whole.connection.kind === "lost" ? whole : own;
  };

  // The screen on top is the one that is followed, and the status as it wants it.
  const follow = (): void => {
    following.abort();
    following = new AbortController();
    if (life === undefined || life.aborted) return;
    const signal = AbortSignal.any([life, following.signal]);
    void stack.top().follow?.(signal);
  };
  let statusing = new AbortController();
  let isDetailed = first.wantsDetail === true;
  const moved = (change: () => unknown): void => {
    const before = stack.top();
    change();
    const top = stack.top();
    if (top !== before) follow();
    if ((top.wantsDetail === true) !== isDetailed) {
      isDetailed = !isDetailed;
      statusing.abort();
    }
    publisher.now();
  };

  const leave = (): void => {
    const screen = stack.top();
    if (screen.escape?.() !== true) moved(() => stack.pop());
  };
  const suspend = (): void => {
    void stopProcess(terminal).then(publisher.now, (error: unknown) =>
      shell.say({ text: String(error), kind: "error" }),
    );
  };
  const everywhere = everywhereKeys({
    views,
    show: (viewId) => shell.show(viewId),
    palette: () => openPalette(shell, keys(), (theme) => set({ theme })),
    help: () => shell.open((close) => helpOverlay(stack.top().title(), keys().bindings, close)),
    filter: () => {
      const subject = stack.top().filter;
      if (subject !== undefined) shell.open((close) => filterOverlay(subject, filters, close));
    },
    hasFilter: () => stack.top().filter !== undefined,
    back: leave,
    quit: () => {
      if (stack.place().screens.length > 1) moved(() => stack.pop());
      else options.onQuit("q");
    },
    isNested: () => stack.place().screens.length > 1,
    freeze: () => stack.top().freeze?.("user", stack.top().frozen?.() === undefined),
    isFrozen: () => stack.top().frozen?.() !== undefined,
    canFreeze: () => stack.top().freeze !== undefined,
    copyId: () => {
      const id = stack.top().currentId?.();
      if (id !== undefined) shell.copy(id, id);
    },
    copyMenu: () => openCopyMenu(shell, stack.top()),
    copyCommand: () => shell.copy(stack.top().command(), "the command"),
    currentId: () => stack.top().currentId?.(),
    time: () =>
      set({ time: timeFormats[(timeFormats.indexOf(settings.time) + 1) % timeFormats.length] ?? "relative" }),
    resync: () => {
      statusing.abort();
      follow();
      shell.say({ text: "reading again", kind: "info" });
    },
    mouse: () => setMouse(!isMouseOn),
    isMouseOn: () => isMouseOn,
    undo: () => toasts.takeUndo()?.run(),
    undoable: toasts.undo,
    last: () => moved(stack.last),
    history: (by) => moved(() => stack.history(by)),
    suspend,
  });
  let lostMs: number | undefined;
  const news = (): void => {
    const { connection } = status.state();
    if (connection.kind === "lost") lostMs ??= connection.sinceMs;
    else if (connection.kind === "live" && lostMs !== undefined) {
      shell.say({ text: `back after ${showDuration(now() - lostMs)}`, kind: "info" });
      lostMs = undefined;
    }
    publisher.soon();
  };
  const set = (change: Partial<Settings>): void => {
    settings = { ...settings, ...change };
  };
  const setMouse = (isOn: boolean): void => {
    isMouseOn = isOn;
    terminal.write(mouseSequence(isOn));
  };
  const keys = (): KeyTable => keyTable(stack.top().keys(), everywhere, settings.keys);

  const interrupt = (): void => {
    const isSecond = lastPress === "ctrl-c";
    const overlay = overlays.at(-1);
    if (isSecond || (overlay === undefined && stack.place().screens.length === 1))
      return options.onQuit("ctrl-c");
    if (overlay === undefined) moved(() => stack.pop());
    else closeTop();
  };
  const closeTop = (): void => {
    const overlay = overlays.pop();
    overlay?.closed?.();
    if (overlays.length === 0) stack.top().freeze?.("dialog", false);
  };
  const press = (key: KeyPress): void => {
    if (toasts.current(now())?.kind === "error") toasts.clear();
    if (key.name === "ctrl-c") interrupt();
    else route(key);
    lastPress = key.name;
    publisher.now();
  };
  const route = (key: KeyPress): void => {
    const overlay = overlays.at(-1);
    if (overlay !== undefined) return overlay.press(key);
    if (key.name === "esc") held.drop();
    if (stack.top().press?.(key) === true) return;
    const binding = keys().find(key.name);
    if (binding === undefined || held.hold(stack.top(), binding, key)) return;
    const why = binding.when?.();
    if (why === undefined) binding.run();
    else toasts.say({ text: why, kind: "warning" }, now());
  };

  const frameOf = (columns: number, rows: number): ScreenFrame => ({
    columns,
    rows,
    paint: themePaint(settings.theme, options.isMono),
    glyphs: options.glyphs,
    layout: layoutOf(columns, rows),
    nowMs: shell.serverNow(),
    time: settings.time,
    isLinear: options.isLinear,
  });

  return {
    shell,
    publisher,
    press,
    paste: (text) => {
      const overlay = overlays.at(-1);
      if (overlay === undefined) stack.top().paste?.(text);
      else overlay.paste?.(text);
      publisher.now();
    },
    mouse: (report) => {
      if (report === "other" || overlays.length > 0) return;
      const screen = stack.top();
      const line =
        report.kind === "click" ? report.row - (chromeRows(frameOf(size.columns, size.rows)) >> 1) : 0;
      if (report.kind === "wheel") screen.scroll?.(report.by * 3);
      else if (line >= 0) {
        screen.click?.(line, now() - lastClick.atMs < 400 && lastClick.row === report.row);
        lastClick = { atMs: now(), row: report.row };
      }
      publisher.now();
    },
    lines: (columns, rows) => {
      size = { columns, rows };
      const screen = stack.top();
      const place = stack.place();
      return composeFrame(
        {
          context: options.context,
          role,
          isReadOnly: options.isReadOnly,
          version: options.version,
          status: status.state(),
          freshness: freshness(),
          nowMs: now(),
          crumbs: place.screens.map((one) => one.title()),
          views: views.map(({ id, key, title }) => ({ id, key, title, badge: badges.get(id) ?? "" })),
          viewId: place.viewId,
          frozen: screen.frozen?.(),
          note: screen.note?.() ?? "",
          bindings: keys().bindings,
          toast: toasts.current(now()),
          body: screen.view,
          overlay: overlays.at(-1),
        },
        frameOf(columns, rows),
      );
    },
    screen: stack.top,
    overlay: () => overlays.at(-1),
    keys,
    run: async (signal) => {
      life = signal;
      if (settings.mouse) setMouse(true);
      follow();
      try {
        while (!signal.aborted) {
          statusing = new AbortController();
          await followStatus(options.client(StatusService), status, isDetailed, news, {
            ...options,
            outlivesRefusal: options.outlivesRefusal === true,
            signal: AbortSignal.any([signal, statusing.signal]),
          });
        }
      } finally {
        following.abort();
        publisher.close();
        for (const overlay of overlays) overlay.closed?.();
        if (isMouseOn) terminal.write(mouseSequence(false));
      }
    },
    identify: (name, allowed) => {
      role = name;
      acts.allow(allowed);
      publisher.soon();
    },
    actions: acts.taken,
  };
}
