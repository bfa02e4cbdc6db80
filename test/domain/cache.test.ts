import { describe, expect, test } from "vitest";
import { createCache } from "../../server/domain/cache.ts";

function cacheAt(
  options: {
    maxAgeMs?: number | ((tookMs: number) => number);
    renewAfterMs?: number;
    maxEntries?: number;
  } = {},
) {
  let now = 0;
  let loads = 0;
  const cache = createCache<string>({ maxAgeMs: 100, maxEntries: 10, ...options, nowMs: () => now });
  const advance = (ms: number) => {
    now += ms;
  };
  const get = (key: string, load: () => Promise<string> = async () => `${key}${loads}`) =>
    cache.get(key, () => {
      loads++;
      return load();
    });
  return { cache, get, advance, loads: () => loads };
}

describe("a cache", () => {
  test("loads again when a value has its age", async () => {
    const { get, advance } = cacheAt();
    expect(await get("a")).toBe("a1");
    advance(99);
    expect(await get("a")).toBe("a1");
    advance(1);
    expect(await get("a")).toBe("a2");
  });

  test("loads once for all who ask at the same time, however long it takes", async () => {
    const { get, advance, loads } = cacheAt();
    const { promise, resolve } = Promise.withResolvers<string>();
    const first = get("a", () => promise);
    advance(1_000);
    const second = get("a");
    resolve("value");
    expect(await Promise.all([first, second])).toEqual(["value", "value"]);
    expect(loads()).toBe(1);
    expect(await get("a")).toBe("a2");
  });

  test("gives a failure to all who wait for it, and keeps none", async () => {
    const { get } = cacheAt();
    const failure = () => Promise.reject(new Error("away"));
    const answers = await Promise.allSettled([get("a", failure), get("a", failure)]);
    expect(answers.map((answer) => answer.status)).toEqual(["rejected", "rejected"]);
    expect(await get("a")).toBe("a2");
  });

  test("forgets also what is being loaded", async () => {
    const { cache, get } = cacheAt();
    const { promise, resolve } = Promise.withResolvers<string>();
    const old = get("a", () => promise);
    cache.forget("a");
    expect(await get("a")).toBe("a2");
    resolve("old");
    expect(await old).toBe("old");
    expect(await get("a")).toBe("a2");
  });

  test("renews what is asked for before it is too old, and nobody waits for that", async () => {
    const { get, advance, loads } = cacheAt({ renewAfterMs: 50 });
    expect(await get("a")).toBe("a1");
    advance(49);
    expect(await get("a")).toBe("a1");
    expect(loads()).toBe(1);
    advance(1);
    const { promise, resolve } = Promise.withResolvers<string>();
    expect(await get("a", () => promise)).toBe("a1");
    expect(await get("a")).toBe("a1");
    expect(loads()).toBe(2);
    resolve("new");
    await promise;
    expect(await get("a")).toBe("new");
    // Its age counts from the start of its load.
    advance(49);
    expect(await get("a")).toBe("new");
    expect(loads()).toBe(2);
  });

  test("gives nothing that is too old while it renews: who asks waits for what is coming", async () => {
    const { get, advance, loads } = cacheAt({ renewAfterMs: 50 });
    await get("a");
    advance(50);
    const { promise, resolve } = Promise.withResolvers<string>();
    await get("a", () => promise);
    advance(50);
    const waiting = get("a");
    resolve("new");
    expect(await waiting).toBe("new");
    expect(loads()).toBe(2);
  });

  test("does not bring back what was forgotten while it was renewed", async () => {
    const { cache, get, advance } = cacheAt({ renewAfterMs: 50 });
    await get("a");
    advance(50);
    const { promise, resolve } = Promise.withResolvers<string>();
    await get("a", () => promise);
    cache.forget("a");
    resolve("old");
    await promise;
    expect(await get("a")).toBe("a3");
  });

  test("keeps nothing that could not be renewed", async () => {
    const { get, advance } = cacheAt({ renewAfterMs: 50 });
    await get("a");
    advance(50);
    const failing = Promise.reject(new Error("away"));
    expect(await get("a", () => failing)).toBe("a1");
    await failing.catch(() => {});
    expect(await get("a")).toBe("a3");
  });

  test("lets the oldest go when it is full", async () => {
    const { get, loads } = cacheAt({ maxEntries: 2 });
    for (const key of ["a", "b", "c"]) await get(key);
    await get("b");
    await get("c");
    expect(loads()).toBe(3);
    expect(await get("a")).toBe("a4");
  });

  test("keeps a value longer when it cost more, if told so", async () => {
    const { get, advance } = cacheAt({ maxAgeMs: (tookMs) => Math.max(100, 10 * tookMs) });
    const slow = async () => {
      advance(50);
      return "slow";
    };
    await get("a", slow);
    advance(449);
    expect(await get("a")).toBe("slow");
    advance(1);
    expect(await get("a")).toBe("a2");
  });
});

test("forgets every key that begins so, and no other", async () => {
  const cache = createCache<number>({ maxAgeMs: 1_000, maxEntries: 10, nowMs: () => 0 });
  let loads = 0;
  const get = (key: string) => cache.get(key, async () => ++loads);
  await Promise.all(["a 1", "a 2", "ab 1"].map(get));
  cache.forgetAll("a ");
  expect(await Promise.all(["a 1", "a 2", "ab 1"].map(get))).toEqual([4, 5, 3]);
});
