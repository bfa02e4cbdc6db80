import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { getJob } from "../../server/domain/job-views.ts";
import { cancelJob, retryJob, submitJob } from "../../server/domain/jobs.ts";
import { deleteJob, type RemovalContext } from "../../server/domain/removals.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import type { ArtifactKey } from "../../server/outbound/artifact-store.ts";
import { readChanges, readRevision } from "../../server/store/changes.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { dependingOrg, onJob } from "../support/depending.ts";
import { jobRequest } from "../support/fleet.ts";
import { insertAttempt, insertEvents, insertJob } from "../support/rows.ts";

let db: TestDatabase;
let c: TestCoordinator;

beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

async function org() {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const files: ArtifactKey[] = [];
  const context: RemovalContext = { ...c, artifacts: { delete: async (key) => void files.push(key) } };
  const submit = async (overrides: Partial<JobRequest> = {}, idempotencyKey: string | null = null) =>
    (await submitJob(c, caller, { job: jobRequest(overrides), idempotencyKey, parent: null })).jobId;
  const remove = (jobId: string, requestId = "") =>
    deleteJob(context, caller, { jobId, reason: "tidy", requestId });
  const read = (jobId: string) => getJob(c, caller, { jobId, externalId: null, isFull: true });
  const ended = async (state: JobState = JobState.dead) => {
    const { jobId } = await insertJob(db, orgId, { state });
    await insertAttempt(db, orgId, jobId, { outcome: Outcome.failed, state });
    return jobId;
  };
  return { orgId, caller, context, files, submit, remove, read, ended };
}

// All rows of an org that name a job, by table.
async function rowsOf(jobId: string): Promise<Record<string, number>> {
  const columns = await db.admin`
    select c.table_name as name, c.column_name as column from information_schema.columns c
    join pg_class p on p.relname = c.table_name and p.relnamespace = 'muster'::regnamespace and not p.relispartition
    where c.table_schema = 'muster' and c.udt_name = 'uuid'`;
  const found: Record<string, number> = {};
  for (const { name, column } of columns) {
    const rows =
      await db.admin`select 1 from ${db.admin(`muster.${name}`)} where ${db.admin(column)} = ${jobId}`;
    if (rows.length > 0) found[name] = rows.length;
  }
  return found;
}

