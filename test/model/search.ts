import { isLeased, isTerminal } from "../../server/domain/rules/states.ts";
import {
  freshJob,
  type Index,
  type JobMove,
  type JobPart,
  jobMoves,
  productionRules,
  type Rules,
  type Violation,
  withoutRun,
  withoutSender,
} from "./small-world.ts";

/*
 * A breadth-first search of the whole small world. A state is one number: two
 * jobs, two links and the gate of a queue. States that differ only by the names
 * of jobs, workers or coordinators are one.
 */

/** What a search is asked. */
export interface SearchOptions {
  readonly rules?: Partial<Rules>;
  /** How many leases the one queue may have at once. */
  readonly queueLimit?: number;
  /** Report this promise alone. */
  readonly only?: Violation["promise"];
}

/** What it found. */
export interface Found {
  readonly states: number;
  readonly transitions: number;
  /** The first violation, by a shortest way. */
  readonly violation: (Violation & { readonly trace: readonly string[] }) | null;
  /** States from which no run of undisturbed steps ends both jobs; 0 when none was searched. */
  readonly stuck: number;
}

type Emit = (raw: number, label: string, isPlain: boolean, violation: Violation | null) => void;

const jobLimit = 4_096;
const links = 48;
/** Leases that the capacity of a worker allows. */
const capacity = 1;
/** No coordinator. */
const nobody = 2;

/** Searches all that can be reached. */
export function searchWorld({ rules, queueLimit = 2, only }: SearchOptions = {}): Found {
  const world = new World({ ...productionRules, ...rules }, queueLimit);
  const seen = new Map<number, number>();
  const keys: number[] = [];
  const parents: number[] = [];
  const visit = (raw: number, from: number) => {
    const key = world.canonical(raw);
    if (seen.has(key)) return;
    seen.set(key, keys.length);
    keys.push(key);
    parents.push(from);
  };
  const isSought = (violation: Violation | null) =>
    violation !== null && (only === undefined || violation.promise === only);
  let transitions = 0;
  visit(world.start(), -1);
  for (let at = 0; at < keys.length; at++) {
    let isBroken = false;
    world.successors(keys[at] ?? 0, (raw, _label, _isPlain, violation) => {
      transitions++;
      isBroken ||= isSought(violation);
      visit(raw, at);
    });
    if (!isBroken) continue;
    const way: number[] = [];
    for (let state = at; state > 0; state = parents[state] ?? 0) way.unshift(keys[state] ?? 0);
    return { states: keys.length, transitions, stuck: 0, violation: retrace(world, way, isSought) };
  }
  return { states: keys.length, transitions, stuck: countStuck(world, keys, seen), violation: null };
}

// Goes the way again with the names kept from step to step.
function retrace(
  world: World,
  way: readonly number[],
  isSought: (violation: Violation | null) => boolean,
): Found["violation"] {
  const trace: string[] = [];
  let raw = world.start();
  for (const key of way) {
    let step: { raw: number; label: string } | undefined;
    world.successors(raw, (next, label) => {
      if (world.canonical(next) === key) step ??= { raw: next, label };
    });
    if (!step) throw new Error("a state was reached that cannot be");
    raw = step.raw;
    trace.push(step.label);
  }
  let found: Found["violation"] = null;
  world.successors(raw, (_next, label, _isPlain, violation) => {
    if (violation && isSought(violation)) found ??= { ...violation, trace: [...trace, label] };
  });
  return found;
}

// Backwards from the states in which both jobs have ended, along undisturbed steps, until nothing is added.
function countStuck(world: World, keys: readonly number[], seen: ReadonlyMap<number, number>): number {
  const ends = new Uint8Array(keys.length);
  let left = keys.length;
  for (let before = -1; left !== before; ) {
    before = left;
    for (let at = keys.length - 1; at >= 0; at--) {
      if (ends[at]) continue;
      const key = keys[at] ?? 0;
      let isEnding = world.hasEnded(key);
      if (!isEnding) {
        world.successors(key, (next, _, isPlain) => {
          isEnding ||= isPlain && ends[seen.get(world.canonical(next)) ?? at] === 1;
        });
      }
      if (!isEnding) continue;
      ends[at] = 1;
      left--;
    }
  }
  return left;
}

class World {
  readonly #rules: Rules;
  readonly #queueLimit: number;
  readonly #parts: JobPart[] = [];
  readonly #codes = new Map<string, number>();
  readonly #moves: (readonly (JobMove & { readonly code: number })[])[] = [];
  readonly #mirrored: number[] = [];

  constructor(rules: Rules, queueLimit: number) {
    this.#rules = rules;
    this.#queueLimit = queueLimit;
  }

  start(): number {
    const job = this.#code(freshJob);
    const link = linkOf(nobody, 0, 0);
    return pack(job, job, link, link, 0);
  }

