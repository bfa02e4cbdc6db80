import type { Tx } from "./database.ts";
import { and, desc, eq, sql } from "./drizzle.ts";
import { clock } from "./names.ts";
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

/** Dead letters that are grouped at most: the newest. */
export const mostGrouped = 100_000;

/** Dead letters by fingerprint, largest group first. */
export function readDeadLetterGroups(
  tx: Tx,
  orgId: string,
  { kind, limit }: { readonly kind: string | null; readonly limit: number },
) {
  const newest = tx
    .select({
      jobId: deadLetters.jobId,
      fingerprint: deadLetters.fingerprint,
      kind: deadLetters.kind,
      deadAt: deadLetters.deadAt,
    })
    .from(deadLetters)
    .where(ofKind(orgId, kind))
    .orderBy(sql`${deadLetters.deadAt} desc nulls first`)
    .limit(mostGrouped)
    .as("newest");
  const hours = Array.from({ length: 24 }, (_, n) => {
    const ago = 24 - n;
    return sql`count(*) filter (where ${newest.deadAt} > ${clock} - ${ago}::int * interval '1 hour'
      and ${newest.deadAt} <= ${clock} - ${ago - 1}::int * interval '1 hour')`;
  });
  return tx
    .select({
      fingerprint: newest.fingerprint,
      kind: newest.kind,
      count: sql<number>`count(*)::int`,
      firstAt: sql<Date>`min(${newest.deadAt})`.mapWith(deadLetters.deadAt),
      lastAt: sql<Date>`max(${newest.deadAt})`.mapWith(deadLetters.deadAt),
      sampleJobId: sql<string>`(array_agg(${newest.jobId} order by ${newest.deadAt} desc, ${newest.jobId} desc))[1]`,
      hourly: sql<number[]>`to_jsonb(array[${sql.join(hours, sql`, `)}]::int[])`,
    })
    .from(newest)
    .groupBy(newest.fingerprint, newest.kind)
    .orderBy(sql`count(*) desc`, sql`max(${newest.deadAt}) desc`)
    .limit(limit);
}

/** Whether there are more dead letters than are grouped. */
export async function hasMoreThanGrouped(tx: Tx, orgId: string, kind: string | null): Promise<boolean> {
  const rows = await tx
    .select({ jobId: deadLetters.jobId })
    .from(deadLetters)
    .where(ofKind(orgId, kind))
    .orderBy(sql`${deadLetters.deadAt} desc nulls first`)
    .offset(mostGrouped)
    .limit(1);
  return rows.length > 0;
}

function ofKind(orgId: string, kind: string | null) {
  return and(eq(deadLetters.orgId, orgId), kind === null ? undefined : eq(deadLetters.kind, kind));
}
