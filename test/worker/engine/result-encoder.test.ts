import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { type Result, ResultSchema } from "@muster/client/v1/link";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeResult } from "../../../worker/engine/result-encoder.ts";

// Mostly what is written by hand; the rest is what it must leave alone.
const id = fc.oneof(
  { weight: 12, arbitrary: fc.string({ minLength: 1, maxLength: 40 }) },
  fc.constantFrom(
    "",
    "job_01h455vb4pex5vsknk084sn02q",
    "naïve",
    "x".repeat(40),
    "x".repeat(41),
    "x".repeat(300),
  ),
  fc.string({ unit: "binary" }).map((value) => value.toWellFormed()),
);
const attempt = fc.oneof(
  { weight: 6, arbitrary: fc.nat({ max: 300 }) },
  fc.constantFrom(0, 1, 127, 128, 2 ** 28 - 1, 2 ** 28, 2 ** 31 - 1, -1),
  fc.integer(),
);
const sequence = fc.oneof(
  { weight: 6, arbitrary: fc.bigInt({ min: 0n, max: 300n }) },
  fc.constantFrom(0n, 1n, 300n, 2n ** 28n, 2n ** 53n, -1n),
  fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
);
const data = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .constantFrom(100, 127, 128, 16_300, 16_384, 2_097_152)
    .map((length) => new Uint8Array(length).fill(0x31)),
);
const outcome: fc.Arbitrary<NonNullable<MessageInitShape<typeof ResultSchema>["outcome"]>> = fc.oneof(
  {
    weight: 5,
    arbitrary: data.map((value) => ({
      case: "success" as const,
      value: { result: { content: { case: "data" as const, value } } },
    })),
  },
  fc.record({ prUrl: id }).map((value) => ({ case: "success" as const, value })),
  fc.constant({ case: "success" as const, value: { result: {} } }),
  fc.record({ retryable: fc.boolean() }).map((value) => ({ case: "failure" as const, value })),
  fc.constant({ case: "cancelled" as const, value: { killed: true } }),
  fc.constant({ case: undefined }),
);

const result: fc.Arbitrary<Result> = fc
  .record({
    lease: fc.option(fc.record({ jobId: id, attempt, leaseId: id }), { nil: undefined, freq: 10 }),
    resultId: id,
    outcome,
    lastSequence: sequence,
    hasUsage: fc.nat({ max: 9 }).map((chance) => chance === 0),
  })
  .map(({ lease, hasUsage, ...rest }) =>
    create(ResultSchema, {
      ...rest,
      ...(lease === undefined ? {} : { lease }),
      ...(hasUsage ? { usage: { peakMemoryBytes: 1n } } : {}),
    }),
  );

/** What stands behind the prefix: a length and so many bytes, and no more. */
function messageBehind(prefix: Uint8Array, bytes: Uint8Array): Uint8Array {
  expect(bytes.subarray(0, prefix.length)).toEqual(Buffer.from(prefix));
  const reader = new BinaryReader(bytes.subarray(prefix.length));
  const message = reader.bytes();
  expect(reader.pos).toBe(reader.len);
  return message;
}

describe("the encoder of results", () => {
  test("writes the bytes that the generated codec writes", () => {
    fc.assert(
      fc.property(result, fc.uint8Array({ maxLength: 10 }), (given, prefix) => {
        const written = messageBehind(prefix, encodeResult(prefix, given));
        expect(Buffer.from(written).equals(toBinary(ResultSchema, given))).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test("gives back what a newer coordinator put into a lease", () => {
    const lease = { jobId: "job_1", attempt: 1, leaseId: "lse_1" };
    const content = { case: "data" as const, value: new Uint8Array() };
    const given = create(ResultSchema, {
      lease,
      resultId: "r",
      outcome: { case: "success", value: { result: { content } } },
    });
    if (given.lease !== undefined) given.lease.$unknown = [{ no: 99, wireType: 0, data: Uint8Array.of(5) }];
    const written = messageBehind(new Uint8Array(), encodeResult(new Uint8Array(), given));
    expect(fromBinary(ResultSchema, written).lease?.$unknown).toMatchObject([{ no: 99 }]);
  });
});
