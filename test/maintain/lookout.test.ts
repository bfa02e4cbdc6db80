import { describe, expect, test } from "vitest";
import { Lookout, type Sweep, where } from "../../server/maintain/lookout.ts";
import type { OrgWork, Seen } from "../../server/store/look.ts";

const nothing: OrgWork = {
  isDue: false,
  hasOpenGates: false,
  hasUncountedGates: false,
  hasReleases: false,
  hasAvoids: false,
  isOverdue: false,
  isLeased: false,
  isLinked: false,
  isReady: false,
  hasCommands: false,
  hasCancels: false,
  hasStats: false,
  hasWebhooks: false,
  disabled: [],
  heldBack: [],
  hasDueSchedules: false,
  hasAlerts: false,
  hasSilence: false,
  wantsOwnWorker: false,
};
const signal = new AbortController().signal;
const due = where((work) => work.isDue);

/** A lookout whose store and clock are moved by hand. */
function lookout(sweeps: readonly Sweep[]) {
  const state = {
    nowMs: 0,
    activity: 0,
    looks: 0,
    seen: { orgs: new Map(), wakesInMs: null } as Seen,
    error: null as Error | null,
    looked: [] as (string | undefined)[],
    logged: [] as string[],
  };
  const note = (_: object, message: string) => void state.logged.push(message);
  const own = new Lookout({
    sweeps,
    look: async () => {
      state.looks++;
      if (state.error) throw state.error;
      return state.seen;
    },
    activity: () => state.activity,
    looked: (error) => void state.looked.push(error instanceof Error ? error.message : undefined),
    nowMs: () => state.nowMs,
    log: { debug: note, info: note, warn: note, error: note },
  });
  const see = (orgs: Record<string, Partial<OrgWork>>, wakesInMs: number | null = null) => {
    const all = Object.entries(orgs).map(([id, work]) => [id, { ...nothing, ...work }] as const);
    state.seen = { orgs: new Map(all), wakesInMs };
  };
  const at = async (nowMs: number) => {
    state.nowMs = nowMs;
    await own.pass(signal);
    return state.looks;
  };
  return { state, own, see, at };
}

/** A sweep that notes for whom it ran. */
function noted(options: Partial<Sweep> = {}) {
  const ran: string[] = [];
  const sweep: Sweep = {
    name: "noted",
    spacingMs: 0,
    orgs: due,
    pass: async (orgId) => void ran.push(orgId),
    ...options,
  };
  return { ran, sweep };
}

describe("a lookout", () => {
  test("looks once a second while nothing happens", async () => {
    const { at } = lookout([]);
    expect(await at(0)).toBe(1);
    for (const nowMs of [250, 500, 750]) expect(await at(nowMs)).toBe(1);
    expect(await at(1_000)).toBe(2);
  });

  test("looks again at once when this coordinator did something since the last look began", async () => {
    const { at, state } = lookout([]);
    await at(0);
    state.activity++;
    expect(await at(250)).toBe(2);
    expect(await at(500)).toBe(2);
  });

  test("looks when something becomes due that it saw coming, and not a quarter of a second later", async () => {
    const { at, see, own } = lookout([]);
    see({}, 320);
    await at(0);
    see({});
    expect(await at(250)).toBe(1);
    const { intervalMs } = own.loop();
    expect(typeof intervalMs === "function" && intervalMs()).toBe(70);
    expect(await at(320)).toBe(2);
    expect(typeof intervalMs === "function" && intervalMs()).toBe(250);
  });

  test("begins what has work, for the orgs that have it alone", async () => {
    const { ran, sweep } = noted();
    const idle = noted({ name: "idle", orgs: where((work) => work.isOverdue) });
    const { at, see, own } = lookout([sweep, idle.sweep]);
    see({ a: { isDue: true }, b: { isReady: true }, c: { isDue: true } });
    await at(0);
    await own.loop().ended?.();
    expect([ran, idle.ran]).toEqual([["a", "c"], []]);
  });

  test("does not begin a sweep that still runs, and is not held up by it", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow = noted({ name: "slow" });
    const quick = noted({ name: "quick" });
    const { pass } = slow.sweep;
    const waiting: Sweep = { ...slow.sweep, pass: (...given) => promise.then(() => pass(...given)) };
    const { at, see, own } = lookout([waiting, quick.sweep]);
    see({ a: { isDue: true } });
    await at(0);
    await at(1_000);
    resolve();
    await own.loop().ended?.();
    expect([slow.ran, quick.ran]).toEqual([["a"], ["a", "a"]]);
    await at(2_000);
    await own.loop().ended?.();
    expect(slow.ran).toEqual(["a", "a"]);
  });

  test("keeps a sweep to its spacing, however often it looks", async () => {
    const { ran, sweep } = noted({ spacingMs: 700 });
    const { at, see, own, state } = lookout([sweep]);
    see({ a: { isDue: true } });
    for (const nowMs of [0, 250, 500, 750]) {
      state.activity++;
      await at(nowMs);
      await own.loop().ended?.();
    }
    expect([state.looks, ran.length]).toEqual([4, 2]);
  });

  test("does not let the others pay when the sweep of one org fails", async () => {
    const { ran, sweep } = noted();
    const { pass } = sweep;
    const failing: Sweep = {
      ...sweep,
      pass: (orgId, ...rest) => (orgId === "a" ? Promise.reject(new Error("no")) : pass(orgId, ...rest)),
    };
    const { at, see, own, state } = lookout([failing]);
    see({ a: { isDue: true }, b: { isDue: true } });
    await at(0);
    await own.loop().ended?.();
    expect(ran).toEqual(["b"]);
    expect(state.logged).toEqual(["a sweep of an org failed; the next look tries again"]);
  });

  test("tells of looks that failed, and tries again within a second", async () => {
    const { at, state } = lookout([]);
    state.error = new Error("away");
    await expect(at(0)).rejects.toThrow("away");
    state.error = null;
    await at(1_000);
    expect([state.looks, state.looked]).toEqual([2, ["away", undefined]]);
  });
});
