import type { Log, Wakes } from "../domain/context.ts";
import type { ReadyCount } from "../domain/submit.ts";
import { WakeChannel } from "../store/wake-channel.ts";

/** Statements that tell wakes, at most so many milliseconds apart: twenty a second. */
const spacingMs = 50;

/** How long another coordinator counts as alive after it was seen. */
const peerMs = 15_000;

/** How often the list of coordinators is read. */
const peersIntervalMs = 5_000;

/** How often one that is alone reads it, and sees to its channel: whoever comes speaks there first. */
const aloneIntervalMs = 10_000;

/** Jobs that one wake of the feed names at most; watchers of others find out by their poll. */
const maxJobs = 64;

/** What wakes between coordinators need. */
export interface PeerWakesOptions {
  readonly url: string;
  readonly coordinatorId: string;
  /** What a wake does here. */
  readonly local: Wakes;
  /** Whether another coordinator shows life. */
  readonly hasPeers: () => Promise<boolean>;
  readonly nowMs: () => number;
  readonly log: Log;
}

/**
 * Wakes that reach every coordinator of the database. Here they act at once.
 * To the others they are told after the commit, in statements of their own (a
 * commit with NOTIFY takes a lock of the whole database), collected, and only
 * while there are others. Each may be lost: that costs one poll.
 */
export class PeerWakes implements Wakes {
  readonly #options: PeerWakesOptions;
  readonly #channel: WakeChannel;
  /** What waits to be told: the jobs of each kind and org. */
  #waiting = new Map<string, Set<string>>();
  #timer: NodeJS.Timeout | undefined;
  #toldMs = Number.NEGATIVE_INFINITY;
  #isTelling = false;
  #isStopped = false;
  #peersUntilMs = Number.NEGATIVE_INFINITY;
  #peersReadMs = Number.NEGATIVE_INFINITY;
  #checkedMs = Number.NEGATIVE_INFINITY;

  constructor(options: PeerWakesOptions) {
    this.#options = options;
    this.#channel = new WakeChannel(options.url, (payload) => this.#hear(payload));
  }

  ready(orgId: string, counts?: readonly ReadyCount[]): void {
    this.#options.local.ready(orgId, counts);
    this.tell("ready", orgId);
  }

  /** Only here: one sweep is enough. */
  released(orgId: string): void {
    this.#options.local.released(orgId);
  }

  changed(orgId: string, jobIds: readonly string[]): void {
    this.#options.local.changed(orgId, jobIds);
    this.tell("changed", orgId, jobIds);
  }

  cancel(orgId: string): void {
    this.#options.local.cancel(orgId);
    this.tell("cancel", orgId);
  }

  revoked(orgId: string): void {
    this.#options.local.revoked(orgId);
    this.tell("revoked", orgId);
  }

  command(orgId: string): void {
    this.#options.local.command(orgId);
    this.tell("command", orgId);
  }

  gates(orgId: string): void {
    this.#options.local.gates(orgId);
    this.tell("gates", orgId);
  }

  routes(orgId: string): void {
    this.#options.local.routes(orgId);
    this.tell("routes", orgId);
  }

  /** Tells the others alone: for what is known here already. */
  tell(kind: keyof Wakes, orgId: string, jobIds: readonly string[] = []): void {
    if (this.#isStopped || this.#options.nowMs() > this.#peersUntilMs) return;
    const key = `${kind} ${orgId}`;
    let jobs = this.#waiting.get(key);
    if (!jobs) {
      jobs = new Set();
      this.#waiting.set(key, jobs);
    }
    for (const jobId of jobIds) {
      if (jobs.size >= maxJobs) break;
      jobs.add(jobId);
    }
    this.#schedule();
  }

  /** Sees to it that the channel listens, and looks for others. Call it every few seconds; rejects when it could not. */
  async check(): Promise<void> {
    const { nowMs, hasPeers } = this.#options;
    const isAlone = nowMs() > this.#peersUntilMs;
    if (!isAlone || nowMs() - this.#checkedMs >= aloneIntervalMs) {
      await this.#channel.check();
      this.#checkedMs = nowMs();
    }
    if (nowMs() - this.#peersReadMs < (isAlone ? aloneIntervalMs : peersIntervalMs)) return;
    const isFirst = this.#peersReadMs === Number.NEGATIVE_INFINITY;
    this.#peersReadMs = nowMs();
    if (!(await hasPeers())) return;
    this.#peersUntilMs = nowMs() + peerMs;
    // So that the others need not read the list first.
    if (isFirst) await this.#channel.tell([`${this.#options.coordinatorId} here`]);
  }

  /** Tells nothing more, and hears nothing. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#channel.close();
  }

  #schedule(): void {
    if (this.#timer || this.#isTelling || this.#isStopped || this.#waiting.size === 0) return;
    const waitMs = Math.max(0, this.#toldMs + spacingMs - this.#options.nowMs());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#flush();
    }, waitMs);
  }

  async #flush(): Promise<void> {
    const { coordinatorId, nowMs, log } = this.#options;
    const payloads = [...this.#waiting].map(([key, jobs]) =>
      [coordinatorId, key, ...(jobs.size > 0 ? [[...jobs].join()] : [])].join(" "),
    );
    this.#waiting.clear();
    this.#isTelling = true;
    this.#toldMs = nowMs();
    try {
      await this.#channel.tell(payloads);
    } catch (error) {
      log.debug({ err: error, wakes: payloads.length }, "wakes were not told; the polls find out");
    } finally {
      this.#isTelling = false;
      this.#schedule();
    }
  }

  #hear(payload: string): void {
    const [sender, kind, orgId = "", jobs] = payload.split(" ");
    const { coordinatorId, local, nowMs } = this.#options;
    if (sender === coordinatorId || this.#isStopped) return;
    this.#peersUntilMs = nowMs() + peerMs;
    if (kind === "ready") local.ready(orgId);
    else if (kind === "changed") local.changed(orgId, jobs?.split(",") ?? []);
    else if (kind === "cancel") local.cancel(orgId);
    else if (kind === "revoked") local.revoked(orgId);
    else if (kind === "command") local.command(orgId);
    else if (kind === "gates") local.gates(orgId);
    else if (kind === "routes") local.routes(orgId);
  }
}
