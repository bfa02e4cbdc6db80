import { writeSync } from "node:fs";
import { createInterface } from "node:readline";

/** The demo, as its child processes see it. */
export interface Parent {
  /** What it said: one line of JSON on standard input, so that keys stand in no list of processes. */
  readonly settings: Readonly<Record<string, string>>;
  /** Aborts when standard input ends: the parent is gone, however it ended. */
  readonly gone: AbortSignal;
}

const readyDescriptor = 3;

/** Hears what the parent says at the start. Rejects when it says nothing that is right. */
export async function hearParent(): Promise<Parent> {
  const gone = new AbortController();
  const lines = createInterface({ input: process.stdin });
  const first = await new Promise<string>((resolve, reject) => {
    lines.once("line", resolve);
    lines.once("close", () => {
      gone.abort();
      reject(new Error("the demo went away before it said anything"));
    });
  });
  return { settings: readTexts(JSON.parse(first)), gone: gone.signal };
}

/** Tells the parent that this process is ready: one line of JSON on descriptor 3. */
export function tellReady(fields: Readonly<Record<string, string>>): void {
  writeSync(readyDescriptor, `${JSON.stringify(fields)}\n`);
}

/** The texts of a JSON object; throws when it holds anything else. */
export function readTexts(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== "object" || value === null) throw new Error("expected a JSON object");
  return Object.fromEntries(
    Object.entries(value).map(([name, text]) => {
      if (typeof text !== "string") throw new Error(`${name} is no text`);
      return [name, text];
    }),
  );
}
