import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { render } from "ink";
import { afterEach, describe, expect, test } from "vitest";
import { paintFor } from "../../../tui/output/paint.ts";
import { overview } from "../../../tui/top/overview.ts";
import { TopScreen } from "../../../tui/top/screen.tsx";
import { createTopStore, type TopState } from "../../../tui/top/store.ts";
import { sampleMs, sampleStatus } from "./sample.ts";

const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

// A terminal of a given size: what Ink writes arrives as frames, and keys and a new size can be sent.
function renderAt(columns: number, rows: number) {
  const stdout = Object.assign(new PassThrough(), { isTTY: true, columns, rows });
  const stdin = Object.assign(new EventEmitter(), {
    isTTY: true,
    setRawMode: () => stdin,
    setEncoding: () => stdin,
    ref: () => undefined,
    unref: () => undefined,
    pending: [] as string[],
    read: (): string | null => stdin.pending.shift() ?? null,
    resume: () => stdin,
    pause: () => stdin,
  });
  let text = "";
  const waiters = new Set<() => void>();
  stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
    for (const waiter of waiters) waiter();
  });
  const store = createTopStore(sampleMs);
  const quits: string[] = [];
  const frames: (readonly string[])[] = [];
  const view = (state: TopState, width: number, height: number): string[] => {
    const lines = overview(state, "http://x", {
      columns: width,
      rows: height,
      paint: paintFor("colour"),
      glyphs: "unicode",
    });
    frames.push(lines);
    return lines;
  };
  const quit = Promise.withResolvers<string>();
  const screen = render(
    <TopScreen
      store={store}
      view={view}
      onQuit={(by) => {
        quits.push(by);
        quit.resolve(by);
      }}
    />,
    {
      stdout,
      stdin: asStdin(stdin),
      interactive: true,
      alternateScreen: true,
      exitOnCtrlC: false,
      patchConsole: false,
    },
  );
  cleanups.push(() => {
    screen.unmount();
    screen.cleanup();
  });
  return {
    store,
    quit: quit.promise,
    frames,
    screen,
    text: () => text,
    press: (keys: string) => {
      stdin.pending.push(keys);
      stdin.emit("readable");
    },
    resize: (width: number, height: number) => {
      Object.assign(stdout, { columns: width, rows: height });
      stdout.emit("resize");
    },
    shown: (wanted: string): Promise<void> => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const look = (): void => {
        if (stripVTControlCharacters(text).includes(wanted)) resolve();
      };
      waiters.add(look);
      look();
      return promise;
    },
  };
}

function asStdin(stdin: unknown): NodeJS.ReadStream {
  // Safe: it has every member of a terminal's stdin that Ink touches.
  return stdin as NodeJS.ReadStream;
}

describe("TopScreen", () => {
  test("shows new figures, and draws nothing that acts on the terminal out of names", async () => {
    const terminal = renderAt(80, 24);
    terminal.store.receive(sampleStatus(), sampleMs);
    await terminal.shown("evil␛[2J");
    expect(terminal.text()).not.toContain("evil\u001b");
    expect(terminal.text()).not.toContain("\u202e");
    expect(terminal.text()).not.toContain("]0;pwned\u0007");
  });

  test("lays itself out again when the window changes", async () => {
    const terminal = renderAt(80, 24);
    terminal.store.receive(sampleStatus(), sampleMs);
    await terminal.shown("Flow, last");
    terminal.resize(50, 10);
    await terminal.shown("Terminal too small: 50×10");
    terminal.resize(110, 30);
    await terminal.shown("open pull requests: acme/web 5/5");
    expect(terminal.frames.at(-1)).toHaveLength(30);
  });

  test.each([
    ["q", "q"],
    ["\u0003", "ctrl-c"],
  ])("leaves on %j", async (key, by) => {
    const terminal = renderAt(80, 24);
    await terminal.shown("Waiting for the first figures");
    terminal.press("x");
    terminal.press(key);
    expect(await terminal.quit).toBe(by);
  });

  test("gives the screen back", async () => {
    const terminal = renderAt(80, 24);
    await terminal.shown("Waiting for the first figures");
    expect(terminal.text()).toContain("\u001b[?1049h");
    terminal.screen.unmount();
    await terminal.screen.waitUntilExit();
    expect(terminal.text()).toContain("\u001b[?1049l");
    expect(terminal.text().lastIndexOf("\u001b[?25h")).toBeGreaterThan(
      terminal.text().lastIndexOf("\u001b[?25l"),
    );
  });
});
