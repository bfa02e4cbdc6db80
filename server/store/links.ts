import type { AnyColumn } from "drizzle-orm";
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import type { Database, Tx } from "./database.ts";
import { inOrg, inOrgs } from "./database.ts";
import { and, eq, inArray, isNotNull, isNull, sql } from "./drizzle.ts";
import { getsNothing, openPrs } from "./held-back.ts";
import { clock, linkNames as l } from "./names.ts";
import { links, workers } from "./schema-fleet.ts";
import { type Call, call, param, statement } from "./statement.ts";

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

const sinceMs = (at: AnyColumn) => sql<number>`(extract(epoch from ${clock} - ${at}) * 1000)::float8`;

/** Reads a worker's row, and its link's, locked. Times are by the database's clock. */
export async function lockWorker(tx: Tx, orgId: string, workerId: string) {
  const lockingWorker = tx
    .select({
      name: workers.name,
      disabledAt: workers.disabledAt,
      drainRequestedAt: workers.drainRequestedAt,
      host: workers.host,
      isQuarantined: isNotNull(workers.quarantinedAt).mapWith(Boolean),
      isHeldBack: getsNothing,
      limits: workers.limits,
      newcomerLimits: workers.newcomerLimits,
      ownerLimits: workers.ownerLimits,
      maxOpenPrs: workers.maxOpenPrs,
      openPrs,
    })
    .from(workers)
    .where(and(eq(workers.orgId, orgId), eq(workers.workerId, workerId)))
    .for("update");
  const lockingLink = tx
    .select({
      bootId: links.bootId,
      hostBootId: links.hostBootId,
      silentMs: sinceMs(links.seenAt),
      isAttached: links.isAttached,
      transport: links.transport,
      flips: links.flips,
      flipsAgeMs: sql<number | null>`(extract(epoch from ${clock} - ${links.flipsSince}) * 1000)::float8`,
    })
    .from(links)
    .where(and(eq(links.orgId, orgId), eq(links.workerId, workerId)))
    .for("update");
  const [[worker], [link]] = await Promise.all([lockingWorker, lockingLink]);
  return { worker: worker ?? null, link: link ?? null };
}

/** Raises the epoch of a worker's link. A new link is above suspicion. */
export async function openLink(tx: Tx, orgId: string, row: LinkRow): Promise<number> {
  const values = { ...row, orgId, seenAt: clock, connectedAt: clock, isAttached: true, suspectAt: null };
  const [opened] = await tx
    .insert(links)
    .values({ ...values, linkEpoch: 1 })
    .onConflictDoUpdate({
      target: [links.orgId, links.workerId],
      set: { ...values, linkEpoch: sql`${links.linkEpoch} + 1` },
    })
    .returning({ linkEpoch: links.linkEpoch });
  return opened?.linkEpoch ?? 0;
}

/** Writes what a worker gets of what it declares, and what it does not. */
export async function declareWorker(
  tx: Tx,
  orgId: string,
  workerId: string,
  declared: DeclaredWorker & { readonly refusals: string[] },
): Promise<void> {
  await tx
    .update(workers)
    .set(declared)
    .where(and(eq(workers.orgId, orgId), eq(workers.workerId, workerId)));
}

/** Counts a flip of a worker's link, the first of a new count or one more. */
export async function noteFlip(
  tx: Tx,
  orgId: string,
  workerId: string,
  { flips, isFirst }: { readonly flips: number; readonly isFirst: boolean },
): Promise<void> {
  await tx
    .update(links)
    .set({ flips, ...(isFirst ? { flipsSince: clock } : {}) })
    .where(and(eq(links.orgId, orgId), eq(links.workerId, workerId)));
}

/** Quarantines a worker, unless it is already. */
export async function quarantineWorker(
  tx: Tx,
  orgId: string,
  workerId: string,
  reason: string,
): Promise<void> {
  await tx
    .update(workers)
    .set({ quarantinedAt: clock, quarantineReason: reason })
    .where(and(eq(workers.orgId, orgId), eq(workers.workerId, workerId), isNull(workers.quarantinedAt)));
}

/** Notes since when a link leaves a cancel without an answer, or that it answers, if it is still this one. */
export async function suspectLink(
  db: Database,
  orgId: string,
  of: { readonly workerId: string; readonly linkEpoch: number; readonly isSuspect: boolean },
): Promise<void> {
  await inOrg(db.app, orgId, (tx) =>
    tx
      .update(links)
      .set({ suspectAt: of.isSuspect ? sql`coalesce(${links.suspectAt}, ${clock})` : null })
      .where(and(eq(links.orgId, orgId), eq(links.workerId, of.workerId), eq(links.linkEpoch, of.linkEpoch))),
  );
}

