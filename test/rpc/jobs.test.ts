import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { JobState as State } from "@muster/client/v1/job";
import { CancelOutcome, JobService, JobView } from "@muster/client/v1/job_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertAttempt, insertEvents, insertJob, insertWorkerRow } from "../support/rows.ts";
import { failure, openApi, type TestApi, violationsOf } from "./api.ts";
import { send } from "./listening.ts";

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

const data = (text: string) => ({ content: { case: "data" as const, value: Buffer.from(text) } });

const textOf = (payload: { content: { case?: string | undefined; value?: unknown } } | undefined): string =>
  payload?.content.case === "data" ? Buffer.from(payload.content.value as Uint8Array).toString() : "";

// A number that no version of this enum has, as a newer client may send it.
const unknownNumber = (value: number): number => value;

async function jobs() {
  const client = await api.client();
  return { ...client, service: client.of(JobService) };
}

/** A job that a worker executes. */
async function running(orgId: string) {
  const workerId = await insertWorkerRow(db, orgId, { name: "box" });
  const { jobId } = await insertJob(db, orgId, { state: JobState.running, worker: { workerId } });
  return {
    jobId,
    wireId: encodeId("job", jobId),
    async say(...sequences: number[]) {
      const events = sequences.map((sequence) => ({
        sequence,
        timeMs: 1_000,
        type: "log" as const,
        stream: 2 as const,
        level: "info",
        text: `line ${sequence}`,
      }));
      await insertEvents(db, orgId, { jobId, attempt: 1 }, events);
      api.feed.nudge(orgId, [jobId]);
    },
    async succeed(lastSequence: number) {
      const end = { outcome: Outcome.succeeded, state: JobState.succeeded, workerId, lastSequence };
      await insertAttempt(db, orgId, jobId, { ...end, result: '{"ok":true}' });
      api.feed.nudge(orgId, [jobId]);
    },
  };
}

describe("submitting a job", () => {
  test("gives it back as it was asked for, with the defaults filled in", async () => {
    const { service, orgId } = await jobs();
    await db.admin`insert into muster.projects (org_id, name) values (${orgId}, 'acme/film')`;
    const runTime = timestampFromDate(new Date("2030-01-02T03:04:05.678Z"));
    const { jobId, replayed } = await service.submitJob({
      job: {
        kind: "render.frame",
        title: "Frame 7 – größer",
        payload: data('{ "frame": 7 }'),
        priority: 240,
        points: 8,
        requiredSkills: ["gpu"],
        project: "acme/film",
        labels: { shot: "0412" },
        externalId: "shot-0412",
        runTime,
        softTimeout: { seconds: 60n },
        retry: { maxAttempts: 5, backoffFactor: 1.5 },
        exclusive: true,
      },
      idempotencyKey: "k1",
    });
    expect(jobId).toMatch(/^job_/);
    expect(replayed).toBe(false);
    const { job } = await service.getJob({ jobId });
    expect(job).toMatchObject({
      jobId,
      state: State.SCHEDULED,
      generation: 1,
      spec: {
        kind: "render.frame",
        title: "Frame 7 – größer",
        queue: "default",
        priority: 240,
        points: 8,
        requiredSkills: ["gpu"],
        project: "acme/film",
        labels: { shot: "0412" },
        externalId: "shot-0412",
        runTime: { seconds: runTime.seconds, nanos: 678_000_000 },
        softTimeout: { seconds: 60n },
        hardTimeout: { seconds: 70n },
        retry: {
          maxAttempts: 5,
          backoffFactor: 1.5,
          backoffInitial: { seconds: 5n },
          backoffMax: { seconds: 600n },
        },
        leaseTtl: { seconds: 14_400n },
        reclaimAfter: { seconds: 30n },
        exclusive: true,
        atMostOnce: false,
        opensPullRequest: true,
      },
    });
    expect(textOf(job?.spec?.payload)).toBe('{ "frame": 7 }');
    const basic = await service.getJob({ externalId: "shot-0412", view: JobView.BASIC });
    expect(basic.job?.jobId).toBe(jobId);
    expect(basic.job?.spec?.payload).toBeUndefined();
  });

  test("twice with one key gives one job, with other content a conflict", async () => {
    const { service } = await jobs();
    const first = await service.submitJob({ job: { kind: "a" }, idempotencyKey: "same" });
    expect(await service.submitJob({ job: { kind: "a" }, idempotencyKey: "same" })).toMatchObject({
      jobId: first.jobId,
      replayed: true,
    });
    const error = await failure(service.submitJob({ job: { kind: "b" }, idempotencyKey: "same" }));
    expect([error.code, error.detail?.reason]).toEqual([Code.AlreadyExists, "IDEMPOTENCY_CONFLICT"]);
  });

  test("by curl takes the payload as it is", async () => {
    const { headers, service } = await jobs();
    const body = JSON.stringify({ job: { kind: "echo", payload: { json: { hello: [1, null, "ü"] } } } });
    const answer = await send(api.address, {
      path: "/muster.v1.JobService/SubmitJob",
      headers: { ...headers, "content-type": "application/json" },
      body,
    });
    expect(answer.status).toBe(200);
    const { jobId } = answer.json as { jobId: string };
    expect(textOf((await service.getJob({ jobId })).job?.spec?.payload)).toBe('{"hello":[1,null,"ü"]}');
  });

  test("that is wrong tells all that is wrong, and keeps nothing", async () => {
    const { service } = await jobs();
    const error = await failure(
      service.submitJob({
        job: {
          kind: "No Such Kind",
          title: "a\0b",
          points: 0,
          priority: 256,
          payload: data('"\\u0000"'),
          requiredSkills: ["gpu", "GPU"],
          retry: { maxAttempts: 0 },
          deadline: { seconds: -5n },
        },
        idempotencyKey: "x".repeat(201),
        parent: { jobId: "bat_0", attempt: 0 },
      }),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.detail?.reason).toBe("VALIDATION_FAILED");
    const fields = error.detail?.violations.map((one) => one.field);
    expect(new Set(fields)).toEqual(
      new Set([
        "job.kind",
        "job.title",
        "job.points",
        "job.priority",
        "job.payload.data",
        "job.requiredSkills[1]",
        "job.retry.maxAttempts",
        "job.deadline",
        "idempotencyKey",
        "parent.jobId",
        "parent.leaseId",
        "parent.attempt",
      ]),
    );
    expect((await service.listJobs({})).jobs).toEqual([]);
  });

  test("without a job, or with a payload above 1 MiB, is refused", async () => {
    const { service } = await jobs();
    expect(violationsOf(await failure(service.submitJob({})))).toEqual(["job is required"]);
    const payload = data(`"${"x".repeat(1024 * 1024)}"`);
    const error = await failure(service.submitJob({ job: { kind: "a", payload } }));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.detail).toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      metadata: { field: "job.payload.data", limitBytes: "1048576" },
      suggestion: expect.stringContaining("artifact"),
    });
  });

  test("of a parent needs the key of the worker that holds its lease", async () => {
    const { service, orgId } = await jobs();
    const { jobId } = await running(orgId);
    const parent = { jobId: encodeId("job", jobId), attempt: 1, leaseId: encodeId("lease", db.newId()) };
    const error = await failure(service.submitJob({ job: { kind: "a" }, parent }));
    expect(error.detail?.reason).toBe("SUPERSEDED");
  });
});

