import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Link } from "../../../server/dispatch/link.ts";
import { candidates } from "../../../server/dispatch/matcher.ts";
import {
  anyRoute,
  closeness,
  listed,
  serves,
  type UnfitReason,
  unfitDetail,
  unfitReason,
  unfitReasons,
  type WorkerFacts,
} from "../../../server/domain/rules/routing.ts";
import { routeOf } from "../../../server/domain/rules/session-routes.ts";
import { shapeOf } from "../../support/routed-rows.ts";

const able: WorkerFacts = {
  workerId: "w1",
  name: "gpu-1",
  isAttached: true,
  isStale: false,
  isDisabled: false,
  isDraining: false,
  isQuarantined: false,
  isPending: false,
  isOffHours: false,
  hours: null,
  openPrs: 0,
  maxOpenPrs: null,
  refusals: [],
  isSuspect: false,
  kinds: new Set(["shell.run", "render.frame"]),
  skills: new Set(["gpu"]),
  slots: 2,
  points: 8,
  slotsUsed: 1,
  pointsUsed: 4,
  runsAlone: false,
};

describe("the first reason why a worker does not run a job", () => {
  const route = anyRoute;
  test.each<[UnfitReason | null, string, Partial<WorkerFacts>, Parameters<typeof shapeOf>[0]]>([
    [null, "could run it now", {}, { skills: ["gpu"], points: 4 }],
    ["offline", "is not connected", { isAttached: false, isStale: true }, {}],
    ["stale", "its heartbeat is late", { isStale: true, isDraining: true }, {}],
    ["disabled", "was disabled by an operator", { isDisabled: true }, {}],
    ["draining", "takes nothing new: it drains", { isDraining: true, isSuspect: true }, {}],
    ["quarantined", "gets no offers until an operator resumes it", { isQuarantined: true }, {}],
    ["pending", "gets no offers until an operator approves it", { isPending: true }, {}],
    [
      "off-hours",
      "gets no offers outside of its hours (Sun 00:00-24:00 UTC)",
      { isOffHours: true, hours: "Sun 00:00-24:00 UTC" },
      {},
    ],
    ["open-prs", "has 2 open pull requests of the 2 that it may have", { openPrs: 2, maxOpenPrs: 2 }, {}],
    ["suspect", "leaves a cancel without an answer", { isSuspect: true }, { kind: "other" }],
    ["kind", "has no handler for render.frames; it has render.frame", {}, { kind: "render.frames" }],
    ["kind", "has no handler for agent.prompt", {}, { kind: "agent.prompt" }],
    ["skills", "lacks blender and zsh", {}, { skills: ["blender", "gpu", "zsh"], points: 99 }],
    ["points", "has 8 points, the job needs 9", {}, { points: 9 }],
    [
      "avoided",
      "declined or lost the job, which avoids it unless nobody else can run it",
      {},
      { avoid: ["w1"] },
    ],
    ["slots-full", "all 2 slots are taken", { slotsUsed: 2 }, { points: 8 }],
    ["slots-full", "holds a job that runs alone", { runsAlone: true }, {}],
    ["slots-full", "holds other jobs, and this one runs alone", {}, { isAlone: true }],
    ["points-full", "has 4 of 8 points free, the job needs 5", {}, { points: 5 }],
  ])("is %s: %s", (reason, detail, facts, overrides) => {
    const worker = { ...able, ...facts };
    const shape = shapeOf(overrides);
    expect(unfitReason(worker, shape, route)).toBe(reason);
    expect(unfitDetail(reason, worker, shape, { route })).toBe(detail);
  });

  test("is its target when that leads to another worker, or nowhere", () => {
    const shape = shapeOf({ target: "worker:w2" });
    const other = routeOf(shape.target, [], new Map()).route;
    expect(unfitReason(able, shape, other)).toBe("target");
    expect(unfitDetail("target", able, shape, { route: other })).toBe("the job is for another worker");
    const nowhere = routeOf("session:s1", [], new Map()).route;
    expect(unfitReason(able, shapeOf({ target: "session:s1" }), nowhere)).toBe("target");
    expect(unfitDetail("target", able, shape, { route: nowhere })).toBe("no worker has session s1");
  });

  test("tells until when it is avoided", () => {
    expect(unfitDetail("avoided", able, shapeOf(), { route, avoidedUntil: "T" })).toContain("until T");
  });

  test("comes the later, the closer a worker is", () => {
    expect(unfitReasons.map(closeness)).toEqual([...unfitReasons.keys()]);
    expect(closeness(null)).toBeGreaterThan(closeness("points-full"));
    expect([null, ...unfitReasons].filter(serves)).toEqual([null, "avoided", "slots-full", "points-full"]);
  });
});

