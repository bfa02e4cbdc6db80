import type { Coordinator } from "../domain/context.ts";
import { endLeases, type Fence } from "../domain/leases.ts";
import { isConnectionLost } from "../store/connection-errors.ts";
import { call, runInOrg } from "../store/statement.ts";
import { confirmLost, countLinks, findLost, sweepRows } from "../store/sweeps.ts";

/** Links that must have fallen silent together, and their share, to take it for our own trouble. */
const fleetLinks = 20;
const fleetShare = 0.3;

/**
 * T13: takes leases back from workers that are silent for too long, and
 * leases that passed their cap. Silence is not death: after its own start,
 * after a database outage and when a third of the links vanish together,
 * expiry waits, because then it is us who were broken.
 */
export class Expiry {
  readonly #c: Coordinator;
  readonly #nowMs: () => number;
  /** Nothing of any org expires before. */
  #waitUntilMs: number;
  /** Orgs whose links fell silent together: nothing of theirs expires before. */
  readonly #fleetEvents = new Map<string, number>();

  constructor(c: Coordinator, nowMs: () => number) {
    this.#c = c;
    this.#nowMs = nowMs;
    this.#waitUntilMs = nowMs() + c.config.outageGraceMs;
  }

  /** One pass over an org. */
  async pass(orgId: string): Promise<void> {
    try {
      await this.#expire(orgId);
    } catch (error) {
      if (isConnectionLost(error)) this.#waitUntilMs = this.#nowMs() + this.#c.config.outageGraceMs;
      throw error;
    }
  }

  async #expire(orgId: string): Promise<void> {
    const { db, config, log } = this.#c;
    const [counts = [], rows = []] = await runInOrg(db.sweepClient, orgId, [
      call(countLinks, { org: orgId, silent: config.staleMs }),
      call(findLost, { org: orgId, limit: sweepRows }),
    ]);
    const attached = Number(counts[0]?.["attached"] ?? 0);
    const silent = Number(counts[0]?.["silent"] ?? 0);
    const isFleetEvent = silent >= fleetLinks && silent >= attached * fleetShare;
    if (!isFleetEvent) this.#fleetEvents.delete(orgId);
    else if (!this.#fleetEvents.has(orgId)) {
      this.#fleetEvents.set(orgId, this.#nowMs() + config.outageGraceMs);
      log.warn(
        { orgId, silent, attached, forMs: config.outageGraceMs },
        "links fell silent together: expiry waits",
      );
    }
    const waitUntilMs = Math.max(this.#waitUntilMs, this.#fleetEvents.get(orgId) ?? 0);
    if (rows.length === 0 || this.#nowMs() < waitUntilMs) return;
    const ends = rows.map((row) => ({
      fence: fenceOfRow(row),
      event: { type: "lost" as const, isFleetEvent },
      reason: row["capped"] === true ? "the lease passed its cap" : "the worker was silent for too long",
    }));
    const lost = await endLeases(this.#c, orgId, ends, async (tx, fences) => {
      const confirmed = await tx.run(
        call(confirmLost, {
          org: tx.orgId,
          jobs: fences.map((fence) => fence.jobId),
          leases: fences.map((fence) => fence.leaseId),
        }),
      );
      return new Set(confirmed.map((row) => String(row["lease"])));
    });
    if (lost.size > 0) log.warn({ orgId, leases: lost.size }, "leases were lost");
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