describe("reading jobs", () => {
  test("of another org, unknown, or by an id of another noun, is refused", async () => {
    const { service } = await jobs();
    const stranger = await jobs();
    const { jobId } = await stranger.service.submitJob({ job: { kind: "a" } });
    for (const id of [jobId, encodeId("job", db.newId())]) {
      const error = await failure(service.getJob({ jobId: id }));
      expect([error.code, error.detail?.reason]).toEqual([Code.NotFound, "JOB_NOT_FOUND"]);
    }
    expect(violationsOf(await failure(service.getJob({ jobId: encodeId("batch", db.newId()) })))[0]).toMatch(
      /^jobId is a batch id/,
    );
    expect(violationsOf(await failure(service.getJob({})))).toEqual([
      "jobId or externalId must be given, and not both",
    ]);
    expect(violationsOf(await failure(service.getJob({ jobId, externalId: "x" })))).toHaveLength(1);
    expect(violationsOf(await failure(service.getJob({ jobId, view: unknownNumber(9) })))).toEqual([
      "view must be one of JOB_VIEW_BASIC, JOB_VIEW_FULL",
    ]);
  });

  test("lists pages, newest first, and refuses tokens of other lists", async () => {
    const { service } = await jobs();
    const submitted: string[] = [];
    for (let n = 0; n < 5; n++) {
      submitted.unshift((await service.submitJob({ job: { kind: n === 2 ? "odd" : "even" } })).jobId);
    }
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await service.listJobs({ pageSize: 2, pageToken });
      seen.push(...page.jobs.map((job) => job.jobId));
      expect(page.jobs.every((job) => job.spec?.payload === undefined)).toBe(true);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual(submitted);
    const { nextPageToken } = await service.listJobs({ pageSize: 2 });
    const other = await failure(service.listJobs({ filter: { kind: "odd" }, pageToken: nextPageToken }));
    expect([other.code, other.detail?.reason]).toEqual([Code.InvalidArgument, "PAGE_TOKEN_INVALID"]);
    expect((await failure(service.listJobs({ pageToken: "garbage" }))).detail?.reason).toBe(
      "PAGE_TOKEN_INVALID",
    );
    expect(violationsOf(await failure(service.listJobs({ pageSize: -1 })))[0]).toMatch(/^pageSize /);
    expect((await service.listJobs({ filter: { kind: "odd" } })).jobs).toHaveLength(1);
  });

  test("filters by state, and refuses what is no filter, all at once", async () => {
    const { service, orgId } = await jobs();
    await service.submitJob({ job: { kind: "a" } });
    await running(orgId);
    const { jobs: found } = await service.listJobs({ filter: { states: [State.RUNNING] } });
    expect(found.map((job) => job.state)).toEqual([State.RUNNING]);
    const error = await failure(
      service.listJobs({
        filter: { states: [State.READY, 0, unknownNumber(77)], batchId: "job_x", workerId: "y" },
      }),
    );
    expect(error.detail?.violations.map((one) => one.field)).toEqual([
      "filter.states[1]",
      "filter.states[2]",
      "filter.batchId",
      "filter.workerId",
    ]);
  });
});

