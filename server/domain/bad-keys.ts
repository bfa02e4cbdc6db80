import { DomainError, overloaded } from "./errors.ts";

/** How fast keys may be guessed. */
export interface BadKeyOptions {
  /** So many keys that are not valid may come from an address, and for the id of a key, in a minute. */
  readonly perMinute: number;
  /** A clock that never goes back. */
  readonly nowMs: () => number;
  /** Addresses and ids that are remembered at most. Default 20,000. */
  readonly maxEntries?: number;
}

/**
 * Limits how often the database is asked for keys that are not valid, by who asks and by what is asked for. Lookups
 * under way count as if they were to fail: so many at a time, and the others wait for what comes of them. A lookup
 * that finds its key gives its place back, so however many workers come back from one address, none is refused.
 *
 * A key that was valid here before is looked up whatever others guess.
 */
export class BadKeys {
  readonly #options: Required<BadKeyOptions>;
  readonly #places = new Map<string, Places>();
  readonly #trusted = new Set<string>();

  constructor(options: BadKeyOptions) {
    this.#options = { maxEntries: 20_000, ...options };
  }

  /**
   * Looks a key up, where `names` have not failed too often; else RATE_LIMITED with the time to come again. `digest`
   * stands for the key.
   */
  async lookUp<T>(digest: string, names: readonly string[], find: () => Promise<T>): Promise<T> {
    const isTrusted = this.#trusted.delete(digest);
    const held: Places[] = [];
    let isBad = false;
    try {
      for (const name of isTrusted ? [] : names) {
        const places = this.#of(name);
        await places.take();
        held.push(places);
      }
      const value = await find();
      this.#trust(digest);
      return value;
    } catch (error) {
      isBad = error instanceof DomainError && error.code === "unauthenticated";
      if (isTrusted && !isBad) this.#trust(digest);
      throw error;
    } finally {
      for (const places of held) places.giveBack(isBad);
    }
  }

  /** Addresses and ids that are remembered. */
  get size(): number {
    return this.#places.size;
  }

  #trust(digest: string): void {
    this.#trusted.add(digest);
    const [oldest] = this.#trusted;
    if (this.#trusted.size > this.#options.maxEntries && oldest !== undefined) this.#trusted.delete(oldest);
  }

  #of(name: string): Places {
    const known = this.#places.get(name) ?? new Places(this.#options);
    // The one that was asked for least lately goes first; one in use stays.
    this.#places.delete(name);
    this.#places.set(name, known);
    if (this.#places.size > this.#options.maxEntries) {
      for (const [other, places] of this.#places) {
        if (places.isInUse || other === name) continue;
        this.#places.delete(other);
        break;
      }
    }
    return known;
  }
}

/** Who may wait for a place at once; more are told to come again. */
const maxWaiting = 20_000;

class Places {
  readonly #perMinute: number;
  readonly #nowMs: () => number;
  readonly #waiting: (() => void)[] = [];
  #left: number;
  #taken = 0;
  #filledMs: number;

  constructor({ perMinute, nowMs }: BadKeyOptions) {
    this.#perMinute = perMinute;
    this.#nowMs = nowMs;
    this.#left = perMinute;
    this.#filledMs = nowMs();
  }

  async take(): Promise<void> {
    for (;;) {
      this.#fill();
      if (this.#left < 1) throw overloaded(this.#untilNextMs(), "RATE_LIMITED");
      if (this.#left - this.#taken >= 1) break;
      if (this.#waiting.length >= maxWaiting) throw overloaded(1_000, "RATE_LIMITED");
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#taken++;
  }

  giveBack(isBad: boolean): void {
    this.#taken--;
    if (isBad) this.#left = Math.max(0, this.#left - 1);
    // All look again when there is nothing left to wait for.
    const woken = this.#left < 1 ? this.#waiting.length : 1;
    for (const wake of this.#waiting.splice(0, woken)) wake();
  }

  get isInUse(): boolean {
    return this.#taken > 0 || this.#waiting.length > 0;
  }

  #fill(): void {
    const now = this.#nowMs();
    this.#left = Math.min(this.#perMinute, this.#left + ((now - this.#filledMs) * this.#perMinute) / 60_000);
    this.#filledMs = now;
  }

  #untilNextMs(): number {
    return Math.ceil(((1 - this.#left) * 60_000) / this.#perMinute);
  }
}
