import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

/** A worker in a process of its own. */
export interface WorkerChild {
  /** The next line that it says. */
  next(): Promise<unknown>;
  /** `kill -9`, and waits for its end. */
  kill(): Promise<void>;
}

/** Starts `worker-program.ts`; its clock is wrong by so much. */
export function startWorkerChild(
  parameters: { readonly address: string; readonly key: string; readonly stateDir: string },
  clockAheadMs = 0,
): WorkerChild {
  const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const child = spawn(
    process.execPath,
    ["--import", path("wrong-clock.ts"), path("worker-program.ts"), JSON.stringify(parameters)],
    {
      stdio: ["ignore", "ignore", "inherit", "pipe"],
      env: { ...process.env, CLOCK_AHEAD_MS: String(clockAheadMs) },
    },
  );
  const lines = createInterface({ input: readable(child.stdio[3]) })[Symbol.asyncIterator]();
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return {
    next: async () => JSON.parse((await lines.next()).value ?? "null"),
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

function readable(stream: ChildProcess["stdio"][number] | undefined): Readable {
  if (stream === null || stream === undefined || !("read" in stream))
    throw new Error("descriptor 3 is no pipe");
  return stream;
}
