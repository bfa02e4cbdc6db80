import { type Database, inOrg, type Tx } from "./database.ts";
import { and, asc, eq, sql } from "./drizzle.ts";
import { nilUuid } from "./names.ts";
import { changes } from "./schema.ts";
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
  readonly changes: readonly Change[];
  /** Where to go on. */
  readonly revision: string;
}

/** Rows of the feed that one page reads at most. */
const pageRows = 200;

/** The revision of now: every later commit comes after it. */
export function readRevision(db: Database, orgId: string): Promise<string> {
  return inOrg(db.app, orgId, async (tx) => {
    const { epoch, xmin } = await horizon(tx);
    return `${epoch}.${xmin}.0`;
  });
}

/**
 * The changes after a revision, in commit order of their transaction ids.
 * Only below the oldest transaction that still runs: nothing can come in
 * before what was read.
 */
export function readChanges(db: Database, orgId: string, revision: string): Promise<ChangePage> {
  return inOrg(db.app, orgId, async (tx) => {
    const { epoch, xmin } = await horizon(tx);
    const after = parseRevision(revision);
    const [oldest] = await tx
      .select({ xid: sql<string>`min(${changes.xid}::text::bigint)::text` })
      .from(changes)
      .where(eq(changes.orgId, orgId));
    const isKnown =
      after !== null &&
      after.epoch === epoch &&
      (!oldest?.xid || after.xid >= BigInt(oldest.xid) || after.n === 0);
    if (!after || !isKnown) return { isReset: true, changes: [], revision: `${epoch}.${xmin}.0` };
    const rows = await tx
      .select()
      .from(changes)
      .where(
        and(
          eq(changes.orgId, orgId),
          sql`(${changes.xid}, ${changes.n}) > (${String(after.xid)}::xid8, ${after.n}::smallint)`,
          sql`${changes.xid} < ${String(xmin)}::xid8`,
        ),
      )
      .orderBy(asc(changes.xid), asc(changes.n))
      .limit(pageRows);
    const last = rows.at(-1);
    return {
      isReset: false,
      revision: last ? `${epoch}.${last.xid}.${last.n}` : revision,
      changes: rows.flatMap((row) =>
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

async function horizon(tx: Tx): Promise<{ epoch: number; xmin: string }> {
  const [row] = await tx
    .select({ epoch: cluster.epoch, xmin: sql<string>`pg_snapshot_xmin(pg_current_snapshot())::text` })
    .from(cluster);
  return { epoch: row?.epoch ?? 1, xmin: row?.xmin ?? "0" };
}

function parseRevision(revision: string): { epoch: number; xid: bigint; n: number } | null {
  const match = /^(\d{1,15})\.(\d{1,19})\.(\d{1,5})$/.exec(revision);
  // The number of a row within its transaction is a smallint.
  if (!match || Number(match[3]) > 32_767) return null;
  return { epoch: Number(match[1]), xid: BigInt(match[2] ?? 0), n: Number(match[3]) };
}
