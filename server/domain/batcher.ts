import { isConnectionLost, isSerialisation } from "../store/connection-errors.ts";
import { DomainError, overloaded, unavailable } from "./errors.ts";

/** What became of one item of several: its answer, or why it has none. */
export type Settled<R> = { readonly value: R } | { readonly error: unknown };

/** Items that were added together: answered together, flushed and bisected one by one. */
interface Group<R> {
  readonly settled: Settled<R>[];
  left: number;
  readonly resolve: (settled: Settled<R>[]) => void;
}

/** Work that waits for its flush. */
interface Waiting<T, R> {
  readonly item: T;
  readonly weight: number;
  readonly group: Group<R>;
  readonly index: number;
}

/** How a batcher flushes. */
export interface BatcherOptions<T, R> {
  /** Weight that one flush takes at most; a heavier single item goes alone. */
  readonly maxWeight: number;
  /**
   * The same while more than one org is about: the least that one waits for is a flush of another. Default an eighth
   * of `maxWeight`.
   */
  readonly sharedWeight?: number;
  /** Flushes of one org at once; one while others are about, and one more in all, so that a newcomer finds a place. */
  readonly maxInFlight: number;
  /** Weight of an org that gets another flush beside one in flight, unless that one is slow. Default 0: any. */
  readonly leastMoreWeight?: number;
  /** Milliseconds of a steady clock. Default: this process's own. */
  readonly nowMs?: () => number;
  /** Weight that may wait for one org; more is refused. */
  readonly maxQueuedWeight: number;
  /** Weight of an item. Default 1. */
  readonly weigh?: (item: T) => number;
  /** Commits the items of one org and answers each, in their order. */
  readonly flush: (orgId: string, items: readonly T[]) => Promise<readonly R[]>;
}

/** What waits of one org. */
interface OrgQueue<T, R> {
  items: Waiting<T, R>[];
  weight: number;
  /** Weight that it may flush by now: what a turn adds, and a flush takes. */
  credit: number;
}

/** For how long an org is about after it added something, in milliseconds. */
const aboutMs = 1_000;

/** A flush that has lasted for so many milliseconds waits for something: little goes past it, too. */
const slowMs = 250;

/**
 * Natural batching: an item is flushed at once when nothing is in flight, and
 * collected with others while something is. Orgs take turns by deficit
 * round-robin: a turn adds the same to each, and who wants to flush more at
 * once than it has saved up waits for its next turn. A flush that
 * fails for its data is bisected until the bad item stands alone; one that
 * the database chose to give way is repeated.
 */
