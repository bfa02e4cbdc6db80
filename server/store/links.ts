import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import type { Database, Tx } from "./database.ts";
import { inOrg, inOrgs } from "./database.ts";
import { and, eq, inArray, sql } from "./drizzle.ts";
import { clock } from "./names.ts";
import { links, workers } from "./schema-fleet.ts";

/** What a link row holds about a worker that says Hello. */
export interface LinkRow {
  readonly workerId: string;
  readonly bootId: string;
  readonly hostBootId: string;
  readonly coordinatorId: string;
  readonly transport: "stream" | "poll";
  readonly isDraining: boolean;
}

/** What a worker declares. */
export interface DeclaredWorker {
  readonly skills: { name: string; digest: string }[];
  readonly kinds: string[];
  readonly slots: number;
  readonly points: number;
  readonly labels: Record<string, string>;
  readonly version: string;
  readonly host: string;
}

/** The link as it was before a Hello. */
export interface PreviousLink {
  readonly bootId: string;
  readonly hostBootId: string;
  /** Milliseconds since its last sign of life, by the database's clock. */
  readonly silentMs: number;
}

/** Reads a worker's row, and its link's, locked. */
export async function lockWorker(tx: Tx, orgId: string, workerId: string) {
  const [worker] = await tx
    .select({
      name: workers.name,
      disabledAt: workers.disabledAt,
      drainRequestedAt: workers.drainRequestedAt,
    })
    .from(workers)
    .where(and(eq(workers.orgId, orgId), eq(workers.workerId, workerId)))
    .for("update");
  const [link] = await tx
    .select({
      bootId: links.bootId,
      hostBootId: links.hostBootId,
      silentMs: sql<number>`(extract(epoch from ${clock} - ${links.seenAt}) * 1000)::float8`,
    })
    .from(links)
    .where(and(eq(links.orgId, orgId), eq(links.workerId, workerId)))
    .for("update");
  return { worker: worker ?? null, link: link ?? null };
}

/** Raises the epoch of a worker's link and writes what the worker declares. */
export async function openLink(
  tx: Tx,
  orgId: string,
  row: LinkRow,
  declared: DeclaredWorker,
): Promise<number> {
  const values = { ...row, orgId, seenAt: clock, connectedAt: clock, isAttached: true };
  const [opened] = await tx
    .insert(links)
    .values({ ...values, linkEpoch: 1 })
    .onConflictDoUpdate({
      target: [links.orgId, links.workerId],
      set: { ...values, linkEpoch: sql`${links.linkEpoch} + 1` },
    })
    .returning({ linkEpoch: links.linkEpoch });
  await tx
    .update(workers)
    .set(declared)
    .where(and(eq(workers.orgId, orgId), eq(workers.workerId, row.workerId)));
  return opened?.linkEpoch ?? 0;
}

/** Marks a link as not attached, if it is still this one. */
export async function closeLink(
  db: Database,
  orgId: string,
  { workerId, linkEpoch }: { readonly workerId: string; readonly linkEpoch: number },
): Promise<void> {
  await inOrg(db.app, orgId, (tx) =>
    tx
      .update(links)
      .set({ isAttached: false })
      .where(and(eq(links.orgId, orgId), eq(links.workerId, workerId), eq(links.linkEpoch, linkEpoch))),
  );
}

/** Notes whether a link's worker drains, if it is still this one. What an operator wants goes before what it says. */
export async function drainLink(
  db: Database,
  orgId: string,
  of: { readonly workerId: string; readonly linkEpoch: number; readonly isDraining: boolean },
): Promise<void> {
  await inOrg(db.app, orgId, async (tx) => {
    const [worker] = await tx
      .select({ drainRequestedAt: workers.drainRequestedAt })
      .from(workers)
      .where(and(eq(workers.orgId, orgId), eq(workers.workerId, of.workerId)))
      .for("share");
    const isWanted = worker !== undefined && worker.drainRequestedAt !== null;
    await tx
      .update(links)
      .set({ isDraining: of.isDraining || isWanted })
      .where(and(eq(links.orgId, orgId), eq(links.workerId, of.workerId), eq(links.linkEpoch, of.linkEpoch)));
  });
}

/** Renews links, whatever their orgs, in one statement. Returns the ids of the workers whose link is still this one. */
export async function renewLinks(
  db: PostgresJsDatabase,
  held: readonly { readonly orgId: string; readonly workerId: string; readonly linkEpoch: number }[],
): Promise<Set<string>> {
  const orgIds = [...new Set(held.map((one) => one.orgId))];
  const epochs = new Map(held.map((one) => [one.workerId, one.linkEpoch]));
  const rows = await inOrgs(db, orgIds, (tx) =>
    tx
      .update(links)
      .set({ seenAt: clock, isAttached: true })
      .where(
        and(
          inArray(links.orgId, orgIds),
          inArray(
            links.workerId,
            held.map((one) => one.workerId),
          ),
          sql`${links.linkEpoch} = (${array(held.map((one) => one.linkEpoch))}::bigint[])[array_position(${array(
            held.map((one) => one.workerId),
          )}::uuid[], ${links.workerId})]`,
        ),
      )
      .returning({ workerId: links.workerId, linkEpoch: links.linkEpoch }),
  );
  return new Set(rows.filter((row) => epochs.get(row.workerId) === row.linkEpoch).map((row) => row.workerId));
}

// One parameter, whatever the length.
function array(values: readonly (string | number)[]) {
  return sql`${sql.param(`{${values.join(",")}}`)}`;
}
