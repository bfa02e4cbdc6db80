import { create, toBinary, type UnknownField } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import {
  type ConnectRequest,
  ConnectRequestSchema,
  HeartbeatSchema,
  ResultSchema,
  ResultsSchema,
} from "@muster/client/v1/link";
import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeRequest } from "../../../worker/transport/frame-encoder.ts";

const element: fc.Arbitrary<UnknownField> = fc
  .oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.constantFrom(127, 128, 16_383, 16_384, 3_000_000).map((length) => new Uint8Array(length).fill(1)),
  )
  .map((data) => ({ no: 1, wireType: 2, data: new BinaryWriter().bytes(data).finish() }));
const other: fc.Arbitrary<UnknownField> = fc.constantFrom(
  { no: 2, wireType: 0, data: Uint8Array.of(7) },
  { no: 200, wireType: 2, data: Uint8Array.of(1, 7) },
);
const demand = fc.record({
  slots: fc.integer(),
  points: fc.nat(),
  offerSequence: fc.bigInt({ min: 0n, max: 2n ** 60n }),
});

const request: fc.Arbitrary<ConnectRequest> = fc
  .record({
    unknown: fc.oneof(
      { weight: 4, arbitrary: fc.array(element, { maxLength: 8 }) },
      fc.array(fc.oneof(element, other), { maxLength: 4 }),
    ),
    results: fc.option(fc.constant([create(ResultSchema, { resultId: "r" })]), { nil: undefined, freq: 10 }),
    demand: fc.option(demand, { nil: undefined }),
    isHeartbeat: fc.boolean(),
    frameUnknown: fc.option(other, { nil: undefined, freq: 10 }),
  })
  .map(({ unknown, results, demand: told, isHeartbeat, frameUnknown }) => {
    const value = create(ResultsSchema, { results: [...(results ?? [])] });
    value.$unknown = unknown;
    const heartbeat = create(HeartbeatSchema, { sequence: 1n });
    const given = create(ConnectRequestSchema, told === undefined ? {} : { demand: told });
    given.frame = isHeartbeat ? { case: "heartbeat", value: heartbeat } : { case: "results", value };
    if (frameUnknown !== undefined) given.$unknown = [frameUnknown];
    return given;
  });

test("every frame is written as the generated codec writes it", () => {
  fc.assert(
    fc.property(request, (given) => {
      expect(encodeRequest(given).equals(toBinary(ConnectRequestSchema, given))).toBe(true);
    }),
    { numRuns: 500 },
  );
});
