import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ReportItemSchema, ResultSchema } from "@muster/client/v1/link";
import { expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { readEvent, readResult } from "../../server/link/frames-in.ts";

const id = "0192f0c1-2345-7abc-8def-0123456789ab";
const lease = { jobId: encodeId("job", id), attempt: 1, leaseId: encodeId("lease", id) };
const read = (outcome: NonNullable<MessageInitShape<typeof ResultSchema>["outcome"]>) => {
  const result: MessageInitShape<typeof ResultSchema> = { lease, resultId: id, outcome };
  return readResult(create(ResultSchema, result), id, { maxPayloadBytes: 1_000 });
};
const yearMs = 366 * 24 * 3_600_000;

test.each([
  [60n, 60_000],
  [-1n, 0],
  [315_576_000_000n, yearMs],
  [2n ** 62n, yearMs],
])("a result that asks to wait %d s waits for %d ms, a year at most", (seconds, ms) => {
  const wait = { seconds };
  expect(read({ case: "park", value: { wakeAfter: wait } })).toMatchObject({
    event: { type: "parked", wakeAfterMs: ms },
  });
  expect(read({ case: "failure", value: { retryable: true, retryAfter: wait } })).toMatchObject({
    event: { type: "failed", retryAfterMs: ms },
  });
});

test("a result that names no wait has none", () => {
  expect(read({ case: "park", value: {} })).toMatchObject({ event: { wakeAfterMs: null } });
  expect(read({ case: "failure", value: {} })).toMatchObject({ event: { retryAfterMs: null } });
});

test("an event of a handler is read when everybody can be told of it", () => {
  const read = (name: string, text: string) => {
    const body = { content: { case: "data" as const, value: Buffer.from(text) } };
    return readEvent(
      create(ReportItemSchema, { sequence: 1n, body: { case: "event", value: { name, body } } }),
      5,
    );
  };
  const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  expect(read("a.b", '{"n":1}')).toEqual({
    ...{ sequence: 1, timeMs: 5, type: "event" },
    ...{ name: "a.b", json: '{"n":1}' },
  });
  expect(read("a", "")).toMatchObject({ json: "null" });
  expect(read("a", deep(60))).not.toBeNull();
  const wrong = [
    ["", "1"],
    ["A", "1"],
    ["a".repeat(101), "1"],
    ["a\u001b[2J", "1"],
    ["a", "{"],
    ["a", deep(61)],
    ["a", deep(30_000)],
    ["a", '"\\u0000"'],
    ["a", JSON.stringify("x".repeat(64 * 1024))],
  ] as const;
  expect(wrong.filter(([name, text]) => read(name, text) !== null)).toEqual([]);
});
