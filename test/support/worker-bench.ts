import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WorkerOptions } from "../../worker/options.ts";
import { Worker } from "../../worker/worker.ts";
import { WorkerPeer } from "./worker-peer.ts";

/** A peer, a folder, and the workers of one test; all end with it. */
export class WorkerBench implements AsyncDisposable {
  readonly peer: WorkerPeer;
  readonly directory: string;
  readonly lines: { level: string; message: string; fields: unknown }[] = [];
  readonly #workers: Worker[] = [];
  #count = 0;

  private constructor(peer: WorkerPeer, directory: string) {
    this.peer = peer;
    this.directory = directory;
  }

  static async open(): Promise<WorkerBench> {
    return new WorkerBench(await WorkerPeer.start(), await mkdtemp(join(tmpdir(), "muster-worker-")));
  }

  /** A worker with a state directory of its own, its link in this thread unless told otherwise. */
  worker(options: Partial<WorkerOptions> = {}): Worker {
    const worker = new Worker({
      address: this.peer.address,
      key: this.peer.key,
      stateDir: join(this.directory, `state-${++this.#count}`),
      linkThread: false,
      handlers: { noop: () => {} },
      logger: (level, message, fields) => this.lines.push({ level, message, fields }),
      ...options,
    });
    this.#workers.push(worker);
    return worker;
  }

  /** Stops all its workers. */
  async stopWorkers(graceMs: number): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop({ graceMs })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopWorkers(0);
    await this.peer[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}
