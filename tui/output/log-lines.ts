import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type AttemptEvent, LogStream } from "@muster/client/v1/event";

/** A line that an attempt logged; untrusted as it came. */
export interface LogLine {
  /** `out`, `err`, `sys`, or the level of the handler's own log call. */
  readonly source: string;
  readonly text: string;
  /** Milliseconds since 1970, by the server's clock; undefined when it did not say. */
  readonly atMs: number | undefined;
}

/** Puts lines together. */
export interface LogLines {
  /** The lines that this event completes. Events that are no log complete none. */
  readonly push: (event: AttemptEvent) => LogLine[];
  /** What is left: lines that never ended. */
  readonly flush: () => LogLine[];
}

/**
 * Makes lines of log records: what a program writes arrives in pieces that end anywhere, while a log call is a
 * record of its own. A piece without an end is held back until its line ends, or is longer than 64 KiB.
 */
export function makeLogLines(): LogLines {
  const open = new Map<string, LogLine>();
  const push = (event: AttemptEvent): LogLine[] => {
    if (event.body.case !== "log") return [];
    const { stream, text, level } = event.body.value;
    const source = sourceWord(stream, level);
    const atMs = event.time === undefined ? undefined : timestampMs(event.time);
    if (stream !== LogStream.STDOUT && stream !== LogStream.STDERR) {
      return splitLines(text.replace(/\r?\n$/, "")).map((line) => ({ source, text: line, atMs }));
    }
    const before = open.get(source);
    const lines = splitLines((before?.text ?? "") + text);
    const rest = lines.pop() ?? "";
    open.delete(source);
    const complete = lines.map((line) => ({ source, text: line, atMs }));
    if (rest.length > longestHeld) return [...complete, { source, text: rest, atMs }];
    if (rest !== "") open.set(source, { source, text: rest, atMs });
    return complete;
  };
  const flush = (): LogLine[] => {
    const rest = [...open.values()];
    open.clear();
    return rest;
  };
  return { push, flush };
}

const longestHeld = 64 * 1024;

function splitLines(text: string): string[] {
  return text.split(/\r?\n/);
}

function sourceWord(stream: LogStream, level: string): string {
  switch (stream) {
    case LogStream.STDOUT:
      return "out";
    case LogStream.STDERR:
      return "err";
    case LogStream.SYSTEM:
      return "sys";
    case LogStream.LOG:
    case LogStream.UNSPECIFIED:
      return level || "log";
  }
}
