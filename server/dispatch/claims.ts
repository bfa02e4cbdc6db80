import type { Row } from "postgres";
import type { InternedShape } from "../domain/rules/shapes.ts";
import { claimReady, holdGates, lockGates } from "../store/claim.ts";
import { mayBeCommitted } from "../store/connection-errors.ts";
import type { HotPool } from "../store/hot-pool.ts";
import { type Call, call, runInOrg, transact } from "../store/statement.ts";
import type { GateBook } from "./gates.ts";
import { grantOf, type Slot } from "./grants.ts";
import type { ReadyLine } from "./lines.ts";
import type { Grant, Link } from "./link.ts";
import type { PlannedClaim } from "./matcher.ts";

/** Jobs to ask for when it is not known how many are ready. */
const firstProbe = 4;

/** What a claim works with. */
export interface ClaimContext {
  readonly pool: HotPool;
  readonly newId: () => string;
  readonly orgId: string;
  readonly gates: GateBook;
  /** The version of the gates by which the lines were dealt with: those of a later one may not be among their keys. */
  readonly version: number | null;
}

/** What a claim came to. */
export interface Claimed {
  readonly plan: readonly PlannedClaim[];
  readonly grants: readonly Grant[];
  /** Gates came or went since they were read: nothing was claimed, and they are to be read again. */
  readonly isOutdated: boolean;
}

/** Claims what was planned without gates: in one round trip. */
export async function claimPlan(c: ClaimContext, plan: readonly PlannedClaim[]): Promise<Claimed> {
  return readClaim(c, plan, await runInOrg(c.pool, c.orgId, claimCalls(c, plan, [], 1)));
}

/**
 * The statements of a claim, for one transaction; `readClaim` reads what they answer.
 *
 * @param n number of its change within the transaction.
 */
export function claimCalls(
  c: ClaimContext,
  plan: readonly PlannedClaim[],
  keys: readonly string[],
  n: number,
): Call[] {
  return [call(holdGates, { org: c.orgId }), claimCall(c, plan, keys, n)];
}

/** Reads the rows of `claimCalls`. */
export function readClaim(
  c: ClaimContext,
  plan: readonly PlannedClaim[],
  [held = [], rows = []]: readonly (readonly Row[])[],
): Claimed {
  return outcome(c, plan, held[0], rows);
}

/**
 * Locks gates, plans by what they let through, and claims that.
 *
 * @param plan makes the plan; the capacity that it reserves is given back by the caller.
 */
export async function claimThroughGates(
  c: ClaimContext,
  keys: readonly string[],
  plan: (rooms: Map<string, number>) => readonly PlannedClaim[],
): Promise<Claimed> {
  return transact(c.pool, c.orgId, async (tx) => {
    const [held, locked] = await Promise.all([
      tx.run(call(holdGates, { org: c.orgId })),
      tx.run(call(lockGates, { org: c.orgId, keys })),
    ]);
    if (isOutdated(c, held[0])) return { plan: [], grants: [], isOutdated: true };
    const planned = plan(c.gates.lock(locked));
    if (planned.length === 0) return { plan: planned, grants: [], isOutdated: false };
    const rows = await tx.run(claimCall(c, planned, keys, 1));
    const claimed = outcome(c, planned, held[0], rows);
    for (const { shape } of claimed.grants) for (const key of c.gates.keysOf(shape)) c.gates.take(key, 1);
    return claimed;
  });
}

/**
 * Notes what a claim shows of the lines that it took from; a line that is empty now goes. Returns the shapes of those
 * that gave less than was known to be there.
 */
export function learn(
  ready: Map<bigint, ReadyLine>,
  { plan, grants, isOutdated }: Claimed,
  isAlone: boolean,
): InternedShape[] {
  if (isOutdated) return [];
  const missed: InternedShape[] = [];
  const byShape = Map.groupBy(grants, (grant) => grant.shape.shapeId);
  for (const { line, slots } of plan) {
    const own = byShape.get(line.shape.shapeId) ?? [];
    const isShort = own.length < slots.length;
    const isMissing = line.claimed(new Set(own.map((grant) => grant.fence.jobId)), isShort);
    if (isMissing) missed.push(line.shape);
    if (line.isWhole && line.heads.length === 0) ready.delete(line.shape.shapeId);
    line.expected -= own.length;
    if (isShort && !isAlone) line.expected = Math.max(1, line.expected);
    else if (isShort) {
      // The line is empty, as far as this claim could see, unless something came meanwhile.
      if (line.news === line.newsAtClaim) ready.delete(line.shape.shapeId);
      else line.expected = Number.POSITIVE_INFINITY;
    } else if (line.expected < 1) {
      // All that were told of. Who puts back what nobody counted says so, and a poll follows.
      if (line.news === line.newsAtClaim) ready.delete(line.shape.shapeId);
      else line.expected = Math.max(firstProbe, 4 * own.length);
    }
  }
  return missed;
}

/**
 * After a claim that failed. Where it may be committed, what its links hold is not known any more: a Hello counts it,
 * and no grant of an older epoch comes after.
 */
export function loseOutcome(error: unknown, plan: readonly PlannedClaim[]): void {
  if (!mayBeCommitted(error)) return;
  for (const link of new Set(plan.flatMap(({ slots }) => slots))) {
    link.port.goAway("restart", "the outcome of a grant is unknown: attach again");
  }
}

function claimCall(c: ClaimContext, plan: readonly PlannedClaim[], keys: readonly string[], n: number): Call {
  const slots = plan.flatMap((one) => one.slots);
  const places = new Map<Link, number>();
  for (const link of slots) if (!places.has(link)) places.set(link, places.size + 1);
  const links = [...places.keys()];
  const befores: number[] = [];
  let before = 0;
  for (const one of plan) {
    befores.push(before);
    before += one.slots.length;
  }
  const passed = plan.flatMap(({ line }) =>
    c.gates
      .keysOf(line.shape)
      .filter((key) => keys.includes(key))
      .map((key) => ({ key, shapeId: line.shape.shapeId.toString() })),
  );
  return call(claimReady, {
    org: c.orgId,
    version: c.version ?? 0,
    shapes: plan.map(({ line }) => line.shape.shapeId.toString()),
    queues: plan.map(({ line }) => line.shape.queue),
    limits: plan.map((one) => one.slots.length),
    befores,
    sessions: plan.map((one) => one.sessionId),
    slots: slots.map((link) => places.get(link)),
    workers: links.map((link) => link.workerId),
    epochs: links.map((link) => link.linkEpoch),
    gateShapes: passed.map((one) => one.shapeId),
    gateKeys: passed.map((one) => one.key),
    nonce: c.newId(),
    n,
    tally: c.newId(),
  });
}

function outcome(
  c: ClaimContext,
  plan: readonly PlannedClaim[],
  held: Row | undefined,
  rows: readonly Row[],
): Claimed {
  const slots = plan.flatMap(({ line: { shape }, sessionId, slots: links }) =>
    links.map(({ workerId }): Slot => ({ shape, workerId, sessionId })),
  );
  const grants = rows.flatMap((row) => {
    const slot = slots[Number(row["slot"]) - 1];
    return slot ? [grantOf(row, slot)] : [];
  });
  return { plan, grants, isOutdated: isOutdated(c, held) };
}

function isOutdated({ version }: ClaimContext, held: Row | undefined): boolean {
  return Number(held?.["version"] ?? 0) !== version;
}
