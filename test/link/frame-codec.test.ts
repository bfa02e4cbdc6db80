import { create, equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type ConnectRequest,
  ConnectRequestSchema,
  type ConnectResponse,
  ConnectResponseSchema,
  OfferedLeaseSchema,
} from "@muster/client/v1/link";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameDecoder } from "../../server/link/frame-decoder.ts";
import { FrameEncoder } from "../../server/link/frame-encoder.ts";

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 40 }) },
  fc.constantFrom("", "bench.noop", "default", "x".repeat(127), "x".repeat(128), "x".repeat(20_000)),
  fc.constantFrom("\uFEFFmarked", "\uFFFD", "naïve ✓", "é".repeat(100)),
  fc.string({ unit: "binary" }).map((value) => value.toWellFormed()),
);
const int32 = fc.oneof(
  { weight: 30, arbitrary: fc.nat() },
  fc.constantFrom(0, 1, 127, 128, 2 ** 31 - 1, -1, -(2 ** 31)),
);
const int64 = fc.oneof(
  { weight: 30, arbitrary: fc.nat().map(BigInt) },
  fc.constantFrom(0n, 1n, 2n ** 40n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, -1n),
);
const duration = fc.integer({ min: -100_000, max: 20_000_000 }).map(durationFromMs);
const bytes = fc.oneof(
  { weight: 20, arbitrary: fc.uint8Array({ maxLength: 200 }) },
  fc.constantFrom(70_000, 2_200_000).map((length) => new Uint8Array(length).fill(7)),
);
const ref = fc.record({ jobId: text, attempt: int32, leaseId: text });
const payload = fc.oneof(
  { weight: 20, arbitrary: bytes.map((value) => ({ content: { case: "data" as const, value } })) },
  fc.constant({
    content: { case: "json" as const, value: { kind: { case: "boolValue" as const, value: true } } },
  }),
  fc.constant({}),
);
/** Nearly always nothing. */
const rarely = <T>(arbitrary: fc.Arbitrary<T>, otherwise: T) =>
  fc.oneof({ weight: 30, arbitrary: fc.constant(otherwise) }, arbitrary);

const offered = fc
  .record(
    {
      lease: ref,
      kind: text,
      title: text,
      payload,
      queue: text,
      points: int32,
      failures: int32,
      softTimeout: duration,
      hardTimeout: duration,
      timeLeft: duration,
      exclusive: fc.boolean(),
      idempotencyKey: text,
      labels: fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true }),
      skillDocuments: rarely(fc.array(fc.record({ skill: text, digest: text, text }), { maxLength: 1 }), []),
      projectRoot: text,
      sessionId: text,
      project: text,
      jobToken: text,
      requiredSkills: fc.array(text, { maxLength: 3 }),
      maxAttempts: int32,
      lastSequence: int64,
      parentCount: int32,
      parentResults: rarely(fc.array(fc.record({ jobId: text, kind: text }), { maxLength: 1 }), []),
    },
    { requiredKeys: ["lease", "payload"] },
  )
  .map((value) => create(OfferedLeaseSchema, value));

const response: fc.Arbitrary<ConnectResponse> = fc
  .oneof(
    fc
      .record(
        {
          sequence: int64,
          linkEpoch: int64,
          answerWithin: duration,
          leases: fc.array(offered, { maxLength: 3 }),
        },
        { requiredKeys: ["leases"] },
      )
      .map((value) => ({ case: "offer" as const, value })),
    fc
      .array(fc.record({ resultId: text, status: fc.nat({ max: 9 }), detail: text, currentAttempt: int32 }), {
        maxLength: 5,
      })
      .map((items) => ({ case: "resultAck" as const, value: { items } })),
    fc.constant({ case: "heartbeatAck" as const, value: { sequence: 7n } }),
  )
  .map((frame) => create(ConnectResponseSchema, { frame }));

