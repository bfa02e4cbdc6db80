import { openSync, writeSync } from "node:fs";
import type { RowWriter } from "../row-writer.ts";
import type { Console } from "./shell.ts";

/** A frame, as the file has it: one JSON line each. */
export interface FrameLine {
  /** When it was written, in milliseconds of the clock that never steps (`process.hrtime`). */
  readonly atMs: number;
  /** From the first of its lines to its last byte, in milliseconds. */
  readonly workMs: number;
  /** CPU time of this process meanwhile, in milliseconds: what `workMs` is on a machine with nothing else to do. */
  readonly cpuMs: number;
  /** Keys pressed so far that it shows. */
  readonly keys: number;
}

/** Measures frames from within. */
export interface FrameLog {
  /** The same console and the same writer, observed. */
  readonly observe: <Part extends Pick<Console, "lines" | "press">>(
    shown: Part,
    writer: RowWriter,
  ) => { readonly console: Part; readonly writer: RowWriter };
}

/**
 * Writes how long each frame takes to the file that MUSTER_TOP_FRAMES names; undefined when it names none, as it is
 * but for measurements (`npm run bench -- console`).
 */
export function openFrameLog(env: Readonly<Record<string, string | undefined>>): FrameLog | undefined {
  const path = env["MUSTER_TOP_FRAMES"];
  if (!path) return undefined;
  const file = openSync(path, "a", 0o600);
  return {
    observe: (shown, writer) => {
      let began = read();
      let keys = 0;
      return {
        console: {
          ...shown,
          press: (press) => {
            keys += 1;
            shown.press(press);
          },
          lines: (columns, rows) => {
            began = read();
            return shown.lines(columns, rows);
          },
        },
        writer: {
          ...writer,
          show: (rows, columns) => {
            writer.show(rows, columns);
            const { atMs, cpuMs } = read();
            const line: FrameLine = {
              atMs,
              workMs: atMs - began.atMs,
              cpuMs: cpuMs - began.cpuMs,
              keys,
            };
            writeSync(file, `${JSON.stringify(line)}\n`);
          },
        },
      };
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
