import { Code } from "@connectrpc/connect";
import { JobState as State } from "@muster/client/v1/job";
import { JobAction, JobService } from "@muster/client/v1/job_service";
import { LeaseService } from "@muster/client/v1/lease_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertAttempt, insertJob, insertWorkerRow } from "../support/rows.ts";
import { failure, openApi, type TestApi, violationsOf } from "./api.ts";

let db: TestDatabase;
let api: TestApi;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await openApi(db);
});
afterAll(async () => {
  await api?.stop();
  await db?.close();
});

async function org() {
  const client = await api.client();
  const jobs = client.of(JobService);
  const leases = client.of(LeaseService);
  const submit = async (kind = "a") => (await jobs.submitJob({ job: { kind } })).jobId;
  return { ...client, jobs, leases, submit };
}

describe("ActOnJobs", () => {
  test("by ids and by filter, dry and for good", async () => {
    const { jobs, submit } = await org();
    const ids = [await submit(), await submit(), await submit("b")];
    const dry = await jobs.actOnJobs({
      ...{ action: JobAction.CANCEL, dryRun: true },
      jobs: { case: "filter", value: "kind:a" },
    });
    expect(dry).toMatchObject({ done: 2, skipped: 0, nextPageToken: "" });
    expect(dry.matched).toMatchObject({ states: [{ state: State.READY, count: 2n }], atLeast: false });
    const wrong = await jobs.actOnJobs({
      ...{ action: JobAction.UNPARK },
      jobs: { case: "ids", value: { jobIds: ids } },
    });
    expect(wrong).toMatchObject({ done: 0, skipped: 3 });
    expect(wrong.failures[0]).toMatchObject({ jobId: ids[0], reason: "JOB_NOT_PARKED" });
    expect(wrong.failures[0]?.message).toContain("READY");
    const done = await jobs.actOnJobs({
      ...{ action: JobAction.CANCEL, reason: "no", confirmed: 2n },
      jobs: { case: "filter", value: "kind:a" },
    });
    expect(done.done).toBe(2);
    expect((await jobs.getJob({ jobId: ids[2] ?? "" })).job?.state).toBe(State.READY);
  });

  test("names all that is wrong", async () => {
    const { jobs, submit } = await org();
    const jobId = await submit();
    expect(violationsOf(await failure(jobs.actOnJobs({ reason: "r".repeat(501) })))).toEqual([
      "action is not an action",
      "ids or filter must be given",
      "reason must have at most 500 characters",
    ]);
    const badId = { case: "ids" as const, value: { jobIds: [jobId, "job_x"] } };
    expect(violationsOf(await failure(jobs.actOnJobs({ action: JobAction.RETRY, jobs: badId })))[0]).toMatch(
      /^ids\.jobIds\[1\] /,
    );
    const badFilter = { case: "filter" as const, value: "kind:a state:runing" };
    const error = await failure(jobs.actOnJobs({ action: JobAction.RETRY, jobs: badFilter }));
    expect([error.code, error.detail?.reason]).toEqual([Code.InvalidArgument, "FILTER_INVALID"]);
    const confirmed = { action: JobAction.PARK, confirmed: 0n };
    const changed = await failure(
      jobs.actOnJobs({ ...confirmed, jobs: { case: "filter", value: "kind:a" } }),
    );
    expect([changed.code, changed.detail?.reason]).toEqual([Code.FailedPrecondition, "COUNT_CHANGED"]);
  });
});

describe("UpdateJob and DeleteJob", () => {
  test("change, and remove, what they are given", async () => {
    const { orgId, jobs, submit } = await org();
    const jobId = await submit();
    const { job } = await jobs.updateJob({ jobId, priority: 0, title: "t", labels: { team: "web" } });
    expect(job?.spec).toMatchObject({ priority: 0, title: "t", labels: { team: "web" } });
    expect((await failure(jobs.deleteJob({ jobId }))).detail?.reason).toBe("JOB_NOT_TERMINAL");
    await jobs.cancelJob({ jobId });
    await jobs.deleteJob({ jobId, requestId: "r" });
    await jobs.deleteJob({ jobId, requestId: "r" });
    expect((await failure(jobs.getJob({ jobId }))).code).toBe(Code.NotFound);
    expect(violationsOf(await failure(jobs.updateJob({ jobId: "x", priority: 300 })))[0]).toMatch(/^jobId /);
    expect(orgId).not.toBe("");
  });
});

test("ListDeadLetterGroups tells equal errors", async () => {
  const { orgId, jobs } = await org();
  const { jobId } = await insertJob(db, orgId, { state: JobState.dead });
  const error = { code: "E", message: "m" };
  await insertAttempt(db, orgId, jobId, { outcome: Outcome.failed, state: JobState.dead, error });
  await db.admin`insert into muster.dead_letters (org_id, job_id, generation, cause, fingerprint, kind)
    values (${orgId}, ${jobId}, 1, 'failures', 'f', 'shell.run')`;
  const { groups, truncated } = await jobs.listDeadLetterGroups({});
  expect(groups).toMatchObject([
    { fingerprint: "f", count: 1n, error: { message: "m" }, sampleJobId: encodeId("job", jobId) },
  ]);
  expect([truncated, groups[0]?.hourly.length]).toEqual([false, 24]);
});

describe("LeaseService", () => {
  test("lists, reads and revokes", async () => {
    const { orgId, leases } = await org();
    const workerId = await insertWorkerRow(db, orgId, { name: "gpu-1", link: { silentMs: 60_000 } });
    const { jobId } = await insertJob(db, orgId, { state: JobState.running, worker: { workerId } });
    const { leases: found } = await leases.listLeases({ worker: "gpu-1", atRisk: true });
    const [lease] = found;
    expect(lease).toMatchObject({
      ...{ jobId: encodeId("job", jobId), kind: "shell.run", attempt: 1, state: State.RUNNING },
      ...{
        workerId: encodeId("worker", workerId),
        workerName: "gpu-1",
        atRisk: true,
        cancelRequested: false,
      },
    });
    expect(Number(lease?.silence?.seconds)).toBeGreaterThanOrEqual(60);
    const leaseId = lease?.leaseId ?? "";
    expect((await leases.getLease({ jobId: encodeId("job", jobId) })).lease?.leaseId).toBe(leaseId);
    const { job } = await leases.revokeLease({ leaseId, reason: "hangs", requestId: "r" });
    expect(job).toMatchObject({ state: State.READY, releases: 1, reason: "hangs" });
    expect((await leases.revokeLease({ leaseId, requestId: "r" })).job?.releases).toBe(1);
    const again = await failure(leases.revokeLease({ leaseId }));
    expect([again.code, again.detail?.reason]).toEqual([Code.FailedPrecondition, "SUPERSEDED"]);
    expect((await failure(leases.getLease({ leaseId }))).detail?.reason).toBe("LEASE_NOT_FOUND");
    expect(violationsOf(await failure(leases.getLease({})))).toEqual([
      "leaseId or jobId must be given, and not both",
    ]);
    expect(violationsOf(await failure(leases.listLeases({ worker: "wrk_x" })))[0]).toMatch(/^worker /);
  });
});
