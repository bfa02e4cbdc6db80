import { DomainError, overloaded } from "./errors.ts";

/** Whose failures are counted: an account, or an address. */
export interface BrakeName {
  readonly name: string;
  /** So many failures cost nothing. */
  readonly free: number;
}

interface Failures {
  count: number;
  running: number;
  /** Since when `count` is so. */
  sinceMs: number;
  /** Until when nobody may try. */
  closedUntilMs: number;
}

const longestDelayMs = 15 * 60_000;
/** One failure is forgiven in so long. */
const forgiveMs = 5 * 60_000;

/**
 * Slows guessing: after so many failures each further one closes the name for twice as long, from a second to 15 min;
 * RATE_LIMITED meanwhile, with the time to come again, before anything is looked up. Tries under way count as failures,
 * so many at once are no way around it. Whoever has logged in to an account from an address before is not kept out of
 * it by what others try elsewhere. Bounded; each coordinator counts for itself.
 */
export class LoginBrake {
  readonly #nowMs: () => number;
  readonly #maxEntries: number;
  readonly #names = new Map<string, Failures>();
  readonly #trusted = new Set<string>();

  constructor({
    nowMs,
    maxEntries = 20_000,
  }: { readonly nowMs: () => number; readonly maxEntries?: number }) {
    this.#nowMs = nowMs;
    this.#maxEntries = maxEntries;
  }

  /** Tries something; a failure is an error of the code unauthenticated or not_found. */
  async attempt<T>(names: readonly BrakeName[], body: () => Promise<T>): Promise<T> {
    const taken: Failures[] = [];
    let isBad = false;
    try {
      for (const one of names) taken.push(this.#take(one));
      return await body();
    } catch (error) {
      isBad = error instanceof DomainError && ["unauthenticated", "not_found"].includes(error.code);
      throw error;
    } finally {
      for (const [n, failures] of taken.entries()) this.#giveBack(failures, isBad, names[n]?.free ?? 0);
    }
  }

  /** A login to an account, from an address. */
  async login<T>(
    { account, address }: { readonly account: string; readonly address: string },
    body: () => Promise<T>,
  ): Promise<T> {
    const pair = `${address} ${account}`;
    const names = [
      ...(address === "" ? [] : [{ name: `address ${address}`, free: 20 }]),
      { name: this.#trusted.has(pair) ? `trusted ${pair}` : `account ${account}`, free: 5 },
    ];
    const value = await this.attempt(names, body);
    this.#names.delete(names.at(-1)?.name ?? "");
    this.#trusted.delete(pair);
    if (address !== "") this.#trusted.add(pair);
    const [oldest] = this.#trusted;
    if (this.#trusted.size > this.#maxEntries && oldest !== undefined) this.#trusted.delete(oldest);
    return value;
  }

  /** Names that are remembered. */
  get size(): number {
    return this.#names.size;
  }

  #take({ name, free }: BrakeName): Failures {
    const now = this.#nowMs();
    const failures = this.#of(name, now);
    if (failures.closedUntilMs > now) throw overloaded(failures.closedUntilMs - now, "RATE_LIMITED");
    if (failures.running > 0 && failures.count + failures.running >= free) {
      throw overloaded(1_000, "RATE_LIMITED");
    }
    failures.running++;
    return failures;
  }

  #giveBack(failures: Failures, isBad: boolean, free: number): void {
    failures.running--;
    if (!isBad) return;
    const now = this.#nowMs();
    failures.count++;
    failures.sinceMs = now;
    if (failures.count < free) return;
    const delayMs = Math.min(longestDelayMs, 1_000 * 2 ** Math.min(20, failures.count - free));
    failures.closedUntilMs = now + delayMs;
  }

  #of(name: string, now: number): Failures {
    const known = this.#names.get(name) ?? { count: 0, running: 0, sinceMs: now, closedUntilMs: 0 };
    const forgiven = Math.floor((now - known.sinceMs) / forgiveMs);
    if (forgiven > 0) {
      known.count = Math.max(0, known.count - forgiven);
      known.sinceMs += forgiven * forgiveMs;
    }
    // The one that was tried least lately goes first; one in use stays.
    this.#names.delete(name);
    this.#names.set(name, known);
    if (this.#names.size > this.#maxEntries) {
      for (const [other, failures] of this.#names) {
        if (failures.running > 0 || other === name) continue;
        this.#names.delete(other);
        break;
      }
    }
    return known;
  }
}
