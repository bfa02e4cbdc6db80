import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, eq, inArray, isNull, sql } from "./drizzle.ts";
import { apiKeys, links, workers } from "./schema-fleet.ts";

/** A worker of one of these names, and what tells whether somebody uses it. */
export interface NamedWorker {
  readonly name: string;
  readonly workerId: string;
  /** Every key that it ever had was made under this key name. */
  readonly isOwn: boolean;
  /** A key of it that is not revoked was made, or its link was seen, within the time asked for. */
  readonly isInUse: boolean;
  readonly isDisabled: boolean;
}

/** Workers of names `prefix`, `prefix-2`, `prefix-3` and so on, whose keys tell whether coordinators made them. */
export async function readNamedWorkers(
  tx: Tx,
  orgId: string,
  {
    prefix,
    keyName,
    recentMs,
  }: { readonly prefix: string; readonly keyName: string; readonly recentMs: number },
): Promise<NamedWorker[]> {
  const since = sql`${now} - ${recentMs}::float8 * interval '1 millisecond'`;
  return tx
    .select({
      name: workers.name,
      workerId: workers.workerId,
      isOwn: sql<boolean>`coalesce(bool_and(${apiKeys.name} = ${keyName}), true)`,
      isInUse: sql<boolean>`coalesce(bool_or(${apiKeys.revokedAt} is null
        and (${apiKeys.createdAt} > ${since} or (${links.isAttached} and ${links.seenAt} > ${since}))), false)`,
      isDisabled: sql<boolean>`${workers.disabledAt} is not null`,
    })
    .from(workers)
    .leftJoin(apiKeys, and(eq(apiKeys.orgId, orgId), eq(apiKeys.workerId, workers.workerId)))
    .leftJoin(links, and(eq(links.orgId, orgId), eq(links.workerId, workers.workerId)))
    .where(and(eq(workers.orgId, orgId), sql`${workers.name} ~ ${`^${prefix}(-[0-9]{1,4})?$`}`))
    .groupBy(workers.workerId, workers.name, workers.disabledAt);
}

/** Revokes every key of a worker. */
export async function revokeWorkerKeys(tx: Tx, orgId: string, workerId: string): Promise<string[]> {
  const revoked = await tx
    .update(apiKeys)
    .set({ revokedAt: now })
    .where(and(eq(apiKeys.orgId, orgId), eq(apiKeys.workerId, workerId), isNull(apiKeys.revokedAt)))
    .returning({ keyId: apiKeys.keyId });
  return revoked.map((row) => row.keyId);
}

/** Revokes keys by their ids. */
export async function revokeKeys(tx: Tx, orgId: string, keyIds: readonly string[]): Promise<void> {
  await tx
    .update(apiKeys)
    .set({ revokedAt: now })
    .where(and(eq(apiKeys.orgId, orgId), inArray(apiKeys.keyId, [...keyIds]), isNull(apiKeys.revokedAt)));
}
