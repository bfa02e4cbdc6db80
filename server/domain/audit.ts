import type { Tx } from "../store/database.ts";
import { auditLog } from "../store/schema-fleet.ts";
import type { Caller, Coordinator } from "./context.ts";

/** What a principal changed. */
export interface AuditEntry {
  /** The verb, e.g. `worker.create`. */
  readonly action: string;
  /** The id of what was changed. */
  readonly target: string;
  /** In the words of the caller; may be empty. */
  readonly reason?: string;
  /** Before, after, counts. Never a secret. */
  readonly details?: Record<string, unknown>;
}

/** Writes the audit row of a call, in the transaction of its change. */
export async function audit(
  tx: Tx,
  { newId }: Pick<Coordinator, "newId">,
  caller: Caller,
  entry: AuditEntry,
): Promise<void> {
  await tx.insert(auditLog).values({
    orgId: caller.orgId,
    auditId: newId(),
    actor: caller.actor,
    action: entry.action,
    target: entry.target,
    reason: entry.reason ?? "",
    requestId: caller.requestId,
    details: entry.details ?? {},
  });
}
