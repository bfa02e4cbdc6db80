import { describe, expect, test } from "vitest";
import { type Head, inOrder, ReadyLine } from "../../server/dispatch/lines.ts";
import { Link, type LinkPort } from "../../server/dispatch/link.ts";
import { assign, assignLine, candidates, keepFree, type ServedLine } from "../../server/dispatch/matcher.ts";
import { type InternedShape, internShape } from "../../server/domain/rules/shapes.ts";

const port: LinkPort = { offer: () => {}, cancel: () => {}, command: () => {}, goAway: () => {} };

function link(
  workerId: string,
  options: { slots?: number; points?: number; skills?: string[]; kinds?: string[] } = {},
) {
  const { slots = 4, points = slots, skills = [], kinds = ["a"] } = options;
  const base = { orgId: "org", workerName: workerId, linkEpoch: 1, isDraining: false, nowMs: 0, port };
  return new Link({ ...base, workerId, slots, points, skills, kinds });
}

function shape(overrides: Partial<InternedShape> = {}): InternedShape {
  return internShape({
    kind: "a",
    queue: "default",
    skills: [],
    points: 1,
    pool: null,
    project: null,
    target: null,
    avoid: [],
    isAlone: false,
    ...overrides,
  });
}

function head(jobId: string, overrides: Partial<Head> = {}): Head {
  return { jobId, priority: 128, readyAt: 0, ageMs: 0, ...overrides };
}

/** Lines with heads in the given order. */
function linesOf(
  shapes: readonly InternedShape[],
  links: readonly Link[],
  overrides: Partial<Head> = {},
): ServedLine[] {
  const lines = new Map(shapes.map((one) => [one.shapeId, new ReadyLine(one, 1)]));
  for (const [index, one] of shapes.entries()) {
    const line = lines.get(one.shapeId);
    line?.see(
      [...line.heads, head(`job-${index}`, { readyAt: index, ...overrides })],
      Number.POSITIVE_INFINITY,
    );
  }
  return [...lines.values()].map((line) => ({
    line,
    servers: new Set(candidates(line.shape, links)),
    gates: [],
  }));
}

function deal(shapes: readonly InternedShape[], links: readonly Link[], overrides: Partial<Head> = {}) {
  const plan = assign(linesOf(shapes, links, overrides), links, 1_000);
  return plan.flatMap(({ slots }) => slots.map((one) => one.workerId)).sort();
}

function held(leaseId: string, points = 1, offerSequence = 0) {
  return {
    fence: { jobId: leaseId, attempt: 1, leaseId, workerId: "w" },
    shape: null,
    points,
    offerSequence,
    offeredAtMs: 0,
    isExclusive: false,
    isAlone: false,
    state: "running" as const,
    missed: 0,
    acceptedAtHeartbeat: 0,
    cancelSentMs: null,
    isCancelAcknowledged: false,
    hasProgress: false,
    accepted: null,
    reporting: null,
  };
}

