import { type Head, inOrder, ReadyLine } from "../../server/dispatch/lines.ts";
import { type Held, Link, type LinkPort } from "../../server/dispatch/link.ts";
import { assign, candidates, keepFree, type ServedLine } from "../../server/dispatch/matcher.ts";
import { type InternedShape, internShape } from "../../server/domain/rules/shapes.ts";
import type { Random } from "../chaos/random.ts";

/*
 * A fleet and a backlog in time that is only counted: how well does the matcher, which sees the heads of its lines,
 * deals at most 1,000 jobs a round and waits for each claim, use the fleet, compared with a greedy oracle that sees
 * everything and deals at once? Both keep to the order of the jobs.
 */

/** A fleet and its work. */
export interface Scenario {
  readonly workers: number;
  readonly jobs: number;
  readonly shapes: number;
  /** What a claim takes. */
  readonly claimMs: number;
}

/** How one of the two did. */
export interface Outcome {
  /** Points in use ÷ points of the fleet, over the time in which there was a backlog. */
  readonly pointsUsed: number;
  /** The same of slots. */
  readonly slotsUsed: number;
  /** When the last job ended, in seconds. */
  readonly seconds: number;
  readonly rounds: number;
}

/** Both, and their ratio. */
export interface Comparison {
  readonly matcher: Outcome;
  readonly oracle: Outcome;
  /** Use of the slots by the matcher ÷ by the oracle. */
  readonly ratio: number;
}

interface Job extends Head {
  readonly shape: InternedShape;
  readonly runMs: number;
}

interface Fleet {
  readonly links: readonly Link[];
  readonly slots: number;
  readonly points: number;
}

const port: LinkPort = { offer: () => {}, cancel: () => {}, command: () => {}, goAway: () => {} };
const skillNames = Array.from({ length: 10 }, (_, n) => `skill-${n}`);
const roundJobs = 1_000;

/** Runs a scenario twice, with equal fleets and jobs. */
export function simulate(scenario: Scenario, random: () => Random): Comparison {
  const jobs = jobsOf(scenario, random());
  const horizonMs = (outcome: readonly number[]) => outcome[Math.floor(outcome.length * 0.9)] ?? 0;
  const first = run(jobs, fleetOf(scenario, random()), (world) => greedy(world));
  const second = run(jobs, fleetOf(scenario, random()), (world) => rounds(world, scenario.claimMs));
  // Until nine tenths have begun with either: afterwards there is too little of a backlog to compare.
  const untilMs = Math.min(horizonMs(first.starts), horizonMs(second.starts));
  const oracle = { ...first.outcome(untilMs), rounds: first.rounds };
  const matcher = { ...second.outcome(untilMs), rounds: second.rounds };
  return { matcher, oracle, ratio: matcher.slotsUsed / oracle.slotsUsed };
}

function jobsOf({ jobs, shapes }: Scenario, random: Random): Job[] {
  const made = Array.from({ length: shapes }, (_, n) =>
    internShape({
      kind: "simulated",
      queue: `queue-${n}`,
      skills: skillNames.filter(() => random.chance(0.12)).slice(0, 3),
      points: random.pick([1, 1, 1, 2, 2, 4, 8]),
      pool: null,
      project: null,
      target: null,
      avoid: [],
      isAlone: false,
    }),
  );
  return Array.from({ length: jobs }, (_, n) => ({
    jobId: String(n).padStart(9, "0"),
    shape: random.pick(made),
    priority: random.pick([64, 128, 128, 128, 192]),
    readyAt: n,
    ageMs: 0,
    runMs: 1_000 + Math.floor(-Math.log(1 - random.next()) * 9_000),
  }));
}

function fleetOf({ workers }: Scenario, random: Random): Fleet {
  const links = Array.from({ length: workers }, (_, n) => {
    const slots = random.pick([1, 2, 4, 8, 16]);
    return new Link({
      orgId: "org",
      workerId: `w${n}`,
      workerName: `w${n}`,
      linkEpoch: 1,
      skills: skillNames.filter(() => random.chance(0.6)),
      kinds: ["simulated"],
      slots,
      points: 8 + 2 * slots,
      port,
      isDraining: false,
      nowMs: 0,
    });
  });
  const sum = (of: (link: Link) => number) => links.reduce((total, link) => total + of(link), 0);
  return { links, slots: sum((link) => link.slots), points: sum((link) => link.points) };
}

/** Time, the jobs that wait, and what runs. */
interface World {
  readonly fleet: Fleet;
  readonly queues: Map<bigint, Job[]>;
  nowMs: number;
  start(job: Job, link: Link): void;
  /** Goes on to the next end of a job, not beyond a time; true when there was one. */
  step(untilMs: number): Link | null;
  readonly isIdle: boolean;
}

