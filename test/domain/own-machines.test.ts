import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { approveWorker, rejectWorker } from "../../server/domain/approvals.ts";
import { createAttentionReader } from "../../server/domain/attention.ts";
import { drainWorker, resumeWorker } from "../../server/domain/commands.ts";
import type { Caller } from "../../server/domain/context.ts";
import { disableWorker, enableWorker, removeWorker } from "../../server/domain/disabled-workers.ts";
import { enrolOwnWorker } from "../../server/domain/enrol.ts";
import {
  closedPolicy,
  getEnrolmentPolicy,
  putEnrolmentPolicy,
} from "../../server/domain/enrolment-policies.ts";
import { explainJob } from "../../server/domain/explain.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { authenticate, createKeyContext, derivePepper } from "../../server/domain/keys.ts";
import { AttentionCause } from "../../server/domain/rules/attention.ts";
import { noLimits } from "../../server/domain/rules/worker-limits.ts";
import { WorkerState } from "../../server/domain/rules/worker-states.ts";
import { limitWorker, setWorkerAvailability } from "../../server/domain/worker-limits.ts";
import { listWorkers } from "../../server/domain/worker-lists.ts";
import { createWorker, getWorker } from "../../server/domain/workers.ts";
import { refreshStandingOf } from "../../server/maintain/standing.ts";
import { readReadyShapes, shapeOfRow } from "../../server/store/ready-shapes.ts";
import { call, runInOrg } from "../../server/store/statement.ts";
import { claimOf } from "../support/claims.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { attachWorker, hello, jobRequest, testDispatcher } from "../support/fleet.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const always = { limits: null, hours: null };

async function org(mode: "closed" | "approval" | "open", machinesPerPerson = 3) {
  const orgId = await db.orgId();
  const base = testCoordinator(db);
  const c = { ...base, ...createKeyContext(base, { pepper: derivePepper("test"), nowMs: () => 0 }) };
  const admin = testCaller(orgId);
  const person = (name: string): Caller =>
    testCaller(orgId, { actor: `person:${name}`, personId: `id-${name}`, keyId: "", scopes: ["read"] });
  const policy = { ...closedPolicy, mode, machinesPerPerson };
  await putEnrolmentPolicy(c, admin, { policy, reason: "" });
  const enrolAs = async (name: string, machine: string) => {
    const { worker, key } = await enrolOwnWorker(c, person(name), { name: machine, availability: always });
    return { worker, key, caller: await authenticate(c, key, "req") };
  };
  const named = (name: string) => ({ workerId: null, name, reason: "" });
  const state = async (name: string) => (await getWorker(c, admin, { workerId: null, name })).state;
  const submit = () => submitJob(c, admin, { job: jobRequest(), idempotencyKey: null, parent: null });
  return { orgId, c, admin, person, enrolAs, named, state, submit };
}

describe("a person's own machine", () => {
  test("is not let in where the policy is closed, which it is without one", async () => {
    const { c, admin, person } = await org("closed");
    const own = { name: "mac", availability: always };
    await expect(enrolOwnWorker(c, person("ann"), own)).rejects.toMatchObject({ reason: "ENROLMENT_CLOSED" });
    await expect(enrolOwnWorker(c, admin, own)).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
    const none = testCaller(await db.orgId());
    expect(await getEnrolmentPolicy(c, none)).toEqual(closedPolicy);
  });

  test("gets no offers until an operator approves it", async () => {
    const { orgId, c, admin, enrolAs, named, state, submit } = await org("approval");
    const { worker, caller } = await enrolAs("ann", "mac");
    expect(worker).toMatchObject({ owner: "person:ann", approval: "pending", limits: { skills: [] } });
    const dispatcher = testDispatcher(c);
    const attached = await attachWorker(c, orgId, { name: "mac", dispatcher, caller });
    expect(attached.link.isHeldBack).toBe(true);
    expect(await state("mac")).toBe(WorkerState.pending);
    const { jobId } = await submit();
    await dispatcher.refresh(orgId);
    const { workers, releases } = await explainJob(c, admin, { jobId, externalId: null });
    expect(workers).toMatchObject([{ name: "mac", reason: "pending" }]);
    expect(releases.join()).toMatch(/muster worker approve wrk_/);
    const { items } = await createAttentionReader(c).listAttention(admin, {
      causes: [AttentionCause.workerPending],
    });
    expect(items).toMatchObject([{ summary: "Worker mac of person:ann waits for approval" }]);
    await approveWorker(c, admin, named("mac"));
    await refreshStandingOf({ coordinator: c, dispatcher }, orgId);
    await dispatcher.refresh(orgId);
    expect(await attached.offers(1)).toMatchObject([{ fence: { jobId } }]);
    await dispatcher.stop();
  });

  test("works within the limits of newcomers where the policy is open", async () => {
    const { orgId, c, admin, enrolAs, named, state } = await org("open");
    const { caller } = await enrolAs("ann", "mac");
    const { attached } = await attachWorker(c, orgId, { name: "mac", caller });
    expect(attached).toMatchObject({ declared: { slots: 1 }, isHeldBack: false, maxOpenPrs: 1, openPrs: 0 });
    const approved = await approveWorker(c, admin, named("mac"));
    expect(approved).toMatchObject({ approval: "approved", newcomerLimits: null });
    expect(await state("mac")).toBe(WorkerState.offline);
    const again = await attachWorker(c, orgId, { name: "mac", caller });
    expect(again.attached).toMatchObject({ declared: { slots: 4 }, maxOpenPrs: null });
  });

  test("is one of as many as the policy allows, however many come at once", async () => {
    const { enrolAs } = await org("open", 2);
    const all = await Promise.allSettled(["a", "b", "c", "d"].map((name) => enrolAs("ann", name)));
    expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(2);
    await expect(enrolAs("ann", "e")).rejects.toMatchObject({ reason: "TOO_MANY_MACHINES" });
    await enrolAs("bob", "f");
  });

  test("that was rejected comes back by an operator alone", async () => {
    const { c, admin, person, enrolAs, named, state } = await org("approval");
    const { key } = await enrolAs("ann", "mac");
    await rejectWorker(c, admin, named("mac"));
    expect(await state("mac")).toBe(WorkerState.disabled);
    await expect(authenticate(c, key, "req")).rejects.toMatchObject({ reason: "WORKER_DISABLED" });
    await expect(enableWorker(c, person("ann"), named("mac"))).rejects.toMatchObject({
      reason: "WORKER_REJECTED",
    });
    await expect(enableWorker(c, admin, named("mac"))).rejects.toMatchObject({ reason: "WORKER_REJECTED" });
    await expect(removeWorker(c, person("ann"), named("mac"))).rejects.toMatchObject({
      reason: "WORKER_HELD_BY_OPERATOR",
    });
    await approveWorker(c, admin, named("mac"));
    await expect(authenticate(c, key, "req")).resolves.toMatchObject({ actor: "worker:mac" });
    await createWorker(c, admin, { name: "ours" });
    await expect(approveWorker(c, admin, named("ours"))).rejects.toMatchObject({
      reason: "WORKER_NEEDS_NO_APPROVAL",
    });
  });
});

