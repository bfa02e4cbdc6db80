/** Values that may be a moment old. */
export interface Cache<Value> {
  /** The value of a key: a kept one, the one that is being loaded, or a new one. */
  get(key: string, load: () => Promise<Value>): Promise<Value>;
  /** The next `get` of the key loads, also when a load is under way. */
  forget(key: string): void;
  /** The same for every key that begins so. */
  forgetAll(prefix: string): void;
}

/**
 * Makes a cache that loads a key once for all who ask at the same time, and keeps what came of it for
 * `maxAgeMs`, counted from the start of the load. Failures are not kept. When full, the oldest goes.
 */
export function createCache<Value>(options: {
  /** A number, or a function of the time that the load took. */
  readonly maxAgeMs: number | ((tookMs: number) => number);
  /**
   * Who asks for a value of this age gets it at once, and it is loaded anew meanwhile: who asks often never waits, and
   * nothing gets older than it may. A load that fails ends what is kept. Default: never.
   */
  readonly renewAfterMs?: number;
  readonly maxEntries: number;
  /** A clock that never goes back. */
  readonly nowMs: () => number;
}): Cache<Value> {
  const { maxAgeMs, renewAfterMs = Number.POSITIVE_INFINITY, maxEntries, nowMs } = options;
  const entries = new Map<string, Entry<Value>>();
  const begin = (loader: () => Promise<Value>): Entry<Value> => {
    const startedMs = nowMs();
    const entry: Entry<Value> = {
      value: loader(),
      startedMs,
      goodUntilMs: Number.POSITIVE_INFINITY,
      next: undefined,
    };
    entry.value.then(
      () => {
        const ageMs = typeof maxAgeMs === "number" ? maxAgeMs : maxAgeMs(nowMs() - startedMs);
        entry.goodUntilMs = startedMs + ageMs;
      },
      () => {},
    );
    return entry;
  };
  const load = (key: string, loader: () => Promise<Value>): Promise<Value> => {
    const entry = begin(loader);
    entries.delete(key);
    entries.set(key, entry);
    if (entries.size > maxEntries) entries.delete(entries.keys().next().value ?? key);
    entry.value.catch(() => {
      if (entries.get(key) === entry) entries.delete(key);
    });
    return entry.value;
  };
  // What was forgotten or replaced meanwhile stays so.
  const renew = (key: string, entry: Entry<Value>, loader: () => Promise<Value>): void => {
    const next = begin(loader);
    entry.next = next;
    next.value.then(
      () => {
        if (entries.get(key) === entry) entries.set(key, next);
      },
      () => {
        if (entries.get(key) === entry) entries.delete(key);
      },
    );
  };
  return {
    get(key, loader) {
      const entry = entries.get(key);
      if (entry === undefined) return load(key, loader);
      const now = nowMs();
      if (now >= entry.goodUntilMs) return entry.next?.value ?? load(key, loader);
      const isLoaded = entry.goodUntilMs !== Number.POSITIVE_INFINITY;
      if (isLoaded && entry.next === undefined && now - entry.startedMs >= renewAfterMs) {
        renew(key, entry, loader);
      }
      return entry.value;
    },
    forget(key) {
      entries.delete(key);
    },
    forgetAll(prefix) {
      for (const key of entries.keys()) if (key.startsWith(prefix)) entries.delete(key);
    },
  };
}

interface Entry<Value> {
  readonly value: Promise<Value>;
  readonly startedMs: number;
  /** Infinite while it loads. */
  goodUntilMs: number;
  /** What it is to be replaced by. */
  next: Entry<Value> | undefined;
}
