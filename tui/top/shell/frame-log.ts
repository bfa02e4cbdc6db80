import { openSync, writeSync } from "node:fs";
import type { Console } from "./shell.ts";

/** A frame, as the file has it: one JSON line each. */
export interface FrameLine {
  /** When it was written, in milliseconds of the clock that never steps (`process.hrtime`). */
  readonly atMs: number;
  /** From the first of its lines to its last byte, in milliseconds; without what it waited for the frame before. */
  readonly workMs: number;
  /** CPU time of this process meanwhile, in milliseconds: what `workMs` is on a machine with nothing else to do. */
  readonly cpuMs: number;
  /** Keys pressed so far that it shows. */
  readonly keys: number;
  /** It had to wait for the frame before; its `workMs` then leaves out the diff with that and the writing. */
  readonly isLate: boolean;
}

/** Measures frames from within. */
export interface FrameLog {
  /** The same console, observed. */
  readonly observe: <Part extends Pick<Console, "lines" | "press">>(shown: Part) => Part;
  /** Called by Ink after each frame. */
  readonly rendered: (metrics: { readonly renderTime: number }) => void;
}

/**
 * Writes how long each frame takes to the file that MUSTER_TOP_FRAMES names; undefined when it names none, as it is
 * but for measurements (`npm run bench -- console`).
 */
export function openFrameLog(env: Readonly<Record<string, string | undefined>>): FrameLog | undefined {
  const path = env["MUSTER_TOP_FRAMES"];
  if (!path) return undefined;
  const file = openSync(path, "a", 0o600);
  let began: Reading | undefined;
  /** What is drawn and not yet written. */
  let waiting = { workMs: 0, cpuMs: 0 };
  let pressed = 0;
  let shownKeys = 0;
  const settle = (): void => {
    if (began === undefined) return;
    const { workMs, cpuMs } = since(began);
    waiting = { workMs: waiting.workMs + workMs, cpuMs: waiting.cpuMs + cpuMs };
    began = undefined;
  };
  return {
    observe: (shown) => ({
      ...shown,
      press: (press) => {
        pressed += 1;
        shown.press(press);
      },
      lines: (columns, rows) => {
        began = read();
        shownKeys = pressed;
        // The commit, and mostly the frame, belong to the same turn.
        queueMicrotask(settle);
        return shown.lines(columns, rows);
      },
    }),
    rendered: ({ renderTime }) => {
      const isLate = began === undefined;
      settle();
      const late = isLate ? renderTime : 0;
      const line: FrameLine = {
        atMs: read().atMs,
        workMs: waiting.workMs + late,
        cpuMs: waiting.cpuMs + late,
        keys: shownKeys,
        isLate,
      };
      waiting = { workMs: 0, cpuMs: 0 };
      writeSync(file, `${JSON.stringify(line)}\n`);
    },
  };
}

interface Reading {
  readonly atMs: number;
  readonly cpuMs: number;
}

function read(): Reading {
  const { user, system } = process.cpuUsage();
  return { atMs: Number(process.hrtime.bigint()) / 1e6, cpuMs: (user + system) / 1_000 };
}

function since(before: Reading): { workMs: number; cpuMs: number } {
  const now = read();
  return { workMs: now.atMs - before.atMs, cpuMs: now.cpuMs - before.cpuMs };
}
