import { join } from "node:path";
import { createMusterClient } from "@muster/client/node";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { generateKey } from "../../server/domain/rules/keys.ts";
import { type Child, startChild, untilReady } from "./child.ts";
import type { RunDatabase } from "./database.ts";
import type { FaultLine, openHistory } from "./history.ts";
import { type ChaosOptions, timersOf } from "./options.ts";
import type { RunProxies, WorkerPath } from "./proxies.ts";
import type { RemoteProxy } from "./proxy/proxy-host.ts";

/** Where a run writes down what is done to it. */
export type FaultHistory = ReturnType<typeof openHistory<FaultLine>>;

/** A coordinator of a run, whatever process is it at the moment. */
export interface RunCoordinator {
  readonly index: number;
  child: Child;
  apiAddress: string;
  workerAddress: string;
  /** Between it and Postgres. */
  readonly postgres: RemoteProxy<"postgres">;
  isUp: boolean;
}

/** A worker of a run, whatever process is it at the moment. */
export interface RunWorker {
  readonly index: number;
  readonly name: string;
  readonly key: string;
  child: Child;
  workerId: string;
  /** Between it and its coordinator. */
  readonly path: WorkerPath;
  /** Index of the coordinator that its proxy leads to. */
  coordinator: number;
  isFrozen: boolean;
}

/**
 * All processes of a run: coordinators on one Postgres, workers each behind a proxy of its own that leads to a living
 * coordinator, as a load balancer would. What is done to them is written down here, and nowhere else.
 */
export class Cluster {
  readonly options: ChaosOptions;
  readonly folder: string;
  readonly database: RunDatabase;
  readonly proxies: RunProxies;
  readonly coordinators: RunCoordinator[] = [];
  readonly workers: RunWorker[] = [];
  readonly adminKey = generateKey("api").text;
  readonly #faults: FaultHistory;
  readonly #stopping = new AbortController();
  #clientProxy: RemoteProxy<"tcp"> | undefined;
  #clientCoordinator = 0;

  constructor(parts: {
    readonly options: ChaosOptions;
    readonly folder: string;
    readonly database: RunDatabase;
    readonly proxies: RunProxies;
    readonly faults: FaultHistory;
  }) {
    this.options = parts.options;
    this.folder = parts.folder;
    this.database = parts.database;
    this.proxies = parts.proxies;
    this.#faults = parts.faults;
  }

