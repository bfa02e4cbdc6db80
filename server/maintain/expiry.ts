import type { Coordinator } from "../domain/context.ts";
import { endLeases, type Fence } from "../domain/leases.ts";
import {
  type ExpiryGate,
  type GateEvent,
  gateUntilMs,
  nextGate,
  startingGate,
  vanishedInFleetEvent,
  vanishedWithCoordinator,
  vanishWindowMs,
} from "../domain/rules/liveness.ts";
import { isConnectionLost } from "../store/connection-errors.ts";
import { call, type OrgTx, runInOrg } from "../store/statement.ts";
import { confirmLost, countLinks, findCoordinators, findLost, sweepRows } from "../store/sweeps.ts";
import { tellLost } from "../store/worker-silence.ts";

const left = { type: "left", isProven: false } as const;

/**
 * T13: takes leases back from workers that are silent for too long, and
 * leases that passed their cap. When to hold back is judged by the gate of
 * `domain/rules/liveness.ts`; who is silent, by the database.
 */
export class Expiry {
  readonly #c: Coordinator;
  readonly #nowMs: () => number;
  readonly #limits: { readonly graceMs: number; readonly staleMs: number };
  #gate: ExpiryGate;

  constructor(c: Coordinator, nowMs: () => number) {
    this.#c = c;
    this.#nowMs = nowMs;
    this.#limits = { graceMs: c.config.outageGraceMs, staleMs: c.config.staleMs };
    this.#gate = startingGate(nowMs(), this.#limits);
  }

  /** Told of every look, so that a time without any is seen, and of those that failed. */
  looked(error?: unknown): void {
    if (error === undefined) this.#apply({ type: "pass", nowMs: this.#nowMs() });
    else if (isConnectionLost(error)) this.outage();
  }

  /** The database could not be reached: who seems silent may only not have been heard. */
  outage(): void {
    this.#apply({ type: "outage", nowMs: this.#nowMs() });
  }

  /**
   * Orgs to count again even while nobody holds a lease, for the counts of all orgs together: those with links that were
   * never counted, and those where links vanished, or where none of them is left.
   */
  unsettled(linked: ReadonlySet<string>): string[] {
    const { counts } = this.#gate;
    const old = [...counts].flatMap(([orgId, { links, vanished }]) =>
      vanished > 0 || (links > 0 && !linked.has(orgId)) ? [orgId] : [],
    );
    return [...old, ...[...linked].filter((orgId) => !counts.has(orgId))];
  }

  /** Whether who seems silent is judged now. */
  isOpen(orgId: string): boolean {
    return this.#nowMs() >= gateUntilMs(this.#gate, orgId);
  }

  /** One pass over an org. */
  async pass(orgId: string): Promise<void> {
    this.#apply({ type: "pass", nowMs: this.#nowMs() });
    try {
      // A whole fleet of leases may be due at once.
      while (await this.#expire(orgId));
    } catch (error) {
      if (isConnectionLost(error)) this.outage();
      throw error;
    }
  }

  // True when there may be more.
  async #expire(orgId: string): Promise<boolean> {
    const { db, log, config } = this.#c;
    const [counts = [], rows = [], peers = []] = await runInOrg(db.sweepClient, orgId, [
      this.#count(orgId),
      call(findLost, { org: orgId, limit: sweepRows }),
      call(findCoordinators, {}),
    ]);
    const silence = new Map(peers.map((row) => [String(row["coordinator"]), Number(row["silent"])]));
    // A database that hung is one that was away.
    this.#apply({ type: "pass", nowMs: this.#nowMs() });
    this.#counted(orgId, counts[0]);
    if (rows.length === 0 || !this.isOpen(orgId)) return false;
    const nowMs = this.#nowMs();
    const ends = rows.map((row) => {
      const isCapped = row["capped"] === true;
      const silentMs = Number(row["silent"] ?? 0);
      const fence = fenceOfRow(row);
      if (isCapped) {
        const event = { type: "lost" as const, isFleetEvent: false };
        return { fence, event, isWorkersLoss: false, reason: "the lease passed its cap" };
      }
      if (row["draining"] === true) {
        return { fence, event: left, reason: "the worker drained, and fell silent" };
      }
      const coordinatorSilentMs = silence.get(String(row["coordinator"])) ?? null;
      const isFleetEvent =
        vanishedInFleetEvent(this.#gate, { orgId, silentMs, nowMs }) ||
        vanishedWithCoordinator({ silentMs, coordinatorSilentMs, heartbeatMs: config.heartbeatMs });
      const event = { type: "lost" as const, isFleetEvent };
      return { fence, event, reason: "the worker was silent for too long" };
    });
    const silent = new Set(rows.flatMap((row) => (row["capped"] === true ? [] : [String(row["lease"])])));
    const lost = await endLeases(this.#c, orgId, ends, async (tx, fences) => {
      const confirmed = await this.#confirm(tx, fences);
      await this.#tell(
        tx,
        fences.filter(({ leaseId }) => silent.has(leaseId) && confirmed.has(leaseId)),
      );
      return confirmed;
    });
    if (lost.size > 0) log.warn({ orgId, leases: lost.size }, "leases were lost");
    return rows.length === sweepRows && lost.size > 0;
  }

  // With the rows locked, all is judged again: others may have fallen silent while we waited for the locks.
  async #confirm(tx: OrgTx, fences: readonly Fence[]): Promise<ReadonlySet<string>> {
    const jobs = fences.map((fence) => fence.jobId);
    const leases = fences.map((fence) => fence.leaseId);
    const [counts, confirmed] = await Promise.all([
      tx.run(this.#count(tx.orgId)),
      tx.run(call(confirmLost, { org: tx.orgId, jobs, leases })),
    ]);
    this.#apply({ type: "pass", nowMs: this.#nowMs() });
    this.#counted(tx.orgId, counts[0]);
    return new Set(this.isOpen(tx.orgId) ? confirmed.map((row) => String(row["lease"])) : []);
  }

  // The event feed hears of the workers in the commit that takes their leases back.
  async #tell(tx: OrgTx, fences: readonly Fence[]): Promise<void> {
    const workers = [...new Set(fences.map(({ workerId }) => workerId))];
    if (workers.length === 0) return;
    await tx.run(call(tellLost, { org: tx.orgId, workers, ids: workers.map(() => this.#c.newId()) }));
  }

  #count(orgId: string) {
    const window = vanishWindowMs(this.#gate, orgId, this.#nowMs(), this.#limits);
    return call(countLinks, { org: orgId, silent: this.#limits.staleMs, window });
  }

  #counted(orgId: string, row: Record<string, unknown> | undefined): void {
    const { log, counters } = this.#c;
    const count = { links: Number(row?.["links"] ?? 0), vanished: Number(row?.["vanished"] ?? 0) };
    const nowMs = this.#nowMs();
    const before = this.#gate.events;
    this.#apply({ type: "counted", nowMs, orgId, count });
    for (const [scope, event] of this.#gate.events) {
      const known = before.get(scope);
      if (known && known.untilMs === event.untilMs) continue;
      const forMs = Math.round(event.untilMs - nowMs);
      log.error({ scope, ...count, forMs }, "links vanished together: expiry waits");
      counters.add("muster_fleet_events_total");
    }
  }

  #apply(event: GateEvent): void {
    this.#gate = nextGate(this.#gate, event, this.#limits);
  }
}

function fenceOfRow(row: Record<string, unknown>): Fence {
  return {
    jobId: String(row["job"]),
    attempt: Number(row["attempt"]),
    leaseId: String(row["lease"]),
    workerId: String(row["worker"]),
  };
}
