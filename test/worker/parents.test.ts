import type { MessageInitShape } from "@bufbuild/protobuf";
import { JobState } from "@muster/client/v1/job";
import type { ParentResultSchema } from "@muster/client/v1/link";
import { expect, test } from "vitest";
import type { Handler } from "../../worker/context.ts";
import { WorkerPeerApi } from "../support/worker-api.ts";
import { WorkerBench } from "../support/worker-bench.ts";
import type { LeaseInit } from "../support/worker-peer.ts";

type Parent = MessageInitShape<typeof ParentResultSchema>;

/** Runs one handler on one lease, beside an API that lists parents; answers with what it returned. */
async function run(handler: Handler, init: LeaseInit, pages: readonly Parent[][] = []) {
  await using bench = await WorkerBench.open();
  await using api = await WorkerPeerApi.start(bench.peer);
  api.parentPages.push(...pages);
  const worker = bench.worker({ handlers: { noop: handler }, apiAddress: api.address });
  await worker.start();
  const lease = bench.peer.lease(init);
  bench.peer.offer(lease);
  const { outcome } = await bench.peer.resultOf(lease.lease.leaseId);
  if (outcome.case !== "success" || outcome.value.result?.content.case !== "data") {
    throw new Error(`the handler ended as ${outcome.case}`);
  }
  return JSON.parse(Buffer.from(outcome.value.result.content.value).toString());
}

const parent = (jobId: string, result: unknown): Parent => ({
  jobId,
  kind: "count",
  state: JobState.SUCCEEDED,
  result: { content: { case: "data", value: Buffer.from(JSON.stringify(result)) } },
});

test("a handler has what came with the lease, without asking", async () => {
  const parentResults: Parent[] = [
    { ...parent("job_1", { n: 1 }), externalId: "mine" },
    { jobId: "job_2", kind: "count", state: JobState.DEAD },
    { jobId: "job_3" },
  ];
  const seen = await run((ctx) => ctx.parents(), { parentCount: 3, parentResults });
  expect(seen).toEqual([
    { jobId: "job_1", state: "SUCCEEDED", kind: "count", externalId: "mine", result: { n: 1 } },
    { jobId: "job_2", state: "DEAD", kind: "count" },
    { jobId: "job_3", state: "GONE", kind: "" },
  ]);
});

test("a job that depends on none has none", async () => {
  expect(await run((ctx) => ctx.parents(), {})).toEqual([]);
});

test("what did not come with the lease is fetched once, page by page, in its order", async () => {
  const pages = [[parent("job_1", 1), parent("job_2", 2)], [parent("job_3", 3)]];
  const seen = await run(
    async (ctx) => {
      const [first, again] = await Promise.all([ctx.parents<number>(), ctx.parents<number>()]);
      return [first === again, ...first.map(({ result }) => result)];
    },
    { parentCount: 3 },
    pages,
  );
  expect(seen).toEqual([true, 1, 2, 3]);
});

test("a fetch that failed may be tried again", async () => {
  await using bench = await WorkerBench.open();
  await using api = await WorkerPeerApi.start(bench.peer);
  const handlers = {
    noop: (async (ctx) => {
      const failed = await ctx.parents().catch((error: unknown) => String(error));
      api.parentPages.push([parent("job_1", 1)]);
      return [failed, (await ctx.parents()).length];
    }) satisfies Handler,
  };
  await bench.worker({ handlers, apiAddress: api.address }).start();
  const lease = bench.peer.lease({ parentCount: 1 });
  bench.peer.offer(lease);
  const { outcome } = await bench.peer.resultOf(lease.lease.leaseId);
  const data = outcome.case === "success" ? outcome.value.result?.content : undefined;
  const value = data?.case === "data" ? JSON.parse(Buffer.from(data.value).toString()) : null;
  expect(value).toEqual([expect.stringContaining("not now"), 1]);
});
