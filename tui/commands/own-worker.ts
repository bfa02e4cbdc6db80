import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Surroundings } from "../surroundings.ts";
import type { CoordinatorConfig, RunningCoordinator } from "./coordinator.ts";
import { workerLogger } from "./daemon.ts";

/** The worker that a coordinator runs itself, for the kinds that are built in. */
export interface OwnWorker {
  /** Gives back what it holds and ends it. */
  stop(): Promise<void>;
}

type OwnWorkerConfig = Pick<CoordinatorConfig, "kinds" | "githubApiUrl" | "githubToken" | "outboundAllow">;

/**
 * Starts the coordinator's own worker in this process, unless the configuration says that there is none. Nobody waits
 * for it, and it never takes the coordinator with it: when it ends, it is tried again.
 */
export function startOwnWorker(
  coordinator: Pick<RunningCoordinator, "registerOwnWorker">,
  config: OwnWorkerConfig,
  surroundings: Pick<Surroundings, "now" | "stderr">,
): OwnWorker {
  const stopping = new AbortController();
  const ended = config.kinds
    ? keepRunning({ coordinator, config, surroundings, signal: stopping.signal })
    : undefined;
  return {
    async stop() {
      stopping.abort();
      await ended;
    },
  };
}

const restartMs = 10_000;

interface Run {
  readonly coordinator: Pick<RunningCoordinator, "registerOwnWorker">;
  readonly config: OwnWorkerConfig;
  readonly surroundings: Pick<Surroundings, "now" | "stderr">;
  readonly signal: AbortSignal;
}

async function keepRunning(run: Run): Promise<void> {
  const { signal, surroundings } = run;
  while (!signal.aborted) {
    const why = await runOnce(run).catch((error: unknown) => String(error));
    if (signal.aborted) return;
    workerLogger(surroundings, true)("warn", "the coordinator's own worker ended and starts again soon", {
      why,
    });
    await delay(restartMs, undefined, { signal }).catch(() => {});
  }
}

// Each start has a key and a state directory of its own: what an earlier one left has been given to others.
async function runOnce({ coordinator, config, surroundings, signal }: Run): Promise<string> {
  const [{ coordinatorKinds }, { Worker }, { JobFailure }] = await Promise.all([
    import("@muster/server/kinds/kinds"),
    import("@muster/worker"),
    import("@muster/worker/failure"),
  ]);
  const own = await coordinator.registerOwnWorker();
  const stateDir = await mkdtemp(join(tmpdir(), "muster-own-worker-"));
  const { address, apiAddress, orgId, key, name, maintenance } = own;
  const failure = (message: string, code: string) => new JobFailure(message, { code, retryable: false });
  const worker = new Worker({
    address,
    apiAddress,
    key,
    name,
    stateDir,
    handlers: coordinatorKinds({ address: apiAddress, orgId, key, config, maintenance, failure }),
    slots: 2,
    linkThread: false,
    logger: workerLogger(surroundings, true),
  });
  const stop = () => void worker.stop({ graceMs: 0 });
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    // What keeps it from starting is told by its end.
    await worker.start().catch(() => {});
    return (await worker.closed).detail;
  } finally {
    signal.removeEventListener("abort", stop);
    await rm(stateDir, { recursive: true, force: true });
    // Without a database the key lapses with the name: whoever takes it next revokes it.
    await own.release().catch(() => {});
  }
}