test("a list for people counts what is beyond ten", () => {
  expect(listed([])).toBe("");
  expect(listed(["a", "b", "c"])).toBe("a, b and c");
  expect(listed(Array.from({ length: 12 }, (_, n) => `s${n}`))).toBe(
    "s0, s1, s2, s3, s4, s5, s6, s7, s8 and 3 more",
  );
});

describe("what is explained is what is dispatched", () => {
  const few = (all: string[]) => fc.subarray(all, { maxLength: 1 });
  const most = (all: string[]) => fc.subarray(all, { minLength: all.length - 1 });
  const seldom = fc.nat(9).map((n) => n === 0);
  const shapes = fc
    .record({
      kind: fc.constantFrom("a", "b"),
      skills: few(["x", "y", "z"]),
      points: fc.integer({ min: 1, max: 6 }),
      avoid: few(["w1", "w2", "w3", "w4"]),
      isAlone: seldom,
      target: fc.constantFrom(
        null,
        null,
        null,
        "worker:w1" as const,
        "worker:w2" as const,
        "session:s1" as const,
      ),
    })
    .map(shapeOf);
  const workers = fc.record({
    kinds: most(["a", "b"]),
    skills: most(["x", "y", "z"]),
    slots: fc.integer({ min: 1, max: 4 }),
    points: fc.integer({ min: 1, max: 8 }),
    isDraining: seldom,
    isQuarantined: seldom,
    isSuspect: seldom,
    isStale: seldom,
    held: fc.array(fc.record({ points: fc.integer({ min: 1, max: 3 }), isAlone: seldom }), { maxLength: 4 }),
  });

  test("for any worker and any shape", () => {
    let qualified = 0;
    fc.assert(
      fc.property(workers, shapes, (made, shape) => {
        const link = linkOf(made);
        const facts = factsOf(made);
        const { route } = routeOf(shape.target, [], new Map([["w1", facts]]));
        const reason = unfitReason(facts, shape, route);
        const isDispatched = link.isOpen && candidates(shape, [link]).length === 1 && link.fits(shape);
        if (reason === null) qualified++;
        expect(reason === null).toBe(isDispatched);
      }),
      { numRuns: 5_000 },
    );
    // Neither answer is the only one.
    expect(qualified).toBeGreaterThan(200);
  });

  type Made = typeof workers extends fc.Arbitrary<infer T> ? T : never;

  function linkOf({ held, isSuspect, isStale, isQuarantined, ...options }: Made): Link {
    const link = new Link({
      ...options,
      isHeldBack: isQuarantined,
      orgId: "o",
      workerId: "w1",
      workerName: "w1",
      linkEpoch: 1,
      port: { offer: () => {}, cancel: () => {}, command: () => {}, goAway: () => {} },
      nowMs: 0,
    });
    link.isSuspect = isSuspect;
    if (isStale) link.apply({ type: "tick", nowMs: 15_001, staleMs: 15_000 });
    for (const [index, { points, isAlone }] of held.entries()) {
      link.hold({
        fence: { jobId: `j${index}`, attempt: 1, leaseId: `l${index}`, workerId: "w1" },
        shape: shapeOf({ points, isAlone }),
        points,
        isAlone,
        offerSequence: 0,
        offeredAtMs: 0,
        isExclusive: false,
        state: "running",
        missed: 0,
        acceptedAtHeartbeat: 0,
        cancelSentMs: null,
        isCancelAcknowledged: false,
        hasProgress: false,
        accepted: null,
        reporting: null,
      });
    }
    return link;
  }

  function factsOf({ held, kinds, skills, ...made }: Made): WorkerFacts {
    return {
      ...able,
      ...made,
      kinds: new Set(kinds),
      skills: new Set(skills),
      slotsUsed: held.length,
      pointsUsed: held.reduce((sum, one) => sum + one.points, 0),
      runsAlone: held.some((one) => one.isAlone),
    };
  }
});
