import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { render } from "ink";
import { afterEach, describe, expect, test } from "vitest";
import { createRowWriter } from "../../../tui/top/row-writer.ts";
import { TopScreen } from "../../../tui/top/screen.tsx";
import { withoutMouse } from "../../../tui/top/shell/mouse-input.ts";
import { makePeer } from "./peer.ts";
import { type Stage, stage } from "./stage.ts";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** A terminal of a given size: what is written arrives as text and frames, and keys and a new size can be sent. */
function renderAt(columns: number, rows: number, { isLinear = false } = {}) {
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
  const one: Stage = stage({ routes: makePeer().routes });
  const frames: (readonly string[])[] = [];
  const shown = {
    ...one.console,
    lines: (width: number, height: number): string[] => {
      const lines = one.console.lines(width, height);
      frames.push(lines);
      return lines;
    },
  };
  const writer = createRowWriter((rows) => stdout.write(rows));
  let suspend: ((during: () => Promise<void>) => Promise<void>) | undefined;
  const top = (
    <TopScreen
      console={shown}
      writer={isLinear ? undefined : writer}
      onSuspender={(given) => {
        suspend = given;
      }}
    />
  );
  const screen = render(top, {
    stdout,
    stdin: asStdin(withoutMouse(stdin, one.console.mouse)),
    interactive: true,
    alternateScreen: !isLinear,
    isScreenReaderEnabled: isLinear,
    exitOnCtrlC: false,
    patchConsole: false,
  });
  cleanups.push(() => {
    screen.unmount();
    screen.cleanup();
  }, one.close);
  return {
    one,
    frames,
    screen,
    suspend: (during: () => Promise<void>) => suspend?.(during),
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
    const terminal = renderAt(120, 40);
    await terminal.shown("evil␛[2J");
    terminal.press("2");
    await terminal.shown("␛]0;pwned␇");
    expect(terminal.text()).not.toContain("evil\u001b");
    expect(terminal.text()).not.toContain("\u202e");
    expect(terminal.text()).not.toContain("]0;pwned\u0007");
  });

  test("takes keys, several that come at once, and text that is pasted", async () => {
    const terminal = renderAt(80, 24);
    await terminal.shown("kind:render");
    terminal.press("2");
    await terminal.shown("needs gpu");
    terminal.press("jj");
    expect(terminal.one.console.screen().currentId?.()).toMatch(/99996$/);
    terminal.press("/");
    terminal.press("\u001b[200~state:dead\u001b[201~");
    await terminal.shown("/ state:dead");
  });

  test("takes the mouse when it is told to", async () => {
    const terminal = renderAt(80, 24);
    await terminal.shown("kind:render");
    terminal.press("2");
    await terminal.shown("needs gpu");
    terminal.press("m");
    expect(terminal.one.written).toContain("\u001b[?1000h\u001b[?1006h");
    terminal.press("\u001b[<0;1");
    terminal.press("0;8M");
    expect(terminal.one.console.screen().currentId?.()).toMatch(/99996$/);
    terminal.press("\u001b[<65;10;8M");
    expect(terminal.one.console.screen().id).toBe("jobs");
  });

  test("lays itself out again when the window changes, each frame as high as the window", async () => {
    const terminal = renderAt(80, 24);
    await terminal.shown("Flow, last");
    terminal.resize(50, 10);
    await terminal.shown("Terminal too small: 50×10, need 60×16 · q quits");
    expect(terminal.frames.at(-1)).toHaveLength(10);
    terminal.resize(110, 30);
    await terminal.shown("open pull requests: acme/web 5/5");
    expect(terminal.frames.at(-1)).toHaveLength(30);
  });

  test("leaves the terminal to an editor, and draws all of the screen afterwards", async () => {
    const terminal = renderAt(80, 24);
    await terminal.shown("kind:render");
    let before = "";
    await terminal.suspend(async () => {
      before = terminal.text();
      terminal.one.shell.say({ text: "meanwhile", kind: "info" });
    });
    expect(before).toContain("\u001b[?1049l");
    const after = terminal.text().slice(before.length);
    expect(after.indexOf("meanwhile")).toBeGreaterThan(after.indexOf("\u001b[?1049h"));
    for (const line of terminal.frames.at(-1) ?? []) expect(after).toContain(line);
  });

  test("leaves the rows to Ink for a screen reader", async () => {
    const terminal = renderAt(80, 24, { isLinear: true });
    await terminal.shown("kind:render");
    expect(terminal.text()).not.toContain("\u001b[?7l");
    expect(terminal.text()).not.toContain("\u001b[?1049h");
  });

  test("gives the screen back", async () => {
    const terminal = renderAt(80, 24);
    await terminal.shown("kind:render");
    expect(terminal.text()).toContain("\u001b[?1049h");
    terminal.screen.unmount();
    await terminal.screen.waitUntilExit();
    expect(terminal.text()).toContain("\u001b[?1049l");
    expect(terminal.text().lastIndexOf("\u001b[?25h")).toBeGreaterThan(
      terminal.text().lastIndexOf("\u001b[?25l"),
    );
  });
});
