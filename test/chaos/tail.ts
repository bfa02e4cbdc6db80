import { setTimeout as delay } from "node:timers/promises";
import postgres, { type Sql } from "postgres";
import { encodeId } from "../../server/domain/ids.ts";
import { nilUuid } from "../../server/store/names.ts";
import { type AttemptLine, type ChangeLine, type FinalLine, openHistory } from "./history.ts";

const pageRows = 500;
/** How long the rest of the feed is waited for at the end, when the database does not answer. */
const giveUpMs = 30_000;

/** The database of a run, read by its superuser: nothing here is a part of the product. */
export function openAdmin(url: string): Sql {
  return postgres(url, { max: 2, onnotice: () => {}, connect_timeout: 5, backoff: false });
}

/**
 * Writes the change feed to a file while it grows, below the oldest transaction that still runs, like every reader of
 * it. A database that is away is asked again. `stop` reads the rest first, and rejects when that cannot be had.
 */
export function tailChanges(sql: Sql, folder: string): { readonly stop: () => Promise<void> } {
  const file = openHistory<ChangeLine>(folder, "changes");
  let place = { xid: "0", n: 0 };
  let isStopping = false;
  let answeredMs = 0;
  const readPage = async (): Promise<number> => {
    const rows = await sql`
      select xid::text as xid, n, (extract(epoch from at) * 1000)::float8 as at, job_ids as jobs, states, attempts,
        worker_ids as workers
      from muster.changes where (xid, n) > (${place.xid}::xid8, ${place.n}::smallint)
        and xid < pg_snapshot_xmin(pg_current_snapshot()) order by changes.xid, n limit ${pageRows}`;
    for (const row of rows) {
      const workers: string[] = row["workers"];
      const entries = row["jobs"].map((job: string, index: number) => [
        encodeId("job", job),
        row["states"][index],
        row["attempts"][index],
        workers[index] === nilUuid ? null : encodeId("worker", workers[index] ?? nilUuid),
      ]);
      file.write({ xid: row["xid"], n: row["n"], at: row["at"], entries });
      place = { xid: row["xid"], n: row["n"] };
    }
    return rows.length;
  };
  const tailing = (async () => {
    for (;;) {
      const isLast = isStopping;
      const count = await readPage().catch(() => -1);
      if (isLast && count === 0) return;
      if (count >= 0) answeredMs = performance.now();
      else if (isLast && performance.now() - answeredMs > giveUpMs) {
        throw new Error("the database does not answer: the rest of the change feed is not known");
      }
      if (count < pageRows) await delay(isLast ? 20 : 300);
    }
  })();
  return {
    async stop() {
      answeredMs = performance.now();
      isStopping = true;
      await tailing.finally(() => file.close());
    },
  };
}

/** How many jobs are not terminal. */
export async function countLive(sql: Sql): Promise<number> {
  const [row] = await sql`select count(*)::int as live from muster.job_queue`;
  return Number(row?.["live"]);
}

/** Writes what the tables hold at the end. */
export async function writeTables(sql: Sql, folder: string): Promise<void> {
  await writeAttempts(sql, folder);
  const final = openHistory<FinalLine>(folder, "final");
  for (const row of await sql`select job_id, state, attempt, reason, lease_id from muster.job_queue`) {
    const { state, attempt, reason } = row;
    const leaseId = row["lease_id"] === null ? null : encodeId("lease", row["lease_id"]);
    final.write({ type: "live", jobId: encodeId("job", row["job_id"]), state, attempt, reason, leaseId });
  }
  for (const row of await sql`
    select b.*, r.done as recount_succeeded, r.stopped as recount_cancelled, r.died as recount_dead from muster.batches b
    left join (select j.batch_id, count(*) filter (where a.state = 7)::int as done,
        count(*) filter (where a.state = 8)::int as stopped, count(*) filter (where a.state = 9)::int as died
      from muster.jobs j join muster.attempts a on a.org_id = j.org_id and a.job_id = j.job_id and a.final
      where j.batch_id is not null group by 1) r on r.batch_id = b.batch_id`) {
    final.write({
      type: "batch",
      batchId: encodeId("batch", row["batch_id"]),
      total: row["total"],
      pending: row["pending"],
      succeeded: row["succeeded"],
      cancelled: row["cancelled"],
      dead: row["dead"],
      recount: {
        succeeded: row["recount_succeeded"] ?? 0,
        cancelled: row["recount_cancelled"] ?? 0,
        dead: row["recount_dead"] ?? 0,
      },
    });
  }
  for (const row of await sql`select result_id, job_id, attempt, lease_id from muster.late_results`) {
    const ids = { jobId: encodeId("job", row["job_id"]), leaseId: encodeId("lease", row["lease_id"]) };
    final.write({ type: "late", resultId: row["result_id"], attempt: row["attempt"], ...ids });
  }
  for (const row of await sql`select worker_id, name, slots from muster.workers`) {
    const { name, slots } = row;
    final.write({ type: "worker", workerId: encodeId("worker", row["worker_id"]), name, slots });
  }
  final.close();
}

async function writeAttempts(sql: Sql, folder: string): Promise<void> {
  const file = openHistory<AttemptLine>(folder, "attempts");
  const rows = sql`
    select job_id, attempt, generation, worker_id, lease_id, result_id, outcome, state, failures, losses, releases,
      final, (extract(epoch from granted_at) * 1000)::float8 as granted,
      (extract(epoch from ended_at) * 1000)::float8 as ended
    from muster.attempts`.cursor(5_000);
  for await (const page of rows) {
    for (const row of page) {
      file.write({
        jobId: encodeId("job", row["job_id"]),
        attempt: row["attempt"],
        generation: row["generation"],
        workerId: row["worker_id"] === null ? null : encodeId("worker", row["worker_id"]),
        leaseId: row["lease_id"] === null ? null : encodeId("lease", row["lease_id"]),
        resultId: row["result_id"],
        grantedAt: row["granted"],
        endedAt: row["ended"],
        outcome: row["outcome"],
        state: row["state"],
        failures: row["failures"],
        losses: row["losses"],
        releases: row["releases"],
        final: row["final"],
      });
    }
  }
  file.close();
}
