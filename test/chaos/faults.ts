import type { Sql } from "postgres";
import type { Cluster, RunWorker } from "./cluster.ts";
import { type FaultName, timersOf } from "./options.ts";
import type { FrameFault } from "./proxy/frame-proxy.ts";
import type { Random } from "./random.ts";

/** What a loop of faults works with. */
interface Parts {
  readonly cluster: Cluster;
  readonly admin: Sql;
  readonly random: Random;
  readonly signal: AbortSignal;
}

/** What the loop of a fault works with. */
interface LoopParts extends Parts {
  /** Takes what goes on beside the loop, so that its failure is heard. */
  readonly beside: (accident: Promise<void>) => void;
}

/** Harm that is being done. */
export interface Harm {
  /**
   * Resolves, after the signal aborted, when all is healed: every process runs again and every proxy passes everything
   * on. Rejects with the first fault that could not be done or healed; the others go on until the signal.
   */
  readonly healed: Promise<void>;
  /** Resolves when nothing of it goes on any more, healed or not. */
  readonly over: Promise<void>;
}

/** Does harm until the signal aborts: each sort of fault is a loop of its own with its own source of accidents. */
export function doHarm(parts: Parts): Harm {
  const { cluster, random } = parts;
  const loops: Readonly<Record<FaultName, (own: LoopParts) => Promise<void>>> = {
    workers: killWorkers,
    coordinators: killCoordinators,
    postgres: crashPostgres,
    backends: terminateBackends,
    commits: swallowCommits,
    partitions: partition,
    freezes: freezeWorkers,
    resets: resetConnections,
    frames: disturbFrames,
    drains: drainWorkers,
  };
  const failed = Promise.withResolvers<never>();
  const going: Promise<void>[] = [];
  const beside = (accident: Promise<void>) => {
    going.push(accident.catch(failed.reject));
  };
  for (const name of cluster.options.faults) {
    beside(loops[name]({ ...parts, random: random.fork(name), beside }));
  }
  const over = (async () => {
    // Loops add to it until they end.
    for (const accident of going) await accident;
  })();
  const healed = Promise.race([failed.promise, over]);
  // Whoever stops a run that failed elsewhere waits for `over` alone.
  healed.catch(() => {});
  return { healed, over };
}

/** What is being done to a worker's process: one thing at a time. */
const occupied = new WeakSet<RunWorker>();

async function withWorker(
  { cluster, random }: Parts,
  body: (worker: RunWorker) => Promise<void>,
): Promise<void> {
  const free = cluster.workers.filter((worker) => !occupied.has(worker) && worker.child.isRunning);
  if (free.length === 0) return;
  const worker = random.pick(free);
  occupied.add(worker);
  try {
    await body(worker);
  } finally {
    occupied.delete(worker);
  }
}

async function killWorkers(parts: LoopParts): Promise<void> {
  const { cluster, random, signal, beside } = parts;
  while (await pause(random.int(2_000, 5_000), signal)) {
    beside(
      withWorker(parts, async (worker) => {
        await cluster.killWorker(worker);
        // Some come back at once, some after their leases are lost.
        await pause(random.chance(0.8) ? random.int(0, 1_000) : random.int(1_000, 10_000), signal);
        await cluster.startWorker(worker);
      }),
    );
  }
}

async function drainWorkers(parts: Parts): Promise<void> {
  const { cluster, random, signal } = parts;
  while (await pause(random.int(10_000, 20_000), signal)) {
    await withWorker(parts, async (worker) => {
      cluster.note("drain-worker", worker.workerId);
      worker.child.signal("SIGTERM");
      // Half of the operators are impatient.
      if (random.chance(0.5)) {
        await pause(300, signal);
        worker.child.signal("SIGTERM");
      }
      await worker.child.stop(4 * timersOf(cluster.options).killGraceMs + 10_000);
      await cluster.startWorker(worker);
    });
  }
}

async function freezeWorkers(parts: Parts): Promise<void> {
  const { cluster, random, signal } = parts;
  const { staleMs, reclaimAfterMs } = timersOf(cluster.options);
  while (await pause(random.int(8_000, 16_000), signal)) {
    await withWorker(parts, async (worker) => {
      const forMs = random.chance(0.5) ? random.int(100, staleMs / 2) : 2 * reclaimAfterMs;
      cluster.note("freeze-worker", worker.workerId, { forMs });
      worker.child.signal("SIGSTOP");
      await pause(forMs, signal);
      worker.child.signal("SIGCONT");
      cluster.note("thaw-worker", worker.workerId);
    });
  }
}

// By the clock, however long one takes to come up; never the last.
async function killCoordinators({ cluster, random, signal, beside }: LoopParts): Promise<void> {
  while (await pause(random.int(17_000, 23_000), signal)) {
    const isDeploy = random.chance(0.25);
    const living = () => cluster.coordinators.filter((one) => one.isUp);
    while (living().length < 2 && (await pause(100, signal)));
    if (signal.aborted) return;
    const one = random.pick(living());
    beside(
      (async () => {
        if (isDeploy) await cluster.stopCoordinator(one);
        else await cluster.killCoordinator(one);
        await pause(random.int(500, 3_000), signal);
        await cluster.startCoordinator(one);
      })(),
    );
  }
}

