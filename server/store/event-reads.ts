import type { Tx } from "./database.ts";
import { and, asc, eq, sql } from "./drizzle.ts";
import { decodeEvents, type StoredEvent } from "./event-codec.ts";
import { logChunks } from "./schema.ts";

/** A place in the record of a job: the last event that was seen. */
export interface EventPosition {
  readonly attempt: number;
  readonly sequence: number;
}

/** A chunk of what an attempt said. */
export interface EventChunkRow {
  readonly attempt: number;
  readonly lastSequence: number;
  readonly events: readonly StoredEvent[];
}

/** Chunks of the record of a job that reach beyond a place, in order. */
export async function readEventChunks(
  tx: Tx,
  orgId: string,
  jobId: string,
  { after, limit }: { readonly after: EventPosition; readonly limit: number },
): Promise<EventChunkRow[]> {
  const rows = await tx
    .select({
      attempt: logChunks.attempt,
      lastSequence: logChunks.lastSequence,
      isCompressed: logChunks.isCompressed,
      body: logChunks.body,
    })
    .from(logChunks)
    .where(
      and(
        eq(logChunks.orgId, orgId),
        eq(logChunks.jobId, jobId),
        // A grant is never before the submit: days before it hold nothing of the job.
        sql`${logChunks.day} >= ${submitDay(jobId)}::date`,
        sql`${logChunks.attempt} >= ${after.attempt}`,
        sql`(${logChunks.attempt} > ${after.attempt} or ${logChunks.lastSequence} > ${after.sequence})`,
      ),
    )
    .orderBy(asc(logChunks.attempt), asc(logChunks.firstSequence))
    .limit(limit);
  return rows.map(({ attempt, lastSequence, body, isCompressed }) => ({
    attempt,
    lastSequence,
    events: decodeEvents(body, isCompressed),
  }));
}

/** The day before the one (UTC) on which a job id was made: clocks of coordinators differ a little. */
function submitDay(jobId: string): string {
  const submittedMs = Number.parseInt(jobId.slice(0, 8) + jobId.slice(9, 13), 16);
  return new Date(submittedMs - 86_400_000).toISOString().slice(0, 10);
}
