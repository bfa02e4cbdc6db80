import { create, fromJson } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import { JobSpecSchema } from "@muster/client/v1/job";
import { LeaseRefSchema } from "@muster/client/v1/job_service";
import { type Payload, PayloadSchema } from "@muster/client/v1/payload";
import { describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { readJobSpec, readSettings, writeSettings } from "../../server/rpc/job-specs.ts";
import {
  type Problems,
  readDuration,
  readDurationIn,
  readId,
  readLease,
  readTime,
  refuseProblems,
  writeTime,
} from "../../server/rpc/messages.ts";
import { readPayload, writePayload } from "../../server/rpc/payloads.ts";

const limits = { heartbeatMs: 5_000, maxPayloadBytes: 1_000 };
const uuid = "0198a000-0000-7000-8000-000000000001";

function data(text: string): Payload {
  return create(PayloadSchema, { content: { case: "data", value: Buffer.from(text) } });
}

function json(value: Parameters<typeof fromJson>[1]): Payload {
  return create(PayloadSchema, { content: { case: "json", value: fromJson(ValueSchema, value) } });
}

describe("payloads", () => {
  test.each([
    ["absent", undefined, "null"],
    ["empty", create(PayloadSchema), "null"],
    ["JSON text, as it is", data('{ "a": 1 }'), '{ "a": 1 }'],
    ["a value", json({ a: [1, null, "x", true, { b: 1.5 }] }), '{"a":[1,null,"x",true,{"b":1.5}]}'],
    ["the value null", json(null), "null"],
    ["exactly the largest", data(`"${"x".repeat(998)}"`), `"${"x".repeat(998)}"`],
  ])("that are %s are read", (_name, payload, text) => {
    const problems: Problems = [];
    expect(readPayload(problems, "job.payload", payload, 1_000)).toBe(text);
    expect(problems).toEqual([]);
  });

  test.each([
    ["no JSON", data("{"), "job.payload.data", /^must be JSON/],
    [
      "too large as bytes",
      data(`"${"x".repeat(999)}"`),
      "job.payload.data",
      /^has 1001 bytes, allowed are 1000$/,
    ],
    ["too large as a value", json("ä".repeat(500)), "job.payload.json", /^has 1002 bytes, allowed are 1000$/],
    ["with NUL in a value", json(["\0"]), "job.payload.json", /NUL/],
    ["with half a surrogate pair in a value", json({ "\udc00": 1 }), "job.payload.json", /surrogate/],
    [
      "no number of JSON",
      create(PayloadSchema, {
        content: { case: "json", value: { kind: { case: "numberValue", value: Number.NaN } } },
      }),
      "job.payload.json",
      /JSON value/,
    ],
    [
      "a value of no kind",
      create(PayloadSchema, { content: { case: "json", value: {} } }),
      "job.payload.json",
      /JSON value/,
    ],
  ])("that are %s are refused by field", (_name, payload, field, message) => {
    const problems: Problems = [];
    readPayload(problems, "job.payload", payload, 1_000);
    expect(problems).toMatchObject([{ field, message: expect.stringMatching(message) }]);
  });

  test("too large alone are PAYLOAD_TOO_LARGE, among other faults one of the fields", () => {
    const problems: Problems = [];
    readPayload(problems, "jobs[2].payload", data(`"${"x".repeat(2_000)}"`), 1_000);
    expect(() => refuseProblems(problems)).toThrow(
      expect.objectContaining({
        code: "resource_exhausted",
        reason: "PAYLOAD_TOO_LARGE",
        details: { field: "jobs[2].payload.data", sizeBytes: "2002", limitBytes: "1000" },
      }),
    );
    problems.push({ field: "jobs[2].kind", message: "is required" });
    expect(() => refuseProblems(problems)).toThrow(
      expect.objectContaining({ reason: "VALIDATION_FAILED", violations: problems }),
    );
  });

  test("go out as the bytes that came in", () => {
    expect(writePayload(null)).toBeUndefined();
    const { content } = create(PayloadSchema, writePayload('{ "ä": 1 }'));
    expect(Buffer.from(content.case === "data" ? content.value : []).toString()).toBe('{ "ä": 1 }');
  });
});

describe("times and durations", () => {
  test("are read to the millisecond", () => {
    const problems: Problems = [];
    expect(readDuration(problems, "d", create(DurationSchema, { seconds: 1n, nanos: 500_400_000 }))).toBe(
      1_500,
    );
    expect(readDuration(problems, "d", undefined)).toBeNull();
    const time = create(TimestampSchema, { seconds: 253_402_300_799n, nanos: 999_000_000 });
    expect(readTime(problems, "t", time)?.toISOString()).toBe("9999-12-31T23:59:59.999Z");
    expect(readTime(problems, "t", undefined)).toBeNull();
    expect(writeTime(null)).toBeUndefined();
    expect(writeTime(new Date(1_500))).toMatchObject({ seconds: 1n, nanos: 500_000_000 });
    expect(problems).toEqual([]);
  });

  test("out of range are refused by field, without a sum that overflows", () => {
    const problems: Problems = [];
    readDuration(problems, "a", create(DurationSchema, { seconds: 9_223_372_036_854_775_807n }));
    readDuration(problems, "b", create(DurationSchema, { nanos: 1_000_000_000 }));
    readTime(problems, "c", create(TimestampSchema, { seconds: -1n }));
    readTime(problems, "d", create(TimestampSchema, { seconds: 253_402_300_800n }));
    readTime(problems, "e", create(TimestampSchema, { nanos: -1 }));
    const bounds = { minMs: 0, maxMs: 600_000, fallbackMs: 30_000, words: "from 0s to 10m" };
    expect(readDurationIn(problems, "f", undefined, bounds)).toBe(30_000);
    readDurationIn(problems, "g", create(DurationSchema, { seconds: 601n }), bounds);
    readDurationIn(problems, "h", create(DurationSchema, { seconds: -1n }), bounds);
    expect(problems.map((one) => one.field)).toEqual(["a", "b", "c", "d", "e", "g", "h"]);
  });
});

describe("ids", () => {
  test("are read by noun and refused by field", () => {
    const problems: Problems = [];
    expect(readId(problems, "job", encodeId("job", uuid), "jobId")).toBe(uuid);
    readId(problems, "job", "", "jobId");
    readId(problems, "job", encodeId("batch", uuid), "jobId");
    expect(problems).toEqual([
      { field: "jobId", message: "is required" },
      { field: "jobId", message: expect.stringMatching(/^is a batch id; a job id is job_/) },
    ]);
  });

  test("of a lease are refused all at once", () => {
    const problems: Problems = [];
    expect(readLease(problems, "parent", create(LeaseRefSchema, { jobId: "x" }))).toBeNull();
    expect(problems.map((one) => one.field)).toEqual(["parent.jobId", "parent.leaseId", "parent.attempt"]);
    const whole = create(LeaseRefSchema, {
      jobId: encodeId("job", uuid),
      attempt: 1,
      leaseId: encodeId("lease", uuid),
    });
    expect(readLease([], "parent", whole)).toEqual({ jobId: uuid, attempt: 1, leaseId: uuid });
  });
});

describe("job specs", () => {
  test("get the defaults of what they leave out", () => {
    const problems: Problems = [];
    const job = readJobSpec(problems, "job", create(JobSpecSchema, { kind: "a" }), limits);
    expect(problems).toEqual([]);
    expect(job).toMatchObject({
      queue: "default",
      priority: 128,
      points: 1,
      payload: "null",
      project: null,
      pool: null,
      externalId: null,
      opensPullRequest: false,
      hardTimeoutMs: null,
    });
    const other = readJobSpec(
      problems,
      "job",
      create(JobSpecSchema, { kind: "a", project: "acme/web", priority: 0, softTimeout: { seconds: 5n } }),
      limits,
    );
    expect(other).toMatchObject({
      priority: 0,
      opensPullRequest: true,
      softTimeoutMs: 5_000,
      hardTimeoutMs: 15_000,
    });
  });

  test("tell all that is wrong with them by their place in the request", () => {
    const problems: Problems = [];
    const spec = create(JobSpecSchema, {
      points: 0,
      payload: data("{"),
      softTimeout: { nanos: 2_000_000_000 },
      retry: { maxAttempts: 0 },
    });
    readJobSpec(problems, "jobs[3]", spec, limits);
    expect(problems.map((one) => one.field).toSorted()).toEqual([
      "jobs[3].kind",
      "jobs[3].payload.data",
      "jobs[3].points",
      "jobs[3].retry.maxAttempts",
      "jobs[3].softTimeout",
    ]);
  });

  test("keep settings through both directions", () => {
    const settings = {
      reclaimAfterMs: 10_000,
      leaseTtlMs: 3_600_000,
      maxAttempts: 5,
      backoffInitialMs: 0,
      backoffMaxMs: 60_500,
      backoffFactor: 1.5,
    };
    const spec = create(JobSpecSchema, writeSettings(settings));
    expect(readSettings([], "job", spec)).toEqual(settings);
    expect(writeSettings({})).toEqual({});
  });
});
