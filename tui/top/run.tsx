import { setTimeout as delay } from "node:timers/promises";
import type { ConnectError } from "@connectrpc/connect";
import { StatusService } from "@muster/client/v1/status_service";
import { render } from "ink";
import type { Call } from "../call.ts";
import { exitCodes } from "../exit-codes.ts";
import { durationFromMs } from "../input/values.ts";
import { reportError } from "../report.ts";
import { followStream } from "../stream/reconnect.ts";
import { interruption } from "../surroundings.ts";
import { overview } from "./overview.ts";
import { TopScreen } from "./screen.tsx";
import { createTopStore, type TopState, type TopStore } from "./store.ts";

/**
 * Shows the live screen until the user leaves: `q` ends with 0, Ctrl-C with 130. The terminal is as it was
 * before when this returns. Throws when the coordinator refuses the very first call; later it only says so.
 */
export async function runTopScreen(call: Call): Promise<number> {
  const { surroundings, output } = call;
  const { address } = call.context();
  const store = createTopStore(surroundings.now());
  const leaving = new AbortController();
  let exitCode: number = exitCodes.done;
  const view = (state: TopState, columns: number, rows: number): string[] =>
    overview(state, address, { columns, rows, paint: output.paint, glyphs: output.glyphs });
  const screen = render(
    <TopScreen
      store={store}
      view={view}
      onQuit={(by) => {
        if (by === "ctrl-c") exitCode = exitCodes.interrupted;
        leaving.abort();
      }}
    />,
    {
      stdin: surroundings.stdin,
      stdout: surroundings.stdout,
      stderr: surroundings.stderr,
      interactive: true,
      alternateScreen: true,
      incrementalRendering: true,
      maxFps: 12,
      exitOnCtrlC: false,
      kittyKeyboard: { mode: "auto" },
    },
  );
  const clock = setInterval(() => store.tick(surroundings.now()), 500);
  const signal = AbortSignal.any([call.signal, leaving.signal]);
  try {
    await feedStore(call, store, signal);
  } finally {
    clearInterval(clock);
    screen.unmount();
    await screen.waitUntilExit();
    screen.cleanup();
  }
  if (call.signal.aborted) return interruption(call.signal).exitCode;
  output.note(`Left muster (${address}).`);
  return exitCode;
}

// Until the signal: a refusal after the first figures (a revoked key) is shown and tried again.
async function feedStore(call: Call, store: TopStore, signal: AbortSignal): Promise<void> {
  const { now } = call.surroundings;
  const client = call.client(StatusService);
  const request = { detail: true, interval: durationFromMs(1000) };
  const open = (inner: AbortSignal) => client.watchStatus(request, { signal: inner });
  const options = {
    signal,
    isComplete: () => false,
    fromTheStart: true,
    idleMs: 10_000,
    onLost: (error: ConnectError, delayMs: number, attempt: number) =>
      store.lose(error.rawMessage, delayMs, attempt, now()),
  };
  while (!signal.aborted) {
    try {
      for await (const { status } of followStream(open, options)) {
        if (status !== undefined) store.receive(status, now());
      }
    } catch (error) {
      if (signal.aborted) return;
      if (store.getState().status === undefined) throw error;
      store.lose(reportError(error, call.context()).message, refusedPauseMs, 1, now());
      await delay(refusedPauseMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

const refusedPauseMs = 30_000;
