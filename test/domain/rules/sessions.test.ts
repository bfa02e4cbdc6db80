import { describe, expect, test } from "vitest";
import { firstChoice, type SessionFacts, unusableReason } from "../../../server/domain/rules/sessions.ts";

const usable: SessionFacts = {
  isPublished: true,
  isArchived: false,
  archivedAt: null,
  agentSessionId: "a",
  state: 1,
  isWorkerAttached: true,
  isWorkerStale: false,
  isWorkerDisabled: false,
  isWorkerQuarantined: false,
  isWorkerDraining: false,
};

describe("a session", () => {
  test("can be used, whatever it does, while nothing speaks against it", () => {
    for (const state of [0, 1, 2]) expect(unusableReason({ ...usable, state })).toBeNull();
  });

  test.each([
    [{ archivedAt: new Date(0) }, "operator"],
    [{ isArchived: true }, "archived"],
    [{ isPublished: false }, "publishes"],
    [{ state: 3 }, "ended"],
    [{ agentSessionId: "" }, "named"],
    [{ isWorkerDisabled: true }, "disabled"],
    [{ isWorkerAttached: false }, "connected"],
    [{ isWorkerStale: true }, "stale"],
    [{ isWorkerQuarantined: true }, "quarantined"],
    [{ isWorkerDraining: true }, "drains"],
  ])("of which %j cannot", (facts, word) => {
    expect(unusableReason({ ...usable, ...facts })).toContain(word);
  });
});

test("the first choice is the primary one, else who was there first, else by id", () => {
  const at = (ms: number) => new Date(ms);
  const b = { sessionId: "b", isPrimary: false, registeredAt: at(1) };
  const a = { sessionId: "a", isPrimary: false, registeredAt: at(1) };
  const later = { sessionId: "0", isPrimary: true, registeredAt: at(2) };
  expect(firstChoice([b, a, later])).toBe(later);
  expect(firstChoice([b, a])).toBe(a);
  expect(firstChoice([])).toBeNull();
});
