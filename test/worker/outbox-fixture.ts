import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";
import { Outbox, type OutboxOptions } from "../../worker/outbox.ts";

/** A directory for one test, not made yet; what is in it goes with the test. */
export async function newDirectory(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "muster-outbox-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  return join(root, "outbox");
}

/** An entry whose body tells its id. */
export function entry(resultId: string): { resultId: string; body: Uint8Array } {
  return { resultId, body: new TextEncoder().encode(`result ${resultId}`) };
}

/** What is pending, by id. */
export function ids(outbox: Outbox): string[] {
  return outbox.pending().map(({ resultId }) => resultId);
}

/** Appends entries in one turn, and waits until all are durable. */
export async function appendAll(outbox: Outbox, resultIds: readonly string[]): Promise<void> {
  await Promise.all(resultIds.map((id) => outbox.append(entry(id))));
}

/** Opens an outbox that the test closes at its end. */
export async function openOutbox(
  directory: string,
  options: Omit<Partial<OutboxOptions>, "directory" | "signal"> = {},
): Promise<Outbox> {
  const outbox = await Outbox.open({ directory, signal: new AbortController().signal, ...options });
  onTestFinished(() => outbox.close());
  return outbox;
}

/** Names of the segment files, oldest first. */
export async function segments(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => name.endsWith(".outbox")).sort();
}

/** The bytes of the one segment that there is. */
export async function onlySegment(directory: string): Promise<Buffer> {
  const [name, ...others] = await segments(directory);
  if (name === undefined || others.length > 0) throw new Error(`expected one segment: ${name} ${others}`);
  return await readFile(join(directory, name));
}

/** A process with an outbox. */
export interface Child {
  readonly process: ChildProcess;
  /** All whole lines that it printed, when it has ended. */
  readonly output: Promise<string[]>;
  /** Resolves when it has printed this line. */
  line(text: string): Promise<void>;
  /** Resolves when it has printed so many lines. */
  count(lines: number): Promise<void>;
}

/** A process that runs a script with `Outbox` and `directory`; killed with the test. */
export function startChild(
  directory: string,
  script: string,
  wrap: (argv: string[]) => string[] = (argv) => argv,
): Child {
  const module = JSON.stringify(new URL("../../worker/outbox.ts", import.meta.url).href);
  const source = `import { Outbox } from ${module}; const directory = ${JSON.stringify(directory)}; ${script}`;
  const [program = "", ...args] = wrap([process.execPath, "--input-type=module", "-e", source]);
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const printed: string[] = [];
  const reader = createInterface(child.stdout);
  reader.on("line", (text) => printed.push(text));
  const ended = once(reader, "close");
  const until = async (isReached: () => boolean) => {
    while (!isReached()) {
      const more = await Promise.race([once(reader, "line").then(() => true), ended.then(() => false)]);
      if (!more && !isReached()) throw new Error(`the child ended after printing: ${printed.join(", ")}`);
    }
  };
  return {
    process: child,
    output: Promise.all([ended, once(child, "exit")]).then(() => printed),
    line: (text) => until(() => printed.includes(text)),
    count: (lines) => until(() => printed.length >= lines),
  };
}
