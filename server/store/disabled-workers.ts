import type { Tx } from "./database.ts";
import { and, eq, inArray, isNotNull, sql } from "./drizzle.ts";
import { getsNothing, mayBeHeldBack, openPrs } from "./held-back.ts";
import { clock } from "./names.ts";
import { jobQueue, jobs } from "./schema.ts";
import { apiKeys, commands, links, workerLosses, workers } from "./schema-fleet.ts";
import { linkedProjects, sessions } from "./schema-routing.ts";

/**
 * Disables a worker, and takes its link away whichever coordinator holds it: claims and heartbeats of the present
 * epoch find another one. Claims that it would be given wait for this commit, or come before it.
 */
export async function disableWorkerRow(
  tx: Tx,
  orgId: string,
  workerId: string,
  { isByOwner = false }: { readonly isByOwner?: boolean } = {},
): Promise<void> {
  await tx
    .update(workers)
    .set({
      disabledAt: sql`coalesce(${workers.disabledAt}, ${clock})`,
      isDisabledByOwner: isByOwner
        ? sql`${workers.disabledAt} is null or ${workers.isDisabledByOwner}`
        : false,
    })
    .where(and(eq(workers.orgId, orgId), eq(workers.workerId, workerId)));
  await detachLinkRow(tx, orgId, workerId);
}

/** Takes the link of a worker away, whichever coordinator holds it. */
export async function detachLinkRow(tx: Tx, orgId: string, workerId: string): Promise<void> {
  await lockLinkRow(tx, orgId, workerId);
  await tx
    .update(links)
    .set({ isAttached: false, linkEpoch: sql`${links.linkEpoch} + 1` })
    .where(and(eq(links.orgId, orgId), eq(links.workerId, workerId)));
}

/** Enables a disabled worker. */
export async function enableWorkerRow(tx: Tx, orgId: string, workerId: string): Promise<void> {
  await tx
    .update(workers)
    .set({ disabledAt: null, isDisabledByOwner: false })
    .where(and(eq(workers.orgId, orgId), eq(workers.workerId, workerId)));
}

/** Waits for the claims that give the worker something, and lets none come before the commit. */
export async function lockLinkRow(tx: Tx, orgId: string, workerId: string): Promise<void> {
  await tx
    .select({ linkEpoch: links.linkEpoch })
    .from(links)
    .where(and(eq(links.orgId, orgId), eq(links.workerId, workerId)))
    .for("update");
}

/** What a worker holds, and whether the job must never run twice at the same time. */
export async function readLeasesToEnd(tx: Tx, orgId: string, workerId: string) {
  const rows = await tx
    .select({
      jobId: jobQueue.jobId,
      attempt: jobQueue.attempt,
      leaseId: jobQueue.leaseId,
      isExclusive: jobs.exclusive,
    })
    .from(jobQueue)
    .innerJoin(jobs, and(eq(jobs.orgId, jobQueue.orgId), eq(jobs.jobId, jobQueue.jobId)))
    .where(and(eq(jobQueue.orgId, orgId), eq(jobQueue.workerId, workerId)));
  return rows.flatMap((row) => (row.leaseId === null ? [] : [{ ...row, leaseId: row.leaseId, workerId }]));
}

/** Deletes a worker that holds nothing, with its keys and with what it published. Its name is free then. */
export async function deleteWorker(tx: Tx, orgId: string, workerId: string): Promise<void> {
  for (const table of [apiKeys, sessions, linkedProjects, commands, workerLosses, links, workers] as const) {
    await tx.delete(table).where(and(eq(table.orgId, orgId), eq(table.workerId, workerId)));
  }
}

/** Which of some workers may not go on, which get nothing new, and what of their pull requests is open if that counts. */
export async function readStanding(tx: Tx, orgId: string, workerIds: readonly string[]) {
  return tx
    .select({
      workerId: workers.workerId,
      isDisabled: isNotNull(workers.disabledAt).mapWith(Boolean),
      isHeldBack: getsNothing,
      openPrs,
    })
    .from(workers)
    .where(and(eq(workers.orgId, orgId), inArray(workers.workerId, [...workerIds]), mayBeHeldBack));
}
