import type { Tx } from "./database.ts";
import { and, eq, inArray } from "./drizzle.ts";
import { workers } from "./schema-fleet.ts";

/** What workers are called, by their ids; those that are gone are left out. */
export async function readWorkerNames(
  tx: Tx,
  orgId: string,
  workerIds: readonly string[],
): Promise<Map<string, string>> {
  if (workerIds.length === 0) return new Map();
  const rows = await tx
    .select({ workerId: workers.workerId, name: workers.name })
    .from(workers)
    .where(and(eq(workers.orgId, orgId), inArray(workers.workerId, [...workerIds])));
  return new Map(rows.map((row) => [row.workerId, row.name]));
}
