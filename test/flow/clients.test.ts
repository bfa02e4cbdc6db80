import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { createClient } from "@connectrpc/connect";
import { createMusterTransport as createBrowserTransport } from "@muster/client/browser";
import { readError } from "@muster/client/errors";
import { createMusterClient, type NodeTransportOptions } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { StatusService } from "@muster/client/v1/status_service";
import { WatchService } from "@muster/client/v1/watch_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;

beforeAll(async () => {
  muster = await startTestServer();
  await muster.startWorker({
    slots: 20,
    handlers: {
      greet: (ctx) => {
        ctx.log("info", "greeting");
        return { hello: ctx.payload };
      },
    },
  });
});
afterAll(() => muster.close());

const data = (value: unknown) => ({
  content: { case: "data" as const, value: Buffer.from(JSON.stringify(value)) },
});

const protocols: readonly [string, Omit<NodeTransportOptions, "address" | "key">][] = [
  ["Connect over HTTP/2", { protocol: "connect" }],
  ["Connect over HTTP/1.1", { protocol: "connect", httpVersion: "1.1" }],
  ["gRPC", { protocol: "grpc" }],
  ["gRPC-Web over HTTP/1.1", { protocol: "grpc-web", httpVersion: "1.1" }],
  ["gRPC-Web over HTTP/2", { protocol: "grpc-web" }],
];

describe.each(protocols)("a service that speaks %s", (_, options) => {
  const connection = () => ({ address: muster.server.apiAddress, key: muster.key, ...options });

  test("submits a job and watches it to its result", async () => {
    const jobs = createMusterClient(JobService, connection());
    const { jobId } = await jobs.submitJob({ job: { kind: "greet", payload: data("you") } });
    const states: JobState[] = [];
    const lines: string[] = [];
    for await (const { body } of jobs.watchJob({ jobId, events: true })) {
      if (body.case === "job") states.push(body.value.state);
      if (body.case === "event" && body.value.body.case === "log") lines.push(body.value.body.value.text);
    }
    expect(states.at(-1)).toBe(JobState.SUCCEEDED);
    expect(lines).toEqual(["greeting"]);
    const { job } = await jobs.getJob({ jobId });
    expect(job?.result?.content).toMatchObject({
      case: "data",
      value: new TextEncoder().encode('{"hello":"you"}'),
    });
  });

  test("gets an error with code, reason, fields and suggestion", async () => {
    const jobs = createMusterClient(JobService, connection());
    const failure = await jobs.submitJob({ job: { kind: "", priority: 300 } }).catch(readError);
    expect(failure).toMatchObject({
      detail: {
        reason: "VALIDATION_FAILED",
        suggestion: expect.stringMatching(/./),
        requestId: expect.stringMatching(/./),
        violations: [{ field: "job.kind" }, { field: "job.priority" }],
      },
    });
  });

  test("submits a batch, all or none, and waits for it", async () => {
    const batches = createMusterClient(BatchService, connection());
    const jobs = Array.from({ length: 30 }, (_, n) => ({ kind: "greet", payload: data(n) }));
    const refused = await batches.submitBatch({ jobs: [...jobs, { kind: "Not A Kind" }] }).catch(readError);
    expect(refused).toMatchObject({ detail: { violations: [{ field: "jobs[30].kind" }] } });
    const { batchId, jobIds } = await batches.submitBatch({ jobs, title: "thirty" });
    expect(jobIds).toHaveLength(30);
    const { batch, done } = await batches.waitBatch({ batchId });
    expect(done).toBe(true);
    expect(batch).toMatchObject({ total: 30, pending: 0, succeeded: 30 });
  });
});

test("a browser's client submits over fetch", async () => {
  const transport = createBrowserTransport({ address: muster.server.apiAddress, key: () => muster.key });
  const jobs = createClient(JobService, transport);
  const { jobId } = await jobs.submitJob({ job: { kind: "greet", payload: data(1) } });
  const { job, done } = await jobs.waitJob({ jobId });
  expect(done).toBe(true);
  expect(job?.state).toBe(JobState.SUCCEEDED);
});

test("curl submits a job with the payload inline, and reads its result", async () => {
  const curl = async (method: string, body: unknown) => {
    const { stdout } = await promisify(execFile)("curl", [
      "-sS",
      "-H",
      `authorization: Bearer ${muster.key}`,
      "-H",
      "content-type: application/json",
      "-d",
      JSON.stringify(body),
      `${muster.server.apiAddress}/muster.v1.JobService/${method}`,
    ]);
    return JSON.parse(stdout);
  };
  const { jobId } = await curl("SubmitJob", { job: { kind: "greet", payload: { json: { name: "curl" } } } });
  const { job, done } = await curl("WaitJob", { jobId, timeout: "10s" });
  expect(done).toBe(true);
  expect(job.state).toBe("JOB_STATE_SUCCEEDED");
  expect(JSON.parse(Buffer.from(job.result.data, "base64").toString())).toEqual({ hello: { name: "curl" } });
  const refused = await curl("GetJob", { jobId: "job_01h00000000000000000000000" });
  expect(refused).toMatchObject({ code: "not_found" });
});

test("another service follows every transition from a revision on", async () => {
  const changes = muster.client(WatchService);
  const { revision } = await changes.listChanges({});
  const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "greet", payload: data(2) } });
  const states: JobState[] = [];
  let from = revision;
  while (states.at(-1) !== JobState.SUCCEEDED) {
    const page = await changes.listChanges({ revision: from, wait: { seconds: 2n, nanos: 0 } });
    expect(page.reset).toBe(false);
    states.push(...page.changes.filter((change) => change.jobId === jobId).map((change) => change.state));
    from = page.revision;
  }
  expect(states[0]).toBe(JobState.READY);
  expect(states).toContain(JobState.OFFERED);
  expect(new Set(states).size).toBe(states.length);
});

test("the status counts workers, jobs and projects", async () => {
  const { status } = await muster.client(StatusService).getStatus({ detail: true });
  expect(status?.workers).toMatchObject({ online: 1, slots: 20n });
  expect(status?.jobs.find(({ state }) => state === JobState.SUCCEEDED)?.count).toBeGreaterThan(0n);
  expect(status?.coordinators).toHaveLength(1);
  expect(status?.workerList).toHaveLength(1);
});