describe("deleting a job", () => {
  test("removes it with its attempts, events, files, letters and keys; the audit row stays", async () => {
    const { orgId, caller, files, submit, remove, read } = await org();
    const jobId = await submit({ externalId: "mine" }, "key");
    await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    await insertEvents(db, orgId, { jobId, attempt: 1 }, [
      { type: "message", sequence: 1, timeMs: db.nowMs(), text: "hello" },
    ]);
    const artifactId = db.newId();
    const sha256 = "a".repeat(64);
    await db.admin`insert into muster.artifacts (org_id, artifact_id, job_id, attempt, name, content_type, size_bytes, sha256)
      values (${orgId}, ${artifactId}, ${jobId}, 1, 'a.txt', 'text/plain', 1, ${sha256})`;
    await db.admin`insert into muster.dead_letters (org_id, job_id, generation, cause, fingerprint, kind)
      values (${orgId}, ${jobId}, 1, 'failures', 'f', 'shell.run')`;
    await db.admin`insert into muster.late_results (org_id, result_id, job_id, attempt, lease_id, worker_id, outcome)
      values (${orgId}, ${db.newId()}, ${jobId}, 1, ${db.newId()}, ${db.newId()}, 1)`;
    await remove(jobId);
    expect(await rowsOf(jobId)).toEqual({});
    expect(files).toEqual([{ orgId, jobId, attempt: 1, artifactId, sha256 }]);
    await expect(read(jobId)).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    const [audit] = await db.admin`select reason, details from muster.audit_log
      where org_id = ${orgId} and action = 'job.delete'`;
    expect(audit).toMatchObject({ reason: "tidy", details: { state: JobState.cancelled, files: 1 } });
    // Both keys are free again.
    expect(await submit({ externalId: "mine" }, "key")).not.toBe(jobId);
  });

  test("leaves other jobs, and the count of its batch", async () => {
    const { ended, remove, read } = await org();
    const [one, other] = [await ended(), await ended()];
    await remove(one);
    expect((await read(other)).state).toBe(JobState.dead);
  });

  test("is told by the feed, so that watchers see it", async () => {
    const { orgId, ended, remove } = await org();
    const jobId = await ended();
    const revision = await readRevision(db.database, orgId);
    await remove(jobId);
    // The feed waits for transactions that are older than the change.
    await expect
      .poll(async () => (await readChanges(db.database, orgId, revision)).changes)
      .toEqual([expect.objectContaining({ jobId, state: JobState.dead })]);
  });

  test.each([JobState.blocked, JobState.scheduled, JobState.ready, JobState.running, JobState.parked])(
    "is refused while it lives: state %i",
    async (state) => {
      const { orgId, remove, read } = await org();
      const worker = state === JobState.running ? { worker: { workerId: db.newId() } } : {};
      const { jobId } = await insertJob(db, orgId, { state, ...worker });
      await expect(remove(jobId)).rejects.toMatchObject({ reason: "JOB_NOT_TERMINAL" });
      expect((await read(jobId)).state).toBe(state);
    },
  );

  test("is refused while a job that depends on it lives, and goes once that has ended", async () => {
    const { orgId, caller, submit, end } = await dependingOrg(db, c);
    const context = { ...c, artifacts: { delete: async () => {} } };
    const remove = (jobId: string) => deleteJob(context, caller, { jobId, reason: "", requestId: "" });
    const parent = await submit();
    const child = await submit({ dependsOn: onJob(parent) });
    await end(parent);
    await expect(remove(parent)).rejects.toMatchObject({ reason: "JOB_HAS_DEPENDANTS" });
    await cancelJob(c, caller, { jobId: child, reason: "", isForced: false });
    await remove(parent);
    expect(await rowsOf(parent)).toEqual({});
    await remove(child);
    expect(caller.orgId).toBe(orgId);
  });

  test("with one request id is one delete; without one the second finds nothing", async () => {
    const { orgId, ended, remove } = await org();
    const [one, other] = [await ended(), await ended()];
    await Promise.all([remove(one, "r"), remove(one, "r"), remove(one, "r")]);
    await remove(one, "r");
    await remove(other);
    await expect(remove(other)).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    await expect(remove(other, "r2")).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    const [count] = await db.admin`select count(*)::int as n from muster.audit_log where org_id = ${orgId}`;
    expect(count?.["n"]).toBe(2);
  });

  test("that meets a retry is one or the other", async () => {
    const { caller, ended, remove } = await org();
    for (let n = 0; n < 10; n++) {
      const jobId = await ended();
      const answers = await Promise.allSettled([remove(jobId), retryJob(c, caller, { jobId, reason: "" })]);
      const reasons = answers.flatMap((one) => (one.status === "rejected" ? [one.reason.reason] : []));
      expect([["JOB_NOT_TERMINAL"], ["JOB_NOT_FOUND"]]).toContainEqual(reasons);
    }
  });

  test("does not find a job of another org", async () => {
    const { remove } = await org();
    const others = await org();
    const jobId = await others.ended();
    await expect(remove(jobId)).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    expect((await others.read(jobId)).state).toBe(JobState.dead);
  });

  test("keeps all rows when a file cannot be removed, and can be repeated", async () => {
    const { orgId, caller, context, ended, remove, read } = await org();
    const jobId = await ended();
    await db.admin`insert into muster.artifacts (org_id, artifact_id, job_id, attempt, name, content_type, size_bytes, sha256)
      values (${orgId}, ${db.newId()}, ${jobId}, 1, 'a.txt', 'text/plain', 1, ${"b".repeat(64)})`;
    const broken = { ...context, artifacts: { delete: () => Promise.reject(new Error("disk")) } };
    await expect(deleteJob(broken, caller, { jobId, reason: "", requestId: "" })).rejects.toThrow("disk");
    expect((await read(jobId)).state).toBe(JobState.dead);
    await remove(jobId);
    expect(await rowsOf(jobId)).toEqual({});
  });
});
