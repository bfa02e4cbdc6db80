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
  readonly maxEntries: number;
  /** A clock that never goes back. */
  readonly nowMs: () => number;
}): Cache<Value> {
  const { maxAgeMs, maxEntries, nowMs } = options;
  const entries = new Map<string, Entry<Value>>();
  const load = (key: string, loader: () => Promise<Value>): Promise<Value> => {
    const startedMs = nowMs();
    const entry: Entry<Value> = { value: loader(), goodUntilMs: Number.POSITIVE_INFINITY };
    entries.delete(key);
    entries.set(key, entry);
    if (entries.size > maxEntries) entries.delete(entries.keys().next().value ?? key);
    entry.value.then(
      () => {
        const ageMs = typeof maxAgeMs === "number" ? maxAgeMs : maxAgeMs(nowMs() - startedMs);
        entry.goodUntilMs = startedMs + ageMs;
      },
      () => {
        if (entries.get(key) === entry) entries.delete(key);
      },
    );
    return entry.value;
  };
  return {
    get(key, loader) {
      const entry = entries.get(key);
      return entry !== undefined && nowMs() < entry.goodUntilMs ? entry.value : load(key, loader);
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
  /** Infinite while it loads. */
  goodUntilMs: number;
}