async function crashPostgres({ cluster, random, signal }: Parts): Promise<void> {
  const everyMs = 1_000 * cluster.options.postgresEverySeconds;
  while (await pause(everyMs * (0.8 + 0.2 * random.next()), signal)) {
    const how = random.chance(0.5) ? "kill" : "immediate";
    cluster.note("kill-postgres", how);
    await cluster.database.crash(how);
    await pause(random.int(0, 2_000), signal);
    await cluster.database.start();
    cluster.note("start-postgres", how);
  }
}

async function terminateBackends({ admin, cluster, random, signal }: Parts): Promise<void> {
  while (await pause(random.int(3_000, 7_000), signal)) {
    const ended = await admin`
      select pg_terminate_backend(pid) as ended, application_name as name from pg_stat_activity
      where application_name like 'muster %' and usename like 'muster\\_%' order by random() limit 2`.catch(
      () => [],
    );
    for (const row of ended) cluster.note("terminate-backends", String(row["name"]));
  }
}

async function swallowCommits({ cluster, random, signal }: Parts): Promise<void> {
  const heals: (() => Promise<void>)[] = [];
  while (await pause(random.int(2_000, 6_000), signal)) {
    const coordinator = random.pick(cluster.coordinators);
    cluster.note("swallow-commit", String(coordinator.index));
    const heal = await coordinator.postgres.fault({
      kind: "swallow-commit",
      limit: 1,
      skip: random.int(0, 20),
      leaving: random.pick(["reset", "half-open"]),
    });
    // A connection that says nothing more is left so for good: it is healed at the end of the run.
    heals.push(heal);
  }
  for (const heal of heals) await heal();
}

async function partition({ cluster, random, signal, beside }: LoopParts): Promise<void> {
  const { staleMs, reclaimAfterMs } = timersOf(cluster.options);
  const cut = new Set<RunWorker>();
  while (await pause(1_000 * cluster.options.partitionEverySeconds * (0.5 + random.next()), signal)) {
    const whole = cluster.workers.filter((worker) => !cut.has(worker));
    if (whole.length === 0) continue;
    const worker = random.pick(whole);
    const isLong = cluster.options.faults.length > 1 && random.chance(0.05);
    const forMs = isLong ? 2 * reclaimAfterMs : random.int(50, staleMs / 2);
    const ways = random.pick(["both", "up", "down"] as const);
    const kind = random.pick(["hold", "swallow"] as const);
    cut.add(worker);
    beside(
      (async () => {
        cluster.note("partition", worker.workerId, { forMs, detail: `${kind} ${ways}` });
        const heal = await worker.path.harm({ kind, ...(ways === "both" ? {} : { direction: ways }) });
        await new Promise((resolve) => setTimeout(resolve, forMs));
        await heal();
        cluster.note("heal", worker.workerId);
        // Two short ones without a heartbeat between them are one long one.
        await pause(staleMs, signal);
        cut.delete(worker);
      })(),
    );
  }
}

async function resetConnections({ cluster, random, signal }: Parts): Promise<void> {
  while (await pause(random.int(2_000, 5_000), signal)) {
    const draw = random.next();
    if (draw < 0.6) {
      const worker = random.pick(cluster.workers);
      cluster.note("reset", worker.workerId);
      await worker.path.harm({ kind: random.pick(["reset", "end"]) });
    } else if (draw < 0.8) {
      cluster.note("reset", "clients");
      await cluster.clientProxy.fault({ kind: "reset" });
    } else {
      const coordinator = random.pick(cluster.coordinators);
      cluster.note("reset", `postgres of ${coordinator.index}`);
      await coordinator.postgres.fault({ kind: "reset" });
    }
  }
}

/** Frames of the link are lost, doubled, late or out of order now and then, as long as the signal lasts. */
async function disturbFrames({ cluster, random, signal }: Parts): Promise<void> {
  const framed = cluster.workers.flatMap(({ workerId, path }) =>
    path.harmFrames ? [{ workerId, harm: path.harmFrames }] : [],
  );
  const heals: (() => Promise<void>)[] = [];
  while (framed.length > 0 && (await pause(random.int(300, 1_000), signal))) {
    const { workerId, harm } = random.pick(framed);
    const fault = random.pick(frameFaults);
    cluster.note("frame-fault", workerId, { detail: JSON.stringify(fault) });
    heals.push(await harm(fault));
  }
  for (const heal of heals) await heal();
}

const some = { kind: "frames", limit: 3, chance: 0.5 } as const;
const frameFaults: readonly FrameFault[] = [
  { ...some, frames: ["offer"], do: { type: "drop" } },
  { ...some, frames: ["offerReply"], do: { type: "drop" } },
  { ...some, frames: ["results"], do: { type: "drop" } },
  { ...some, frames: ["resultAck"], do: { type: "drop" } },
  { ...some, frames: ["heartbeat", "heartbeatAck"], do: { type: "drop" } },
  { ...some, frames: "any", do: { type: "duplicate" } },
  { ...some, frames: "any", do: { type: "delay", ms: 300 } },
  { ...some, frames: "any", do: { type: "reorder", passing: 3 } },
  { ...some, frames: ["results", "offerReply", "heartbeat", "report"], do: { type: "carry", keep: true } },
  { ...some, frames: ["offer", "cancel", "offerAck"], do: { type: "carry", keep: true } },
  { kind: "goaway" },
  { kind: "reset-streams" },
];

/** Resolves after a time with true, or when the signal aborts with false. */
export function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve(!signal.aborted);
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
