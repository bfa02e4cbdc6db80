import { timestampDate } from "@bufbuild/protobuf/wkt";
import { AttentionCause, ExplainService } from "@muster/client/v1/explain_service";
import { JobService } from "@muster/client/v1/job_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertAble, insertGate, insertShaped } from "../support/routed-rows.ts";
import { failure, openApi, type TestApi, violationsOf } from "./api.ts";

let db: TestDatabase;
let api: TestApi;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await openApi(db);
});
afterAll(async () => {
  await api.stop();
  await db.close();
});

describe("ExplainJob", () => {
  test("answers with gates, workers, counts, releases and an estimate", async () => {
    const client = await api.client();
    const { orgId } = client;
    const workerId = await insertAble(db, orgId, { name: "w1" });
    await insertAble(db, orgId, { name: "w2", link: null });
    await insertGate(db, orgId, "queue:q", { isPaused: true, resumeInMs: 60_000 });
    const jobId = await insertShaped(db, orgId, { queue: "q" });
    const found = await client.of(ExplainService).explainJob({ jobId: encodeId("job", jobId) });
    expect(found.job).toMatchObject({ jobId: encodeId("job", jobId), state: JobState.ready });
    expect(found.gates.filter(({ open }) => !open)).toMatchObject([
      { name: "queue", fix: "Resume it: muster queue resume q" },
    ]);
    expect(found.gates.every(({ openTime, name }) => (openTime !== undefined) === (name === "queue"))).toBe(
      true,
    );
    expect(found.workers).toMatchObject([
      { workerId: encodeId("worker", workerId), workerName: "w1", qualifies: true, reason: "" },
      { workerName: "w2", qualifies: false, reason: "offline" },
    ]);
    expect(found.workerCounts).toEqual({ qualifies: 1, offline: 1 });
    expect(found.releases).toHaveLength(1);
    expect(found.estimatedStartTime && timestampDate(found.estimatedStartTime).getTime()).toBeGreaterThan(
      db.nowMs(),
    );
  });

  test("refuses a request that names no job, two, or one of another org", async () => {
    const client = (await api.client()).of(ExplainService);
    const theirs = encodeId("job", await insertShaped(db, await db.orgId()));
    expect(violationsOf(await failure(client.explainJob({})))).toEqual([
      "jobId or externalId must be given, and not both",
    ]);
    const both = await failure(client.explainJob({ jobId: "job_x", externalId: "a" }));
    expect(violationsOf(both)).toHaveLength(2);
    expect((await failure(client.explainJob({ jobId: theirs }))).detail?.reason).toBe("JOB_NOT_FOUND");
    expect((await failure(client.explainJob({ externalId: "nobody's" }))).detail?.reason).toBe(
      "JOB_NOT_FOUND",
    );
  });
});

test("ExplainWorker answers by id and by name, of the caller's org alone", async () => {
  const client = await api.client();
  const workerId = encodeId("worker", await insertAble(db, client.orgId, { name: "w1" }));
  const firstJobId = encodeId("job", await insertShaped(db, client.orgId, { shape: { skills: ["gpu"] } }));
  const explain = client.of(ExplainService);
  const byName = await explain.explainWorker({ name: "w1" });
  expect(byName).toMatchObject({
    worker: { workerId },
    lines: [
      { kind: "shell.run", requiredSkills: ["gpu"], ready: 1, firstJobId, reason: "skills", priority: 128 },
    ],
    fixes: ["Give it the skills gpu"],
  });
  expect(await explain.explainWorker({ workerId })).toEqual(byName);
  const other = (await api.client()).of(ExplainService);
  expect((await failure(other.explainWorker({ workerId }))).detail?.reason).toBe("WORKER_NOT_FOUND");
  expect((await failure(other.explainWorker({ name: "w1" }))).detail?.reason).toBe("WORKER_NOT_FOUND");
  expect((await failure(other.explainWorker({}))).detail?.reason).toBe("VALIDATION_FAILED");
});

test("CheckWork answers whether there is work, and refuses what no worker has", async () => {
  const client = await api.client();
  await insertShaped(db, client.orgId, { shape: { skills: ["gpu"], points: 8 } });
  const explain = client.of(ExplainService);
  expect(await explain.checkWork({ skills: ["gpu"], points: 7 })).toMatchObject({
    available: false,
    ready: 0,
    lines: [],
  });
  expect(await explain.checkWork({ skills: ["gpu"], points: 8 })).toMatchObject({
    available: true,
    ready: 1,
    lines: [{ points: 8, reason: "" }],
  });
  const wrong = await failure(explain.checkWork({ points: -1, skills: ["x".repeat(300)], kinds: ["A"] }));
  expect(violationsOf(wrong)).toEqual([
    "skills[0] must have 1 to 100 characters of a-z 0-9 . _ -",
    "kinds[0] must have 1 to 100 characters of a-z 0-9 . _ -",
    "points must be from 0 to 1000000",
  ]);
});

test("ListAttention answers with what needs a person, narrowed to causes", async () => {
  const client = await api.client();
  const jobId = encodeId("job", await insertShaped(db, client.orgId, { readyForMs: 61_000, failures: 3 }));
  await insertShaped(db, await db.orgId(), { readyForMs: 61_000 });
  const explain = client.of(ExplainService);
  const all = await explain.listAttention({});
  expect(all.items.map(({ cause, jobIds }) => [cause, jobIds])).toEqual([
    [AttentionCause.NO_ROUTE, [jobId]],
    [AttentionCause.JOB_TROUBLE, [jobId]],
  ]);
  expect(
    all.items.every((item) => item.attentionId !== "" && item.fix !== "" && item.since !== undefined),
  ).toBe(true);
  const some = await explain.listAttention({ causes: [AttentionCause.JOB_TROUBLE] });
  expect(some.items).toEqual(all.items.slice(1));
  expect(
    violationsOf(await failure(explain.listAttention({ causes: [AttentionCause.NO_ROUTE, 99 as never] }))),
  ).toEqual(["causes[1] is not a cause"]);
});

test("ListJobs lists what a worker could run, by its name or id", async () => {
  const client = await api.client();
  const workerId = encodeId("worker", await insertAble(db, client.orgId, { name: "w1" }));
  const later = await insertShaped(db, client.orgId);
  const first = await insertShaped(db, client.orgId, { priority: 200 });
  await insertShaped(db, client.orgId, { kind: "other" });
  const jobs = client.of(JobService);
  for (const runnableBy of [workerId, "w1"]) {
    const page = await jobs.listJobs({ filter: { runnableBy }, pageSize: 1 });
    const next = await jobs.listJobs({ filter: { runnableBy }, pageSize: 1, pageToken: page.nextPageToken });
    expect([...page.jobs, ...next.jobs].map((job) => job.jobId)).toEqual([
      encodeId("job", first),
      encodeId("job", later),
    ]);
    expect(next.nextPageToken).toBe("");
  }
  const wrong = await failure(jobs.listJobs({ filter: { runnableBy: "w1", states: [JobState.ready] } }));
  expect(violationsOf(wrong)).toEqual(["filter.states must be empty together with runnableBy"]);
  expect((await failure(jobs.listJobs({ filter: { runnableBy: "wrk_x" } }))).detail?.reason).toBe(
    "VALIDATION_FAILED",
  );
  expect((await failure(jobs.listJobs({ filter: { runnableBy: "nobody" } }))).detail?.reason).toBe(
    "WORKER_NOT_FOUND",
  );
});