const outcome = fc.oneof(
  {
    weight: 20,
    arbitrary: fc
      .record({ result: payload, prUrl: text }, { requiredKeys: [] })
      .map((value) => ({ case: "success" as const, value })),
  },
  fc.constant({ case: "failure" as const, value: { retryable: true } }),
  fc.constant({ case: "release" as const, value: { reason: "drain" } }),
);
const request: fc.Arbitrary<ConnectRequest> = fc
  .record(
    {
      frame: fc.oneof(
        fc
          .array(
            fc.record(
              { lease: ref, resultId: text, outcome, lastSequence: int64 },
              { requiredKeys: ["outcome"] },
            ),
            { maxLength: 4 },
          )
          .map((results) => ({ case: "results" as const, value: { results } })),
        fc
          .array(
            fc.record(
              {
                lease: ref,
                heartbeatSequence: int64,
                decline: fc.record({ reason: text, retryAfter: duration }),
              },
              { requiredKeys: ["lease"] },
            ),
            { maxLength: 4 },
          )
          .map((answers) => ({ case: "offerReply" as const, value: { answers } })),
        fc.constant({ case: "heartbeat" as const, value: { sequence: 7n } }),
      ),
      demand: fc.record({ slots: int32, points: int32, offerSequence: int64 }),
    },
    { requiredKeys: [] },
  )
  .map((value) => create(ConnectRequestSchema, value));

describe("what is written by hand", () => {
  test("has the bytes of the generated codec", () => {
    const encoder = new FrameEncoder();
    fc.assert(
      fc.property(fc.array(response, { maxLength: 3 }), (frames) => {
        for (const frame of frames) {
          const written = encoder.encode(frame);
          expect(written.equals(toBinary(ConnectResponseSchema, frame))).toBe(true);
        }
      }),
    );
  });

  test("keeps fields of a newer schema", () => {
    const unknown = [{ no: 900, wireType: WireType.Varint, data: new Uint8Array([1]) }];
    const frame = create(ConnectResponseSchema, {
      frame: { case: "resultAck", value: { items: [{ resultId: "a" }] } },
    });
    if (frame.frame.case !== "resultAck") throw new Error("it is one");
    frame.frame.value.$unknown = unknown;
    expect(new FrameEncoder().encode(frame).equals(toBinary(ConnectResponseSchema, frame))).toBe(true);
  });
});

describe("what is read by hand", () => {
  test("means what the generated codec reads", () => {
    const decoder = new FrameDecoder();
    fc.assert(
      fc.property(request, (sent) => {
        const wire = Buffer.from(toBinary(ConnectRequestSchema, sent));
        const read = decoder.decode(wire);
        expect(equals(ConnectRequestSchema, read, fromBinary(ConnectRequestSchema, wire))).toBe(true);
      }),
    );
  });

  test("is left to the generated codec when it is damaged, or is of a newer worker", () => {
    const decoder = new FrameDecoder();
    const read = (wire: Buffer, codec: (bytes: Buffer) => ConnectRequest) => {
      try {
        return toBinary(ConnectRequestSchema, codec(wire));
      } catch (error) {
        return String(error);
      }
    };
    fc.assert(
      fc.property(request, fc.nat(), fc.nat({ max: 255 }), fc.nat(), (sent, at, value, length) => {
        const wire = Buffer.from(toBinary(ConnectRequestSchema, sent));
        if (wire.length > 0) wire[at % wire.length] = value;
        const cut = wire.subarray(0, wire.length - (length % 3));
        const own = read(cut, (bytes) => decoder.decode(bytes));
        expect(own).toEqual(read(cut, (bytes) => fromBinary(ConnectRequestSchema, bytes)));
      }),
      { numRuns: 500 },
    );
  });

  test("merges a message that comes twice, as the generated codec does", () => {
    const twice = create(ConnectRequestSchema, {
      frame: { case: "results", value: { results: [{ resultId: "a" }] } },
      demand: { slots: 1 },
    });
    const more = create(ConnectRequestSchema, { demand: { points: 2 } });
    const wire = Buffer.from(
      new BinaryWriter()
        .raw(toBinary(ConnectRequestSchema, twice))
        .raw(toBinary(ConnectRequestSchema, more))
        .finish(),
    );
    const read = new FrameDecoder().decode(wire);
    expect(equals(ConnectRequestSchema, read, fromBinary(ConnectRequestSchema, wire))).toBe(true);
    expect(read.demand).toMatchObject({ slots: 1, points: 2 });
  });
});
