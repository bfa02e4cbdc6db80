import type postgres from "postgres";
import { type AttemptLine, type ChangeLine, type FinalLine, openHistory } from "../../history.ts";

/** Writes what the tables of an org say into the folder of a run. For the superuser, whom no policy binds. */
export async function recordStore(admin: postgres.Sql, orgId: string, folder: string): Promise<void> {
  const attempts = openHistory<AttemptLine>(folder, "attempts");
  const rows = await admin`
    select job_id, attempt, generation, worker_id, lease_id, result_id, outcome, state, failures, losses, releases, final,
      extract(epoch from granted_at)::float8 * 1000 as granted, extract(epoch from ended_at)::float8 * 1000 as ended
    from muster.attempts where org_id = ${orgId} order by job_id, attempt`;
  for (const row of rows) {
    attempts.write({
      jobId: row["job_id"],
      org: orgId,
      attempt: row["attempt"],
      generation: row["generation"],
      workerId: row["worker_id"],
      leaseId: row["lease_id"],
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
  attempts.close();
  await recordFeed(admin, orgId, folder);
  await recordRest(admin, orgId, folder);
}

async function recordFeed(admin: postgres.Sql, orgId: string, folder: string): Promise<void> {
  const changes = openHistory<ChangeLine>(folder, "changes");
  const rows = await admin`
    select c.xid::text as xid, c.n, extract(epoch from c.at)::float8 * 1000 as at, (
      select json_agg(json_build_array(job, state, attempt, nullif(worker, '00000000-0000-0000-0000-000000000000'::uuid)))
      from unnest(c.job_ids, c.states, c.attempts, c.worker_ids) as e(job, state, attempt, worker)) as entries
    from muster.changes c where c.org_id = ${orgId} order by c.xid, c.n`;
  for (const row of rows) {
    changes.write({ xid: row["xid"], n: row["n"], at: row["at"], entries: row["entries"] });
  }
  changes.close();
}

async function recordRest(admin: postgres.Sql, orgId: string, folder: string): Promise<void> {
  const final = openHistory<FinalLine>(folder, "final");
  const live = await admin`
    select job_id, state, attempt, reason, lease_id from muster.job_queue where org_id = ${orgId}`;
  for (const row of live) {
    final.write({
      type: "live",
      jobId: row["job_id"],
      state: row["state"],
      attempt: row["attempt"],
      reason: row["reason"],
      leaseId: row["lease_id"],
      org: orgId,
    });
  }
  const batches = await admin`
    select b.batch_id, b.total, b.pending, b.succeeded, b.cancelled, b.dead, json_build_object(
      'succeeded', count(*) filter (where a.state = 7), 'cancelled', count(*) filter (where a.state = 8),
      'dead', count(*) filter (where a.state = 9)) as recount
    from muster.batches b
    left join muster.jobs j on j.org_id = b.org_id and j.batch_id = b.batch_id
    left join lateral (select x.state from muster.attempts x where x.org_id = b.org_id and x.job_id = j.job_id and x.final
      order by x.generation desc limit 1) a on true
    where b.org_id = ${orgId} group by b.org_id, b.batch_id`;
  for (const row of batches) {
    final.write({
      type: "batch",
      batchId: row["batch_id"],
      total: row["total"],
      pending: row["pending"],
      succeeded: row["succeeded"],
      cancelled: row["cancelled"],
      dead: row["dead"],
      recount: row["recount"],
    });
  }
  const late = await admin`
    select result_id, job_id, attempt, lease_id from muster.late_results where org_id = ${orgId}`;
  for (const row of late) {
    const { result_id: resultId, job_id: jobId, attempt, lease_id: leaseId } = row;
    final.write({ type: "late", resultId, jobId, attempt, leaseId });
  }
  const workers = await admin`select worker_id, name, slots from muster.workers where org_id = ${orgId}`;
  for (const row of workers) {
    final.write({ type: "worker", workerId: row["worker_id"], name: row["name"], slots: row["slots"] });
  }
  final.close();
}