describe("the matcher", () => {
  test("spreads jobs over the least loaded workers", () => {
    const [one, two] = [link("one"), link("two")];
    one.hold(held("l1"));
    one.hold(held("l2"));
    expect(deal([shape(), shape()], [one, two])).toEqual(["one", "two"]);
    expect(deal([shape()], [one, two])).toEqual(["two"]);
  });

  test("fills one worker after the other when there are jobs for all that is free", () => {
    const links = [link("one", { slots: 40 }), link("two", { slots: 40 }), link("three", { slots: 40 })];
    const dealt = (known: number, claimed: number, isShort: boolean) => {
      const line = new ReadyLine(shape(), known + claimed);
      line.claimed(new Set(Array.from({ length: claimed }, (_, n) => `job-${n}`)), isShort);
      line.expected -= claimed;
      const served = { line, servers: new Set(candidates(line.shape, links)), gates: [] };
      const plan = assignLine(served, links, Math.min(60, known));
      const slots = plan.flatMap((one) => one.slots);
      for (const one of slots) one.unreserve(line.shape);
      return links.map((one) => slots.filter((slot) => slot === one).length).sort((a, b) => b - a);
    };
    expect(dealt(120, 64, false)).toEqual([40, 20, 0]);
    // Few are left, few are known, or others take from the line too: spread.
    expect(dealt(60, 64, false)).toEqual([20, 20, 20]);
    expect(dealt(120, 63, false)).toEqual([20, 20, 20]);
    expect(dealt(120, 64, true)).toEqual([20, 20, 20]);
  });

  test("asks for all skills, not for one of them", () => {
    const gpu = link("gpu", { skills: ["gpu", "blender"] });
    const plain = link("plain", { skills: ["gpu"] });
    expect(deal([shape({ skills: ["blender", "gpu"] })], [plain, gpu])).toEqual(["gpu"]);
    expect(deal([shape({ skills: ["cobol"] })], [plain, gpu])).toEqual([]);
  });

  test("lets both slots and points decide", () => {
    const worker = link("w", { slots: 4, points: 5 });
    expect(
      deal(
        Array.from({ length: 4 }, () => shape({ points: 2 })),
        [worker],
      ),
    ).toEqual(["w", "w"]);
    const few = link("w", { slots: 1, points: 100 });
    expect(deal([shape(), shape()], [few])).toEqual(["w"]);
  });

  test("does not let what nobody can run block what somebody can", () => {
    const worker = link("w");
    expect(deal([shape({ points: 100 }), shape({ kind: "b" }), shape()], [worker])).toEqual(["w"]);
  });

  test("gives no job to a worker that it avoids, nor to one that drains", () => {
    const [one, two] = [link("one"), link("two")];
    expect(deal([shape({ avoid: ["one"] })], [one, two])).toEqual(["two"]);
    two.isDraining = true;
    expect(deal([shape({ avoid: ["one"] })], [one, two])).toEqual([]);
  });

  test("runs a job alone on an empty worker only", () => {
    const [busy, empty] = [link("busy"), link("empty")];
    busy.hold(held("l1"));
    expect(deal([shape({ isAlone: true })], [busy, empty])).toEqual(["empty"]);
    expect(deal([shape({ isAlone: true })], [busy])).toEqual([]);
  });

  test("gives a worker that runs a job alone nothing beside it", () => {
    const one = link("one");
    expect(deal([shape({ isAlone: true }), shape()], [one])).toEqual(["one"]);
    one.unreserve(shape({ isAlone: true }));
    one.hold({ ...held("l1"), isAlone: true });
    expect(deal([shape()], [one])).toEqual([]);
    one.drop("l1");
    expect(deal([shape()], [one])).toEqual(["one"]);
  });

  test("keeps the least loaded worker free for a job that is to run alone, so that it comes to its turn", () => {
    const [busy, busier] = [link("busy"), link("busier")];
    busy.hold(held("l1"));
    for (const id of ["l2", "l3"]) busier.hold(held(id));
    const alone = shape({ isAlone: true });
    keepFree(linesOf([alone], [busy, busier]), [busy, busier]);
    expect(deal([alone, shape(), shape(), shape()], [busy, busier])).toEqual(["busier", "busier"]);
    busy.drop("l1");
    expect(deal([alone], [busy, busier])).toEqual(["busy"]);
    busy.unreserve(alone);
    keepFree([], [busy, busier]);
    expect(deal([shape()], [busy])).toEqual(["busy"]);
  });

  test("counts a lease once, however often it is noted", () => {
    const one = link("one", { slots: 2 });
    one.hold(held("l1"));
    one.hold({ ...held("l1"), isAlone: true });
    one.drop("l1");
    expect([one.freeSlots(), one.freePoints()]).toEqual([2, 2]);
    expect(deal([shape(), shape()], [one])).toEqual(["one", "one"]);
  });

  test("orders lines by priority, then by who was ready first", () => {
    const heads = [
      head("c", { readyAt: 5 }),
      head("a", { priority: 240, readyAt: 9 }),
      head("b", { readyAt: 4 }),
      head("d", { readyAt: 5 }),
    ];
    expect(heads.sort(inOrder).map(({ jobId }) => jobId)).toEqual(["a", "b", "c", "d"]);
  });
});