/** Who holds the link of a worker now; null when it never had one. */
export async function readLinkHolder(db: Database, orgId: string, workerId: string) {
  const [row] = await inOrg(db.app, orgId, (tx) =>
    tx
      .select({ bootId: links.bootId, host: workers.host, linkEpoch: links.linkEpoch })
      .from(links)
      .innerJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, workerId)))
      .where(and(eq(links.orgId, orgId), eq(links.workerId, workerId))),
  );
  return row ?? null;
}

/**
 * Renews links whose workers were told to wait with their Hello, if they are still of the same boot, whatever
 * their orgs, in one statement.
 */
export async function touchLinks(
  db: PostgresJsDatabase,
  waiting: readonly { readonly orgId: string; readonly workerId: string; readonly bootId: string }[],
): Promise<void> {
  const orgIds = [...new Set(waiting.map((one) => one.orgId))];
  const asked = sql`unnest(${array(waiting.map((one) => one.workerId))}::uuid[],
    ${array(waiting.map((one) => one.bootId))}::uuid[]) as asked(worker_id, boot_id)`;
  await inOrgs(db, orgIds, (tx) =>
    tx
      .update(links)
      .set({ seenAt: clock })
      .from(asked)
      .where(
        and(
          inArray(links.orgId, orgIds),
          sql`${links.workerId} = asked.worker_id and ${links.bootId} = asked.boot_id`,
        ),
      ),
  );
}

/** Runs a transaction of a link: null when it is no longer the worker's. No newer one comes before the commit. */
export async function transactWithLink<T>(
  db: Database,
  orgId: string,
  { workerId, linkEpoch }: { readonly workerId: string; readonly linkEpoch: number },
  body: (tx: Tx) => Promise<T>,
): Promise<T | null> {
  return inOrg(db.app, orgId, async (tx) => {
    const [link] = await tx
      .select({ linkEpoch: links.linkEpoch })
      .from(links)
      .where(and(eq(links.orgId, orgId), eq(links.workerId, workerId), eq(links.linkEpoch, linkEpoch)))
      .for("key share");
    return link === undefined ? null : body(tx);
  });
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

/** Locks a link whose worker ends, if it is still this one, against claims, and notes that it drains. */
export async function lockLeaving(
  tx: Tx,
  orgId: string,
  { workerId, linkEpoch }: { readonly workerId: string; readonly linkEpoch: number },
): Promise<boolean> {
  const isLink = and(eq(links.orgId, orgId), eq(links.workerId, workerId), eq(links.linkEpoch, linkEpoch));
  const locked = await tx.select({ workerId: links.workerId }).from(links).where(isLink).for("update");
  if (locked.length === 0) return false;
  await tx.update(links).set({ isDraining: true }).where(isLink);
  return true;
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

/**
 * Renews links, whatever their orgs, in one statement that is its own transaction. Returns those that are still their workers' links; of two
 * links of one worker in one call that is one at most.
 */
export async function renewLinks<
  T extends { readonly orgId: string; readonly workerId: string; readonly linkEpoch: number },
>(db: PostgresJsDatabase, held: readonly T[]): Promise<Set<T>> {
  const orgIds = [...new Set(held.map((one) => one.orgId))];
  const rows = await db.execute(sql`select * from muster.renew_links(${array(orgIds)}::uuid[],
    ${array(held.map((one) => one.workerId))}::uuid[], ${array(held.map((one) => one.linkEpoch))}::bigint[])`);
  const current = new Map(rows.map((row) => [String(row["worker"]), Number(row["epoch"])]));
  return new Set(held.filter((one) => current.get(one.workerId) === one.linkEpoch));
}

// One parameter, whatever the length.
function array(values: readonly (string | number)[]) {
  return sql`${sql.param(`{${values.join(",")}}`)}`;
}

const holdLinks = statement(sql`
  select k.${l.workerId} as worker from ${links} k where k.${l.orgId} = ${param("org")}::uuid
    and k.${l.workerId} = ${param("worker")}::uuid and k.${l.linkEpoch} = ${param("epoch")}::bigint for key share`);

/** The statement that finds a link if it is still the worker's, and lets no newer one come before the commit. */
export function holdLink(
  org: string,
  { workerId, linkEpoch }: { readonly workerId: string; readonly linkEpoch: number },
): Call {
  return call(holdLinks, { org, worker: workerId, epoch: linkEpoch });
}
