import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type ConnectResponse,
  ConnectResponseSchema,
  type OfferedLease,
  OfferedLeaseSchema,
  type ResultAckItem,
  ResultAckItemSchema,
} from "@muster/client/v1/link";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameDecoder } from "../../../worker/transport/frame-decoder.ts";

// Few values of each, so that neighbours repeat one another; and strings that a codec could get wrong.
const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 40 }) },
  fc.constantFrom("", "bench.noop", "default", "x".repeat(200), "\uFEFFmarked", "\uFFFD", "naïve ✓"),
  fc.string({ unit: "binary" }).map((value) => value.toWellFormed()),
);
const int32 = fc.oneof(
  { weight: 30, arbitrary: fc.nat() },
  fc.constantFrom(0, 1, 127, 128, 2 ** 31 - 1, -1, -(2 ** 31)),
  fc.integer(),
);
const int64 = fc.oneof(
  { weight: 30, arbitrary: fc.nat().map(BigInt) },
  fc.constantFrom(0n, 1n, 2n ** 49n, 2n ** 53n, -1n),
  fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
);
const duration = fc.option(fc.integer({ min: -100_000, max: 20_000_000 }).map(durationFromMs), {
  nil: undefined,
});
const bytes = fc.uint8Array({ maxLength: 200 });

/** Nearly always nothing: what makes the decoder leave a frame alone. */
const rarely = <T>(arbitrary: fc.Arbitrary<T>, otherwise: T) =>
  fc.oneof({ weight: 30, arbitrary: fc.constant(otherwise) }, arbitrary);

const lease: fc.Arbitrary<OfferedLease> = fc
  .record({
    lease: fc.option(fc.record({ jobId: text, attempt: int32, leaseId: text }), { nil: undefined }),
    kind: text,
    title: text,
    payload: fc.option(
      fc.oneof(
        { weight: 20, arbitrary: bytes.map((value) => ({ content: { case: "data" as const, value } })) },
        fc.constant({
          content: { case: "json" as const, value: { kind: { case: "boolValue" as const, value: true } } },
        }),
        fc.constant({}),
      ),
      { nil: undefined },
    ),
    queue: text,
    points: int32,
    failures: int32,
    softTimeout: duration,
    hardTimeout: duration,
    timeLeft: duration,
    exclusive: fc.boolean(),
    idempotencyKey: text,
    labels: fc.dictionary(fc.oneof({ weight: 30, arbitrary: text }, fc.constant("__proto__")), text, {
      maxKeys: 3,
      noNullPrototype: true,
    }),
    skillDocuments: rarely(fc.array(fc.record({ skill: text, digest: text, text }), { maxLength: 1 }), []),
    projectRoot: text,
    sessionId: rarely(text, ""),
    project: text,
    jobToken: text,
    requiredSkills: fc.array(text, { maxLength: 3 }),
    maxAttempts: int32,
    lastSequence: int64,
    parentCount: rarely(int32, 0),
    parentResults: rarely(fc.array(fc.record({ jobId: text, kind: text }), { maxLength: 1 }), []),
  })
  .map(({ lease, payload, softTimeout, hardTimeout, timeLeft, ...rest }) =>
    create(OfferedLeaseSchema, {
      ...rest,
      ...(lease === undefined ? {} : { lease }),
      ...(payload === undefined ? {} : { payload }),
      ...(softTimeout === undefined ? {} : { softTimeout }),
      ...(hardTimeout === undefined ? {} : { hardTimeout }),
      ...(timeLeft === undefined ? {} : { timeLeft }),
    }),
  );

/** One with nothing that is rare. */
const plainLease: fc.Arbitrary<OfferedLease> = fc
  .record({
    jobId: text,
    leaseId: text,
    attempt: fc.nat(),
    kind: text,
    queue: text,
    points: fc.nat(),
    data: bytes,
  })
  .map(({ jobId, leaseId, attempt, kind, queue, points, data: value }) =>
    create(OfferedLeaseSchema, {
      lease: { jobId, attempt, leaseId },
      kind,
      queue,
      points,
      payload: { content: { case: "data", value } },
      timeLeft: durationFromMs(14_400_000),
      idempotencyKey: jobId,
      labels: { team: "a" },
      maxAttempts: 3,
    }),
  );

const ackItem: fc.Arbitrary<ResultAckItem> = fc
  .record({ resultId: text, status: fc.integer({ min: 0, max: 9 }), detail: text, currentAttempt: int32 })
  .map((item) => create(ResultAckItemSchema, item));

const frame: fc.Arbitrary<ConnectResponse> = fc
  .oneof(
    fc
      .record({
        sequence: int64,
        linkEpoch: int64,
        answerWithin: duration,
        leases: fc.oneof(fc.array(lease, { maxLength: 3 }), fc.array(plainLease, { maxLength: 5 })),
      })
      .map(({ answerWithin, ...rest }) => ({
        case: "offer" as const,
        value: { ...rest, ...(answerWithin === undefined ? {} : { answerWithin }) },
      })),
    fc
      .record({ items: fc.array(ackItem, { maxLength: 5 }) })
      .map((value) => ({ case: "resultAck" as const, value })),
    fc.constant({ case: "heartbeatAck" as const, value: { sequence: 7n } }),
  )
  .map((value) => create(ConnectResponseSchema, { frame: value }));