describe("a link", () => {
  test("counts absolute demand less the offers that the worker had not seen", () => {
    const worker = link("w", { slots: 4 });
    worker.offerSequence = 1;
    worker.hold(held("l1", 1, 1));
    worker.setDemand({ slots: 4, points: 4, offerSequence: 0 });
    expect(worker.freeSlots()).toBe(3);
    worker.setDemand({ slots: 3, points: 3, offerSequence: 1 });
    expect(worker.freeSlots()).toBe(3);
    // What was said before is not heard after.
    worker.setDemand({ slots: 4, points: 4, offerSequence: 0 });
    expect(worker.freeSlots()).toBe(3);
  });

  test("never gives more than the store says is free, whatever the worker says", () => {
    const worker = link("w", { slots: 2 });
    worker.hold(held("l1"));
    worker.hold(held("l2"));
    worker.setDemand({ slots: 2, points: 2, offerSequence: 0 });
    expect(worker.freeSlots()).toBe(0);
    worker.drop("l1");
    expect(worker.freeSlots()).toBe(1);
  });

  test.each(["isMuted", "isDraining", "isHeldBack", "isSuspect"] as const)(
    "takes no offers while it %s",
    (flag) => {
      const worker = link("w");
      worker[flag] = true;
      expect(worker.freeSlots()).toBe(0);
      worker[flag] = false;
      expect(worker.freeSlots()).toBeGreaterThan(0);
    },
  );

  test("takes no offers while it is stale, and again after an echoed heartbeat", () => {
    const worker = link("w");
    worker.apply({ type: "tick", nowMs: 15_001, staleMs: 15_000 });
    expect(worker.freeSlots()).toBe(0);
    worker.apply({ type: "heard", nowMs: 15_002 });
    expect(worker.freeSlots()).toBe(0);
    worker.apply({ type: "echoed", nowMs: 15_003 });
    expect(worker.freeSlots()).toBeGreaterThan(0);
  });

  test.each(["closed", "newer-hello"] as const)("never takes offers again once it is %s", (type) => {
    const worker = link("w");
    worker.apply({ type });
    worker.apply({ type: "echoed", nowMs: 1 });
    expect(worker.isClosed).toBe(true);
    expect(worker.freeSlots()).toBe(0);
  });

  test("deals by the order of all lines, not line by line", () => {
    const [gpu, plain] = [link("gpu", { slots: 1, skills: ["gpu"] }), link("plain", { slots: 1 })];
    const [any, special] = [shape(), shape({ skills: ["gpu"] })];
    const lines = linesOf([special, any, any, special], [gpu, plain]);
    const plan = assign(lines, [gpu, plain], 1_000);
    expect(plan.map(({ line, slots }) => [line.shape.skills, slots.map((one) => one.workerId)])).toEqual([
      [["gpu"], ["gpu"]],
      [[], ["plain"]],
    ]);
  });

  test("stops where the order is not known any more", () => {
    const one = link("one", { slots: 10 });
    const [first, second] = [shape(), shape({ skills: [], queue: "other" })];
    const lines = linesOf([first, second, second], [one]);
    // There may be more of the first behind its head, and they may go before the second's.
    lines[0]?.line.see([head("job-0")], 1);
    expect(assign(lines, [one], 10).map(({ slots }) => slots.length)).toEqual([1]);
  });

  test("lets no more through than a gate has room for, whatever lines share it", () => {
    const one = link("one", { slots: 10 });
    const lines = linesOf([shape({ queue: "q" }), shape({ queue: "q", points: 2 }), shape()], [one]).map(
      (line) => ({
        ...line,
        gates: line.line.shape.queue === "q" ? ["queue:q"] : [],
      }),
    );
    const plan = assign(lines, [one], 10, new Map([["queue:q", 1]]));
    expect(plan.map(({ line }) => line.shape.queue)).toEqual(["q", "default"]);
  });

  test("keeps a worker free for a large job that has waited while small ones passed it", () => {
    const one = link("one", { slots: 10, points: 10 });
    one.hold({ ...held("l1"), points: 5 });
    const large = shape({ points: 8 });
    expect(deal([large, shape(), shape()], [one], { ageMs: 1_000 })).toEqual(["one", "one"]);
    one.unreserve(shape());
    one.unreserve(shape());
    // What goes before it still does; what comes after waits.
    expect(deal([shape(), large, shape()], [one], { ageMs: 30_000 })).toEqual(["one"]);
    one.unreserve(shape());
    one.drop("l1");
    // The next round begins with nothing kept.
    keepFree([], [one]);
    expect(deal([large, shape()], [one], { ageMs: 30_000 })).toEqual(["one", "one"]);
  });
});
