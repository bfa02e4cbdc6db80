import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { JobService } from "@muster/client/v1/job_service";
import {
  QueueLimitsSchema,
  QueueService,
  QueueType,
  type SetQueueLimitsRequestSchema,
} from "@muster/client/v1/queue_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
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

async function open() {
  const client = await api.client();
  return { ...client, queues: client.of(QueueService), jobs: client.of(JobService) };
}

describe("queues", () => {
  test("are limited, paused and resumed, and say so", async () => {
    const { queues, jobs } = await open();
    const limits = { running: 5, startRate: { jobs: 10, per: durationFromMs(60_000) } };
    const { queue: limited } = await queues.setQueueLimits({
      name: "renders",
      limits,
      reason: "their quota",
    });
    expect(limited).toMatchObject({ type: QueueType.QUEUE, name: "renders", paused: false, leased: 0 });
    expect(limited?.limits).toEqual(create(QueueLimitsSchema, limits));
    await jobs.submitJob({ job: { kind: "render.frame", queue: "renders" } });
    const until = timestampFromMs(db.nowMs() + 3_600_000);
    const { queue: paused, withdrawn } = await queues.pauseQueue({ name: "renders", reason: "heat", until });
    expect(withdrawn).toBe(0);
    expect(paused).toMatchObject({ paused: true, pauseReason: "heat", counts: { ready: 1n, submitted: 1n } });
    expect(paused?.resumeTime?.seconds).toBe(until.seconds);
    expect(paused?.pauseTime).toBeDefined();
    expect(paused?.oldestReadyTime).toBeDefined();
    const { queue: resumed } = await queues.resumeQueue({ name: "renders" });
    expect(resumed).toMatchObject({ paused: false, pauseReason: "", limits });
    expect(resumed?.resumeTime).toBeUndefined();
    const { queue: open1 } = await queues.setQueueLimits({ name: "renders", limits: {} });
    expect(open1?.limits).toEqual(create(QueueLimitsSchema, {}));
    expect((await queues.getQueue({ name: "renders" })).queue).toMatchObject({ name: "renders" });
    expect((await queues.listQueues({})).queues.map(({ name }) => name)).toEqual(["renders"]);
  });

  test("kinds and pools have no counts, and are apart from queues", async () => {
    const { queues } = await open();
    for (const type of [QueueType.KIND, QueueType.POOL]) {
      await queues.setQueueLimits({ type, name: "same", limits: { running: type } });
    }
    const kind = (await queues.getQueue({ type: QueueType.KIND, name: "same" })).queue;
    expect(kind).toMatchObject({ type: QueueType.KIND, limits: { running: 2 } });
    expect(kind?.counts).toBeUndefined();
    expect((await queues.listQueues({ type: QueueType.POOL })).queues).toMatchObject([
      { type: QueueType.POOL, name: "same", limits: { running: 3 } },
    ]);
    expect((await queues.listQueues({})).queues).toEqual([]);
  });
});

const rate = (jobs: number, per?: number) =>
  per === undefined ? { jobs } : { jobs, per: durationFromMs(per) };

describe("bad limits", () => {
  test.each<[string, MessageInitShape<typeof SetQueueLimitsRequestSchema>, string[]]>([
    ["none", { name: "q" }, ["limits is required"]],
    [
      "0 running",
      { name: "q", limits: { running: 0 } },
      ["limits.running must be 1 to 1,000,000; to let nothing start, pause it instead"],
    ],
    ["-1 running", { name: "q", limits: { running: -1 } }, ["limits.running must be 1 to 1,000,000"]],
    [
      "a rate without a period",
      { name: "q", limits: { startRate: rate(5) } },
      ["limits.startRate.per is required: the time in which so many may start"],
    ],
    [
      "a rate of nothing in no time",
      { name: "q", limits: { startRate: rate(0, 0) } },
      ["limits.startRate.jobs must be 1 to 1,000,000", "limits.startRate.per must be 1 s to 24 h"],
    ],
    [
      "an unknown type, a long name, a long reason and a negative rate",
      {
        ...{ type: 9 as QueueType, name: "x".repeat(300), reason: "x".repeat(501) },
        limits: { running: 1_000_001, startRate: rate(-1, 1_000) },
      },
      [
        "type must be QUEUE_TYPE_QUEUE, QUEUE_TYPE_KIND or QUEUE_TYPE_POOL",
        "name must have 1 to 100 characters of a-z 0-9 . _ -",
        "reason must have at most 500 characters",
        "limits.running must be 1 to 1,000,000",
        "limits.startRate.jobs must be 1 to 1,000,000",
      ],
    ],
  ])("of %s are refused, and change nothing", async (_, request, violations) => {
    const { queues } = await open();
    await queues.setQueueLimits({ name: "q", limits: { running: 7 } });
    expect(violationsOf(await failure(queues.setQueueLimits(request)))).toEqual(violations);
    expect((await queues.getQueue({ name: "q" })).queue?.limits).toMatchObject({ running: 7 });
  });
});

describe("bad pauses", () => {
  test("are refused with all that is wrong", async () => {
    const { queues } = await open();
    const wrong = {
      name: "",
      reason: "a\u0000",
      until: { seconds: -1n, nanos: 0 },
    };
    expect(violationsOf(await failure(queues.pauseQueue(wrong)))).toEqual([
      "name must have 1 to 100 characters of a-z 0-9 . _ -",
      "reason must not have control characters",
      "until must be a time from 1970 to 9999",
    ]);
    const late = { name: "q", until: timestampFromMs(db.nowMs() - 1_000) };
    expect(violationsOf(await failure(queues.pauseQueue(late)))).toEqual([
      "until must lie ahead, and not more than a year",
    ]);
  });

  test("of nobody's queue are resumed with a clear error, the same for another org's", async () => {
    const one = await open();
    const other = await open();
    await one.queues.pauseQueue({ type: QueueType.POOL, name: "acme" });
    for (const name of ["acme", "nobody"]) {
      const error = await failure(other.queues.resumeQueue({ type: QueueType.POOL, name }));
      expect(error.detail?.reason).toBe("QUEUE_NOT_FOUND");
      expect(error.message).toContain(`There is no such pool: ${name}`);
      expect(error.detail?.suggestion).toContain("muster pool list");
    }
  });
});
