import type { DaemonOptions } from "@muster/worker/daemon";
import { sanitize } from "../output/sanitize.ts";
import { showClock } from "../output/time.ts";
import { interruption, type Surroundings } from "../surroundings.ts";

/** A worker of this process, with the kinds that are built in. */
export interface WorkerRun extends Omit<DaemonOptions, "env" | "signals" | "logger"> {
  /** Aborted: take nothing new, end what runs. */
  readonly draining: AbortSignal;
  /** Aborted: give back what runs, and end. */
  readonly forced: AbortSignal;
  /** Only warnings and errors are logged. */
  readonly isQuiet: boolean;
}

/**
 * Runs a worker until it has ended; answers with its exit code. Its log goes to stderr. The package is loaded
 * here, because no other command needs it.
 */
export async function runWorkerDaemon(run: WorkerRun, surroundings: Surroundings): Promise<number> {
  const { runDaemon } = await import("@muster/worker/daemon");
  const { draining, forced, isQuiet, ...options } = run;
  return runDaemon({
    ...options,
    env: surroundings.env,
    signals: (listen) => {
      const onDraining = (): void => listen(interruption(draining).signalName);
      const onForced = (): void => listen(interruption(forced).signalName);
      if (draining.aborted) onDraining();
      else draining.addEventListener("abort", onDraining, { once: true });
      forced.addEventListener("abort", onForced, { once: true });
      return () => {
        draining.removeEventListener("abort", onDraining);
        forced.removeEventListener("abort", onForced);
      };
    },
    logger: workerLogger(surroundings, isQuiet),
  });
}

/** Before a worker of this process runs jobs: nothing of what it was started with is left to be read by them. */
export async function hideFromJobs(surroundings: Surroundings): Promise<void> {
  const { hideEnvironment } = surroundings;
  // Only in a process of its own.
  if (hideEnvironment === undefined) return;
  const { closeInheritedDescriptors } = await import("@muster/worker/inherited-descriptors");
  closeInheritedDescriptors();
  const why = hideEnvironment();
  if (why === undefined) return;
  const message = "jobs of the same user can read the environment that this worker was started with";
  workerLogger(surroundings, true)("warn", message, { why });
}

/** Writes the log of a worker of this process to stderr; quiet: only warnings and errors. */
export function workerLogger(
  surroundings: Pick<Surroundings, "now" | "stderr">,
  isQuiet: boolean,
): DaemonOptions["logger"] {
  return (level, message, fields = {}) => {
    if (level === "debug" || (isQuiet && level === "info")) return;
    const rest = Object.entries(fields).map(([name, value]) => ` ${name}=${JSON.stringify(value) ?? "-"}`);
    const line = `${showClock(surroundings.now())} ${level.padEnd(5)} ${message}${rest.join("")}`;
    surroundings.stderr.write(`${sanitize(line)}\n`);
  };
}