  /** Starts coordinators, then workers. Resolves when all are attached. What crashes meanwhile is started again. */
  async start(): Promise<void> {
    const { options } = this;
    // One after the other: the first migrates.
    for (let index = 0; index < options.coordinators; index++) {
      const postgres = await this.proxies.postgres(`coordinator ${index}`, `127.0.0.1:${this.database.port}`);
      const coordinator: RunCoordinator = {
        index,
        postgres,
        child: this.#spawnCoordinator(index, postgres),
        apiAddress: "",
        workerAddress: "",
        isUp: false,
      };
      this.coordinators.push(coordinator);
      await this.#coordinatorReady(coordinator);
    }
    const first = this.coordinators[0];
    this.#clientProxy = await this.proxies.clients(hostOf(first?.apiAddress ?? ""));
    const admin = createMusterClient(WorkerAdminService, {
      address: first?.apiAddress ?? "",
      key: this.adminKey,
    });
    for (let index = 0; index < options.workers; index++) {
      const name = `chaos-${index}`;
      const { key } = await admin.createWorker({ name });
      const coordinator = index % options.coordinators;
      const target = this.coordinators[coordinator]?.workerAddress ?? "";
      // Every other one through a proxy that knows frames.
      const hasFrames = options.faults.includes("frames") && index % 2 === 1;
      const path = await this.proxies.worker(name, target, { hasFrames });
      const worker: RunWorker = {
        index,
        name,
        key,
        path,
        coordinator,
        child: this.#spawnWorker({ name, key, path }),
        workerId: "",
        isFrozen: false,
      };
      this.workers.push(worker);
    }
    await Promise.all(this.workers.map((worker) => this.#workerReady(worker)));
  }

  /** Writes down what was done. */
  note(type: FaultLine["type"], target: string, more: { forMs?: number; detail?: string } = {}): void {
    this.#faults.write({ type, at: Date.now(), target, ...more });
  }

  /** Where clients connect: an address that leads to a living coordinator. */
  get clientAddress(): string {
    return `http://${this.#clientProxy?.address ?? ""}`;
  }

  get clientProxy(): RemoteProxy<"tcp"> {
    if (!this.#clientProxy) throw new Error("the cluster has not started");
    return this.#clientProxy;
  }

  /** `kill -9`. */
  async killWorker(worker: RunWorker): Promise<void> {
    worker.child.signal("SIGKILL");
    this.note("kill-worker", worker.workerId);
    await worker.child.exited;
  }

  /**
   * Starts a worker's process anew: the same identity and state directory, another boot. Resolves when it is attached,
   * or the cluster stops.
   */
  async startWorker(worker: RunWorker): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    worker.child = this.#spawnWorker(worker);
    worker.isFrozen = false;
    if (await this.#workerReady(worker)) this.note("start-worker", worker.workerId);
  }

  /** `kill -9`; its workers and clients are led to others, as a load balancer that noticed would. */
  async killCoordinator(coordinator: RunCoordinator): Promise<void> {
    coordinator.isUp = false;
    coordinator.child.signal("SIGKILL");
    this.note("kill-coordinator", String(coordinator.index), { detail: this.#workersOf(coordinator) });
    await this.#leadElsewhere(coordinator.index);
    await coordinator.child.exited;
  }

  /** A deploy: SIGTERM, which ends when the coordinator has sent its workers away. */
  async stopCoordinator(coordinator: RunCoordinator): Promise<void> {
    coordinator.isUp = false;
    this.note("stop-coordinator", String(coordinator.index), { detail: this.#workersOf(coordinator) });
    await this.#leadElsewhere(coordinator.index);
    await coordinator.child.stop(20_000);
  }

  /** Starts a coordinator's process anew, as often as Postgres is away just then. Resolves as `startWorker`. */
  async startCoordinator(coordinator: RunCoordinator): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    coordinator.child = this.#spawnCoordinator(coordinator.index, coordinator.postgres);
    if (await this.#coordinatorReady(coordinator)) {
      this.note("start-coordinator", String(coordinator.index));
    }
  }

  /** Ends what still runs: workers drain first. Nothing is started after it. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const worker of this.workers) worker.child.signal("SIGCONT");
    await Promise.all(this.workers.map((worker) => worker.child.stop(15_000)));
    await Promise.all(this.coordinators.map((one) => one.child.stop(15_000)));
  }

  #workersOf({ index }: RunCoordinator): string {
    return this.workers
      .filter((worker) => worker.coordinator === index)
      .map((worker) => worker.workerId)
      .join(",");
  }

  async #leadElsewhere(index: number): Promise<void> {
    const living = this.coordinators.filter((one) => one.isUp);
    const pick = (n: number) => living[n % Math.max(1, living.length)];
    for (const worker of this.workers) {
      const next = pick(worker.index);
      if (worker.coordinator !== index || !next) continue;
      worker.coordinator = next.index;
      await worker.path.setTarget(next.workerAddress);
    }
    const next = pick(0);
    if (this.#clientCoordinator !== index || !next) return;
    this.#clientCoordinator = next.index;
    await this.clientProxy.setTarget(hostOf(next.apiAddress));
  }

  #spawnCoordinator(index: number, postgres: RemoteProxy<"postgres">): Child {
    const url = new URL(this.database.url);
    url.host = postgres.address;
    return startChild({
      name: `coordinator ${index}`,
      program: "./coordinator-process.ts",
      runtimeFlags: ["--max-semi-space-size=16"],
      argument: {
        databaseUrl: url.href,
        dataDir: join(this.folder, `coordinator-${index}`),
        adminKey: this.adminKey,
        timers: timersOf(this.options),
      },
      logFile: join(this.folder, `coordinator-${index}.log`),
      crashed: (how) => this.note("crash", `coordinator ${index}`, { detail: how }),
    });
  }

  async #coordinatorReady(coordinator: RunCoordinator): Promise<boolean> {
    const again = () => {
      coordinator.child = this.#spawnCoordinator(coordinator.index, coordinator.postgres);
      return coordinator.child;
    };
    const ready = await untilReady(coordinator.child, again, this.#stopping.signal);
    if (ready === null) return false;
    coordinator.apiAddress = String(ready["apiAddress"]);
    coordinator.workerAddress = String(ready["workerAddress"]);
    coordinator.isUp = true;
    // A balancer gives the newcomer its share.
    for (const worker of this.workers) {
      if (worker.index % this.options.coordinators !== coordinator.index) continue;
      worker.coordinator = coordinator.index;
      await worker.path.setTarget(coordinator.workerAddress);
    }
    if (this.#clientProxy && this.#clientCoordinator === coordinator.index) {
      await this.#clientProxy.setTarget(hostOf(coordinator.apiAddress));
    }
    return true;
  }

  #spawnWorker({ name, key, path }: Pick<RunWorker, "name" | "key" | "path">): Child {
    return startChild({
      name,
      program: "./worker-process.ts",
      argument: {
        address: path.address,
        key,
        name,
        slots: this.options.slots,
        stateDir: join(this.folder, `state-${name}`),
        folder: this.folder,
        drainGraceMs: timersOf(this.options).killGraceMs,
      },
      logFile: join(this.folder, `${name}.log`),
      crashed: (how) => this.note("crash", name, { detail: how }),
    });
  }

  async #workerReady(worker: RunWorker): Promise<boolean> {
    const again = () => {
      worker.child = this.#spawnWorker(worker);
      return worker.child;
    };
    const ready = await untilReady(worker.child, again, this.#stopping.signal);
    if (ready !== null) worker.workerId = String(ready["workerId"]);
    return ready !== null;
  }
}

function hostOf(url: string): string {
  return url.replace(/^https?:\/\//, "");
}
