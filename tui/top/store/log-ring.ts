import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { AttemptEvent } from "@muster/client/v1/event";
import { type LogLines, makeLogLines } from "../../output/log-lines.ts";

/** A line of the log screen; untrusted as it came. */
export interface RecordLine {
  /** Grows by one with each line that ever came: where a line is found again when others are dropped. */
  readonly number: number;
  readonly attempt: number;
  /** `out`, `err`, `sys`, a level; `gap` for what is missing, `message` and `partial` for what the handler sent. */
  readonly source: string;
  readonly text: string;
  /** Milliseconds since 1970, by the server's clock. */
  readonly atMs: number | undefined;
}

/** The latest lines of a job's record; older ones are dropped, and counted. */
export interface LogRing {
  readonly push: (event: AttemptEvent) => void;
  readonly lines: () => readonly RecordLine[];
  /** Lines that were dropped at the front. */
  readonly dropped: () => number;
  readonly clear: () => void;
}

/** Lines that are kept. */
export const mostLines = 10_000;

/** Makes an empty ring. What a program writes is put together to lines; lines without an end yet are held back. */
export function createLogRing(most = mostLines): LogRing {
  let lines: RecordLine[] = [];
  let number = 0;
  let open = new Map<number, LogLines>();
  const add = (line: Omit<RecordLine, "number">): void => {
    lines.push({ ...line, number: number++ });
    // Dropping one by one would move the array each time.
    if (lines.length >= most * 1.25) lines = lines.slice(-most);
  };
  return {
    push: (event) => {
      const { attempt, body } = event;
      const atMs = event.time === undefined ? undefined : timestampMs(event.time);
      switch (body.case) {
        case "log": {
          const maker = open.get(attempt) ?? makeLogLines();
          open.set(attempt, maker);
          for (const line of maker.push(event)) add({ ...line, attempt });
          return;
        }
        case "gap": {
          const { fromSequence, toSequence, cause } = body.value;
          const count = toSequence - fromSequence + 1n;
          add({ attempt, source: "gap", text: `${count} records missing (${cause})`, atMs });
          return;
        }
        case "message":
          add({ attempt, source: "message", text: body.value, atMs });
          return;
        case "partial":
          add({ attempt, source: "partial", text: "a partial result came", atMs });
          return;
        case "event":
          add({ attempt, source: "event", text: body.value.name, atMs });
          return;
        case undefined:
          return;
      }
    },
    lines: () => (lines.length > most ? lines.slice(-most) : lines),
    dropped: () => number - Math.min(lines.length, most),
    clear: () => {
      lines = [];
      number = 0;
      open = new Map();
    },
  };
}
