import { homedir } from "node:os";
import { runProgram } from "./program.ts";
import { Interrupted, type Surroundings } from "./surroundings.ts";

/** Runs the command line of this process and ends it with the exit code. Called by bin/muster.js. */
export async function main(): Promise<void> {
  const stop = new AbortController();
  const force = new AbortController();
  // The first signal asks, the second insists, the third ends.
  const onSignal = (name: "SIGINT" | "SIGTERM"): void => {
    const interrupted = new Interrupted(name);
    if (!stop.signal.aborted) stop.abort(interrupted);
    else if (!force.signal.aborted) force.abort(interrupted);
    else process.exit(interrupted.exitCode);
  };
  process.on("SIGINT", () => onSignal("SIGINT"));
  process.on("SIGTERM", () => onSignal("SIGTERM"));
  // A reader that has enough, like head, is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? 0 : 1);
  });
  const surroundings: Surroundings = {
    env: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: stop.signal,
    forced: force.signal,
    cwd: process.cwd(),
    home: homedir(),
    now: Date.now,
  };
  const exitCode = await runProgram(process.argv.slice(2), surroundings);
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit(exitCode);
}

// A write is called back when all before it are out.
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write("", () => resolve());
  });
}
