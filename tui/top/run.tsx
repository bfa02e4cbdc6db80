import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { KeyService } from "@muster/client/v1/key_service";
import { render } from "ink";
import type { Call } from "../call.ts";
import { stateDirectory } from "../context.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { didYouMean } from "../input/suggest.ts";
import { paintLevel } from "../output/paint.ts";
import { sanitize } from "../output/sanitize.ts";
import { showClock, showCounted } from "../output/time.ts";
import { interruption } from "../surroundings.ts";
import { createRowWriter } from "./row-writer.ts";
import { saveLines } from "./save.ts";
import { TopScreen } from "./screen.tsx";
import type { ContextChoice } from "./screens/contexts.ts";
import { createViews } from "./screens/views.ts";
import { openFrameLog } from "./shell/frame-log.ts";
import { fileKeeper } from "./shell/keeper.ts";
import { withoutMouse } from "./shell/mouse-input.ts";
import { loadSettings } from "./shell/settings.ts";
import { type Console, createConsole } from "./shell/shell.ts";
import type { ThemeName } from "./shell/themes.ts";

/** What the command line says about the console. */
export interface TopOptions {
  readonly theme?: ThemeName;
  /** Id of the view to begin with. */
  readonly view?: string;
  /** For screen readers. */
  readonly isLinear: boolean;
  readonly version: string;
  /** The contexts of the configuration, and how to open the console on another. Absent: there is no other. */
  readonly contexts?: Pick<ContextChoice, "list"> & {
    readonly open: (name: string) => Promise<number>;
    /** Why it cannot be opened: what this machine has of it is not whole. */
    readonly barrier: (name: string) => string | undefined;
  };
}

/**
 * Shows the console until the user leaves: `q` ends with 0, Ctrl-C with 130. The terminal is as it was before when
 * this returns. Throws when the coordinator refuses the very first call and there is no other context; else it only
 * says so.
 */
export async function runTopScreen(call: Call, options: TopOptions): Promise<number> {
  const { surroundings, output } = call;
  const { env, now, stdout, stdin, stderr } = surroundings;
  const { name, address, addressFlag, isReadOnly } = call.context();
  const { settings, warnings } = loadSettings(surroundings);
  const { contexts } = options;
  const leaving = new AbortController();
  let next: string | undefined;
  const views = createViews({
    snoozes: fileKeeper(join(stateDirectory(surroundings), "snoozed.json")),
    ...(contexts === undefined
      ? {}
      : {
          contexts: {
            list: contexts.list,
            use: (name) => {
              const why = contexts.barrier(name);
              if (why !== undefined) return shown.shell.say({ text: why, kind: "error" });
              next = name;
              leaving.abort();
            },
          },
        }),
  });
  const ids = views.map(({ id }) => id);
  if (options.view !== undefined && !ids.includes(options.view)) {
    throw usageError(
      `there is no view ${JSON.stringify(options.view)}`,
      `${didYouMean(options.view, ids) ?? ""} Use one of ${ids.join(", ")}.`.trim(),
    );
  }
  const { color } = call.globals;
  const isPlain = color === false || color === "never";
  let exitCode: number = exitCodes.done;
  let suspend: ((during: () => Promise<void>) => Promise<void>) | undefined;
  const shown = createConsole({
    client: call.client,
    views,
    settings: {
      ...settings,
      ...(options.theme === undefined ? {} : { theme: options.theme }),
      ...(options.view === undefined ? {} : { view: options.view }),
    },
    context: name ?? address,
    addressFlag,
    version: options.version,
    isReadOnly,
    isMono: paintLevel({ isTty: true, noColor: isPlain, isForced: color === "always", env }) !== "colour",
    isLinear: options.isLinear,
    glyphs: output.glyphs,
    terminal: {
      write: (sequence) => {
        stdout.write(sequence);
      },
      suspend: (during) => (suspend === undefined ? during() : suspend(during)),
      env,
    },
    now,
    outlivesRefusal: contexts !== undefined,
    save: (name, lines) => saveLines(surroundings.cwd, name, lines),
    onQuit: (by) => {
      if (by === "ctrl-c") exitCode = exitCodes.interrupted;
      leaving.abort();
    },
  });
  for (const text of warnings) shown.shell.say({ text, kind: "warning" });
  const plain = { console: shown, writer: createRowWriter((text) => stdout.write(text)) };
  const drawn = openFrameLog(env)?.observe(plain.console, plain.writer) ?? plain;
  const screen = render(
    <TopScreen
      console={drawn.console}
      writer={options.isLinear ? undefined : drawn.writer}
      onSuspender={(given) => {
        suspend = given;
      }}
    />,
    {
      stdin: withoutMouse(stdin, shown.mouse),
      stdout,
      stderr,
      interactive: true,
      alternateScreen: !options.isLinear,
      exitOnCtrlC: false,
      kittyKeyboard: { mode: "auto" },
      isScreenReaderEnabled: options.isLinear,
    },
  );
  // Ages on the screen grow also when nothing comes; mostly a status does.
  let published = shown.publisher.version();
  const clock = setInterval(() => {
    if (shown.publisher.version() === published) shown.publisher.soon();
    published = shown.publisher.version();
  }, 1_000);
  const signal = AbortSignal.any([call.signal, leaving.signal]);
  try {
    void identify(call, shown, signal);
    await shown.run(signal);
  } finally {
    clearInterval(clock);
    screen.unmount();
    await screen.waitUntilExit();
    screen.cleanup();
  }
  if (call.signal.aborted) return interruption(call.signal).exitCode;
  if (next !== undefined && contexts !== undefined) return contexts.open(next);
  const { count, sinceMs } = shown.actions();
  const taken =
    count === 0
      ? "."
      : `. ${showCounted(count, "action")} taken since ${showClock(sinceMs)}: muster audit list --mine`;
  output.note(`Left muster (${address})${taken}`);
  return exitCode;
}

// Who calls decides what can be done. Servers that do not tell refuse what they must by themselves.
async function identify(call: Call, shown: Console, signal: AbortSignal): Promise<void> {
  try {
    const who = await call.client(KeyService).whoAmI({}, { signal, timeoutMs: 10_000 });
    const scopes = who.key?.scopes ?? who.scopes;
    const may = ["admin", "operate", "submit", "work", "read"].find((scope) => scopes.includes(scope)) ?? "";
    // A person sees who they are, and a key what it may.
    const role = who.person === undefined ? may : `${sanitize(who.person.email)} (${may})`;
    if (scopes.length > 0) shown.identify(role, scopes);
  } catch (error) {
    if (ConnectError.from(error).code === Code.Unimplemented || signal.aborted) return;
  }
}
