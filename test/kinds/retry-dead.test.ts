import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { JobSchema } from "@muster/client/v1/job";
import {
  ActOnJobsResponseSchema,
  JobAction,
  JobOrder,
  ListJobsResponseSchema,
} from "@muster/client/v1/job_service";
import { describe, expect, test } from "vitest";
import { type RetryDeadParts, retryDead } from "../../server/kinds/retry-dead.ts";
import { kindContext, kindFailure } from "../support/kind-context.ts";

/** Dead jobs `job_1` to `job_n`, and a handler over them; `gone` are dead no more when they are acted on. */
function dead(count: number, gone: readonly string[] = []) {
  const ids = Array.from({ length: count }, (_, index) => `job_${index + 1}`);
  const retried: string[] = [];
  const filters: string[] = [];
  const pauses: number[] = [];
  const jobs: RetryDeadParts["jobs"] = {
    async listJobs({ filterText = "", pageSize = 0, pageToken = "", order }) {
      if (filterText.includes("kind:")) throw new ConnectError("column 1: not a term", Code.InvalidArgument);
      expect(order).toBe(JobOrder.OLDEST_FIRST);
      filters.push(filterText);
      const from = Number(pageToken || 0);
      const page = ids.slice(from, from + pageSize);
      const nextPageToken = from + pageSize < ids.length ? String(from + pageSize) : "";
      return create(ListJobsResponseSchema, {
        jobs: page.map((jobId) => create(JobSchema, { jobId })),
        nextPageToken,
      });
    },
    async actOnJobs({ action, jobs: target, dryRun = false }) {
      expect(action).toBe(JobAction.RETRY);
      const asked = target?.case === "ids" ? (target.value.jobIds ?? []) : [];
      const done = asked.filter((id) => !gone.includes(id));
      if (!dryRun) retried.push(...done);
      return create(ActOnJobsResponseSchema, { done: done.length, skipped: asked.length - done.length });
    },
  };
  const run = (payload: unknown, signal = new AbortController().signal) =>
    retryDead({ jobs, failure: kindFailure, pause: async (ms) => void pauses.push(ms) })(
      kindContext({ payload, signal }),
    );
  return { run, retried, filters, pauses };
}

describe("maintenance.retry-dead", () => {
  test("gives dead jobs another run, at the rate, and says how many", async () => {
    const { run, retried, filters, pauses } = dead(25, ["job_3"]);
    expect(await run({ filter: "queue:web", perMinute: 120 })).toEqual({
      retried: 24,
      skipped: 1,
      isDryRun: false,
    });
    expect(retried).toHaveLength(24);
    expect(filters).toEqual(Array(3).fill("state:dead queue:web"));
    // Ten each five seconds.
    expect(pauses).toEqual([5_000, 5_000]);
  });

  test("goes one by one where the rate is low", async () => {
    const { run, pauses } = dead(3);
    await run({ perMinute: 1 });
    expect(pauses).toEqual([60_000, 60_000]);
  });

  test("stops at the limit", async () => {
    const { run, retried } = dead(25);
    expect(await run({ limit: 7 })).toMatchObject({ retried: 7 });
    expect(retried).toHaveLength(7);
  });

  test("only counts in a dry run, and waits for nothing", async () => {
    const { run, retried, pauses } = dead(25);
    expect(await run({ dryRun: true })).toEqual({ retried: 25, skipped: 0, isDryRun: true });
    expect([retried, pauses]).toEqual([[], []]);
  });

  test.each([
    [{ filter: "kind:" }, /filter: column 1: not a term/],
    [{ perMinute: 0, limit: -1 }, /perMinute: .*; limit: /],
    [{ fliter: "x" }, /fliter/],
  ])("refuses the payload %j", async (payload, message) => {
    await expect(dead(1).run(payload)).rejects.toMatchObject({
      code: "PAYLOAD_INVALID",
      message: expect.stringMatching(message),
    });
  });
});
