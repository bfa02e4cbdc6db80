import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { DependencyPolicy, JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { WorkerService } from "@muster/client/v1/worker_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Handler } from "../../worker/context.ts";
import { JobFailure } from "../../worker/failure.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

/*
 * Jobs that wait for jobs, over real listeners: whoever waits runs when the last one has ended well, with what they
 * all left, and not otherwise.
 */

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(() => muster.close());

const onRef = (...refs: readonly string[]) =>
  refs.map((ref) => ({ parent: { case: "ref" as const, value: ref } }));
const onJob = (...ids: readonly string[]) =>
  ids.map((id) => ({ parent: { case: "jobId" as const, value: id } }));
const payload = (value: unknown) => ({
  content: { case: "data" as const, value: Buffer.from(JSON.stringify(value)) },
});
const submitBatch = async (jobs: Parameters<ReturnType<typeof batches>["submitBatch"]>[0]["jobs"]) =>
  (await batches().submitBatch({ jobs: jobs ?? [] })).jobIds;
const submit = async (job: Parameters<ReturnType<typeof jobs>["submitJob"]>[0]["job"]) =>
  (await jobs().submitJob({ job: job ?? {} })).jobId;
const batches = () => muster.client(BatchService);
const jobs = () => muster.client(JobService);
const resultOf = async (jobId: string): Promise<unknown> => {
  const { result } = await muster.reach(jobId, JobState.SUCCEEDED);
  return result?.content.case === "data" ? JSON.parse(Buffer.from(result.content.value).toString()) : null;
};

/** Adds what its parents left to what it was given; a text is repeated instead. */
const add: Handler<{ readonly n: number }> = async (ctx) => {
  const parents = await ctx.parents<number>();
  return parents.reduce((sum, { result }) => sum + (result ?? 0), ctx.payload?.n ?? 0);
};

/** Something that is large. */
const fill: Handler<{ readonly bytes: number }> = (ctx) => "x".repeat(ctx.payload.bytes);

/** How its parents ended, and how much they left. */
const look: Handler = async (ctx) =>
  (await ctx.parents<string>()).map(({ state, kind, externalId, result }) => [
    state,
    kind,
    externalId ?? "",
    result?.length ?? 0,
  ]);

const fail: Handler = () => {
  throw new JobFailure("not this time", { retryable: false });
};

describe.each(["stream", "poll"] as const)("with a worker that holds a %s", (transport) => {
  const kinds = {
    add: `${transport}.add`,
    fill: `${transport}.fill`,
    look: `${transport}.look`,
    fail: `${transport}.fail`,
  };
  beforeAll(async () => {
    const handlers = { [kinds.add]: add, [kinds.fill]: fill, [kinds.look]: look, [kinds.fail]: fail };
    await muster.startWorker({ handlers, transport, slots: 8, points: 8 });
  });

  test("a chain runs in its order, each with the result of the one before", async () => {
    const jobIds = await submitBatch(
      Array.from({ length: 5 }, (_, n) => ({
        kind: kinds.add,
        ref: `s${n}`,
        payload: payload({ n: 1 }),
        dependsOn: n === 0 ? [] : onRef(`s${n - 1}`),
      })),
    );
    expect(await resultOf(jobIds[4] ?? "")).toBe(5);
  });

  test("one that waits for fifty has what all of them left", async () => {
    const refs = Array.from({ length: 50 }, (_, n) => `p${n}`);
    const jobIds = await submitBatch([
      { kind: kinds.add, dependsOn: onRef(...refs) },
      ...refs.map((ref, n) => ({ kind: kinds.add, ref, payload: payload({ n }) })),
    ]);
    const [child = ""] = jobIds;
    const { job } = await jobs().getJob({ jobId: child });
    expect(job?.spec?.dependsOn.map(({ parent }) => parent.value)).toEqual(jobIds.slice(1));
    expect(job?.spec?.dependencyPolicy).toBe(DependencyPolicy.CANCEL);
    expect(await resultOf(child)).toBe(1_225);
    expect((await jobs().getJob({ jobId: child })).job?.waitingOn).toBe(0);
  });

  test("a hundred and fifty that wait for one all run, soon after it", async () => {
    const { batchId, jobIds } = await batches().submitBatch({
      jobs: [
        { kind: kinds.add, ref: "first", payload: payload({ n: 7 }) },
        ...Array.from({ length: 150 }, () => ({ kind: kinds.add, dependsOn: onRef("first") })),
      ],
    });
    const { batch } = await batches().waitBatch({ batchId, timeout: { seconds: 20n } });
    expect(batch).toMatchObject({ succeeded: 151, pending: 0 });
    expect(await Promise.all([1, 75, 150].map((n) => resultOf(jobIds[n] ?? "")))).toEqual([7, 7, 7]);
  });

  test("one whose parent dies is cancelled, or runs without its result", async () => {
    const ended = await submit({
      kind: kinds.fill,
      payload: payload({ bytes: 3 }),
      externalId: `${transport} three`,
    });
    const [bad = "", strict = "", after = "", patient = ""] = await submitBatch([
      { kind: kinds.fail, ref: "bad" },
      { kind: kinds.look, ref: "strict", dependsOn: onRef("bad") },
      { kind: kinds.look, dependsOn: onRef("strict") },
      {
        kind: kinds.look,
        dependsOn: [...onJob(ended), ...onRef("bad"), ...onRef("strict")],
        dependencyPolicy: DependencyPolicy.RELEASE,
      },
    ]);
    const cancelled = await muster.reach(strict, JobState.CANCELLED);
    expect(cancelled.reason).toBe(`a job that it depends on died: ${bad}`);
    expect((await muster.reach(after, JobState.CANCELLED)).reason).toBe(
      `a job that it depends on was cancelled: ${strict}`,
    );
    expect(await resultOf(patient)).toEqual([
      ["SUCCEEDED", kinds.fill, `${transport} three`, 3],
      ["DEAD", kinds.fail, "", 0],
      ["CANCELLED", kinds.look, "", 0],
    ]);
  });

  test("results of more than 256 KiB are fetched by pages", async () => {
    const bytes = 700_000;
    const [, , , child = ""] = await submitBatch([
      ...["a", "b", "c"].map((ref) => ({ kind: kinds.fill, ref, payload: payload({ bytes }) })),
      { kind: kinds.look, dependsOn: onRef("a", "b", "c") },
    ]);
    const row = ["SUCCEEDED", kinds.fill, "", bytes];
    expect(await resultOf(child)).toEqual([row, row, row]);
  });
});

test("only who holds the lease reads what its parents left, at both listeners", async () => {
  const asked = Promise.withResolvers<{ jobId: string; attempt: number; leaseId: string }>();
  const hold = Promise.withResolvers<void>();
  const key = await muster.workerKey("holder");
  const worker = await muster.startWorker({
    key,
    handlers: {
      one: () => 1,
      ask: async (ctx) => {
        // What the SDK does, seen from outside: the lease as the worker names it.
        const { jobId, attempt, leaseId } = Reflect.get(ctx, "lease");
        asked.resolve({ jobId, attempt, leaseId });
        await hold.promise;
      },
    },
  });
  const [, child = ""] = await submitBatch([
    { kind: "one", ref: "one" },
    { kind: "ask", dependsOn: onRef("one") },
  ]);
  const lease = await asked.promise;
  const { server } = muster;
  const addresses = [server.apiAddress, `http://${server.workerAddress}`];
  const clients = addresses.map((address) =>
    createMusterClient(WorkerService, {
      address,
      key,
      ...(address === server.apiAddress ? {} : { protocol: "grpc" as const }),
    }),
  );
  for (const client of clients) {
    const { parentResults, nextPageToken } = await client.listParentResults({ lease });
    expect(parentResults).toMatchObject([{ state: JobState.SUCCEEDED, kind: "one" }]);
    expect(nextPageToken).toBe("");
  }
  const stranger = createMusterClient(WorkerService, {
    address: server.apiAddress,
    key: await muster.workerKey("stranger"),
  });
  await expect(stranger.listParentResults({ lease })).rejects.toThrow(/no longer current/);
  await expect(clients[0]?.listParentResults({})).rejects.toThrow("lease is required");
  await expect(clients[0]?.listParentResults({ lease, pageToken: "x" })).rejects.toThrow(/page token/);
  hold.resolve();
  await muster.reach(child, JobState.SUCCEEDED);
  await expect(clients[0]?.listParentResults({ lease })).rejects.toThrow(/no longer current/);
  await worker.stop({ graceMs: 0 });
});
