import { describe, expect, test } from "vitest";
import { gateKey, limitViolations, queueViolations } from "../../../server/domain/rules/limits.ts";

const fields = (violations: readonly { readonly field: string }[]) => violations.map(({ field }) => field);

describe("limits", () => {
  test.each([
    [{ running: null, startRate: null }],
    [{ running: 1, startRate: null }],
    [{ running: 1_000_000, startRate: { jobs: 1, periodMs: 1_000 } }],
    [{ running: null, startRate: { jobs: 1_000_000, periodMs: 86_400_000 } }],
  ])("may be %j", (limits) => {
    expect(limitViolations(limits)).toEqual([]);
  });

  test.each([
    [{ running: 0, startRate: null }, ["limits.running"]],
    [{ running: -1, startRate: null }, ["limits.running"]],
    [{ running: 1.5, startRate: null }, ["limits.running"]],
    [{ running: 1_000_001, startRate: null }, ["limits.running"]],
    [
      { running: null, startRate: { jobs: 0, periodMs: 999 } },
      ["limits.startRate.jobs", "limits.startRate.per"],
    ],
    [{ running: null, startRate: { jobs: 1, periodMs: 86_400_001 } }, ["limits.startRate.per"]],
    [
      { running: -5, startRate: { jobs: 1_000_001, periodMs: -1 } },
      ["limits.running", "limits.startRate.jobs", "limits.startRate.per"],
    ],
  ])("may not be %j, and say all that is wrong at once", (limits, wrong) => {
    expect(fields(limitViolations(limits))).toEqual(wrong);
  });

  test("of 0 point to the pause that was meant", () => {
    expect(limitViolations({ running: 0, startRate: null })[0]?.message).toContain("pause");
  });
});

test("names and reasons are checked together", () => {
  expect(queueViolations({ name: "renders-2.gpu_a" }, "why\nnot")).toEqual([]);
  for (const name of ["", "x".repeat(101), "x".repeat(300), "a b", "Ä", "a\0"]) {
    expect(fields(queueViolations({ name }, "x".repeat(501)))).toEqual(["name", "reason"]);
  }
});

test("a gate is named by what it is of", () => {
  expect(gateKey({ type: "pool", name: "acme" })).toBe("pool:acme");
});
