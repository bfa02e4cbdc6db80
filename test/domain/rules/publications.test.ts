import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type KnownSession,
  ownerLeftMs,
  type PublishedSession,
  planPublication,
} from "../../../server/domain/rules/publications.ts";

const said = (sessionId: string, more: Partial<PublishedSession> = {}): PublishedSession => ({
  sessionId,
  project: "acme/web",
  label: "",
  agent: "codex",
  agentSessionId: "a",
  state: 1,
  role: "",
  terminalTarget: "",
  activeAt: null,
  isArchived: false,
  saysPrimary: false,
  ...more,
});

const known = (sessionId: string, more: Partial<KnownSession> = {}): KnownSession => ({
  ...said(sessionId),
  workerId: "me",
  workerName: `worker of ${sessionId}`,
  isPrimary: false,
  isPublished: true,
  silentMs: 0,
  ...more,
});

const primaries = (plan: ReturnType<typeof planPublication>) =>
  plan.kept.filter((one) => one.isPrimary).map((one) => one.sessionId);

describe("a publication", () => {
  test("writes what is new or another than before, and withdraws what is not named any more", () => {
    const plan = planPublication(
      "me",
      [said("same"), said("changed", { label: "now" }), said("new")],
      [known("same"), known("changed"), known("gone"), known("gone before", { isPublished: false })],
    );
    expect(plan.written.map((one) => one.sessionId)).toEqual(["changed", "new"]);
    expect(plan.withdrawn).toEqual(["gone"]);
    expect(plan.conflicts).toEqual([]);
  });

  test("publishes again what was withdrawn", () => {
    const plan = planPublication("me", [said("back")], [known("back", { isPublished: false })]);
    expect(plan.written.map((one) => one.sessionId)).toEqual(["back"]);
  });

  test.each([
    ["is connected", { silentMs: 0, isPublished: false }, false],
    ["publishes it", { silentMs: 2 * ownerLeftMs, isPublished: true }, false],
    ["withdrew it and left lately", { silentMs: ownerLeftMs, isPublished: false }, false],
    ["withdrew it and left long ago", { silentMs: ownerLeftMs + 1, isPublished: false }, true],
    ["never was there", { silentMs: null, isPublished: false }, true],
  ])("of a session whose owner %s", (_, owner, isTaken) => {
    const first = known("s", { workerId: "first", workerName: "one", ...owner });
    const plan = planPublication("me", [said("s")], [first]);
    expect(plan.freed).toEqual(isTaken ? ["s"] : []);
    expect(plan.written).toHaveLength(isTaken ? 1 : 0);
    expect(plan.contested).toEqual(isTaken ? [] : ["s"]);
    expect(plan.conflicts).toMatchObject(
      isTaken ? [] : [{ sessionId: "s", workerId: "first", workerName: "one" }],
    );
  });
});