describe("steering jobs", () => {
  test("cancels a job that waits, and says so again", async () => {
    const { service } = await jobs();
    const { jobId } = await service.submitJob({ job: { kind: "a" } });
    const { outcome, job } = await service.cancelJob({ jobId, reason: "not needed\nany more" });
    expect(outcome).toBe(CancelOutcome.CANCELLED);
    expect(job).toMatchObject({ state: State.CANCELLED, reason: "not needed\nany more" });
    expect((await service.cancelJob({ jobId })).outcome).toBe(CancelOutcome.ALREADY_TERMINAL);
  });

  test("asks the worker of a job that runs", async () => {
    const { service, orgId } = await jobs();
    const { wireId } = await running(orgId);
    const { outcome, job } = await service.cancelJob({ jobId: wireId });
    expect(outcome).toBe(CancelOutcome.REQUESTED);
    expect(job).toMatchObject({ state: State.RUNNING, cancelRequested: true, workerName: "box" });
  });

  test("runs a cancelled job again", async () => {
    const { service } = await jobs();
    const { jobId } = await service.submitJob({ job: { kind: "a" } });
    expect((await failure(service.retryJob({ jobId }))).detail?.reason).toBe("JOB_NOT_REPLAYABLE");
    await service.cancelJob({ jobId });
    expect((await service.retryJob({ jobId })).job).toMatchObject({ state: State.READY, generation: 2 });
  });

  test("parks a job until a time and unparks it, however often a request is sent", async () => {
    const { service } = await jobs();
    const { jobId } = await service.submitJob({ job: { kind: "a" } });
    const until = timestampFromDate(new Date(Date.now() + 600_000));
    const asked = { jobId, reason: "quota", until, requestId: "park-1" };
    for (const { job } of [await service.parkJob(asked), await service.parkJob(asked)]) {
      expect(job).toMatchObject({ jobId, state: State.PARKED, reason: "quota" });
      expect(Math.abs(Number((job?.wakeTime?.seconds ?? 0n) - until.seconds))).toBeLessThan(5);
    }
    const error = await failure(service.parkJob({ jobId }));
    expect([error.code, error.detail?.reason]).toEqual([Code.FailedPrecondition, "JOB_NOT_PARKABLE"]);
    expect(error.detail?.metadata).toMatchObject({ jobId, state: "PARKED" });
    expect((await service.unparkJob({ jobId })).job).toMatchObject({ state: State.READY, reason: "" });
    expect((await failure(service.unparkJob({ jobId }))).detail?.reason).toBe("JOB_NOT_PARKED");
  });

  test("refuses a park with wrong fields, all at once", async () => {
    const { service } = await jobs();
    const wrong = { jobId: "bat_1", reason: "a\0", until: { seconds: -1n }, requestId: "x".repeat(201) };
    const fields = (await failure(service.parkJob(wrong))).detail?.violations.map((one) => one.field);
    expect(fields?.sort()).toEqual(["jobId", "reason", "requestId", "until"]);
    const { jobId } = await service.submitJob({ job: { kind: "a" } });
    const past = { jobId, until: timestampFromDate(new Date(0)) };
    expect(violationsOf(await failure(service.parkJob(past)))[0]).toMatch(/^until must lie ahead/);
  });

  test("refuses a long or unprintable reason", async () => {
    const { service } = await jobs();
    const jobId = encodeId("job", db.newId());
    for (const reason of ["x".repeat(501), "a\0"]) {
      expect(violationsOf(await failure(service.cancelJob({ jobId, reason })))[0]).toMatch(/^reason /);
      expect(violationsOf(await failure(service.discardDeadLetter({ jobId, reason })))[0]).toMatch(
        /^reason /,
      );
    }
    expect((await failure(service.cancelJob({ jobId }))).detail?.reason).toBe("JOB_NOT_FOUND");
    expect((await failure(service.discardDeadLetter({ jobId }))).detail?.reason).toBe(
      "DEAD_LETTER_NOT_FOUND",
    );
    expect((await service.listDeadLetters({ kind: "a" })).deadLetters).toEqual([]);
  });
});
