import type { Tx } from "./database.ts";
import { and, desc, eq, sql } from "./drizzle.ts";
import { deadLetters } from "./schema.ts";

/** A place in the list of dead letters. */
export interface DeadLetterPosition {
  /** To the microsecond, as text. */
  readonly deadAt: string;
  readonly jobId: string;
}

/** Dead letters, newest first, after a place. */
export function readDeadLetters(
  tx: Tx,
  orgId: string,
  {
    kind,
    after,
    limit,
  }: { readonly kind: string | null; readonly after: DeadLetterPosition | null; readonly limit: number },
) {
  return tx
    .select({
      jobId: deadLetters.jobId,
      cause: deadLetters.cause,
      fingerprint: deadLetters.fingerprint,
      deadAt: deadLetters.deadAt,
      position: sql<string>`to_char(${deadLetters.deadAt} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
    })
    .from(deadLetters)
    .where(
      and(
        eq(deadLetters.orgId, orgId),
        kind === null ? undefined : eq(deadLetters.kind, kind),
        after === null
          ? undefined
          : sql`${deadLetters.deadAt} <= ${after.deadAt}::timestamptz
              and (${deadLetters.deadAt} < ${after.deadAt}::timestamptz or ${deadLetters.jobId} < ${after.jobId}::uuid)`,
      ),
    )
    .orderBy(sql`${deadLetters.deadAt} desc nulls first`, desc(deadLetters.jobId))
    .limit(limit);
}

/** Takes a dead letter off the list. Null when it was not on it. */
export async function deleteDeadLetter(
  tx: Tx,
  orgId: string,
  jobId: string,
): Promise<{ readonly cause: string; readonly generation: number } | null> {
  const [row] = await tx
    .delete(deadLetters)
    .where(and(eq(deadLetters.orgId, orgId), eq(deadLetters.jobId, jobId)))
    .returning({ cause: deadLetters.cause, generation: deadLetters.generation });
  return row ?? null;
}
