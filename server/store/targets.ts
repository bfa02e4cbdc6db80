import { writeArray } from "./arrays.ts";
import type { Tx } from "./database.ts";
import { and, eq, sql } from "./drizzle.ts";
import { workers } from "./schema-fleet.ts";
import { sessions } from "./schema-routing.ts";

/** Which of some workers and sessions an org has. */
export async function findTargets(
  tx: Tx,
  orgId: string,
  asked: {
    readonly workerIds: readonly string[];
    readonly names: readonly string[];
    readonly sessionIds: readonly string[];
  },
) {
  const { workerIds, names, sessionIds } = asked;
  const foundWorkers =
    workerIds.length + names.length === 0
      ? []
      : await tx
          .select({ workerId: workers.workerId, name: workers.name })
          .from(workers)
          .where(
            and(
              eq(workers.orgId, orgId),
              sql`(${workers.workerId} = any(${writeArray(workerIds)}::uuid[])
                or ${workers.name} = any(${writeArray(names)}::text[]))`,
            ),
          );
  const foundSessions =
    sessionIds.length === 0
      ? []
      : await tx
          .select({ sessionId: sessions.sessionId })
          .from(sessions)
          .where(
            and(
              eq(sessions.orgId, orgId),
              sql`${sessions.sessionId} = any(${writeArray(sessionIds)}::text[])`,
            ),
          );
  return {
    workerIds: new Set(foundWorkers.map((row) => row.workerId)),
    names: new Map(foundWorkers.map((row) => [row.name, row.workerId])),
    sessionIds: new Set(foundSessions.map((row) => row.sessionId)),
  };
}
