import { randomUUID } from "node:crypto";
import { readError } from "@muster/client/errors";
import { createMusterClient } from "@muster/client/node";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { WorkerService } from "@muster/client/v1/worker_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startServer } from "../../server/server.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { testConfig } from "../support/database.ts";

let muster: TestServer;

beforeAll(async () => {
  muster = await startTestServer({ backoffInitialMs: 20 });
});
afterAll(() => muster.close());

async function post(body: string, key = muster.key, method = "JobService/SubmitJob") {
  const answer = await fetch(`${muster.server.apiAddress}/muster.v1.${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    body,
  });
  const error = (await answer.json()) as ConnectJsonError;
  return {
    status: answer.status,
    code: error.code,
    message: error.message,
    detail: error.details?.[0]?.debug ?? {},
  };
}

/** An error as Connect writes it in JSON. */
interface ConnectJsonError {
  readonly code: string;
  readonly message: string;
  readonly details?: readonly {
    readonly debug: { reason?: string; suggestion?: string; violations?: unknown };
  }[];
}

const data = (text: string) => ({ content: { case: "data" as const, value: Buffer.from(text) } });
const jobs = () => muster.client(JobService);
const countJobs = async () =>
  Number((await muster.database.admin`select count(*) as n from muster.jobs`)[0]?.["n"]);

describe("a request", () => {
  test("with an unknown field names it and the one that is meant", async () => {
    const { status, code, detail } = await post('{"job":{"kind":"a","titel":"x"}}');
    expect(status).toBe(400);
    expect(code).toBe("invalid_argument");
    expect(detail.reason).toBe("UNKNOWN_FIELD");
    expect(JSON.stringify(detail.violations)).toContain("titel");
    expect(JSON.stringify(detail.violations)).toContain("did you mean title?");
    expect(detail.suggestion).toMatch(/./);
  });

  test("with a wrong type names the field", async () => {
    const { status, detail } = await post('{"job":{"kind":"a","points":"many"}}');
    expect(status).toBe(400);
    expect(JSON.stringify(detail.violations)).toContain("points");
    expect(detail.suggestion).toMatch(/./);
  });

  test("that is not JSON is refused with a suggestion", async () => {
    const { status, detail } = await post('{"job":');
    expect(status).toBe(400);
    expect(detail.suggestion).toMatch(/./);
  });

  test("with a payload over 1 MiB is refused, and nothing is kept", async () => {
    const before = await countJobs();
    const failure = await jobs()
      .submitJob({ job: { kind: "a", payload: data(JSON.stringify("x".repeat(1024 * 1024))) } })
      .catch(readError);
    expect(failure).toMatchObject({
      detail: { reason: "PAYLOAD_TOO_LARGE", suggestion: expect.stringMatching(/./) },
    });
    expect(await countJobs()).toBe(before);
  });

  test.each([
    ["a raw NUL", '"a\0b"'],
    ["an escaped NUL", '"a\\u0000b"'],
    ["a lone surrogate", '"\\ud800"'],
    ["text that is not JSON", "{"],
  ])("with %s in its payload is refused with the field", async (_, text) => {
    const failure = await jobs()
      .submitJob({ job: { kind: "a", payload: data(text) } })
      .catch(readError);
    expect(failure).toMatchObject({
      detail: { violations: [{ field: expect.stringContaining("payload") }] },
    });
  });

  test("for a job that does not exist is not found, like another org's", async () => {
    const failure = await jobs().getJob({ jobId: "job_01h00000000000000000000000" }).catch(readError);
    expect(failure).toMatchObject({
      detail: { reason: "JOB_NOT_FOUND", suggestion: expect.stringMatching(/./) },
    });
  });

  test.each([
    ["no key", ""],
    ["a key with a typing error", "mk_api_x"],
  ])("with %s is unauthenticated", async (_, key) => {
    const { status, code, detail } = await post("{}", key);
    expect(status).toBe(401);
    expect(code).toBe("unauthenticated");
    expect(detail.suggestion).toMatch(/./);
  });

  test("with a worker's key may not do what operators do", async () => {
    const key = await muster.workerKey();
    const { status, detail } = await post('{"name":"x"}', key, "WorkerAdminService/CreateWorker");
    expect(status).toBe(403);
    expect(detail.reason).toBe("SCOPE_MISSING");
  });
});

describe("an idempotency key", () => {
  test("with other content is a conflict, and with the same gives the same job", async () => {
    const request = { job: { kind: "idem", payload: data("1") }, idempotencyKey: randomUUID() };
    const first = await jobs().submitJob(request);
    expect(await jobs().submitJob(request)).toMatchObject({ jobId: first.jobId, replayed: true });
    const failure = await jobs()
      .submitJob({ ...request, job: { kind: "idem", payload: data("2") } })
      .catch(readError);
    expect(failure).toMatchObject({ detail: { reason: "IDEMPOTENCY_CONFLICT" } });
  });

  test("raced by fifty callers makes one job", async () => {
    const request = { job: { kind: "idem", payload: data("1") }, idempotencyKey: randomUUID() };
    const answers = await Promise.all(Array.from({ length: 50 }, () => jobs().submitJob(request)));
    expect(new Set(answers.map((answer) => answer.jobId)).size).toBe(1);
    expect(answers.filter((answer) => !answer.replayed)).toHaveLength(1);
  });

  test("of an external id works alike, and finds the job", async () => {
    const externalId = randomUUID();
    const { jobId } = await jobs().submitJob({ job: { kind: "ext", externalId } });
    expect((await jobs().getJob({ externalId })).job?.jobId).toBe(jobId);
    const failure = await jobs()
      .submitJob({ job: { kind: "other", externalId } })
      .catch(readError);
    expect(failure).toMatchObject({ detail: { reason: "EXTERNAL_ID_CONFLICT", metadata: { jobId } } });
  });
});

describe("a worker", () => {
  const hello = (overrides: object) => ({
    hello: {
      protocol: { major: 1, minor: 0 },
      bootId: randomUUID(),
      kinds: ["a"],
      capacity: { slots: 1, points: 1 },
      ...overrides,
    },
  });
  const attach = async (overrides: object) => {
    const options = { address: muster.server.apiAddress, key: await muster.workerKey() };
    return createMusterClient(WorkerService, options).attach(hello(overrides)).catch(readError);
  };

  test("with a protocol of another major is told both versions", async () => {
    const failure = await attach({ protocol: { major: 9, minor: 0 } });
    expect(failure).toMatchObject({
      message: expect.stringMatching(/9\.0.*1\.0/),
      detail: { reason: "PROTOCOL_VERSION_UNSUPPORTED", suggestion: expect.stringMatching(/./) },
    });
  });

  test("with points below 1 is refused with the field", async () => {
    const failure = await attach({ capacity: { slots: 0, points: 0 } });
    expect(failure).toMatchObject({
      detail: { violations: [{ field: "hello.capacity.slots" }, { field: "hello.capacity.points" }] },
    });
  });

  test("written by hand over the twins may send its result as JSON, and one that is malformed is a failure", async () => {
    const key = await muster.workerKey();
    const call = async (method: string, body: unknown) => {
      const answer = await fetch(`${muster.server.apiAddress}/muster.v1.WorkerService/${method}`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
        body: JSON.stringify(body),
      });
      expect(answer.status).toBe(200);
      return JSON.parse(await answer.text());
    };
    const kind = "by.hand";
    const attached = await call("Attach", {
      hello: {
        protocol: { major: 1 },
        bootId: randomUUID(),
        kinds: [kind],
        capacity: { slots: 2, points: 2 },
      },
    });
    const { linkEpoch } = attached.welcome;
    const good = await jobs().submitJob({ job: { kind, title: "good" } });
    const bad = await jobs().submitJob({ job: { kind, title: "bad" } });
    const leases: { lease: unknown; title: string }[] = [];
    while (leases.length < 2) {
      const { frames = [] } = await call("Poll", { linkEpoch, wait: "5s" });
      for (const frame of frames) leases.push(...(frame.offer?.leases ?? []));
    }
    const results = leases.map(({ lease, title }) => {
      const result =
        title === "good" ? { json: { by: "hand" } } : { data: Buffer.from("{").toString("base64") };
      return { lease, resultId: randomUUID(), success: { result } };
    });
    const { ack } = await call("SubmitResults", { results: { results } });
    const statuses = ack.items.map((item: { status: string }) => item.status).sort();
    expect(statuses).toEqual(["RESULT_STATUS_COMMITTED", "RESULT_STATUS_REJECTED"]);
    const done = await muster.reach(good.jobId, JobState.SUCCEEDED);
    expect(done.state).toBe(JobState.SUCCEEDED);
    const { job } = await jobs().getJob({ jobId: good.jobId });
    expect(Buffer.from(job?.result?.content.value as Uint8Array).toString()).toBe('{"by":"hand"}');
    const dead = await muster.reach(bad.jobId, JobState.DEAD);
    expect(dead.error).toMatchObject({ code: "RESULT_INVALID", message: expect.stringContaining("JSON") });
  });

  test("with an empty name, or one that is taken, is not registered", async () => {
    const admin = muster.client(WorkerAdminService);
    expect(await admin.createWorker({ name: "" }).catch(readError)).toMatchObject({
      detail: { violations: [{ field: "name" }] },
    });
    await admin.createWorker({ name: "twin" });
    expect(await admin.createWorker({ name: "twin" }).catch(readError)).toMatchObject({
      detail: { reason: "NAME_TAKEN" },
    });
  });

  test("whose handler throws anything loses nothing", async () => {
    await muster.startWorker({
      handlers: {
        throws: () => {
          throw null;
        },
      },
    });
    const { jobId } = await jobs().submitJob({ job: { kind: "throws", retry: { maxAttempts: 2 } } });
    const job = await muster.reach(jobId, JobState.DEAD);
    expect(job).toMatchObject({ failures: 2, error: { code: expect.stringMatching(/./) } });
  });
});

describe("a coordinator", () => {
  const start = (settings: object) =>
    startServer(
      {
        ...testConfig(),
        apiPort: 0,
        workerPort: 0,
        dataDir: `${muster.folder}/${randomUUID()}`,
        ...settings,
      },
      { logger: { debug() {}, info() {}, warn() {}, error() {} }, signal: new AbortController().signal },
    );

  test("on a port in use says which, and what to do", async () => {
    const apiPort = Number(new URL(muster.server.apiAddress).port);
    const settings = { databaseUrl: muster.database.url, secret: "test-secret", apiPort };
    await expect(start(settings)).rejects.toMatchObject({
      code: "PORT_IN_USE",
      message: expect.stringContaining(String(apiPort)),
      suggestion: expect.stringMatching(/./),
    });
  });
});