  hasEnded(key: number): boolean {
    const [a, b] = this.#jobsOf(key);
    return isTerminal(this.#part(a).state) && isTerminal(this.#part(b).state);
  }

  successors(key: number, emit: Emit): void {
    const jobs = this.#jobsOf(key);
    const both = this.#linksOf(key);
    const used = key % 3;
    for (const job of [0, 1] as const) this.#moveJob(job, jobs, both, used, emit);
    for (const worker of [0, 1] as const) this.#moveLink(worker, jobs, both, used, emit);
    for (const coordinator of [0, 1] as const) this.#crash(coordinator, jobs, both, used, emit);
  }

  #moveJob(
    job: Index,
    jobs: readonly [number, number],
    both: readonly [number, number],
    used: number,
    emit: Emit,
  ): void {
    const before = this.#part(jobs[job]);
    for (const move of this.#movesOf(jobs[job])) {
      const worker = move.claimedFor ?? before.worker;
      const taken = Number(isLeased(move.to.state)) - Number(isLeased(before.state));
      const next = with2(jobs, job, move.code);
      const go = (after: readonly [number, number], isPlain: boolean, label = move.label) => {
        const violation = move.violation ?? this.#overfull(next, used + taken);
        emit(pack(...next, ...after, used + taken), `job ${job}: ${label}`, isPlain, violation);
      };
      if (worker === null || (move.claimedFor === null && !move.byHolder)) {
        go(both, move.isPlain);
        continue;
      }
      const link = both[worker];
      const hasHolder = holderOf(link) !== nobody;
      const bit = 1 << job;
      if (move.claimedFor === null) {
        if (hasHolder)
          go(
            move.forgets ? with2(both, worker, recounted(link, countedOf(link) & ~bit)) : both,
            move.isPlain,
          );
        continue;
      }
      if (used >= this.#queueLimit) continue;
      if (hasHolder && bits(countedOf(link)) < capacity) {
        go(with2(both, worker, recounted(link, countedOf(link) | bit)), move.isPlain);
      }
      if (!this.#rules.checksEpoch && staleOf(link) !== 0) go(both, false, `${move.label} on an older link`);
    }
  }

  #moveLink(
    worker: Index,
    jobs: readonly [number, number],
    both: readonly [number, number],
    used: number,
    emit: Emit,
  ): void {
    const link = both[worker];
    const holder = holderOf(link);
    const map = (change: (part: JobPart, worker: Index) => JobPart): readonly [number, number] => [
      this.#code(change(this.#part(jobs[0]), worker)),
      this.#code(change(this.#part(jobs[1]), worker)),
    ];
    const go = (label: string, next: readonly [number, number], after: number, isPlain = false) =>
      emit(pack(...next, ...with2(both, worker, after), used), `worker ${worker}: ${label}`, isPlain, null);
    go("crashes", map(withoutRun), link);
    for (const coordinator of [0, 1] as const) {
      // A newer link wins; the older coordinator does not know it yet.
      const left = holder === nobody || holder === coordinator ? 0 : 1 << holder;
      const stale = (staleOf(link) | left) & ~(1 << coordinator);
      const isFirst = holder === nobody;
      go(
        `says hello to ${coordinator}`,
        map(withoutSender),
        linkOf(coordinator, stale, this.#held(jobs, worker)),
        isFirst,
      );
      if (staleOf(link) & (1 << coordinator)) {
        go(
          `is let go by ${coordinator}`,
          jobs,
          linkOf(holder, staleOf(link) & ~(1 << coordinator), countedOf(link)),
        );
      }
    }
    if (holder === nobody) return;
    go("loses its link", map(withoutSender), linkOf(nobody, staleOf(link), 0));
    go("is counted again", jobs, recounted(link, this.#leased(jobs, worker)), true);
  }

  // Its memory goes: the links that it had, and offers that it had not sent.
  #crash(
    coordinator: Index,
    jobs: readonly [number, number],
    both: readonly [number, number],
    used: number,
    emit: Emit,
  ): void {
    let next = jobs;
    const after = both.map((link, worker) => {
      const stale = staleOf(link) & ~(1 << coordinator);
      if (holderOf(link) !== coordinator) return linkOf(holderOf(link), stale, countedOf(link));
      const part = (code: number) => this.#code(withoutSender(this.#part(code), worker === 0 ? 0 : 1));
      next = [part(next[0]), part(next[1])];
      return linkOf(nobody, stale, 0);
    });
    emit(
      pack(...next, after[0] ?? 0, after[1] ?? 0, used),
      `coordinator ${coordinator} crashes`,
      false,
      null,
    );
  }

  // G6: by the rows, whatever anybody counts; and the gate is what the rows say.
  #overfull(jobs: readonly [number, number], used: number): Violation | null {
    const leased = [this.#leased(jobs, 0), this.#leased(jobs, 1)].map(bits);
    const total = (leased[0] ?? 0) + (leased[1] ?? 0);
    if (Math.max(...leased) > capacity)
      return { promise: "G6", what: "a worker has more leases than its capacity" };
    if (total > this.#queueLimit) return { promise: "G6", what: "a queue has more leases than its limit" };
    return total === used ? null : { promise: "G6", what: "the gate is not what the rows say" };
  }

  #leased(jobs: readonly [number, number], worker: Index): number {
    return (this.#part(jobs[0]).worker === worker ? 1 : 0) | (this.#part(jobs[1]).worker === worker ? 2 : 0);
  }

  // What a Hello makes the coordinator count: all leases of the store, or only those that the worker lists.
  #held(jobs: readonly [number, number], worker: Index): number {
    const all = this.#leased(jobs, worker);
    if (this.#rules.recountsAll) return all;
    const listed = jobs.map((code) => this.#part(code).work !== "nothing");
    return all & ((listed[0] ? 1 : 0) | (listed[1] ? 2 : 0));
  }

  #movesOf(code: number) {
    let moves = this.#moves[code];
    if (!moves) {
      moves = jobMoves(this.#part(code), this.#rules).map((move) => ({ ...move, code: this.#code(move.to) }));
      this.#moves[code] = moves;
    }
    return moves;
  }

  #part(code: number): JobPart {
    return this.#parts[code] ?? freshJob;
  }

  #code(part: JobPart): number {
    const text = JSON.stringify(Object.values(part));
    const known = this.#codes.get(text);
    if (known !== undefined) return known;
    const code = this.#parts.push(part) - 1;
    if (code >= jobLimit) throw new Error("the jobs of this world are too many to number");
    this.#codes.set(text, code);
    return code;
  }

  // The same job with the workers' names exchanged.
  #mirror(code: number): number {
    let mirrored = this.#mirrored[code];
    if (mirrored === undefined) {
      const part = this.#part(code);
      const over = part.over.map((one) => `${1 - Number(one[0])}${one.slice(1)}`).sort();
      mirrored = this.#code({
        ...part,
        worker: part.worker === null ? null : part.worker === 0 ? 1 : 0,
        over,
      });
      this.#mirrored[code] = mirrored;
    }
    return mirrored;
  }

