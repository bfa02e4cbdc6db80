import { type Database, inOrg, type Tx } from "./database.ts";
import { and, asc, eq, sql } from "./drizzle.ts";
import { clock, nilUuid } from "./names.ts";
import { changes } from "./schema.ts";
import { events } from "./schema-events.ts";
import { cluster } from "./schema-fleet.ts";

/** A transition, as the change feed tells it. */
export interface Change {
  readonly jobId: string;
  readonly state: number;
  readonly attempt: number;
  /** Null where no worker took part. */
  readonly workerId: string | null;
}

/** A page of the feed. */
export interface ChangePage {
  /** The revision is unknown: too old, or of another epoch. Read everything again. */
  readonly isReset: boolean;
  /** Why; null without a reset. */
  readonly resetCause: "too-old" | "other-epoch" | null;
  readonly changes: readonly Change[];
  /** Where to go on. */
  readonly revision: string;
}

/** Rows of the feed that one page reads at most. */
const pageRows = 200;

/** How long a change is kept, in milliseconds. */
export const keepChangesMs = 3_600_000;

/** The revision of now: every later commit comes after it. */
export function readRevision(db: Database, orgId: string): Promise<string> {
  return inOrg(db.app, orgId, async (tx) => {
    const { epoch, xmin } = await readHorizon(tx);
    return `${epoch}.${xmin}.0`;
  });
}

/**
 * The changes after a revision, in commit order of their transaction ids.
 * Only below the oldest transaction that still runs: nothing can come in
 * before what was read. With `mostJobs` a page ends before the row that
 * brings it above so many changes, except with its first.
 */
export function readChanges(
  db: Database,
  orgId: string,
  revision: string,
  { mostJobs = Number.POSITIVE_INFINITY }: { readonly mostJobs?: number } = {},
): Promise<ChangePage> {
  return inOrg(db.app, orgId, async (tx) => {
    const { epoch, xmin } = await readHorizon(tx);
    const now = `${epoch}.${xmin}.0`;
    const after = parseRevision(revision);
    if (after?.epoch !== epoch || !(await isKept(tx, orgId, after.xid))) {
      const resetCause = after?.epoch === epoch ? "too-old" : "other-epoch";
      return { isReset: true, resetCause, changes: [], revision: now };
    }
    const rows = await tx
      .select()
      .from(changes)
      .where(
        and(
          eq(changes.orgId, orgId),
          sql`(${changes.xid}, ${changes.n}) > (${String(after.xid)}::xid8, ${after.n}::smallint)`,
          sql`${changes.xid} < ${xmin}::xid8`,
        ),
      )
      .orderBy(asc(changes.xid), asc(changes.n))
      .limit(pageRows);
    const taken = upTo(rows, mostJobs);
    const last = taken.at(-1);
    const isWhole = rows.length < pageRows && taken.length === rows.length && BigInt(xmin) > after.xid;
    return {
      isReset: false,
      resetCause: null,
      revision: isWhole ? now : last ? `${epoch}.${last.xid}.${last.n}` : revision,
      changes: taken.flatMap((row) =>
        row.jobIds.map((jobId, index) => ({
          jobId,
          state: row.states[index] ?? 0,
          attempt: row.attempts[index] ?? 0,
          workerId: row.workerIds[index] === nilUuid ? null : (row.workerIds[index] ?? null),
        })),
      ),
    };
  });
}

/**
 * The jobs of all changes after a revision that the transaction sees, committed below others that still run or not.
 * The cause of a reset when it cannot be told: `behind` with more than `mostJobs`, or with so many changes that
 * reading them all would be the work of a list and more.
 */
export async function readSeenChanges(
  tx: Tx,
  orgId: string,
  revision: string,
  { mostJobs }: { readonly mostJobs: number },
): Promise<
  { readonly jobIds: readonly string[] } | { readonly resetCause: "too-old" | "other-epoch" | "behind" }
