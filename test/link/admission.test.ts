import { expect, test } from "vitest";
import { Counters } from "../../server/domain/counters.ts";
import { DomainError } from "../../server/domain/errors.ts";
import { HelloAdmission } from "../../server/link/admission.ts";
import type { WaitingWorker } from "../../server/link/renewals.ts";
import { testCaller } from "../support/database.ts";

function admission(hellosPerSecond = 200) {
  const touched: WaitingWorker[] = [];
  const counters = new Counters();
  const clock = { nowMs: 0 };
  const renewals = { touch: (worker: WaitingWorker) => void touched.push(worker) };
  const door = new HelloAdmission({
    renewals,
    counters,
    hellosPerSecond,
    linksPerOrg: 100_000,
    linksOf: () => new Map(),
    nowMs: () => clock.nowMs,
  });
  /** Null: admitted. Else the time to wait. */
  const come = (workerId: string): number | null => {
    try {
      door.admit(testCaller("org", { workerId }), { bootId: `boot of ${workerId}` });
      return null;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      expect(error).toMatchObject({ reason: "OVERLOADED", code: "resource_exhausted" });
      return error.retryAfterMs ?? -1;
    }
  };
  return { come, touched, counters, clock };
}

test("admits no more workers of an org than it may have, and those again that it has", () => {
  const counters = new Counters();
  const door = new HelloAdmission({
    renewals: { touch: () => {} },
    counters,
    hellosPerSecond: 200,
    linksPerOrg: 2,
    linksOf: (orgId) =>
      new Map(
        orgId === "org"
          ? [
              ["a", null],
              ["b", null],
            ]
          : [],
      ),
    nowMs: () => 0,
  });
  const come = (orgId: string, workerId: string) =>
    door.admit(testCaller(orgId, { workerId }), { bootId: "boot" });
  expect(() => come("org", "c")).toThrow(expect.objectContaining({ reason: "LINKS_EXHAUSTED" }));
  come("org", "a");
  come("another", "c");
});

test("admits 200 Hellos at once and tells the others when, spread over the time that they need", () => {
  const { come, touched, counters } = admission();
  const waits = Array.from({ length: 1_000 }, (_, n) => come(`w${n}`));
  expect(waits.filter((wait) => wait === null)).toHaveLength(200);
  const told = waits.flatMap((wait) => wait ?? []);
  expect(told[0]).toBe(10);
  expect(told.at(-1)).toBe(4_005);
  expect(told.toSorted((a, b) => a - b)).toEqual(told);
  // They count as seen meanwhile.
  expect(touched).toHaveLength(800);
  expect(touched[0]).toEqual({ orgId: "org", workerId: "w200", bootId: "boot of w200" });
  expect(counters.value("muster_deferred_hellos_total")).toBe(800);
});

test("admits those that come when they were told", () => {
  const { come, clock } = admission();
  const waits = Array.from({ length: 1_000 }, (_, n) => come(`w${n}`)).map((wait) => wait ?? 0);
  const again: (number | null)[] = [];
  for (const waitMs of waits.filter((wait) => wait > 0)) {
    clock.nowMs = waitMs;
    again.push(come("again"));
  }
  expect(again.filter((wait) => wait !== null)).toEqual([]);
});

test("admits 200 more after a quiet second, and never saves up more than that", () => {
  const { come, clock } = admission();
  for (let n = 0; n < 400; n++) come(`w${n}`);
  clock.nowMs = 3_600_000;
  const waits = Array.from({ length: 300 }, (_, n) => come(`late ${n}`));
  expect(waits.filter((wait) => wait === null)).toHaveLength(200);
});

test("asks nobody to wait for longer than 10 s", () => {
  const { come } = admission(1);
  expect(Math.max(...Array.from({ length: 100 }, (_, n) => come(`w${n}`) ?? 0))).toBe(10_000);
});
