import type { Coordinator } from "../domain/context.ts";
import type { LinkSession } from "../link/session.ts";
import { putGate, recountGates } from "../store/gates.ts";
import { findOpenGates, findUncounted, readPausedOffers, wakePool } from "../store/queues.ts";
import { call, runInOrg, transact } from "../store/statement.ts";

/**
 * How long a new gate is counted at each pass, as exits that began before it do not know it, and how old the count of
 * any other gate may be.
 */
export const gateAges = { youngMs: 10 * 60_000, oldMs: 5 * 60_000 } as const;

/** What the sweeps of gates work with. */
export interface GateParts {
  readonly coordinator: Coordinator;
  readonly sessions: ReadonlySet<LinkSession>;
}

/** Ends pauses whose time has come, with what waits for them, and drops gates that hold nothing back. */
export async function openGates(c: Coordinator, orgId: string): Promise<void> {
  const [rows = []] = await runInOrg(c.db.sweepClient, orgId, [call(findOpenGates, { org: orgId })]);
  if (rows.length === 0) return;
  const keys = rows.map((row) => String(row["key"]));
  for (const key of keys) {
    await transact(c.db.sweepClient, orgId, async (tx) => {
      // Judged again under its lock: a pause that somebody has put meanwhile stays.
      const { before, after } = await putGate(tx, key, {});
      if (before?.isPaused || after?.isPaused || !key.startsWith("pool:")) return;
      await tx.run(call(wakePool, { org: orgId, pool: key.slice(5) }));
    });
  }
  c.wakes.gates(orgId);
  c.wakes.ready(orgId);
}

/** Counts the use of gates anew where it may be wrong. */
export async function countGates(c: Coordinator, orgId: string): Promise<void> {
  const [rows = []] = await runInOrg(c.db.sweepClient, orgId, [
    call(findUncounted, { org: orgId, young: gateAges.youngMs, old: gateAges.oldMs }),
  ]);
  if (rows.length === 0) return;
  const keys = rows.map((row) => String(row["key"]));
  const wrong = await transact(c.db.sweepClient, orgId, (tx) => recountGates(tx, keys));
  if (wrong.length === 0) return;
  for (const { key, before, after } of wrong) {
    c.log.warn({ orgId, gate: key, before, after }, "the use of a gate was wrong, and is corrected");
    c.counters.add("muster_gate_corrections_total");
  }
  c.wakes.ready(orgId);
}

/** Takes back the offers of links here that nobody has accepted and that stand behind a paused gate: T7. */
export async function withdrawOffers(
  { coordinator: c, sessions }: GateParts,
  orgId: string,
): Promise<number> {
  const own = [...sessions].filter(
    ({ link }) => link.orgId === orgId && [...link.held.values()].some((held) => held.state === "offered"),
  );
  if (own.length === 0) return 0;
  const [rows = []] = await runInOrg(c.db.hot, orgId, [
    call(readPausedOffers, { org: orgId, workers: own.map((session) => session.link.workerId) }),
  ]);
  if (rows.length === 0) return 0;
  const leases = new Set(rows.map((row) => String(row["lease"])));
  const counts = await Promise.all(own.map((session) => session.withdraw(leases)));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** The same for every org that has links here. */
export async function withdrawAllOffers(parts: GateParts): Promise<void> {
  const orgs = new Set([...parts.sessions].map((session) => session.link.orgId));
  for (const orgId of orgs) await withdrawOffers(parts, orgId);
}
