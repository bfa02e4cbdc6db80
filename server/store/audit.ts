import type { SQL } from "drizzle-orm";
import type { Tx } from "./database.ts";
import { and, desc, eq, lt, sql } from "./drizzle.ts";
import { lowestUuid } from "./partitions.ts";
import { auditLog } from "./schema-fleet.ts";

/** Which entries a list holds; null is no condition. */
export interface AuditFilter {
  readonly actor: string | null;
  readonly action: string | null;
  /** Actions that begin so. */
  readonly actionPrefix: string | null;
  readonly target: string | null;
  readonly since: Date | null;
  readonly until: Date | null;
}

/** An entry as it is kept. */
export type AuditRow = typeof auditLog.$inferSelect;

/** Entries of a page, newest first. */
export interface AuditPage {
  readonly entries: readonly AuditRow[];
  /** Where the next page begins (before this id); null at the end. */
  readonly next: string | null;
}

/** How far the time in an entry's id and the time of its commit may lie apart. */
const slackMs = 600_000;
const largestWindow = 20_000;

/**
 * The entries that a filter lets through, before an id, newest first.
 *
 * Every submission is an entry, so the log is long, and an index a filter would be paid by each of them: it is read
 * in windows along the primary key. A page whose matches are rare ends early, with the place to go on, rather than
 * read the org's whole past.
 */
export async function readAuditEntries(
  tx: Tx,
  orgId: string,
  filter: AuditFilter,
  {
    before,
    limit,
    mostExamined = 100_000,
  }: { readonly before: string | null; readonly limit: number; readonly mostExamined?: number },
): Promise<AuditPage> {
  const entries: AuditRow[] = [];
  let cursor = before;
  let examined = 0;
  for (let rows = limit + 1; ; rows = Math.min(rows * 4, largestWindow)) {
    const window = windowOf(tx, orgId, filter, { before: cursor, rows });
    entries.push(
      ...(await tx
        .select()
        .from(window)
        .where(conditions(window, filter))
        .orderBy(desc(window.auditId))
        .limit(limit + 1 - entries.length)),
    );
    if (entries.length > limit) return { entries: entries.slice(0, limit), next: idAt(entries, limit - 1) };
    const ids = windowOf(tx, orgId, filter, { before: cursor, rows });
    const [end] = await tx
      .select({ auditId: ids.auditId, rows: sql<number>`(count(*) over ())::int` })
      .from(ids)
      .orderBy(ids.auditId)
      .limit(1);
    if (end === undefined || end.rows < rows) return { entries, next: null };
    examined += end.rows;
    cursor = end.auditId;
    if (examined >= mostExamined) return { entries, next: cursor };
  }
}

function idAt(entries: readonly AuditRow[], index: number): string | null {
  return entries[index]?.auditId ?? null;
}

// The ids hold times: what is far from the time asked for is not looked at.
function windowOf(
  tx: Tx,
  orgId: string,
  { since, until }: AuditFilter,
  { before, rows }: { readonly before: string | null; readonly rows: number },
) {
  return tx
    .select()
    .from(auditLog)
    .where(
      and(
        eq(auditLog.orgId, orgId),
        before === null ? undefined : lt(auditLog.auditId, before),
        since === null ? undefined : sql`${auditLog.auditId} >= ${idNear(since, -slackMs)}::uuid`,
        until === null ? undefined : sql`${auditLog.auditId} <= ${idNear(until, slackMs)}::uuid`,
      ),
    )
    .orderBy(desc(auditLog.auditId))
    .limit(rows)
    .as("audit_log");
}

function idNear(time: Date, byMs: number): string {
  return lowestUuid(new Date(Math.max(0, time.getTime() + byMs)));
}

function conditions(
  entry: ReturnType<typeof windowOf>,
  { actor, action, actionPrefix, target, since, until }: AuditFilter,
): SQL | undefined {
  return and(
    actor === null ? undefined : eq(entry.actor, actor),
    action === null ? undefined : eq(entry.action, action),
    actionPrefix === null ? undefined : sql`starts_with(${entry.action}, ${actionPrefix}::text)`,
    target === null ? undefined : eq(entry.target, target),
    since === null ? undefined : sql`${entry.at} >= ${since.toISOString()}::timestamptz`,
    until === null ? undefined : sql`${entry.at} <= ${until.toISOString()}::timestamptz`,
  );
}
