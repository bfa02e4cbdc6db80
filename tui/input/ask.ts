import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import type { Surroundings } from "../surroundings.ts";
import { Interrupted } from "../surroundings.ts";

/** What asking needs. */
export type Asking = Pick<Surroundings, "stdin" | "stderr" | "signal">;

/** Whether somebody sits there to be asked: input and messages are a terminal. */
export function canAsk({ stdin, stderr }: Asking): boolean {
  return stdin.isTTY === true && stderr.isTTY === true;
}

/** Asks for a line, on stderr. Answers undefined at the end of input; throws `Interrupted` at Ctrl-C. */
export function askLine(asking: Asking, question: string): Promise<string | undefined> {
  return ask(asking, question, false);
}

/** Asks for a line that is not shown while it is typed. */
export function askHidden(asking: Asking, question: string): Promise<string | undefined> {
  return ask(asking, question, true);
}

async function ask(asking: Asking, question: string, isHidden: boolean): Promise<string | undefined> {
  const { stdin, stderr, signal } = asking;
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  if (isHidden) stderr.write(question);
  const lines = createInterface({ input: stdin, output: isHidden ? silent : stderr, terminal: true });
  const stop = new AbortController();
  let reason: unknown;
  const end = (why: unknown): void => {
    reason = why;
    stop.abort();
  };
  const onAbort = (): void => end(signal.reason);
  // A terminal in raw mode hands Ctrl-C over as a key.
  lines.on("SIGINT", () => end(new Interrupted("SIGINT")));
  lines.on("close", () => end(undefined));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    signal.throwIfAborted();
    return await lines.question(isHidden ? "" : question, { signal: stop.signal });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    if (reason !== undefined) throw reason;
    return undefined;
  } finally {
    signal.removeEventListener("abort", onAbort);
    lines.close();
    if (isHidden) stderr.write("\n");
  }
}
