import { createHash } from "node:crypto";
import { lockJobs } from "../store/leases.ts";
import { type Call, call, type OrgTx } from "../store/statement.ts";
import { type AuditRow, insertNewShapes, readKeys, takeKeys } from "../store/submit.ts";
import { writeTransitions } from "../store/transitions.ts";
import type { Caller, Coordinator } from "./context.ts";
import { noRelease, type Release } from "./dependants.ts";
import { alreadyExists } from "./errors.ts";
import { type LockedJob, lockedJob } from "./locked-job.ts";
import type { Settled } from "./settle.ts";

/*
 * What the verbs that steer one job have in common: lock its row, decide,
 * write, audit.
 */

/** Locks the live row of a job; null when it has none. */
export async function lockOne(tx: OrgTx, jobId: string): Promise<LockedJob | null> {
  const rows = await tx.run(call(lockJobs, { org: tx.orgId, jobs: [jobId], low: jobId, high: jobId }));
  return rows[0] ? lockedJob(rows[0]) : null;
}

/** Writes what was decided about a locked job, who depended on it, and `others`, in the transaction of the lock. */
export async function writeSettled(
  c: Coordinator,
  tx: OrgTx,
  { transition, shape }: Settled,
  others: readonly Call[],
  release: Release = noRelease,
): Promise<void> {
  const transitions = [transition, ...release.transitions];
  const writes = writeTransitions(tx.orgId, transitions, { n: 1, tally: c.newId() });
  const shapes = shape ? [insertNewShapes(tx.orgId, [shape])] : [];
  await Promise.all([...shapes, ...release.calls, ...writes, ...others].map((one) => tx.run(one)));
}

/**
 * Takes the id of a request, so that its repetition finds it taken and changes
 * nothing. True when it was free, and for a request without one. A refusal of
 * the verb gives it back with the transaction. Throws IDEMPOTENCY_CONFLICT when
 * the same id came with other arguments.
 *
 * @param id of what the verb is about.
 * @param targetId what a repetition finds under it.
 * @param asked the arguments that a repetition has, too.
 */
export async function takeRequest(
  c: Coordinator,
  tx: OrgTx,
  verb: string,
  id: string,
  requestId: string,
  { targetId = id, asked = [] }: { readonly targetId?: string; readonly asked?: readonly unknown[] } = {},
): Promise<boolean> {
  if (requestId === "") return true;
  const key = requestKey(verb, id, requestId);
  const print = createHash("sha256").update(JSON.stringify(asked)).digest("hex");
  const rows = await tx.run(
    call(takeKeys, {
      org: tx.orgId,
      types: ["request"],
      keys: [key],
      targets: [targetId],
      prints: [print],
      lives: [c.config.idempotencyTtlMs],
    }),
  );
  if (rows.length > 0) return true;
  const [owner] = await tx.run(call(readKeys, { org: tx.orgId, types: ["request"], keys: [key] }));
  // Those of an older version have no print.
  const first = String(owner?.["print"] ?? "");
  if (first !== "" && first !== print) {
    throw alreadyExists("IDEMPOTENCY_CONFLICT", { idempotencyKey: requestId });
  }
  return false;
}

/** Under which key the id of a request is kept. */
export function requestKey(verb: string, id: string, requestId: string): string {
  return `${verb}:${id}:${requestId}`;
}

/** The audit row of a call. */
export function auditRow(
  c: Coordinator,
  caller: Caller,
  action: string,
  target: string,
  details: Record<string, unknown>,
  reason = "",
): AuditRow {
  const { actor, requestId } = caller;
  return { auditId: c.newId(), actor, action, target, reason, requestId, details };
}
