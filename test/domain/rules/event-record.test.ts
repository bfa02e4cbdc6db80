import { describe, expect, test } from "vitest";
import { followingEvents, missingTail, type StoredEvent } from "../../../server/domain/rules/event-record.ts";

const message = (sequence: number): StoredEvent => ({
  sequence,
  timeMs: sequence,
  type: "message",
  text: `${sequence}`,
});
const gap = (sequence: number, from: number, to: number, cause = "worker"): StoredEvent => ({
  sequence,
  timeMs: 0,
  type: "gap",
  from,
  to,
  cause,
});

/** `3`, or `gap 4-6 limit`. */
function shown(events: readonly StoredEvent[]): string[] {
  return events.map((event) =>
    event.type === "gap" ? `gap ${event.from}-${event.to} ${event.cause}` : String(event.sequence),
  );
}

describe("what comes next in the record of an attempt", () => {
  test.each([
    ["everything", 0, [1, 2, 3].map(message), ["1", "2", "3"]],
    ["only what is new", 2, [1, 2, 3].map(message), ["3"]],
    ["what was stored twice once", 0, [1, 2, 1, 2, 3].map(message), ["1", "2", "3"]],
    ["a gap at the start", 0, [3].map(message), ["gap 1-2 limit", "3"]],
    ["a gap in the middle", 0, [1, 5].map(message), ["1", "gap 2-4 limit", "5"]],
    ["no gap before the first new one", 4, [5].map(message), ["5"]],
    [
      "a gap that the worker declared, by its first sequence",
      0,
      [message(1), gap(2, 2, 4), message(5)],
      ["1", "gap 2-4 worker", "5"],
    ],
    [
      "a gap that the worker declared, by its last sequence",
      0,
      [message(1), gap(4, 2, 4), message(5)],
      ["1", "gap 2-4 worker", "5"],
    ],
    [
      "a gap that takes a sequence of its own",
      0,
      [message(1), gap(5, 2, 4), message(6)],
      ["1", "gap 2-4 worker", "6"],
    ],
    ["no declared gap that was seen", 4, [gap(2, 2, 4), message(5)], ["5"]],
    ["nothing", 7, [], []],
  ])("is %s", (_, seen, stored, expected) => {
    expect(shown(followingEvents(1, seen, stored))).toEqual(expected);
  });

  test("goes on from any of its events without loss", () => {
    const stored = [message(2), gap(3, 3, 6), message(9), message(10)];
    const all = followingEvents(1, 0, stored);
    for (const [index, event] of all.entries()) {
      expect(shown(followingEvents(1, event.sequence, stored))).toEqual(shown(all.slice(index + 1)));
    }
  });
});

describe("the tail of an attempt", () => {
  const end = { attempt: 1, lastSequence: 5, isOpen: false, endedMs: 77 };

  test("is missing when its result declared more than was seen", () => {
    expect(missingTail(end, 3)).toEqual({
      attempt: 1,
      type: "gap",
      sequence: 5,
      timeMs: 77,
      from: 4,
      to: 5,
      cause: "limit",
    });
  });

  test.each([
    [end, 5],
    [end, 9],
    [{ ...end, isOpen: true }, 3],
    [{ ...end, lastSequence: null }, 3],
  ])("is not missing for %j after %i", (of, seen) => {
    expect(missingTail(of, seen)).toBeNull();
  });
});
