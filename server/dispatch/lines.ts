import type { Row } from "postgres";
import type { InternedShape } from "../domain/rules/shapes.ts";
import type { Link } from "./link.ts";

/** A ready job, as peeked: not locked, perhaps gone by now. */
export interface Head {
  readonly jobId: string;
  readonly priority: number;
  /** Seconds since 1970, by the database's clock. */
  readonly readyAt: number;
  /** For how long it was ready when it was peeked. */
  readonly ageMs: number;
}

/** News of ready jobs of a shape. */
export interface ReadyNews {
  readonly shape: InternedShape;
  /** How many; infinite: not known. */
  readonly count: number;
  /** The highest priority among them, when all of them join the end of their line; absent: they may be anywhere. */
  readonly priority?: number;
}

/** Heads that a look asks for at least and at most. */
const leastPeeked = 32;
const mostPeeked = 500;

/** Jobs that a claim takes at least of a line that is deep. */
const leastDeep = 64;

/** Heads that are enough for a line from which few are taken. */
const fewHeads = 4;

/**
 * What dispatch knows of the ready jobs of one shape: a hint, made right by
 * the claim and by the poll. It keeps the first heads that it saw, so that
 * lines can be merged in order without asking for each of them every time.
 */
export class ReadyLine {
  readonly shape: InternedShape;
  /** How many jobs a claim that did not peek asks for at most, so that one new job does not lock a hundred links. */
  expected: number;
  /** Grows with each piece of news, so that a claim that found nothing does not forget what came meanwhile. */
  news = 0;
  /** The news that were known when the claim under way was planned. */
  newsAtClaim = 0;
  /** In order; the first is the next to go. */
  heads: Head[] = [];
  /** There are no others behind the heads. */
  isWhole = false;
  /** The last claim took many, and got as many as it asked for: there are likely more than workers are free. */
  isDeep = false;
  /** Jobs that the last round took which took any. */
  #taken = 0;
  /** So many were told of or seen, and not claimed since. */
  #known: number;
  /** Grows when what was seen may be out of order. */
  disorder = 0;
  #servers: ReadonlySet<Link> = new Set();
  #serversOf = -1;

  constructor(shape: InternedShape, count: number) {
    this.shape = shape;
    this.expected = count;
    this.#known = Number.isFinite(count) ? count : 1;
  }

  /** Takes news. Jobs that join the end of the line change nothing of what was seen. */
  hear({ count, priority }: ReadyNews): void {
    this.expected += count;
    this.#known = Number.isFinite(count) ? this.#known + count : Math.max(this.#known, 1);
    this.news++;
    this.isWhole = false;
    const last = this.heads.at(-1);
    const isBehind = priority !== undefined && (last === undefined || priority <= last.priority);
    if (!isBehind) this.forget();
  }

  /** What was seen may be out of order: look again. */
  forget(): void {
    this.heads = [];
    this.isWhole = false;
    this.disorder++;
  }

  /** Takes what a look showed that asked for `asked` heads. */
  see(heads: Head[], asked: number): void {
    this.heads = heads;
    this.isWhole = heads.length < asked;
    this.#known = this.isWhole ? heads.length : Math.max(this.#known, heads.length);
  }

  /**
   * How many heads to look at before `demand` jobs are dealt; 0: what was seen is enough, for a round like the last
   * one. A line whose heads run out ends the round.
   */
  wanted(demand: number): number {
    if (this.isWhole || this.heads.length >= Math.min(demand, Math.max(fewHeads, 2 * this.#taken))) return 0;
    return Math.min(mostPeeked, Math.max(leastPeeked, 4 * this.#taken));
  }

  /**
   * Takes claimed jobs out of what was seen; `isShort`: fewer than asked for, so that others take from the line too.
   * True when it is short of jobs that were known to be there.
   */
  claimed(jobIds: ReadonlySet<string>, isShort: boolean): boolean {
    if (jobIds.size > 0) this.#taken = jobIds.size;
    this.isDeep = !isShort && jobIds.size >= leastDeep;
    this.#known = Math.max(0, this.#known - jobIds.size);
    if (!isShort) {
      this.heads = this.heads.filter((head) => !jobIds.has(head.jobId));
      return false;
    }
    this.forget();
    // What came meanwhile is claimed next.
    if (this.news !== this.newsAtClaim) return false;
    const isMissing = this.#known > 0;
    this.#known = 0;
    return isMissing;
  }

  /** The links that may run the shape when they are empty; kept until the fleet changes. */
  servers(version: number, find: () => Iterable<Link>): ReadonlySet<Link> {
    if (this.#serversOf !== version) {
      this.#servers = new Set(find());
      this.#serversOf = version;
    }
    return this.#servers;
  }
}

/** Reads a row of `peekReady`. */
export function headOf(row: Row): Head {
  return {
    jobId: String(row["job"]),
    priority: Number(row["priority"]),
    readyAt: Number(row["ready"]),
    ageMs: Number(row["age"]),
  };
}

/** The order in which the heads of all lines are served: priority, then first ready, then by id. */
export function inOrder(a: Head, b: Head): number {
  return b.priority - a.priority || a.readyAt - b.readyAt || (a.jobId < b.jobId ? -1 : 1);
}

/**
 * The heads of all lines in one order. It ends where it is no longer known:
 * behind the last head of a line that may have more. A line that was closed
 * by the caller gives no more.
 */
export function* merge<T extends { readonly line: ReadyLine; isClosed: boolean }>(
  lanes: readonly T[],
): Generator<{ readonly lane: T; readonly head: Head }> {
  const heap = new Heap<{ readonly lane: T; readonly head: Head; readonly index: number }>((a, b) =>
    inOrder(a.head, b.head),
  );
  for (const lane of lanes) {
    const [head] = lane.line.heads;
    if (head) heap.push({ lane, head, index: 0 });
  }
  for (let next = heap.pop(); next; next = heap.pop()) {
    const { lane, head, index } = next;
    if (lane.isClosed) continue;
    yield { lane, head };
    if (lane.isClosed) continue;
    const { heads, isWhole } = lane.line;
    const following = heads[index + 1];
    if (following) heap.push({ lane, head: following, index: index + 1 });
    else if (!isWhole) return;
  }
}

/** A binary heap: the least first. */
class Heap<T> {
  readonly #items: T[] = [];
  readonly #compare: (a: T, b: T) => number;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = items[above];
      if (parent === undefined || this.#compare(parent, item) <= 0) break;
      items[at] = parent;
      at = above;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const items = this.#items;
    const [first] = items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      let child = items[below];
      if (child === undefined) break;
      const right = items[below + 1];
      if (right !== undefined && this.#compare(right, child) < 0) {
        child = right;
        below++;
      }
      if (this.#compare(last, child) <= 0) break;
      items[at] = child;
      at = below;
    }
    items[at] = last;
    return first;
  }
}
