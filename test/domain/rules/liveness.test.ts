import { describe, expect, test } from "vitest";
import {
  attachedAt,
  type ComingLink,
  type ExpiryGate,
  type FoundLink,
  type GateEvent,
  gateUntilMs,
  isLossy,
  judgeFlip,
  type LinkEvent,
  nextGate,
  nextLife,
  startingGate,
  vanishedInFleetEvent,
  vanishWindowMs,
} from "../../../server/domain/rules/liveness.ts";

describe("a link's life", () => {
  const tick = (nowMs: number): LinkEvent => ({ type: "tick", nowMs, staleMs: 15_000 });
  const echoed = (nowMs: number): LinkEvent => ({ type: "echoed", nowMs });
  const heard = (nowMs: number): LinkEvent => ({ type: "heard", nowMs });

  test.each<[string, LinkEvent[], string]>([
    ["is attached after its Hello", [], "attached"],
    ["is attached 15 s after it", [tick(15_000)], "attached"],
    ["is stale later", [tick(15_001)], "stale"],
    ["is not kept alive by frames that nobody echoed", [heard(14_000), tick(15_001)], "stale"],
    ["is attached again by an echoed heartbeat", [tick(15_001), echoed(15_002)], "attached"],
    ["stays stale by one that was only heard", [tick(15_001), heard(15_002), tick(15_003)], "stale"],
    ["is silent when nothing was heard for 45 s", [tick(45_001)], "silent"],
    ["is stale while its worker is heard and we cannot echo", [heard(40_000), tick(60_000)], "stale"],
    ["stays closed", [{ type: "closed" }, echoed(1), tick(50_000)], "closed"],
    ["stays replaced, whoever closes it", [{ type: "newer-hello" }, { type: "closed" }], "replaced"],
  ])("%s", (_, events, phase) => {
    expect(events.reduce(nextLife, attachedAt(0)).phase).toBe(phase);
  });
});

describe("a Hello is a flip", () => {
  const found: FoundLink = {
    bootId: "old",
    hostBootId: "host",
    isAttached: true,
    transport: "stream",
    silentMs: 3_000,
    flips: 0,
    flipsAgeMs: null,
  };
  const coming: ComingLink = { bootId: "new", hostBootId: "host", areOrphansDead: true };

  test.each<[string, Partial<FoundLink>, Partial<ComingLink>, boolean]>([
    ["when it takes a live link over from another process", {}, {}, true],
    ["on the same host too, where a directory was copied", {}, { areOrphansDead: false }, true],
    ["not when it is the same process, over a new link", {}, { bootId: "old" }, false],
    ["not when the old link was closed: a restart", { isAttached: false }, {}, false],
    ["not when the old link is stale: nobody is there", { silentMs: 15_001 }, {}, false],
    ["not when a polling worker restarted on its host", { transport: "poll" }, {}, false],
    ["when a polling worker's twin is elsewhere", { transport: "poll" }, { hostBootId: "other" }, true],
    ["when nothing proves a polling worker dead", { transport: "poll" }, { areOrphansDead: false }, true],
  ])("%s", (_, link, hello, isFlip) => {
    const judged = judgeFlip({ ...found, ...link }, { ...coming, ...hello }, 15_000);
    expect(judged).toMatchObject({ isFlip, flips: isFlip ? 1 : 0, isQuarantined: false });
  });

  test.each<[number, number | null, number, boolean]>([
    [0, null, 1, false],
    [1, 60_000, 2, false],
    [2, 599_000, 3, true],
    [2, 600_001, 1, false],
    [7, 1_000, 8, true],
  ])(
    "after %i others since %s ms it is number %i; quarantined: %s",
    (flips, flipsAgeMs, next, isQuarantined) => {
      const judged = judgeFlip({ ...found, flips, flipsAgeMs }, coming, 15_000);
      expect(judged).toEqual({ isFlip: true, flips: next, isFirst: next === 1, isQuarantined });
    },
  );
});