describe("the primary session of a project", () => {
  test("is the one that says so, and stays it when a second one does", () => {
    const first = known("first", { workerId: "other", isPrimary: true, saysPrimary: true });
    expect(primaries(planPublication("me", [said("s", { saysPrimary: true })], []))).toEqual(["s"]);
    const plan = planPublication("me", [said("s", { saysPrimary: true })], [first]);
    expect(primaries(plan)).toEqual([]);
    expect(plan.conflicts).toMatchObject([{ sessionId: "s", workerId: "other" }]);
    expect(plan.kept).toHaveLength(1);
  });

  test("of two in one publication is the first", () => {
    const plan = planPublication(
      "me",
      [said("one", { saysPrimary: true }), said("two", { saysPrimary: true })],
      [],
    );
    expect(primaries(plan)).toEqual(["one"]);
    expect(plan.conflicts).toMatchObject([{ sessionId: "two" }]);
  });

  test("moves when its worker says another one than before", () => {
    const before = [known("one", { isPrimary: true, saysPrimary: true }), known("two")];
    const plan = planPublication("me", [said("one"), said("two", { saysPrimary: true })], before);
    expect(primaries(plan)).toEqual(["two"]);
    expect(plan.demoted).toEqual(["one"]);
    expect(plan.conflicts).toEqual([]);
  });

  test("stays where an operator put it while its worker says what it said before", () => {
    const before = [known("one", { saysPrimary: true }), known("two", { isPrimary: true })];
    const plan = planPublication("me", [said("one", { saysPrimary: true }), said("two")], before);
    expect(primaries(plan)).toEqual(["two"]);
    expect(plan.demoted).toEqual([]);
    expect(plan.conflicts).toMatchObject([{ sessionId: "one" }]);
  });

  test("goes on to another worker's when it is not published any more", () => {
    const left = known("left", { workerId: "other", isPrimary: true, saysPrimary: true, isPublished: false });
    const plan = planPublication("me", [said("s", { saysPrimary: true })], [left]);
    expect(primaries(plan)).toEqual(["s"]);
    expect(plan.demoted).toEqual(["left"]);
  });

  test("goes on to another one of its worker when it is not published any more", () => {
    const before = [known("left", { isPrimary: true, saysPrimary: true }), known("s", { saysPrimary: true })];
    const plan = planPublication("me", [said("s", { saysPrimary: true })], before);
    expect(primaries(plan)).toEqual(["s"]);
    expect(plan).toMatchObject({ demoted: ["left"], withdrawn: ["left"], conflicts: [] });
  });

  test("is none of the old project when a session changes its project", () => {
    const before = [known("s", { isPrimary: true, saysPrimary: true })];
    const plan = planPublication("me", [said("s", { project: "acme/api", saysPrimary: true })], before);
    expect(plan.demoted).toEqual(["s"]);
    expect(plan.kept).toMatchObject([{ project: "acme/api", isPrimary: true }]);
  });

  test("needs a project", () => {
    const plan = planPublication("me", [said("s", { project: null, saysPrimary: true })], []);
    expect(primaries(plan)).toEqual([]);
    expect(plan.conflicts).toMatchObject([{ sessionId: "s" }]);
  });

  test("is one at most, whatever workers publish one after the other", () => {
    const workers = ["a", "b", "c"];
    const session = fc.record({
      sessionId: fc.constantFrom("1", "2", "3", "4"),
      project: fc.constantFrom("p", "q", null),
      saysPrimary: fc.boolean(),
    });
    const publication = fc.record({
      workerId: fc.constantFrom(...workers),
      sessions: fc.uniqueArray(session, { selector: (one) => one.sessionId }),
    });
    fc.assert(
      fc.property(fc.array(publication, { maxLength: 12 }), (publications) => {
        const stored = new Map<string, KnownSession>();
        for (const { workerId, sessions } of publications) {
          const plan = planPublication(
            workerId,
            sessions.map((one) => said(one.sessionId, one)),
            [...stored.values()],
          );
          const change = (id: string, to: Partial<KnownSession>) => {
            const one = stored.get(id);
            if (one) stored.set(id, { ...one, ...to });
          };
          for (const id of plan.demoted) change(id, { isPrimary: false });
          for (const id of plan.withdrawn) change(id, { isPublished: false });
          for (const one of plan.written) {
            const before = stored.get(one.sessionId);
            if (before) expect(before.workerId).toBe(workerId);
            stored.set(one.sessionId, known(one.sessionId, { ...one, workerId, isPublished: true }));
          }
          const all = [...stored.values()].filter((one) => one.isPrimary);
          expect(new Set(all.map((one) => one.project)).size).toBe(all.length);
          expect(all.every((one) => one.project !== null)).toBe(true);
          // What the plan keeps is what is stored.
          for (const one of plan.kept) expect(stored.get(one.sessionId)?.isPrimary).toBe(one.isPrimary);
        }
      }),
    );
  });
});