describe("an owner", () => {
  test("drains, disables and removes own machines, and nobody else's", async () => {
    const { c, admin, person, enrolAs, named, state } = await org("open");
    await enrolAs("ann", "mac");
    await createWorker(c, admin, { name: "ours" });
    const acts = [drainWorker, resumeWorker, disableWorker, enableWorker, removeWorker];
    for (const act of acts) {
      await expect(act(c, person("bob"), named("mac"))).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
      await expect(act(c, person("ann"), named("ours"))).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
    }
    expect(await drainWorker(c, person("ann"), named("mac"))).toMatchObject({ isDrainRequested: true });
    expect(await resumeWorker(c, person("ann"), named("mac"))).toMatchObject({ isDrainRequested: false });
    await disableWorker(c, person("ann"), named("mac"));
    await enableWorker(c, person("ann"), named("mac"));
    expect(await state("mac")).toBe(WorkerState.offline);
    await removeWorker(c, person("ann"), named("mac"));
    await expect(state("mac")).rejects.toMatchObject({ reason: "WORKER_NOT_FOUND" });
  });

  test("ends no hold of an operator", async () => {
    const { c, admin, person, enrolAs, named } = await org("open");
    const { worker } = await enrolAs("ann", "mac");
    const refusal = { reason: "WORKER_HELD_BY_OPERATOR" };
    await drainWorker(c, admin, named("mac"));
    await drainWorker(c, person("ann"), named("mac"));
    await expect(resumeWorker(c, person("ann"), named("mac"))).rejects.toMatchObject(refusal);
    await resumeWorker(c, admin, named("mac"));
    await disableWorker(c, person("ann"), named("mac"));
    await disableWorker(c, admin, named("mac"));
    await expect(enableWorker(c, person("ann"), named("mac"))).rejects.toMatchObject(refusal);
    await expect(removeWorker(c, person("ann"), named("mac"))).rejects.toMatchObject(refusal);
    await enableWorker(c, admin, named("mac"));
    await db.admin`update muster.workers set quarantined_at = now(), quarantine_reason = 'lossy'
      where worker_id = ${worker.workerId}`;
    await expect(resumeWorker(c, person("ann"), named("mac"))).rejects.toMatchObject(refusal);
  });

  test("finds own machines in the list", async () => {
    const { c, admin, person, enrolAs } = await org("open");
    await enrolAs("ann", "mac");
    await enrolAs("bob", "pc");
    await createWorker(c, admin, { name: "ours" });
    const page = { pageSize: 0, pageToken: "", isOnline: false, text: "", field: "filterText" };
    const names = async (caller: Caller, overrides: object) =>
      (await listWorkers(c, caller, { ...page, ...overrides })).items.map(({ name }) => name);
    expect(await names(person("ann"), { isMine: true })).toEqual(["mac"]);
    expect(await names(admin, { isMine: true })).toEqual(["ours"]);
    expect(await names(admin, { text: "owner:person:*" })).toEqual(["mac", "pc"]);
  });

  test("says how much of it is given, and when", async () => {
    const { orgId, c, person, enrolAs, named, submit } = await org("approval");
    const { caller } = await enrolAs("ann", "mac");
    await db.admin`update muster.workers set approval = 'approved' where org_id = ${orgId}`;
    // Now is outside of it, whatever the clock says.
    const minute = new Date(db.nowMs()).getUTCHours() * 60;
    const start = (minute + 120) % 1_440;
    const hours = {
      zone: "UTC",
      windows: [{ days: [1, 2, 3, 4, 5, 6, 7], start, end: (start + 120) % 1_440 || 1_440 }],
    };
    const limits = { slots: 2, points: null };
    const set = await setWorkerAvailability(c, person("ann"), { ...named("mac"), limits, hours });
    expect(set).toMatchObject({ ownerLimits: limits, hours, isOffHours: true });
    const dispatcher = testDispatcher(c);
    const worker = await attachWorker(c, orgId, { name: "mac", dispatcher, caller });
    expect(worker.attached).toMatchObject({ declared: { slots: 2 }, refusals: [] });
    const { jobId } = await submit();
    await dispatcher.refresh(orgId);
    const explained = await explainJob(c, person("ann"), { jobId, externalId: null });
    expect(explained.workers).toMatchObject([{ reason: "off-hours" }]);
    await db.advanceClock(2.5 * 3_600_000);
    await db.admin`update muster.links set seen_at = muster.muster_clock() where org_id = ${orgId}`;
    await refreshStandingOf({ coordinator: c, dispatcher }, orgId);
    await dispatcher.refresh(orgId);
    expect(await worker.offers(1)).toMatchObject([{ fence: { jobId } }]);
    await dispatcher.stop();
    const wrong = {
      ...named("mac"),
      limits: { slots: -1, points: null },
      hours: { zone: "Mars/North", windows: [] },
    };
    await expect(setWorkerAvailability(c, person("ann"), wrong)).rejects.toMatchObject({
      violations: [{ field: "availability.slots" }],
    });
    await expect(setWorkerAvailability(c, person("ann"), { ...wrong, limits: null })).rejects.toMatchObject({
      violations: [{ field: "availability.hours.timeZone" }],
    });
  });
});