test.each([
  [{ jobs: 3, times: 3 }, 3, true],
  [{ jobs: 2, times: 3 }, 3, false],
  // One power cut under forty jobs.
  [{ jobs: 40, times: 1 }, 3, false],
  [{ jobs: 40, times: 40 }, 0, false],
])("a worker that lost %o is the cause with a limit of %i: %s", (losses, limit, isCause) => {
  expect(isLossy(losses, limit)).toBe(isCause);
});

describe("the expiry gate", () => {
  const limits = { graceMs: 30_000, staleMs: 15_000 };
  const run = (events: readonly GateEvent[], gate: ExpiryGate = startingGate(0, limits)) =>
    events.reduce((one, event) => nextGate(one, event, limits), gate);
  /** Passes each second, as a coordinator makes them. */
  const passes = (fromMs: number, toMs: number): GateEvent[] =>
    Array.from({ length: (toMs - fromMs) / 1_000 }, (_, n) => ({
      type: "pass",
      nowMs: fromMs + 1_000 * (n + 1),
    }));
  const counted = (nowMs: number, links: number, vanished: number, orgId = "org"): GateEvent => ({
    type: "counted",
    nowMs,
    orgId,
    count: { links, vanished },
  });

  test("waits 30 s after the coordinator's own start", () => {
    expect(gateUntilMs(run(passes(0, 29_000)), "org")).toBe(30_000);
  });

  test.each<[string, GateEvent[], number]>([
    ["a pass or a renewal that failed", [{ type: "outage", nowMs: 100_000 }], 130_000],
    ["passes that did not come", [{ type: "pass", nowMs: 115_001 }], 145_001],
    ["nothing, while they come", [{ type: "pass", nowMs: 115_000 }], 30_000],
  ])("waits after %s", (_, events, untilMs) => {
    const settled = run(passes(0, 100_000));
    expect(gateUntilMs(run(events, settled), "org")).toBe(untilMs);
  });

  test.each<[number, number, boolean]>([
    [60, 20, true],
    [20, 20, true],
    [19, 19, false],
    [67, 20, false],
    [1_000, 299, false],
    [1_000, 300, true],
  ])("of %i links that %i vanish together is a fleet event: %s", (links, vanished, isEvent) => {
    const gate = run([counted(100_000, links, vanished)]);
    expect(gateUntilMs(gate, "org")).toBe(isEvent ? 130_000 : 30_000);
    expect(gate.events.has("org")).toBe(isEvent);
  });

  test("holds one org up for that org's event, and all for one of all together", () => {
    const alone = run([counted(100_000, 500, 0, "big"), counted(100_000, 30, 30)]);
    expect(gateUntilMs(alone, "org")).toBe(130_000);
    expect(gateUntilMs(alone, "big")).toBe(30_000);
    const small = Array.from({ length: 5 }, (_, n) => counted(100_000, 5, 5, `org ${n}`));
    expect(gateUntilMs(run(small), "another")).toBe(130_000);
  });

  test("goes on after the grace: what vanished in the event is not counted twice", () => {
    const gate = run([counted(100_000, 60, 20), counted(105_000, 60, 60), counted(129_000, 60, 0)]);
    expect(gateUntilMs(gate, "org")).toBe(130_000);
    expect(vanishWindowMs(gate, "org", 131_000, limits)).toBe(2_000);
    expect(gateUntilMs(run([counted(131_000, 60, 0)], gate), "org")).toBe(130_000);
    expect(gateUntilMs(run([counted(140_000, 60, 25)], gate), "org")).toBe(170_000);
  });

  test("counts no loss of a worker that vanished in the event, and those of later ones", () => {
    const gate = run([counted(100_000, 60, 20)]);
    const of = (silentMs: number) => ({ orgId: "org", silentMs, nowMs: 131_000 });
    expect(vanishedInFleetEvent(gate, of(46_000))).toBe(true);
    expect(vanishedInFleetEvent(gate, of(30_500))).toBe(false);
    expect(vanishedInFleetEvent(run([]), of(46_000))).toBe(false);
  });

  test("looks back an hour at an org that it has not seen, and 15 s later", () => {
    expect(vanishWindowMs(run([]), "org", 100_000, limits)).toBe(3_600_000);
    expect(vanishWindowMs(run([counted(100_000, 60, 0)]), "org", 101_000, limits)).toBe(15_000);
  });
});