  #jobsOf(key: number): readonly [number, number] {
    const jobs = Math.floor(key / (3 * links * links));
    return [Math.floor(jobs / jobLimit), jobs % jobLimit];
  }

  #linksOf(key: number): readonly [number, number] {
    const both = Math.floor(key / 3);
    return [Math.floor(both / links) % links, both % links];
  }

  /** The least of the eight numbers that a state has by the names of its jobs, workers and coordinators. */
  canonical(raw: number): number {
    const [a, b] = this.#jobsOf(raw);
    const both = this.#linksOf(raw);
    const used = raw % 3;
    const [ma, mb] = [this.#mirror(a), this.#mirror(b)];
    let least = Number.POSITIVE_INFINITY;
    for (const names of [asIs, otherCoordinators]) {
      const [k, l] = [names[both[0]] ?? 0, names[both[1]] ?? 0];
      const [xk, xl] = [otherJobs[k] ?? 0, otherJobs[l] ?? 0];
      const here = Math.min(pack(a, b, k, l, used), pack(b, a, xk, xl, used));
      least = Math.min(least, here, pack(ma, mb, l, k, used), pack(mb, ma, xl, xk, used));
    }
    return least;
  }
}

function pack(a: number, b: number, first: number, second: number, used: number): number {
  return (((a * jobLimit + b) * links + first) * links + second) * 3 + used;
}

// A link: the coordinator that has it, those that still think so (bits), the jobs that its holder counts (bits).
function linkOf(holder: number, stale: number, counted: number): number {
  return (holder * 4 + stale) * 4 + counted;
}
function holderOf(link: number): number {
  return link >> 4;
}
function staleOf(link: number): number {
  return (link >> 2) & 3;
}
function countedOf(link: number): number {
  return link & 3;
}
function recounted(link: number, counted: number): number {
  return (link & ~3) | counted;
}

const asIs = Array.from({ length: links }, (_, link) => link);
const otherJobs = asIs.map((link) => recounted(link, exchanged(countedOf(link))));
const otherCoordinators = asIs.map((link) => {
  const holder = holderOf(link) === nobody ? nobody : 1 - holderOf(link);
  return linkOf(holder, exchanged(staleOf(link)), countedOf(link));
});

function exchanged(two: number): number {
  return ((two & 1) << 1) | (two >> 1);
}

function bits(two: number): number {
  return (two & 1) + (two >> 1);
}

function with2(two: readonly [number, number], index: Index, value: number): readonly [number, number] {
  return index === 0 ? [value, two[1]] : [two[0], value];
}
