import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ArtifactService } from "@muster/client/v1/artifact_service";
import { type Event, EventService } from "@muster/client/v1/event_service";
import { AttemptOutcome, JobState } from "@muster/client/v1/job";
import { CancelOutcome, JobService } from "@muster/client/v1/job_service";
import { PayloadSchema } from "@muster/client/v1/payload";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { JobFailure } from "../../worker/failure.ts";
import type { WorkerOptions } from "../../worker/options.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;

beforeAll(async () => {
  muster = await startTestServer({
    heartbeatMs: 300,
    staleMs: 2_000,
    reclaimAfterMs: 3_000,
    backoffInitialMs: 50,
  });
});
afterAll(() => muster.close());

const json = (value: unknown) =>
  create(PayloadSchema, { content: { case: "data", value: Buffer.from(JSON.stringify(value)) } });

const jsonOf = (payload: { content: { case?: string | undefined; value?: unknown } } | undefined): unknown =>
  payload?.content.case === "data" && payload.content.value instanceof Uint8Array
    ? JSON.parse(Buffer.from(payload.content.value).toString())
    : undefined;

/** One suite, whatever carries the link. */
describe.each([
  ["a stream on the worker port", "stream", () => muster.server.workerAddress],
  ["a stream on the API port", "stream", () => muster.server.apiAddress],
  ["polling the worker port", "poll", () => muster.server.workerAddress],
  ["polling the API port over HTTP/1.1", "poll", () => muster.server.apiAddress],
] as const)("a worker over %s", (name, transport, address) => {
  const kind = `conform.${name.replace(/[^a-z0-9]+/gi, "-").toLowerCase()}`;
  const jobs = () => muster.client(JobService);
  const start = (run: WorkerOptions["handlers"][string], options: Partial<WorkerOptions> = {}) =>
    muster.startWorker({
      address: address(),
      apiAddress: muster.server.apiAddress,
      transport,
      handlers: { [kind]: run },
      ...options,
    });
  const submit = async (payload: unknown, spec: object = {}) =>
    (await jobs().submitJob({ job: { kind, payload: json(payload), ...spec } })).jobId;

  test("runs a job and its result is kept", async () => {
    await using worker = await start(({ payload, job }) => ({
      doubled: Number(payload) * 2,
      attempt: job.attempt,
    }));
    const jobId = await submit(21);
    await muster.reach(jobId, JobState.SUCCEEDED);
    const { job } = await jobs().getJob({ jobId });
    expect(jsonOf(job?.result)).toEqual({ doubled: 42, attempt: 1 });
    const { workers } = await muster
      .client(WorkerAdminService)
      .listWorkers({ online: true, pageSize: 1_000 });
    const own = workers.find((one) => one.workerId === worker.attachment?.workerId);
    expect(own).toMatchObject({ transport, kinds: [kind] });
  });

  test("keeps what a handler says, for those who watch late too", async () => {
    await using _ = await start((ctx) => {
      ctx.progress(0.5, "half");
      ctx.log("warn", "careful");
      ctx.log.stdout("out\n");
      ctx.partial({ part: 1 });
      return null;
    });
    const jobId = await submit(null);
    await muster.reach(jobId, JobState.SUCCEEDED);
    const { events, done } = await jobs().listJobEvents({ jobId });
    expect(done).toBe(true);
    expect(events.map((event) => Number(event.sequence))).toEqual([1, 2, 3]);
    expect(events.map(({ body }) => body.case)).toEqual(["log", "log", "partial"]);
    expect(events[0]?.body.value).toMatchObject({ text: "careful", level: "warn" });
    const seen: string[] = [];
    for await (const { body } of jobs().watchJob({ jobId, events: true }))
      if (body.case) seen.push(body.case);
    expect(seen.filter((one) => one === "event")).toHaveLength(3);
  });

  test("tells other services what its handler tells them", async () => {
    const events = muster.client(EventService);
    const { revision } = await events.readEvents({});
    await using _ = await start((ctx) => {
      ctx.log("before");
      ctx.event("deploy.done", { to: ["web-1"] });
      ctx.event("deploy.checked");
      return null;
    });
    const jobId = await submit(null, { labels: { team: "x" } });
    await muster.reach(jobId, JobState.SUCCEEDED);
    const record = await jobs().listJobEvents({ jobId });
    expect(record.events.map(({ body }) => body.case)).toEqual(["log", "event", "event"]);
    expect(record.events[1]?.body.value).toMatchObject({ name: "deploy.done" });
    const told: Event[] = [];
    for await (const page of events.watchEvents({
      revision,
      filter: { types: ["handler.deploy.*"], jobId },
    })) {
      told.push(...page.events);
      if (told.length >= 2) break;
    }
    expect(told.map(({ type, data }) => [type, data])).toEqual([
      ["handler.deploy.done", { body: { to: ["web-1"] } }],
      ["handler.deploy.checked", { body: null }],
    ]);
    expect(told[0]).toMatchObject({ jobId, attempt: 1, kind, labels: { team: "x" } });
    expect(told[0]?.workerId).toMatch(/^wrk_/);
  });

  test("that throws is tried again, and a final failure is a dead letter", async () => {
    await using _ = await start(({ job, payload }) => {
      if (payload === "final") throw new JobFailure("never", { retryable: false, code: "NEVER" });
      if (job.attempt === 1) throw new Error("the first time");
      return "the second time";
    });
    const again = await submit("again");
    await muster.reach(again, JobState.SUCCEEDED);
    const { attempts } = await jobs().listAttempts({ jobId: again });
    expect(attempts.map((one) => one.outcome)).toEqual([AttemptOutcome.FAILED, AttemptOutcome.SUCCEEDED]);
    expect(attempts[0]?.error?.message).toBe("the first time");
    const final = await submit("final");
    const dead = await muster.reach(final, JobState.DEAD);
    expect(dead.error?.code).toBe("NEVER");
    const { deadLetters } = await jobs().listDeadLetters({ kind });
    expect(deadLetters.map((one) => one.job?.jobId)).toContain(final);
  });

  test("stops a running handler when the job is cancelled", async () => {
    const started = Promise.withResolvers<void>();
    await using _ = await start(async (ctx) => {
      started.resolve();
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      throw ctx.signal.reason;
    });
    const jobId = await submit(null);
    await started.promise;
    await muster.reach(jobId, JobState.RUNNING);
    const { outcome } = await jobs().cancelJob({ jobId, reason: "not wanted" });
    expect(outcome).toBe(CancelOutcome.REQUESTED);
    const job = await muster.reach(jobId, JobState.CANCELLED);
    expect(job.reason).toBe("not wanted");
  });

  test("starts an exclusive job only after its lease is confirmed", async () => {
    const states: JobState[] = [];
    await using _ = await start(async ({ job }) => {
      const { job: seen } = await jobs().getJob({ jobId: job.id });
      states.push(seen?.state ?? 0);
      return null;
    });
    await muster.reach(await submit(null, { exclusive: true }), JobState.SUCCEEDED);
    expect(states).toEqual([JobState.RUNNING]);
  });

  test("gives back what it cannot finish when it stops, at no attempt's cost", async () => {
    const started = Promise.withResolvers<void>();
    const first = await start(async (ctx) => {
      started.resolve();
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      throw ctx.signal.reason;
    });
    const jobId = await submit(null);
    await started.promise;
    await first.stop({ graceMs: 0 });
    await using _ = await start(() => "done");
    const job = await muster.reach(jobId, JobState.SUCCEEDED);
    expect(job).toMatchObject({ failures: 0, losses: 0, releases: 1, attempt: 2 });
  });

  test("is warned at the soft timeout and fails at the hard one", async () => {
    const warned: string[] = [];
    await using _ = await start(async (ctx) => {
      ctx.softTimeout.addEventListener("abort", () => warned.push("soft"));
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      throw ctx.signal.reason;
    });
    const jobId = await submit(null, {
      softTimeout: durationFromMs(1_000),
      hardTimeout: durationFromMs(1_200),
      retry: { maxAttempts: 1 },
    });
    await muster.reach(jobId, JobState.DEAD);
    expect(warned).toEqual(["soft"]);
    const { attempts } = await jobs().listAttempts({ jobId });
    expect(attempts[0]?.outcome).toBe(AttemptOutcome.TIMED_OUT);
  });

  test("parks a job that comes back by itself, at no attempt's cost", async () => {
    await using _ = await start((ctx) => {
      if (ctx.job.attempt === 1) ctx.park({ reason: "quota", wakeAfterMs: 100 });
      return "later";
    });
    const job = await muster.reach(await submit(null), JobState.SUCCEEDED);
    expect(job).toMatchObject({ failures: 0, attempt: 2 });
  });

  test("submits a child job, once, whatever the attempts of the parent", async () => {
    const children: string[] = [];
    await using _ = await start(async (ctx) => {
      if (ctx.payload === "child") return null;
      const child = await ctx.submit({ kind, payload: "child" });
      children.push(child.jobId);
      if (ctx.job.attempt === 1) throw new Error("after the child");
      return null;
    });
    const jobId = await submit("parent");
    await muster.reach(jobId, JobState.SUCCEEDED);
    expect(children).toHaveLength(2);
    expect(new Set(children).size).toBe(1);
    const { job } = await jobs().getJob({ jobId: children[0] ?? "" });
    expect(job?.parentJobId).toBe(jobId);
  });

  test("stores an artifact under its lease", async () => {
    const bytes = Buffer.from("artifact ".repeat(1_000));
    await using _ = await start(async (ctx) => {
      await ctx.artifact("report.txt", bytes, { contentType: "text/plain" });
      return null;
    });
    const jobId = await submit(null);
    await muster.reach(jobId, JobState.SUCCEEDED);
    const { artifacts } = await muster.client(ArtifactService).listArtifacts({ jobId });
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    expect(artifacts).toHaveLength(1);
    expect(artifacts[0]).toMatchObject({ name: "report.txt", sha256, contentType: "text/plain", attempt: 1 });
    const { url } = await muster
      .client(ArtifactService)
      .getArtifactUrl({ artifactId: artifacts[0]?.artifactId ?? "" });
    const answer = await fetch(url);
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
  });

  test("runs many jobs at once up to its slots and no more", async () => {
    let running = 0;
    let most = 0;
    const gate = Promise.withResolvers<void>();
    await using _ = await start(
      async () => {
        most = Math.max(most, ++running);
        if (running === 3) gate.resolve();
        await gate.promise;
        running--;
        return null;
      },
      { slots: 3 },
    );
    const ids = await Promise.all(Array.from({ length: 12 }, (_, n) => submit(n)));
    await Promise.all(ids.map((jobId) => muster.reach(jobId, JobState.SUCCEEDED)));
    expect(most).toBe(3);
  });
});
