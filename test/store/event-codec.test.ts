import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeEvents,
  encodeEvents,
  type LogStream,
  type StoredEvent,
} from "../../server/store/event-codec.ts";

const said = { sequence: fc.maxSafeNat(), timeMs: fc.nat(4_102_444_800_000) };
const event: fc.Arbitrary<StoredEvent> = fc.oneof(
  fc.record({
    ...said,
    type: fc.constant("log" as const),
    stream: fc.constantFrom<LogStream>(1, 2, 3, 4),
    level: fc.string(),
    text: fc.string({ unit: "binary" }),
  }),
  fc.record({ ...said, type: fc.constant("partial" as const), json: fc.json() }),
  fc.record({ ...said, type: fc.constant("event" as const), name: fc.string(), json: fc.json() }),
  fc.record({ ...said, type: fc.constant("message" as const), text: fc.string({ unit: "binary" }) }),
  fc.record({
    ...said,
    type: fc.constant("gap" as const),
    from: fc.maxSafeNat(),
    to: fc.maxSafeNat(),
    cause: fc.string(),
  }),
);

describe("a chunk of events", () => {
  test("is read as it was written, whatever is in it", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const { body, isCompressed } = encodeEvents(events);
        expect(decodeEvents(body, isCompressed)).toEqual(events);
      }),
    );
  });

  test("is compressed from 513 bytes on", () => {
    const log = (text: string): StoredEvent[] => [
      { sequence: 1, timeMs: 1, type: "log", stream: 2, level: "", text },
    ];
    const overhead = encodeEvents(log("")).body.length;
    expect(encodeEvents(log("x".repeat(512 - overhead)))).toMatchObject({ isCompressed: false });
    const large = encodeEvents(log("x".repeat(60_000)));
    expect(large.isCompressed).toBe(true);
    expect(large.body.length).toBeLessThan(200);
    expect(encodeEvents(log("x".repeat(513 - overhead)))).toMatchObject({ isCompressed: true });
  });

  test.each([
    '{"a":1}',
    "[]",
    '["x"]',
    "[0,[1,2]]",
    '[0,[1,2,"z"]]',
    '[0,[1,2,"l",9,"",""]]',
    "nonsense",
    "",
  ])("is refused when it is %s", (text) => {
    expect(() => decodeEvents(Buffer.from(text), false)).toThrow();
  });
});
