import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Surroundings } from "../surroundings.ts";
import type { CoordinatorConfig, RunningCoordinator } from "./coordinator.ts";
import { workerLogger } from "./daemon.ts";
import { type OrgWorker, OrgWorkers } from "./org-workers.ts";

/** The workers that a coordinator runs itself, for the kinds that are built in. */
export interface OwnWorker {
  /** Gives back what they hold and ends them. */
  stop(): Promise<void>;
}

type OwnWorkerConfig = Pick<
  CoordinatorConfig,
  "kinds" | "githubApiUrl" | "githubToken" | "githubTokenOrgs" | "outboundAllow"
>;
type Own = Awaited<ReturnType<RunningCoordinator["registerOwnWorker"]>>;

/**
 * Starts the coordinator's own worker in this process, unless the configuration says that there is none: one in the org
 * `default` all the time, and one in any other org while it has jobs of the built-in kinds. Nobody waits for them, and
 * they never take the coordinator with them: when one ends, it is tried again. `lingerMs`: how long one of another org
 * stays that has nothing to do.
 */
export function startOwnWorker(
  coordinator: Pick<RunningCoordinator, "registerOwnWorker" | "wanted">,
  config: OwnWorkerConfig,
  surroundings: Pick<Surroundings, "now" | "stderr">,
  { lingerMs = 120_000 }: { readonly lingerMs?: number } = {},
): OwnWorker {
  const stopping = new AbortController();
  if (!config.kinds) return { stop: async () => {} };
  const run = { coordinator, config, surroundings, signal: stopping.signal };
  const keys = new Keys(coordinator);
  const orgs = new OrgWorkers({
    start: (orgId) => startIn(run, keys, orgId),
    ...{ lingerMs, restartMs, most: mostOrgs, now: () => performance.now() },
  });
  const sweeping = setInterval(() => orgs.sweep(), Math.min(lingerMs, 5_000));
  sweeping.unref();
  // Its own org has a worker from the start, which is not to be mistaken for one that is wanted.
  const home = keepRunning(run, ({ orgId: homeId }) =>
    coordinator.wanted.listen((orgId) => (orgId === homeId ? undefined : orgs.want(orgId))),
  );
  return {
    async stop() {
      stopping.abort();
      clearInterval(sweeping);
      await Promise.all([home, orgs.stop()]);
      await keys.release();
    },
  };
}

const restartMs = 10_000;

/** Orgs beside the coordinator's own that have a worker here at once. */
const mostOrgs = 32;

interface Run {
  readonly coordinator: Pick<RunningCoordinator, "registerOwnWorker">;
  readonly config: OwnWorkerConfig;
  readonly surroundings: Pick<Surroundings, "now" | "stderr">;
  readonly signal: AbortSignal;
}

// Each start of an org's worker would be an entry in its audit log, where one key for all of them does.
class Keys {
  readonly #coordinator: Run["coordinator"];
  readonly #byOrg = new Map<string, Promise<Own>>();

  constructor(coordinator: Run["coordinator"]) {
    this.#coordinator = coordinator;
  }

  of(orgId: string): Promise<Own> {
    const known = this.#byOrg.get(orgId) ?? this.#coordinator.registerOwnWorker(orgId);
    this.#byOrg.set(orgId, known);
    return known;
  }

  /** It may be good no more: the next start has another one. */
  async forget(orgId: string): Promise<void> {
    const known = this.#byOrg.get(orgId);
    this.#byOrg.delete(orgId);
    await releaseKey(known);
  }

  async release(): Promise<void> {
    for (const orgId of [...this.#byOrg.keys()]) await this.forget(orgId);
  }
}

// Without a database the key lapses with the name: whoever takes it next revokes it.
async function releaseKey(own: Promise<Own> | undefined): Promise<void> {
  await own?.then(({ release }) => release()).catch(() => {});
}

async function keepRunning(run: Run, registered: (own: Own) => void): Promise<void> {
  const { signal } = run;
  while (!signal.aborted) {
    const own = run.coordinator.registerOwnWorker();
    const why = await own
      .then((settled) => {
        registered(settled);
        return runOnce(run, settled, signal);
      })
      .catch((error: unknown) => String(error));
    await releaseKey(own);
    if (signal.aborted) return;
    sayEnded(run, why);
    await delay(restartMs, undefined, { signal }).catch(() => {});
  }
}

function startIn(run: Run, keys: Keys, orgId: string): OrgWorker {
  const stopping = new AbortController();
  const use: Use = { running: 0, idleSinceMs: null };
  const ended = (async () => {
    const why = await keys
      .of(orgId)
      .then((own) => runOnce(run, own, AbortSignal.any([run.signal, stopping.signal]), use))
      .catch((error: unknown) => String(error));
    if (run.signal.aborted || stopping.signal.aborted) return;
    await keys.forget(orgId);
    sayEnded(run, why, { orgId });
  })();
  return {
    idleSinceMs: () => (use.running > 0 ? null : use.idleSinceMs),
    stop: () => stopping.abort(),
    ended,
  };
}

function sayEnded({ surroundings }: Run, why: string, of: { readonly orgId?: string } = {}): void {
  const text = "the coordinator's own worker ended and starts again soon";
  workerLogger(surroundings, true)("warn", text, { why, ...of });
}

interface Use {
  running: number;
  /** Since when nothing runs; null: it was never attached. */
  idleSinceMs: number | null;
}

// Each start has a state directory of its own: what an earlier one left has been given to others.
async function runOnce(
  { config, surroundings }: Run,
  own: Own,
  signal: AbortSignal,
  use: Use = { running: 0, idleSinceMs: null },
): Promise<string> {
  const [{ coordinatorKinds }, { Worker }, { JobFailure }] = await Promise.all([
    import("@muster/server/kinds/kinds"),
    import("@muster/worker"),
    import("@muster/worker/failure"),
  ]);
  const stateDir = await mkdtemp(join(tmpdir(), "muster-own-worker-"));
  const { address, apiAddress, orgName, key, name, maintenance } = own;
  const failure = (message: string, code: string) => new JobFailure(message, { code, retryable: false });
  const kinds = coordinatorKinds({ address: apiAddress, orgName, key, config, maintenance, failure });
  const handlers = Object.entries(kinds).map(([kind, handler]): [string, typeof handler] => [
    kind,
    async (ctx) => {
      use.running++;
      try {
        return await handler(ctx);
      } finally {
        use.running--;
        use.idleSinceMs = performance.now();
      }
    },
  ]);
  const worker = new Worker({
    address,
    apiAddress,
    key,
    name,
    stateDir,
    handlers: Object.fromEntries(handlers),
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
    use.idleSinceMs = performance.now();
    return (await worker.closed).detail;
  } finally {
    signal.removeEventListener("abort", stop);
    await rm(stateDir, { recursive: true, force: true });
  }
}