function run(jobs: readonly Job[], fleet: Fleet, drive: (world: World) => number) {
  const ends: { atMs: number; link: Link; id: string }[] = [];
  const spans: { fromMs: number; toMs: number; points: number }[] = [];
  const world: World = {
    fleet,
    queues: queuesOf(jobs),
    nowMs: 0,
    get isIdle() {
      return ends.length === 0;
    },
    start(job, link) {
      link.hold(heldOf(job, link));
      spans.push({ fromMs: world.nowMs, toMs: world.nowMs + job.runMs, points: job.shape.points });
      insert(ends, { atMs: world.nowMs + job.runMs, link, id: job.jobId });
    },
    step(untilMs) {
      const next = ends.at(-1);
      if (!next || next.atMs > untilMs) return null;
      ends.pop();
      world.nowMs = Math.max(world.nowMs, next.atMs);
      next.link.drop(next.id);
      return next.link;
    },
  };
  const count = drive(world);
  return {
    rounds: count,
    starts: spans.map((span) => span.fromMs).sort((a, b) => a - b),
    outcome(untilMs: number): Omit<Outcome, "rounds"> {
      const within = spans.map(({ fromMs, toMs, points }) => ({
        ms: Math.max(0, Math.min(toMs, untilMs) - fromMs),
        points,
      }));
      return {
        slotsUsed: within.reduce((sum, { ms }) => sum + ms, 0) / (fleet.slots * untilMs),
        pointsUsed: within.reduce((sum, { ms, points }) => sum + ms * points, 0) / (fleet.points * untilMs),
        seconds: spans.reduce((last, { toMs }) => Math.max(last, toMs), 0) / 1_000,
      };
    },
  };
}

// The oracle: whatever link has room takes the first job in order that fits there.
function greedy(world: World): number {
  const { fleet, queues } = world;
  const served = new Map(
    fleet.links.map((link) => [
      link,
      [...queues.values()].filter(([job]) => job && candidates(job.shape, [link]).length > 0),
    ]),
  );
  const takeFirst = (link: Link): boolean => {
    let best: Job[] | undefined;
    for (const queue of served.get(link) ?? []) {
      const [head] = queue;
      if (!head || !link.fits(head.shape)) continue;
      if (!best?.[0] || inOrder(head, best[0]) < 0) best = queue;
    }
    const job = best?.shift();
    if (job) world.start(job, link);
    return job !== undefined;
  };
  // Round after round, so that load is spread as the matcher spreads it.
  for (let links = [...fleet.links]; links.length > 0; ) links = links.filter(takeFirst);
  let count = 1;
  for (
    let freed = world.step(Number.POSITIVE_INFINITY);
    freed;
    freed = world.step(Number.POSITIVE_INFINITY)
  ) {
    while (takeFirst(freed)) {}
    count++;
  }
  return count;
}

// The matcher: rounds of peek, deal and claim, each of which takes its time.
function rounds(world: World, claimMs: number): number {
  const { fleet, queues } = world;
  const lines = new Map(
    [...queues].flatMap(([shapeId, [first]]) =>
      first ? [[shapeId, new ReadyLine(first.shape, Number.POSITIVE_INFINITY)] as const] : [],
    ),
  );
  let count = 0;
  for (;;) {
    const served = [...lines.values()].map((line): ServedLine => {
      return { line, servers: line.servers(0, () => candidates(line.shape, fleet.links)), gates: [] };
    });
    keepFree(served, fleet.links);
    const free = new Set(fleet.links.filter((link) => link.freeSlots() > 0));
    const freeSlots = [...free].reduce((sum, link) => sum + link.freeSlots(), 0);
    const servable = served.filter(({ servers }) => [...free].some((link) => servers.has(link)));
    for (const { line } of servable) {
      const asked = line.wanted(Math.min(roundJobs, freeSlots));
      if (asked === 0) continue;
      line.see(queues.get(line.shape.shapeId)?.slice(0, asked) ?? [], asked);
      if (line.heads.length === 0) lines.delete(line.shape.shapeId);
    }
    const plan = assign(servable, [...free], roundJobs);
    count++;
    const readyMs = world.nowMs + claimMs;
    while (world.step(readyMs)) {}
    world.nowMs = readyMs;
    for (const { line, slots } of plan) {
      const claimed = queues.get(line.shape.shapeId)?.splice(0, slots.length) ?? [];
      for (const link of slots) link.unreserve(line.shape);
      for (const [index, job] of claimed.entries()) {
        const link = slots[index];
        if (link) world.start(job, link);
      }
      line.claimed(new Set(claimed.map((job) => job.jobId)), claimed.length < slots.length);
      if (line.isWhole && line.heads.length === 0) lines.delete(line.shape.shapeId);
    }
    if (plan.length > 0) continue;
    if (!world.step(Number.POSITIVE_INFINITY)) return count;
  }
}

function queuesOf(jobs: readonly Job[]): Map<bigint, Job[]> {
  const queues = Map.groupBy(jobs, (job) => job.shape.shapeId);
  for (const queue of queues.values()) queue.sort(inOrder);
  return queues;
}

function heldOf({ jobId, shape }: Job, link: Link): Held {
  return {
    fence: { jobId, attempt: 1, leaseId: jobId, workerId: link.workerId },
    shape,
    points: shape.points,
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
  };
}

// Sorted with the soonest last.
function insert<T extends { readonly atMs: number }>(ends: T[], end: T): void {
  let [low, high] = [0, ends.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ends[middle]?.atMs ?? 0) > end.atMs) low = middle + 1;
    else high = middle;
  }
  ends.splice(low, 0, end);
}
