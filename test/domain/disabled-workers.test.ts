import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { disableWorker, enableWorker, removeWorker } from "../../server/domain/disabled-workers.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { authenticate, createKeyContext, derivePepper } from "../../server/domain/keys.ts";
import { attachLink } from "../../server/domain/links.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { WorkerState } from "../../server/domain/rules/worker-states.ts";
import { createWorker, getWorker } from "../../server/domain/workers.ts";
import { refreshStandingOf } from "../../server/maintain/standing.ts";
import { renewLinks } from "../../server/store/links.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { attachWorker, hello, jobRequest, testDispatcher } from "../support/fleet.ts";
import { insertJob, insertWorkerRow } from "../support/rows.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

async function org() {
  const orgId = await db.orgId();
  const base = testCoordinator(db);
  const c = { ...base, ...createKeyContext(base, { pepper: derivePepper("test"), nowMs: () => 0 }) };
  const caller = testCaller(orgId);
  const named = (name: string, reason = "") => ({ workerId: null, name, reason });
  const audited = () =>
    db.admin`select action, reason, details from muster.audit_log where org_id = ${orgId} order by audit_id`;
  return { orgId, c, caller, named, audited };
}

describe("disabling a worker", () => {
  test("loses its leases at once without blame, and keeps those of exclusive jobs", async () => {
    const { orgId, c, caller, named, audited } = await org();
    const dispatcher = testDispatcher(c);
    const submit = (exclusive: boolean) =>
      submitJob(c, caller, { job: jobRequest({ exclusive }), idempotencyKey: null, parent: null });
    const { jobId } = await submit(false);
    const { jobId: exclusiveId } = await submit(true);
    const worker = await attachWorker(c, orgId, { name: "box", dispatcher });
    await dispatcher.refresh(orgId);
    await worker.offers(2);
    const view = await disableWorker(c, caller, named("box", "smells"));
    expect(view).toMatchObject({ state: WorkerState.disabled, leases: 1 });
    const read = (id: string) => getJob(c, caller, { jobId: id, externalId: null, isFull: false });
    expect(await read(jobId)).toMatchObject({ state: JobState.ready, losses: 0 });
    expect((await read(exclusiveId)).state).toBe(JobState.offered);
    expect(await audited()).toContainEqual({
      action: "worker.disable",
      reason: "smells",
      details: { name: "box", leases: 2 },
    });
    const losses = await db.admin`select 1 from muster.worker_losses where org_id = ${orgId}`;
    expect(losses).toHaveLength(0);
    await dispatcher.stop();
  });

  test("takes its link away from whoever holds it, and refuses its next one", async () => {
    const { orgId, c, caller, named } = await org();
    const dispatcher = testDispatcher(c);
    const { link, caller: own } = await attachWorker(c, orgId, { name: "box", dispatcher });
    const said: string[] = [];
    link.port.goAway = (reason, detail) => said.push(`${reason}: ${detail}`);
    await disableWorker(c, caller, named("box"));
    expect((await renewLinks(db.database.beats, [link])).size).toBe(0);
    await refreshStandingOf({ coordinator: c, dispatcher }, orgId);
    expect(said).toEqual(["revoked: the worker was disabled"]);
    await expect(attachLink(c, own, hello())).rejects.toMatchObject({ reason: "WORKER_DISABLED" });
    expect((await enableWorker(c, caller, named("box"))).state).toBe(WorkerState.offline);
    await expect(attachLink(c, own, hello())).resolves.toMatchObject({ workerName: "box" });
    await dispatcher.stop();
  });

  test("refuses its key here at once, until it is enabled", async () => {
    const { c, caller, named } = await org();
    const { key } = await createWorker(c, caller, { name: "box" });
    await authenticate(c, key, "req_1");
    await disableWorker(c, caller, named("box"));
    await expect(authenticate(c, key, "req_2")).rejects.toMatchObject({ reason: "WORKER_DISABLED" });
    await enableWorker(c, caller, named("box"));
    await expect(authenticate(c, key, "req_3")).resolves.toMatchObject({ actor: "worker:box" });
  });

  test("of another org is not found", async () => {
    const { c, caller } = await org();
    const { orgId } = await org();
    const workerId = await insertWorkerRow(db, orgId, { name: "theirs" });
    for (const act of [disableWorker, enableWorker, removeWorker]) {
      await expect(act(c, caller, { workerId, name: null, reason: "" })).rejects.toMatchObject({
        reason: "WORKER_NOT_FOUND",
      });
    }
  });
});

describe("removing a worker", () => {
  test("frees its name, and ends its keys and what it published", async () => {
    const { orgId, c, caller, named, audited } = await org();
    const { worker, key } = await createWorker(c, caller, { name: "box" });
    await authenticate(c, key, "req_1");
    await db.admin`insert into muster.linked_projects (org_id, project, worker_id, root, remote_url, linked_by)
      values (${orgId}, 'acme/web', ${worker.workerId}, '/src', '', '')`;
    await removeWorker(c, caller, named("box", "sold"));
    await expect(getWorker(c, caller, { workerId: null, name: "box" })).rejects.toMatchObject({
      reason: "WORKER_NOT_FOUND",
    });
    await expect(authenticate(c, key, "req_2")).rejects.toMatchObject({ reason: "KEY_INVALID" });
    const left = await db.admin`select 1 from muster.linked_projects where org_id = ${orgId}
      union all select 1 from muster.api_keys where org_id = ${orgId}`;
    expect(left).toHaveLength(0);
    expect((await createWorker(c, caller, { name: "box" })).worker.workerId).not.toBe(worker.workerId);
    expect(await audited()).toContainEqual({
      action: "worker.remove",
      reason: "sold",
      details: { name: "box", keys: 1 },
    });
  });

  test("is refused while it is attached or holds leases", async () => {
    const { orgId, c, caller, named } = await org();
    await insertWorkerRow(db, orgId, { name: "live", link: {} });
    await expect(removeWorker(c, caller, named("live"))).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "WORKER_ATTACHED",
    });
    const workerId = await insertWorkerRow(db, orgId, { name: "away", link: { isAttached: false } });
    await insertJob(db, orgId, { state: JobState.running, worker: { workerId } });
    await expect(removeWorker(c, caller, named("away"))).rejects.toMatchObject({
      reason: "WORKER_HOLDS_LEASES",
      details: { worker: "away", leases: "1" },
    });
    await insertWorkerRow(db, orgId, { name: "stale", link: { silentMs: 60_000 } });
    await removeWorker(c, caller, named("stale"));
  });
});