const encoded = (message: ConnectResponse) => Buffer.from(toBinary(ConnectResponseSchema, message));

function outcomeOf(decode: () => ConnectResponse): unknown {
  try {
    return decode();
  } catch {
    return "refused";
  }
}

describe("a frame decoder", () => {
  test("reads every frame as the generated codec does", () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 4 }), (frames) => {
        const decoder = new FrameDecoder();
        for (const message of frames) {
          const bytes = encoded(message);
          expect(decoder.decode(bytes)).toEqual(fromBinary(ConnectResponseSchema, bytes));
        }
      }),
      { numRuns: 500 },
    );
  });

  test("takes and refuses damaged frames as the generated codec does", () => {
    const damaged = fc.tuple(frame, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean());
    fc.assert(
      fc.property(damaged, ([message, position, byte, isCut]) => {
        const bytes = encoded(message);
        const at = position % bytes.length;
        if (!isCut) bytes[at] = byte;
        const given = isCut ? bytes.subarray(0, at) : bytes;
        const decoder = new FrameDecoder();
        expect(outcomeOf(() => decoder.decode(given))).toEqual(
          outcomeOf(() => fromBinary(ConnectResponseSchema, given)),
        );
      }),
      { numRuns: 3_000 },
    );
  });

  test("reads fields of a newer coordinator as unknown ones", () => {
    const bytes = Buffer.concat([
      encoded(create(ConnectResponseSchema, { frame: { case: "resultAck", value: { items: [] } } })),
      Buffer.from([0xf8, 0x07, 0x01]),
    ]);
    const message = new FrameDecoder().decode(bytes);
    expect(message).toEqual(fromBinary(ConnectResponseSchema, bytes));
    expect(message.$unknown).toHaveLength(1);
  });

  test("leaves nothing that a job usually has to the generated codec", () => {
    const one = create(OfferedLeaseSchema, {
      lease: { jobId: "job_1", attempt: 1, leaseId: "lse_1" },
      kind: "k",
      title: "t",
      payload: { content: { case: "data", value: Uint8Array.of(49) } },
      queue: "q",
      points: 2,
      failures: 3,
      softTimeout: durationFromMs(4),
      hardTimeout: durationFromMs(5),
      timeLeft: durationFromMs(6),
      exclusive: true,
      idempotencyKey: "job_1",
      labels: { a: "b" },
      projectRoot: "/p",
      project: "p",
      jobToken: "j",
      requiredSkills: ["s"],
      maxAttempts: 7,
      lastSequence: 8n,
    });
    const bytes = encoded(offerOf([one, one]));
    const message = new FrameDecoder().decode(bytes);
    expect(message).toEqual(fromBinary(ConnectResponseSchema, bytes));
    // The generated codec makes one for each.
    const [first, second] = leasesOf(message);
    expect(first?.timeLeft).toBeDefined();
    expect(first?.timeLeft).toBe(second?.timeLeft);
  });

  test("merges fields that come twice as the generated codec does", () => {
    fc.assert(
      fc.property(lease, lease, (one, other) => {
        const parts = [one, other].map((part) => toBinary(OfferedLeaseSchema, part));
        const bytes = offerOfBytes(Buffer.concat(parts));
        expect(new FrameDecoder().decode(bytes)).toEqual(fromBinary(ConnectResponseSchema, bytes));
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    ["a negative number in five bytes", [0x30, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ["a number in more bytes than it needs", [0x30, 0x81, 0x80, 0x00]],
    ["a number of more than 32 bits", [0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
    ["a field of another wire type", [0x35, 1, 2, 3, 4]],
    ["a message that is longer than the one around it", [0x0a, 0x05, 0x0a, 0x01, 0x61]],
    ["text that is longer than its message", [0x0a, 0x03, 0x0a, 0x04, 0x61]],
    ["text that is not UTF-8", [0x12, 0x02, 0xc3, 0x28]],
    ["two halves of a lease", [0x0a, 0x03, 0x0a, 0x01, 0x61, 0x0a, 0x02, 0x10, 0x01]],
    ["two halves of a duration", [0x52, 0x02, 0x08, 0x05, 0x52, 0x02, 0x10, 0x07]],
    ["a payload and an empty one", [0x22, 0x03, 0x0a, 0x01, 0x31, 0x22, 0x00]],
    ["a tag of no field", [0x00, 0x01]],
  ])("takes or refuses %s as the generated codec does", (_, fields) => {
    const bytes = offerOfBytes(Buffer.from(fields));
    const decoder = new FrameDecoder();
    expect(outcomeOf(() => decoder.decode(bytes))).toEqual(
      outcomeOf(() => fromBinary(ConnectResponseSchema, bytes)),
    );
  });
});

function offerOf(leases: OfferedLease[]): ConnectResponse {
  return create(ConnectResponseSchema, { frame: { case: "offer", value: { leases } } });
}

/** An offer of one lease with these fields. */
function offerOfBytes(fields: Uint8Array): Buffer {
  const offer = new BinaryWriter().tag(3, WireType.LengthDelimited).bytes(fields).finish();
  return Buffer.from(new BinaryWriter().tag(3, WireType.LengthDelimited).bytes(offer).finish());
}

function leasesOf({ frame }: ConnectResponse): readonly OfferedLease[] {
  return frame.case === "offer" ? frame.value.leases : [];
}
