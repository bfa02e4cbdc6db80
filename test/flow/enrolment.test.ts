import { createMusterClient } from "@muster/client/node";
import { EnrolmentMode, EnrolmentService } from "@muster/client/v1/enrolment_service";
import { ExplainService } from "@muster/client/v1/explain_service";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterEach, expect, test } from "vitest";
import { enrolOwnWorker } from "../../server/domain/enrol.ts";
import { createKeyContext, derivePepper } from "../../server/domain/keys.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { testCaller, testCoordinator } from "../support/database.ts";
import { testSecret } from "../support/postgres.ts";

let muster: TestServer;
afterEach(() => muster.close());

const handlers = { "by.hand": async () => "done" };

test("a person's machine gets nothing until it is approved, and works then", async () => {
  muster = await startTestServer();
  const peer = await muster.startPeer();
  const enrolments = muster.client(EnrolmentService);
  await enrolments.putEnrolmentPolicy({ policy: { mode: EnrolmentMode.APPROVAL }, reason: "open day" });
  const [org] = await muster.database.admin`select org_id from muster.orgs where name = 'default'`;
  const base = testCoordinator(muster.database);
  const c = { ...base, ...createKeyContext(base, { pepper: derivePepper(testSecret) }) };
  const person = testCaller(String(org?.["org_id"]), { actor: "person:ann", personId: "ann", scopes: [] });
  const own = { name: "mac", availability: { limits: null, hours: null } };
  const { key } = await enrolOwnWorker(c, person, own);
  await muster.startWorker({ key, handlers, skills: ["prod"] });
  const admin = muster.client(WorkerAdminService);
  const { worker } = await admin.getWorker({ name: "mac" });
  expect(worker).toMatchObject({
    state: WorkerState.PENDING,
    owner: "person:ann",
    skills: [],
    refusals: ["may not have the skill prod"],
  });
  const jobs = muster.client(JobService);
  const { jobId } = await jobs.submitJob({ job: { kind: "by.hand" } });
  // One that it was not kept from has had it long since: what follows comes after a round of the dispatcher.
  const { jobId: nextId } = await jobs.submitJob({ job: { kind: "by.hand" } });
  const explained = await muster.client(ExplainService).explainJob({ jobId });
  expect(explained.workers.filter(({ workerName }) => workerName === "mac")).toMatchObject([
    { reason: "pending" },
  ]);
  expect((await jobs.getJob({ jobId })).job).toMatchObject({ state: JobState.READY, attempt: 0 });
  // At another coordinator than the one that holds its link.
  const far = createMusterClient(WorkerAdminService, { address: peer.apiAddress, key: muster.key });
  await far.approveWorker({ name: "mac", reason: "known" });
  expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 1 });
  await muster.reach(nextId, JobState.SUCCEEDED);
}, 60_000);

test("a machine with a token works within its limits, which change under its live link", async () => {
  muster = await startTestServer();
  const peer = await muster.startPeer();
  const { token } = await muster.client(EnrolmentService).createEnrolment({
    name: "lab",
    limits: { skills: { names: ["gpu"] }, slots: 2 },
  });
  const machine = createMusterClient(EnrolmentService, { address: muster.server.apiAddress, key: token });
  const { key } = await machine.enrol({ name: "box", machine: "m", requestId: "r" });
  await muster.startWorker({ key, handlers, skills: ["gpu", "prod"], slots: 8 });
  const jobs = muster.client(JobService);
  const gpu = await jobs.submitJob({ job: { kind: "by.hand", requiredSkills: ["gpu"] } });
  await muster.reach(gpu.jobId, JobState.SUCCEEDED);
  const far = createMusterClient(WorkerAdminService, { address: peer.apiAddress, key: muster.key });
  const before = (await far.getWorker({ name: "box" })).worker;
  expect(before?.capacity?.slots).toBe(2);
  await far.limitWorker({ name: "box", limits: { skills: { names: ["gpu", "prod"] }, slots: 4 } });
  const { jobId } = await jobs.submitJob({ job: { kind: "by.hand", requiredSkills: ["prod"] } });
  await muster.reach(jobId, JobState.SUCCEEDED);
  const after = (await far.getWorker({ name: "box" })).worker;
  expect(after).toMatchObject({ capacity: { slots: 4 }, refusals: ["may have 4 of its 8 slots"] });
  expect(after?.linkEpoch).toBeGreaterThan(before?.linkEpoch ?? 0n);
}, 60_000);
