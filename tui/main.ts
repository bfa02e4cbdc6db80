import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { hideEnvironment, restoreEnvironment } from "./hidden-environment.ts";
import { runProgram } from "./program.ts";
import { Interrupted, type Surroundings } from "./surroundings.ts";

/** Runs the command line of this process and ends it with the exit code. Called by bin/muster.js. */
export async function main(): Promise<void> {
  const isHidden = restoreEnvironment();
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
  // A terminal that is closed ends what runs in it, in good order; what nohup started is not told. Who has no terminal
  // is asked to read its files again.
  let isHungUp = false;
  const reloads = new Set<() => void>();
  if (!ignoresHangUp()) {
    process.on("SIGHUP", () => {
      if (reloads.size > 0 && !hasTerminal()) {
        for (const reload of reloads) reload();
        return;
      }
      isHungUp = true;
      onSignal("SIGTERM");
    });
  }
  // A reader that has enough, like head, is no error; nor is a terminal that has gone.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (isHungUp) return;
    if (error.code !== "EPIPE") process.stderr.write(`error: cannot write the output: ${error.message}\n`);
    process.exit(error.code === "EPIPE" ? 0 : 1);
  });
  process.stderr.on("error", () => {});
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
    hideEnvironment: isHidden ? () => undefined : hideEnvironment,
    onReload: (listen) => {
      reloads.add(listen);
      return () => void reloads.delete(listen);
    },
  };
  const exitCode = await runProgram(process.argv.slice(2), surroundings);
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit(exitCode);
}

function hasTerminal(): boolean {
  return [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY === true);
}

// A write is called back when all before it are out, or can no longer be.
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) return resolve();
    stream.once("error", () => resolve());
    stream.write("", () => resolve());
  });
}

// The first bit of the ignored signals, where the system tells.
function ignoresHangUp(): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
    return (BigInt(`0x${mask}`) & 1n) === 1n;
  } catch {
    return false;
  }
}