export class Batcher<T, R> {
  readonly #options: BatcherOptions<T, R>;
  readonly #queues = new Map<string, OrgQueue<T, R>>();
  /** When each org last added something; those that are no longer about are left out now and then. */
  readonly #seenMs = new Map<string, number>();
  #inFlight = 0;
  readonly #inFlightOf = new Map<string, number>();
  /** When each org that has flushes in flight began the latest. */
  readonly #begunMs = new Map<string, number>();
  #isScheduled = false;
  #idle: (() => void)[] = [];

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options;
  }

  /** Resolves with the item's answer after commit. Rejects with RESOURCE_EXHAUSTED when the org's queue is full. */
  async add(orgId: string, item: T): Promise<R> {
    const [settled] = await this.addAll(orgId, [item]);
    if (!settled) throw new Error("one item in, one answer out");
    if ("error" in settled) throw settled.error;
    return settled.value;
  }

  /** Resolves with what became of each item, in their order, when all are committed or refused. Never rejects. */
  addAll(orgId: string, items: readonly T[]): Promise<Settled<R>[]> {
    if (items.length === 0) return Promise.resolve([]);
    const weigh = this.#options.weigh;
    const weight = weigh ? items.reduce((sum, item) => sum + weigh(item), 0) : items.length;
    let queue = this.#queues.get(orgId);
    if (!queue) {
      queue = { items: [], weight: 0, credit: 0 };
      this.#queues.set(orgId, queue);
    }
    this.#seenMs.set(orgId, this.#nowMs());
    if (queue.weight > 0 && queue.weight + weight > this.#options.maxQueuedWeight) {
      const error = overloaded(1_000);
      return Promise.resolve(items.map(() => ({ error })));
    }
    queue.weight += weight;
    const waiting = queue.items;
    return new Promise((resolve) => {
      const group: Group<R> = { settled: new Array(items.length), left: items.length, resolve };
      for (const [index, item] of items.entries()) {
        waiting.push({ item, weight: weigh ? weigh(item) : 1, group, index });
      }
      this.#schedule();
    });
  }

  /** Resolves when nothing waits and nothing is in flight. */
  async drain(): Promise<void> {
    while (this.#inFlight > 0 || this.#queues.size > 0) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  // What the present turn of the event loop brings goes together.
  #schedule(): void {
    if (this.#isScheduled || this.#queues.size === 0) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#start();
    });
  }

  #start(): void {
    const isShared = this.#isShared();
    const { maxInFlight, maxWeight, sharedWeight = Math.ceil(maxWeight / 8) } = this.#options;
    const most = isShared ? maxInFlight + 1 : maxInFlight;
    const mostOfOrg = isShared ? 1 : maxInFlight;
    // Who had a turn and saves up has no other before somebody else had one.
    const saving = new Set<string>();
    while (this.#inFlight < most) {
      if (this.#inFlight === 0 && saving.size === this.#queues.size) saving.clear();
      const next = first(this.#queues, ([orgId, { weight }]) => {
        const inFlight = this.#inFlightOf.get(orgId) ?? 0;
        return !saving.has(orgId) && inFlight < (this.#isWorthwhile(orgId, weight) ? mostOfOrg : 1);
      });
      if (!next) return;
      const [orgId, queue] = next;
      // Its turn: it goes to the end of the line with what it leaves.
      this.#queues.delete(orgId);
      const isOnly = this.#queues.size === 0;
      queue.credit += isShared ? sharedWeight : maxWeight;
      const taken = take(queue, isOnly);
      if (queue.items.length > 0) this.#queues.set(orgId, queue);
      if (taken.length === 0) {
        saving.add(orgId);
        continue;
      }
      this.#count(orgId, 1);
      this.#begunMs.set(orgId, this.#nowMs());
      void this.#flush(orgId, taken).finally(() => {
        this.#count(orgId, -1);
        this.#schedule();
        if (this.#inFlight === 0 && this.#queues.size === 0) {
          for (const resolve of this.#idle.splice(0)) resolve();
        }
      });
    }
  }

  #count(orgId: string, more: 1 | -1): void {
    this.#inFlight += more;
    const own = (this.#inFlightOf.get(orgId) ?? 0) + more;
    if (own > 0) this.#inFlightOf.set(orgId, own);
    else {
      this.#inFlightOf.delete(orgId);
      this.#begunMs.delete(orgId);
    }
  }

  #isWorthwhile(orgId: string, weight: number): boolean {
    if (weight >= (this.#options.leastMoreWeight ?? 0)) return true;
    return this.#nowMs() - (this.#begunMs.get(orgId) ?? 0) >= slowMs;
  }

  #nowMs(): number {
    return this.#options.nowMs?.() ?? performance.now();
  }

  // Others are about: nobody does much at once, so that none waits long for the rest.
  #isShared(): boolean {
    if (this.#seenMs.size > 1) {
      const sinceMs = this.#nowMs() - aboutMs;
      for (const [orgId, seenMs] of this.#seenMs) if (seenMs < sinceMs) this.#seenMs.delete(orgId);
    }
    return this.#seenMs.size > 1 || this.#queues.size > 1;
  }

  async #flush(orgId: string, waiting: readonly Waiting<T, R>[], attempt = 1): Promise<void> {
    const items = waiting.map((one) => one.item);
    try {
      const results = await this.#options.flush(orgId, items);
      for (const [index, one] of waiting.entries()) settle(one, { value: resultAt(results, index) });
    } catch (error) {
      if (isSerialisation(error) && attempt < 5) return this.#flush(orgId, waiting, attempt + 1);
      const isOfData = !(error instanceof DomainError) && !isConnectionLost(error);
      if (waiting.length > 1 && isOfData) {
        const middle = waiting.length >> 1;
        await this.#flush(orgId, waiting.slice(0, middle));
        return this.#flush(orgId, waiting.slice(middle));
      }
      const reason = isConnectionLost(error) ? unavailable("DATABASE_UNAVAILABLE", 1_000, error) : error;
      for (const one of waiting) settle(one, { error: reason });
    }
  }
}

function first<T>(items: Iterable<T>, is: (item: T) => boolean): T | undefined {
  for (const item of items) if (is(item)) return item;
  return undefined;
}

// Takes what the credit allows; at least one item when nobody else waits. What is empty saves nothing up.
function take<T, R>(queue: OrgQueue<T, R>, isOnly: boolean): Waiting<T, R>[] {
  let count = 0;
  for (const { weight } of queue.items) {
    if (weight > queue.credit && !(isOnly && count === 0)) break;
    queue.credit = Math.max(0, queue.credit - weight);
    queue.weight -= weight;
    count++;
    if (queue.credit === 0) break;
  }
  const taken = queue.items.slice(0, count);
  queue.items = queue.items.slice(count);
  if (queue.items.length === 0) queue.credit = 0;
  return taken;
}

function settle<T, R>({ group, index }: Waiting<T, R>, settled: Settled<R>): void {
  group.settled[index] = settled;
  group.left--;
  if (group.left === 0) group.resolve(group.settled);
}

function resultAt<R>(results: readonly R[], index: number): R {
  if (index >= results.length) throw new Error("a flush answered fewer items than it took");
  return results[index] as R;
}
