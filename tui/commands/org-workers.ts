/** A worker that the coordinator runs in an org, as long as it has something to do. */
export interface OrgWorker {
  /** Since when it runs nothing, by the clock of `now`; null: it runs jobs. */
  idleSinceMs(): number | null;
  /** Gives back what it holds and ends it. */
  stop(): void;
  /** Resolves when it has ended: by itself, which should not be, or because it was stopped. */
  readonly ended: Promise<void>;
}

/** What the workers of orgs are run with. */
export interface OrgWorkersParts {
  readonly start: (orgId: string) => OrgWorker;
  /** How long one stays that has nothing to do, in milliseconds. */
  readonly lingerMs: number;
  /** How long an org waits whose worker ended by itself, in milliseconds. */
  readonly restartMs: number;
  /** How many run at once; for another org the one that is idle longest goes. */
  readonly most: number;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
}

/**
 * The workers for built-in kinds in orgs other than the coordinator's own: one is started where jobs wait that nobody
 * serves, and ends when there have been none for a while, so that an org that uses none costs nothing. What is not
 * started now is asked for again.
 */
export class OrgWorkers {
  readonly #parts: OrgWorkersParts;
  readonly #running = new Map<string, OrgWorker>();
  readonly #notBeforeMs = new Map<string, number>();
  #isStopping = false;

  constructor(parts: OrgWorkersParts) {
    this.#parts = parts;
  }

  /** Starts the worker of an org, unless it runs, ended a moment ago, or all that may run have something to do. */
  want(orgId: string): void {
    const { now, start, most, restartMs } = this.#parts;
    if (this.#isStopping || this.#running.has(orgId)) return;
    if ((this.#notBeforeMs.get(orgId) ?? Number.NEGATIVE_INFINITY) > now()) return;
    if (this.#running.size >= most) {
      this.#longestIdle()?.stop();
      return;
    }
    this.#notBeforeMs.delete(orgId);
    let isStopped = false;
    const worker = start(orgId);
    const stop = () => {
      isStopped = true;
      worker.stop();
    };
    this.#running.set(orgId, { ...worker, stop });
    void worker.ended.then(() => {
      this.#running.delete(orgId);
      if (!isStopped) this.#notBeforeMs.set(orgId, now() + restartMs);
    });
  }

  /** Ends those that have been idle for long enough. Called now and then. */
  sweep(): void {
    const { now, lingerMs } = this.#parts;
    for (const worker of this.#running.values()) {
      const sinceMs = worker.idleSinceMs();
      if (sinceMs !== null && now() - sinceMs >= lingerMs) worker.stop();
    }
    for (const [orgId, timeMs] of this.#notBeforeMs) if (timeMs <= now()) this.#notBeforeMs.delete(orgId);
  }

  /** Ends all of them. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const all = [...this.#running.values()];
    for (const worker of all) worker.stop();
    await Promise.all(all.map(({ ended }) => ended));
  }

  #longestIdle(): OrgWorker | undefined {
    const idle = [...this.#running.values()].flatMap((worker) => {
      const sinceMs = worker.idleSinceMs();
      return sinceMs === null ? [] : [{ worker, sinceMs }];
    });
    return idle.sort((a, b) => a.sinceMs - b.sinceMs)[0]?.worker;
  }
}
