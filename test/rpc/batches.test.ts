import { Code } from "@connectrpc/connect";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobState as State } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
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

async function batches() {
  const client = await api.client();
  return { ...client, service: client.of(BatchService), jobs: client.of(JobService) };
}

const kinds = (...names: string[]) => names.map((kind) => ({ kind }));

describe("submitting a batch", () => {
  test("answers with the jobs in the order of the request, and once for a key", async () => {
    const { service, jobs } = await batches();
    const request = { jobs: kinds("a", "b", "c"), title: "three", idempotencyKey: "k" };
    const first = await service.submitBatch(request);
    expect(first.batchId).toMatch(/^bat_/);
    const found = await Promise.all(first.jobIds.map((jobId) => jobs.getJob({ jobId })));
    expect(found.map(({ job }) => [job?.spec?.kind, job?.batchId])).toEqual([
      ["a", first.batchId],
      ["b", first.batchId],
      ["c", first.batchId],
    ]);
    expect(await service.submitBatch(request)).toMatchObject({ ...first, replayed: true });
  });

  test("takes 10,000 jobs, and not one more", async () => {
    const { service } = await batches();
    const many = Array.from({ length: 10_000 }, () => ({ kind: "a" }));
    expect((await service.submitBatch({ jobs: many })).jobIds).toHaveLength(10_000);
    const error = await failure(service.submitBatch({ jobs: [...many, { kind: "a" }] }));
    expect(violationsOf(error)).toEqual(["jobs must have at most 10000 entries, and has 10001"]);
    expect(violationsOf(await failure(service.submitBatch({})))).toEqual(["jobs must have at least one job"]);
  });

  test("with wrong jobs names each by its index, and keeps none", async () => {
    const { service, jobs } = await batches();
    const error = await failure(
      service.submitBatch({
        jobs: [
          { kind: "a", externalId: "x" },
          { kind: "B" },
          {
            kind: "c",
            retry: { maxAttempts: 101 },
            payload: { content: { case: "data", value: Buffer.from("{") } },
          },
          { kind: "d", externalId: "x" },
        ],
        title: "t".repeat(201),
      }),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    expect(new Set(error.detail?.violations.map((one) => one.field))).toEqual(
      new Set([
        "title",
        "jobs[1].kind",
        "jobs[2].retry.maxAttempts",
        "jobs[2].payload.data",
        "jobs[3].externalId",
      ]),
    );
    expect((await jobs.listJobs({})).jobs).toEqual([]);
    expect((await service.listBatches({})).batches).toEqual([]);
  });

  test("with ten thousand wrong jobs answers soon and within bounds", async () => {
    const { service } = await batches();
    const error = await failure(service.submitBatch({ jobs: Array.from({ length: 10_000 }, () => ({})) }));
    expect(error.detail?.violations[0]).toMatchObject({ field: "jobs[0].kind", message: "is required" });
    expect(Number(error.detail?.metadata["violationsLeftOut"])).toBeGreaterThan(800);
  });
});

describe("following a batch", () => {
  test("counts its jobs by state, and lists it", async () => {
    const { service, jobs } = await batches();
    const { batchId, jobIds } = await service.submitBatch({ jobs: kinds("a", "b", "c"), title: "three" });
    await jobs.cancelJob({ jobId: jobIds[1] ?? "" });
    const { batch } = await service.getBatch({ batchId });
    expect(batch).toMatchObject({ batchId, title: "three", total: 3, pending: 2, cancelled: 1 });
    expect(batch?.states.map(({ state, count }) => [state, count])).toEqual([
      [State.READY, 2n],
      [State.CANCELLED, 1n],
    ]);
    expect((await service.listBatches({})).batches).toMatchObject([{ batchId, total: 3, states: [] }]);
  });

  test("waits until all its jobs have ended", async () => {
    const { service, jobs } = await batches();
    const { batchId, jobIds } = await service.submitBatch({ jobs: kinds("a", "b") });
    const waiting = service.waitBatch({ batchId, timeout: { seconds: 60n } });
    for (const jobId of jobIds) await jobs.cancelJob({ jobId });
    expect(await waiting).toMatchObject({ done: true, batch: { pending: 0, cancelled: 2 } });
  });

  test("waits no longer than it was told", async () => {
    const { service } = await batches();
    const { batchId } = await service.submitBatch({ jobs: kinds("a") });
    expect(await service.waitBatch({ batchId, timeout: { nanos: 1_000_000 } })).toMatchObject({
      done: false,
    });
  });

  test("is refused for what is no batch of the org", async () => {
    const { service } = await batches();
    const other = await (await batches()).service.submitBatch({ jobs: kinds("a") });
    for (const call of [
      () => service.getBatch({ batchId: other.batchId }),
      () => service.waitBatch({ batchId: encodeId("batch", db.newId()) }),
    ]) {
      expect((await failure(call())).detail?.reason).toBe("BATCH_NOT_FOUND");
    }
    expect(violationsOf(await failure(service.getBatch({})))).toEqual(["batchId is required"]);
    const error = await failure(service.waitBatch({ batchId: "x", timeout: { seconds: -1n } }));
    expect(error.detail?.violations.map((one) => one.field)).toEqual(["batchId", "timeout"]);
  });
});
