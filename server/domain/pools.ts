import { expectGates, type GatePause, putGate } from "../store/gates.ts";
import { readPools } from "../store/queues.ts";
import type { OrgTx } from "../store/statement.ts";
import { gateKey, longestPauseMs } from "./rules/limits.ts";

/** A job that was parked because its pool is spent. */
export interface PoolPark {
  readonly pool: string;
  /** In the words of its handler. */
  readonly reason: string;
  /** By the database's clock; null: until somebody resumes the pool. */
  readonly resumeAt: Date | null;
}

/** Says that the transaction may pause the pools of these jobs; called before it locks anything. */
export async function expectPoolPauses(tx: OrgTx, jobIds: readonly string[]): Promise<void> {
  if (jobIds.length === 0) return;
  const pools = await readPools(tx, jobIds);
  const keys = pools.map((name) => gateKey({ type: "pool", name }));
  if (keys.length > 0) await expectGates(tx, keys);
}

/**
 * Pauses pools whose quota is spent, in the transaction that parks the jobs which found out. Of several times the
 * latest counts; nothing shortens a pause.
 */
export async function pausePools(tx: OrgTx, parks: readonly PoolPark[]): Promise<void> {
  const byPool = Map.groupBy(parks, (park) => park.pool);
  for (const pool of [...byPool.keys()].sort()) {
    const asked = (byPool.get(pool) ?? []).reduce<GatePause | null>(laterPause, null);
    if (asked === null) continue;
    await putGate(tx, gateKey({ type: "pool", name: pool }), (gate) => ({
      pause: laterPause(gate?.isPaused ? gate.pause : null, asked),
    }));
  }
}

/** When a pool is resumed whose quota is spent for so long. */
export function resumeTime(readAtMs: number, wakeAfterMs: number | null): Date | null {
  return wakeAfterMs === null ? null : new Date(readAtMs + Math.min(wakeAfterMs, longestPauseMs));
}

function laterPause(one: GatePause | null, other: GatePause): GatePause {
  if (one === null) return other;
  if (one.resumeAt === null) return one;
  return other.resumeAt === null || other.resumeAt > one.resumeAt ? other : one;
}
