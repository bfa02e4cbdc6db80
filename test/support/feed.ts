import type { TestDatabase } from "./database.ts";

/** Resolves when all that was committed so far can be read from feeds: transactions of other test files hold them back. */
export async function feedSettled(db: Pick<TestDatabase, "admin">): Promise<void> {
  const [row] = await db.admin`select pg_snapshot_xmax(pg_current_snapshot())::text as xid`;
  for (;;) {
    const [now] = await db.admin`
      select pg_snapshot_xmin(pg_current_snapshot()) >= ${String(row?.["xid"])}::xid8 as is_there`;
    if (now?.["is_there"] === true) return;
  }
}
