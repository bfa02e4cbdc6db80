import { describe, expect, test } from "vitest";
import { Batcher } from "../../server/domain/batcher.ts";

function gated(
  options: {
    maxInFlight?: number;
    maxQueuedWeight?: number;
    maxWeight?: number;
    leastMoreWeight?: number;
    nowMs?: () => number;
    sharedWeight?: number;
    weigh?: (n: number) => number;
  } = {},
) {
  const flushes: { orgId: string; items: readonly number[]; go: (error?: unknown) => void }[] = [];
  let arrived = () => {};
  const batcher = new Batcher<number, number>({
    maxWeight: options.maxWeight ?? 100,
    sharedWeight: options.sharedWeight ?? options.maxWeight ?? 100,
    ...(options.weigh ? { weigh: options.weigh } : {}),
    ...(options.nowMs ? { nowMs: options.nowMs } : {}),
    ...(options.leastMoreWeight ? { leastMoreWeight: options.leastMoreWeight } : {}),
    maxInFlight: options.maxInFlight ?? 1,
    maxQueuedWeight: options.maxQueuedWeight ?? 1_000,
    flush: (orgId, items) =>
      new Promise((resolve, reject) => {
        const go = (error?: unknown) =>
          error === undefined ? resolve(items.map((n) => n * 2)) : reject(error);
        flushes.push({ orgId, items, go });
        arrived();
      }),
  });
  const next = async (index: number) => {
    while (flushes.length <= index) {
      await new Promise<void>((resolve) => {
        arrived = resolve;
      });
    }
    const flush = flushes[index];
    if (!flush) throw new Error("a flush");
    return flush;
  };
  return { batcher, flushes, next };
}

describe("a batcher", () => {
  test("flushes at once when idle, and collects while a flush is in flight", async () => {
    const { batcher, flushes, next } = gated();
    const first = batcher.add("org", 1);
    const flush = await next(0);
    const others = [batcher.add("org", 2), batcher.add("org", 3)];
    expect(flushes).toHaveLength(1);
    flush.go();
    (await next(1)).go();
    expect(await Promise.all([first, ...others])).toEqual([2, 4, 6]);
    expect(flushes.map(({ items }) => items)).toEqual([[1], [2, 3]]);
  });

  test("flushes beside a flush only what is enough for one", async () => {
    const { batcher, flushes, next } = gated({ maxInFlight: 2, leastMoreWeight: 3 });
    const first = batcher.add("org", 1);
    const flush = await next(0);
    const others = [batcher.add("org", 2), batcher.add("org", 3)];
    await new Promise((resolve) => setImmediate(resolve));
    expect(flushes).toHaveLength(1);
    others.push(batcher.add("org", 4));
    (await next(1)).go();
    expect(await Promise.all(others)).toEqual([4, 6, 8]);
    flush.go();
    expect(await first).toBe(2);
    expect(flushes.map(({ items }) => items)).toEqual([[1], [2, 3, 4]]);
  });

  test("flushes little past a flush that waits for something", async () => {
    let nowMs = 0;
    const { batcher, flushes, next } = gated({ maxInFlight: 2, leastMoreWeight: 3, nowMs: () => nowMs });
    const first = batcher.add("org", 1);
    const flush = await next(0);
    nowMs = 249;
    const others = [batcher.add("org", 2)];
    await new Promise((resolve) => setImmediate(resolve));
    expect(flushes).toHaveLength(1);
    nowMs = 250;
    others.push(batcher.add("org", 3));
    (await next(1)).go();
    expect(await Promise.all(others)).toEqual([4, 6]);
    flush.go();
    expect(await first).toBe(2);
  });

  test("lets orgs take turns, one a flush", async () => {
    const { batcher, flushes, next } = gated({ maxWeight: 2 });
    const all = [1, 2, 3, 4].map((n) => batcher.add("big", n));
    all.push(batcher.add("small", 9));
    for (let index = 0; index < 3; index++) (await next(index)).go();
    await Promise.all(all);
    expect(flushes.map(({ orgId }) => orgId)).toEqual(["big", "small", "big"]);
  });

  test("flushes less at once while another org is about, so that it does not wait for long", async () => {
    const { batcher, flushes, next } = gated({ maxWeight: 80, sharedWeight: 10 });
    const small = batcher.add("small", 0);
    (await next(0)).go();
    await small;
    const burst = batcher.addAll(
      "big",
      Array.from({ length: 100 }, (_, n) => n),
    );
    (await next(1)).go();
    const second = batcher.add("small", 1);
    for (let index = 2; index < 12; index++) (await next(index)).go();
    await Promise.all([burst, second]);
    expect(flushes[1]?.items).toHaveLength(10);
    // The newcomer waits for the flush that is in flight, and for no other.
    expect(flushes.findIndex(({ orgId, items }) => orgId === "small" && items[0] === 1)).toBeLessThanOrEqual(
      3,
    );
  });

  test("makes an org save up for what is heavier than a turn, and lets it go when nobody else waits", async () => {
    const { batcher, flushes, next } = gated({ maxWeight: 4, weigh: (n) => n, maxQueuedWeight: 1_000 });
    const heavy = batcher.addAll("heavy", [12, 12]);
    const light = batcher.addAll("light", [4, 4, 4, 4]);
    for (let index = 0; index < 6; index++) (await next(index)).go();
    await Promise.all([heavy, light]);
    // The same weight for each: one heavy item for three light ones.
    expect(flushes.map(({ orgId }) => orgId)).toEqual(["light", "light", "heavy", "light", "light", "heavy"]);
  });

  test("bisects a flush that fails for its data until the bad item stands alone", async () => {
    const seen: number[][] = [];
    const batcher = new Batcher<number, number>({
      maxWeight: 100,
      maxInFlight: 1,
      maxQueuedWeight: 100,
      flush: async (_, items) => {
        seen.push([...items]);
        if (items.includes(3)) throw new Error("bad data");
        return items.map((n) => n * 2);
      },
    });
    const settled = await batcher.addAll("org", [1, 2, 3, 4]);
    expect(settled.map((one) => ("value" in one ? one.value : "error"))).toEqual([2, 4, "error", 8]);
    expect(seen.length).toBeLessThanOrEqual(7);
  });

  test("repeats a flush that the database chose to give way, and says so when the database is away", async () => {
    let tries = 0;
    const batcher = new Batcher<string, number>({
      maxWeight: 100,
      maxInFlight: 1,
      maxQueuedWeight: 100,
      flush: async (_, [kind = ""]) => {
        tries++;
        if (kind === "deadlock" && tries < 3) throw Object.assign(new Error("deadlock"), { code: "40P01" });
        if (kind === "away") throw Object.assign(new Error("away"), { code: "ECONNREFUSED" });
        return [tries];
      },
    });
    expect(await batcher.add("org", "deadlock")).toBe(3);
    await expect(batcher.add("org", "away")).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
  });

  test("refuses what an org's queue cannot hold, and others are not touched", async () => {
    const { batcher, next } = gated({ maxQueuedWeight: 2 });
    const first = batcher.add("org", 1);
    const flush = await next(0);
    const waiting = [batcher.add("org", 2), batcher.add("org", 3)];
    await expect(batcher.add("org", 4)).rejects.toMatchObject({ reason: "OVERLOADED" });
    const other = batcher.add("other", 5);
    flush.go();
    (await next(1)).go();
    (await next(2)).go();
    expect(await Promise.all([first, ...waiting, other])).toEqual([2, 4, 6, 10]);
    await batcher.drain();
  });
});
