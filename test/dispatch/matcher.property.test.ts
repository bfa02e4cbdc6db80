import fc from "fast-check";
import { expect, test } from "vitest";
import { type Head, inOrder, ReadyLine } from "../../server/dispatch/lines.ts";
import { Link, type LinkPort } from "../../server/dispatch/link.ts";
import { assign, candidates, keepFree, type ServedLine, starvedMs } from "../../server/dispatch/matcher.ts";
import { type InternedShape, internShape } from "../../server/domain/rules/shapes.ts";

const port: LinkPort = { offer: () => {}, cancel: () => {}, command: () => {}, goAway: () => {} };
const skills = ["a", "b", "c"];

function linkOf(workerId: string, slots: number, points: number, has: readonly string[]): Link {
  return new Link({
    orgId: "org",
    workerId,
    workerName: workerId,
    linkEpoch: 1,
    skills: has,
    kinds: ["k"],
    slots,
    points,
    port,
    isDraining: false,
    nowMs: 0,
  });
}

function shapeOf(points: number, needs: readonly string[], queue: string): InternedShape {
  const base = { kind: "k", pool: null, project: null, target: null, avoid: [], isAlone: false };
  return internShape({ ...base, queue, skills: [...needs].sort(), points });
}

const link = fc.record({
  slots: fc.integer({ min: 1, max: 6 }),
  points: fc.integer({ min: 1, max: 20 }),
  skills: fc.subarray(skills),
});
const job = fc.record({
  points: fc.integer({ min: 1, max: 12 }),
  skills: fc.subarray(skills, { maxLength: 2 }),
  queue: fc.constantFrom("p", "q", "r"),
  priority: fc.constantFrom(0, 64, 128, 255),
});
const world = fc.record({
  links: fc.array(link, { minLength: 1, maxLength: 6 }),
  jobs: fc.array(job, { maxLength: 60 }),
  room: fc.integer({ min: 0, max: 10 }),
  demand: fc.integer({ min: 1, max: 40 }),
});

/** A round of the matcher; the queue `q` has a gate. Answers with each job in order, and where it went. */
function round({ links, jobs, room, demand }: typeof world extends fc.Arbitrary<infer T> ? T : never) {
  const fleet = links.map((one, n) => linkOf(`w${n}`, one.slots, one.points, one.skills));
  const made = jobs.map((one, n) => ({
    shape: shapeOf(one.points, one.skills, one.queue),
    head: { jobId: String(n).padStart(4, "0"), priority: one.priority, readyAt: n, ageMs: 0 } satisfies Head,
  }));
  const ordered = made.sort((a, b) => inOrder(a.head, b.head));
  const lines = [...Map.groupBy(ordered, ({ shape }) => shape.shapeId).values()].map((own): ServedLine => {
    const [{ shape } = { shape: shapeOf(1, [], "p") }] = own;
    const line = new ReadyLine(shape, own.length);
    line.see(
      own.map(({ head }) => head),
      own.length + 1,
    );
    return {
      line,
      servers: new Set(candidates(shape, fleet)),
      gates: shape.queue === "q" ? ["queue:q"] : [],
    };
  });
  const plan = assign(lines, fleet, demand, new Map([["queue:q", room]]));
  const slots = new Map(plan.map(({ line, slots: own }) => [line.shape.shapeId, [...own]]));
  // A claim takes the first of each line.
  const placed = ordered.map(({ shape, head }) => ({
    shape,
    head,
    link: slots.get(shape.shapeId)?.shift() ?? null,
  }));
  return { fleet, placed };
}

test("a round exceeds neither slots nor points, nor a gate, nor what was asked for", () => {
  fc.assert(
    fc.property(world, (given) => {
      const { fleet, placed } = round(given);
      for (const one of fleet) {
        const own = placed.filter((job) => job.link === one);
        expect(own.length).toBeLessThanOrEqual(one.slots);
        expect(own.reduce((sum, { shape }) => sum + shape.points, 0)).toBeLessThanOrEqual(one.points);
        for (const { shape } of own) expect(one.canServe(shape)).toBe(true);
      }
      const taken = placed.filter((job) => job.link !== null);
      expect(taken.filter(({ shape }) => shape.queue === "q").length).toBeLessThanOrEqual(given.room);
      expect(taken.length).toBeLessThanOrEqual(given.demand);
    }),
    { numRuns: 500 },
  );
});

test("no worker gets a job while one that comes before it fits there, and none that fits is left out", () => {
  fc.assert(
    fc.property(world, (given) => {
      const { fleet, placed } = round(given);
      const used = new Map(fleet.map((one) => [one, { slots: 0, points: 0 }]));
      let [left, room] = [given.demand, given.room];
      for (const { shape, link: at } of placed) {
        const isHeldBack = left === 0 || (shape.queue === "q" && room === 0);
        if (at === null && !isHeldBack) {
          for (const one of fleet.filter((candidate) => candidate.canServe(shape))) {
            const own = used.get(one) ?? { slots: 0, points: 0 };
            expect(own.slots < one.slots && own.points + shape.points <= one.points).toBe(false);
          }
        }
        const own = at && used.get(at);
        if (!own) continue;
        own.slots++;
        own.points += shape.points;
        left--;
        if (shape.queue === "q") room--;
      }
    }),
    { numRuns: 500 },
  );
});

test("a large job starts in time, however many small ones come at its priority", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 20 }),
      fc.integer({ min: 100, max: 5_000 }),
      fc.integer({ min: 1, max: 4 }),
      (points, runMs, size) => {
        const one = linkOf("w", 100, points, []);
        const [large, small] = [
          shapeOf(points, [], "large"),
          shapeOf(Math.min(size, points - 1), [], "small"),
        ];
        const ends: { readonly atMs: number; readonly id: string }[] = [];
        const stepMs = runMs / 7;
        for (let nowMs = 0; nowMs < starvedMs + 3 * runMs; nowMs += stepMs) {
          for (const end of ends.filter(({ atMs }) => atMs <= nowMs)) one.drop(end.id);
          const lines = [large, small].map((shape, n): ServedLine => {
            const line = new ReadyLine(shape, 1);
            // The large one came first; small ones never run out.
            const ageMs = n === 0 ? nowMs : 0;
            line.see([{ jobId: `${n}`, priority: 128, readyAt: n, ageMs }], 1);
            return { line, servers: new Set([one]), gates: [] };
          });
          keepFree(lines, [one]);
          // At the start the worker is full of small ones.
          const plan = assign(nowMs === 0 ? lines.slice(1) : lines, [one], 100);
          for (const { line, slots } of plan) {
            for (const at of slots) at.unreserve(line.shape);
            if (line.shape === large) return;
            const id = `${nowMs}`;
            one.hold({
              fence: { jobId: id, attempt: 1, leaseId: id, workerId: "w" },
              shape: line.shape,
              points: line.shape.points,
              offerSequence: 0,
              offeredAtMs: 0,
              isExclusive: false,
              isAlone: false,
              state: "running",
              missed: 0,
              acceptedAtHeartbeat: 0,
              cancelSentMs: null,
              isCancelAcknowledged: false,
              hasProgress: false,
              accepted: null,
              reporting: null,
            });
            ends.push({ atMs: nowMs + runMs, id });
          }
        }
        expect.unreachable("the large job never started");
      },
    ),
    { numRuns: 50 },
  );
});
