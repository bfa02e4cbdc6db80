import { describe, expect, test } from "vitest";
import {
  bothLimits,
  hoursText,
  isLikePattern,
  limitClaims,
  noLimits,
} from "../../../server/domain/rules/worker-limits.ts";

describe("a pattern of names", () => {
  test.each([
    ["box", "box", true],
    ["box", "bo", false],
    ["gpu-1", "gpu-*", true],
    ["gpu-", "gpu-*", true],
    ["gpu", "gpu-*", false],
    ["a-b", "a*b*", true],
    ["aa", "a*a", true],
    ["a", "a*a", false],
    ["a.b.c", "a*.*c", true],
    ["anything", "*", true],
    ["x", "*y*", false],
  ])("%s like %s: %s", (name, pattern, isLike) => {
    expect(isLikePattern(name, pattern)).toBe(isLike);
  });
});

describe("limits", () => {
  const said = {
    skills: [{ name: "gpu", digest: "d" }],
    kinds: ["a"],
    slots: 4,
    points: 8,
    labels: { x: "1" },
  };
  const owner = { slots: null, points: null };

  test("that say nothing leave what a worker says", () => {
    expect(limitClaims(said, { limits: noLimits, owner })).toEqual({ declared: said, refusals: [] });
  });

  test("of open pull requests are limits of slots", () => {
    const { declared, refusals } = limitClaims(said, { limits: { ...noLimits, openPrs: 2 }, owner });
    expect(declared.slots).toBe(2);
    expect(refusals).toEqual(["may have 2 of its 4 slots"]);
  });

  test("of an owner are no refusal", () => {
    const { declared, refusals } = limitClaims(said, { limits: noLimits, owner: { slots: 1, points: 2 } });
    expect(declared).toMatchObject({ slots: 1, points: 2 });
    expect(refusals).toEqual([]);
  });

  test("together are the least of each", () => {
    const one = { ...noLimits, skills: ["a", "b"], slots: 3, labels: { x: "1" } };
    const other = { ...noLimits, skills: ["b", "c"], slots: 2, points: 5, labels: { y: "2" } };
    expect(bothLimits(one, other)).toEqual({
      skills: ["b"],
      kinds: null,
      slots: 2,
      points: 5,
      labels: { x: "1", y: "2" },
      openPrs: null,
    });
  });
});

test("hours are shown as people write them", () => {
  const windows = [
    { days: [1, 2, 3, 5], start: 1_080, end: 480 },
    { days: [7], start: 0, end: 1_440 },
  ];
  expect(hoursText({ zone: "Europe/Berlin", windows })).toBe(
    "Mon-Wed,Fri 18:00-08:00, Sun 00:00-24:00 Europe/Berlin",
  );
  expect(hoursText({ zone: "UTC", windows: [] })).toBe("never UTC");
});