describe("the limits of a worker", () => {
  test("of open pull requests hold for claims of several jobs at once, with those that may come", async () => {
    const { orgId, c, admin, named, submit } = await org("closed");
    const { worker, key } = await createWorker(c, admin, { name: "box" });
    await limitWorker(c, admin, { ...named("box"), limits: { ...noLimits, openPrs: 2 } });
    const { link } = await attachWorker(c, orgId, { name: "box", caller: await authenticate(c, key, "req") });
    await db.admin`insert into muster.pull_requests (org_id, url, project, job_id, worker_id)
      values (${orgId}, 'https://example.test/1', 'acme/web', ${c.newId()}, ${worker.workerId})`;
    await submit();
    await submit();
    const claim = async (count: number) => {
      const [shapes = []] = await runInOrg(db.database.hot, orgId, [call(readReadyShapes, { org: orgId })]);
      const shape = String(shapes.map(shapeOfRow)[0]?.shapeId);
      const slots = Array.from({ length: count }, () => link.workerId);
      const [rows] = await runInOrg(db.database.hot, orgId, [
        claimOf({ org: orgId, shape, slots, epoch: link.linkEpoch }),
      ]);
      return rows?.length;
    };
    expect([await claim(2), await claim(1), await claim(1)]).toEqual([0, 1, 0]);
  });

  test("end its link when they change, so that no claim goes beyond them", async () => {
    const { orgId, c, admin, named } = await org("closed");
    const { key } = await createWorker(c, admin, { name: "box" });
    const caller = await authenticate(c, key, "req");
    const first = await attachWorker(c, orgId, { name: "box", caller });
    await limitWorker(c, admin, { ...named("box"), limits: { ...noLimits, slots: 1, kinds: [] } });
    const [link] = await db.admin`select link_epoch, is_attached from muster.links where org_id = ${orgId}`;
    expect(link).toMatchObject({ is_attached: false });
    expect(Number(link?.["link_epoch"])).toBeGreaterThan(first.link.linkEpoch);
    const again = await attachWorker(c, orgId, { name: "box", caller, hello: hello() });
    expect(again.attached).toMatchObject({
      command: null,
      declared: { slots: 1, kinds: [] },
      refusals: ["may not run the kind test.echo", "may have 1 of its 4 slots"],
    });
    const commands = await db.admin`select 1 from muster.commands where org_id = ${orgId}`;
    expect(commands).toHaveLength(0);
    const [row] = await db.admin`select details from muster.audit_log
      where org_id = ${orgId} and action = 'worker.limit'`;
    expect(row?.["details"]).toMatchObject({ name: "box", before: null, after: { slots: 1 } });
  });
});
