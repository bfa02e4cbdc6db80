import { describe, expect, test } from "vitest";
import {
  boundedProfile,
  maxSpanName,
  maxSpans,
  type Profile,
  pathsOf,
  profileOfSums,
  readProfile,
  writeProfile,
} from "../../../server/domain/rules/profiles.ts";

const span = (name: string, parent: number | null, totalMs = 10, selfMs = totalMs) => ({
  ...{ name, parent, count: 1, failed: 0, totalMs, selfMs },
});
const profile: Profile = {
  spans: [span("db", null, 30, 20), span("query", 0, 10), span("http", null, 5)],
  dropped: 2,
  runMs: 50,
};

describe("a profile", () => {
  test("is read as it was written", () => {
    expect(readProfile(writeProfile(profile))).toEqual(profile);
    expect(readProfile("{")).toBeNull();
    expect(readProfile(null)).toBeNull();
  });

  test("is kept within bounds: what is beyond them, and what is in it, counts as dropped", () => {
    const many = Array.from({ length: maxSpans + 5 }, (_, n) => span(`s${n}`, n === 0 ? null : n - 1));
    expect(boundedProfile({ ...profile, spans: many })).toMatchObject({
      spans: { length: maxSpans },
      dropped: 7,
    });
    const wrong = { ...profile, spans: [span("a", 3), span("b", 0), span("c", null)] };
    expect(boundedProfile(wrong)).toMatchObject({ spans: [{ name: "c", parent: null }], dropped: 4 });
  });

  test("has clean names and numbers, whatever was sent", () => {
    const sent = {
      ...span(`${"x".repeat(300)}`, null, Number.NaN, -5),
      count: -1,
      failed: Number.POSITIVE_INFINITY,
    };
    const [kept] =
      boundedProfile({ spans: [sent, span("a\nb\u001b[31m", null)], dropped: 0, runMs: 1 })?.spans ?? [];
    expect(kept).toEqual({
      ...sent,
      name: "x".repeat(maxSpanName),
      ...{ count: 0, failed: 0, totalMs: 0, selfMs: 0 },
    });
    const named = boundedProfile({
      spans: [span("a\nb\u001b[31m", null), span(" ", null)],
      dropped: 0,
      runMs: 1,
    });
    expect(named?.spans.map(({ name }) => name)).toEqual(["a b [31m", "(no name)"]);
  });

  test("is nothing without spans", () => {
    expect(boundedProfile({ spans: [], dropped: 0, runMs: 5 })).toBeNull();
  });
});

describe("the profile of many attempts", () => {
  test("is their sum as one tree, those that took longest first", () => {
    const sums = [...pathsOf(profile), ...pathsOf({ ...profile, spans: [span("http", null, 90)] })];
    const byPath = [...Map.groupBy(sums, ({ path }) => path)].map(([path, of]) => ({
      path,
      count: of.length,
      totalMs: of.reduce((sum, one) => sum + one.totalMs, 0),
      selfMs: of.reduce((sum, one) => sum + one.selfMs, 0),
    }));
    const { spans } = profileOfSums(byPath, 100);
    expect(spans.map(({ name, parent, count, totalMs }) => [name, parent, count, totalMs])).toEqual([
      ["http", null, 2, 95],
      ["db", null, 1, 30],
      ["query", 1, 1, 10],
    ]);
  });

  test("leaves out what took least, never what something else is in", () => {
    const sums = Array.from({ length: 300 }, (_, n) => ({
      ...{ path: `a\ns${n}`, count: 1, totalMs: n, selfMs: n },
    }));
    const { spans, dropped } = profileOfSums([{ path: "a", count: 1, totalMs: 1, selfMs: 0 }, ...sums], 1);
    expect([spans.length, dropped]).toEqual([maxSpans, 101]);
    expect(spans[0]).toMatchObject({ name: "a", parent: null });
    expect(spans[1]).toMatchObject({ name: "s299", parent: 0 });
  });
});