> {
  const { epoch } = await readHorizon(tx);
  const after = parseRevision(revision);
  if (after?.epoch !== epoch) return { resetCause: "other-epoch" };
  if (!(await isKept(tx, orgId, after.xid))) return { resetCause: "too-old" };
  const rows = await tx.execute<{ id: string; seen: number }>(sql`
    with seen as materialized (
      select j.id from ${changes}, unnest(${changes.jobIds}) as j(id)
      where ${changes.orgId} = ${orgId}::uuid
        and (${changes.xid}, ${changes.n}) > (${String(after.xid)}::xid8, ${after.n}::smallint) limit ${mostSeen}
    )
    select distinct id::text as id, (select count(*) from seen)::int as seen from seen limit ${mostJobs + 1}`);
  if (rows.length > mostJobs || (rows[0]?.seen ?? 0) >= mostSeen) return { resetCause: "behind" };
  return { jobIds: rows.map(({ id }) => id) };
}

/** Changes that are looked through for somebody who comes back. */
const mostSeen = 20_000;

/** The epoch, and the oldest transaction that still runs: what it and later ones commit comes later. */
export async function readHorizon(tx: Tx): Promise<{ readonly epoch: number; readonly xmin: string }> {
  const [row] = await tx
    .select({ epoch: cluster.epoch, xmin: sql<string>`pg_snapshot_xmin(pg_current_snapshot())::text` })
    .from(cluster);
  return { epoch: row?.epoch ?? 1, xmin: row?.xmin ?? "0" };
}

/** Why the feed cannot be read on from a place; null: it can. `keepMs`: what is younger was not dropped. */
export async function whyUnreadable(
  tx: Tx,
  orgId: string,
  from: { readonly epoch: number; readonly xid: bigint },
  { epoch, keepMs }: { readonly epoch: number; readonly keepMs: number },
): Promise<"too-old" | "other-epoch" | null> {
  if (from.epoch !== epoch) return "other-epoch";
  const isWhole =
    (await isKept(tx, orgId, from.xid, keepMs)) && (await areEventsKept(tx, orgId, from.xid, keepMs));
  return isWhole ? null : "too-old";
}

async function areEventsKept(tx: Tx, orgId: string, xid: bigint, keepMs: number): Promise<boolean> {
  const [oldest] = await tx
    .select({
      xid: sql<string>`${events.xid}::text`,
      isOld: sql<boolean>`${events.at} < ${clock} - ${keepMs}::bigint * interval '1 millisecond'`,
    })
    .from(events)
    .where(eq(events.orgId, orgId))
    .orderBy(asc(events.xid), asc(events.eventId))
    .limit(1);
  return oldest === undefined || !oldest.isOld || xid >= BigInt(oldest.xid);
}

// Of what was dropped the newest row is left: until a row is old, nothing was.
async function isKept(tx: Tx, orgId: string, xid: bigint, keepMs = keepChangesMs): Promise<boolean> {
  const [oldest] = await tx
    .select({
      xid: sql<string>`${changes.xid}::text`,
      isOld: sql<boolean>`${changes.at} < ${clock} - ${keepMs}::bigint * interval '1 millisecond'`,
    })
    .from(changes)
    .where(eq(changes.orgId, orgId))
    .orderBy(asc(changes.xid), asc(changes.n))
    .limit(1);
  return oldest === undefined || !oldest.isOld || xid >= BigInt(oldest.xid);
}

function upTo<Row extends { readonly jobIds: readonly string[] }>(
  rows: readonly Row[],
  mostJobs: number,
): Row[] {
  let count = 0;
  const end = rows.findIndex((row, index) => {
    count += row.jobIds.length;
    return index > 0 && count > mostJobs;
  });
  return end < 0 ? [...rows] : rows.slice(0, end);
}

function parseRevision(revision: string): { epoch: number; xid: bigint; n: number } | null {
  const match = /^(\d{1,15})\.(\d{1,19})\.(\d{1,5})$/.exec(revision);
  // The number of a row within its transaction is a smallint.
  if (!match || Number(match[3]) > 32_767) return null;
  return { epoch: Number(match[1]), xid: BigInt(match[2] ?? 0), n: Number(match[3]) };
}
