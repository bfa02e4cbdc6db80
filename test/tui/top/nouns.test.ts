import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { widthOf } from "../../../tui/output/width.ts";
import { makeNounsPeer } from "./nouns-peer.ts";
import { type Stage, type StageOptions, stage } from "./stage.ts";

const stages: Stage[] = [];

afterEach(async () => {
  await Promise.all(stages.splice(0).map((one) => one.close()));
});

async function open(view: string, options: StageOptions = {}): Promise<Stage> {
  const one = stage({ routes: makeNounsPeer().routes, settings: { view }, ...options });
  stages.push(one);
  // The status has come, and the list.
  await one.shown("1 coordinator");
  await one.shown("live");
  return one;
}

const sizes = [
  [110, 30],
  [80, 24],
  [60, 16],
] as const;

// What a scene shows when all of it is there, and how to get there.
const scenes: readonly (readonly [name: string, view: string, go: (one: Stage) => Promise<void>])[] = [
  [
    "workers",
    "workers",
    async (one) => {
      await one.shown("mac-07");
      one.press("j");
      await one.shown("Leases");
    },
  ],
  [
    "worker",
    "workers",
    async (one) => {
      await one.shown("mac-07");
      one.press("j", "enter");
      await one.shown("/home/u/web");
    },
  ],
  [
    "worker-why",
    "workers",
    async (one) => {
      await one.shown("mac-07");
      one.press("j", "w");
      await one.shown("it has no handler");
    },
  ],
  [
    "worker-remove",
    "workers",
    async (one) => {
      await one.shown("mac-07");
      one.press("G", "k", "x");
      await one.shown("Type old to confirm");
    },
  ],
  ["attention", "attention", (one) => one.shown("Project acme/web is at its cap")],
  ["queues", "queues", (one) => one.shown("renders")],
  [
    "queue-limits",
    "queues",
    async (one) => {
      await one.shown("renders");
      one.press("j", "j", "e");
      await one.shown("Limits of queue renders");
    },
  ],
  [
    "projects",
    "projects",
    async (one) => {
      await one.shown("acme/web");
      one.press("j");
      await one.shown("/home/u/web");
    },
  ],
  [
    "project",
    "projects",
    async (one) => {
      await one.shown("acme/web");
      one.press("j", "enter");
      await one.shown("pull/7");
    },
  ],
  ["dlq", "dlq", (one) => one.shown("fatal: Authentication failed")],
  ["leases", "leases", (one) => one.shown("at risk")],
  ["sessions", "sessions", (one) => one.shown("for it by name")],
  ["batches", "batches", (one) => one.shown("RUNNING 9")],
  ["audit", "audit", (one) => one.shown("key.create")],
  [
    "audit-entry",
    "audit",
    async (one) => {
      await one.shown("key.create");
      one.press("enter");
    },
  ],
  ["keys", "keys", (one) => one.shown("submit read")],
  [
    "key-create",
    "keys",
    async (one) => {
      await one.shown("submit read");
      one.press("c");
      one.type("ci");
      one.press("ctrl-s");
      await one.shown("mk_api_4fQz81aB9xYw_secret");
    },
  ],
  ["system", "system", (one) => one.shown("Free some space.")],
  ["stats", "stats", (one) => one.shown("render.frame")],
  ["attribution", "attribution", (one) => one.shown("acme/docs")],
];

describe.each(["unicode", "ascii"] as const)("the other screens in %s", (glyphs) => {
  test.each(scenes)("show %s as it was approved", async (name, view, go) => {
    const one = await open(view, { glyphs, columns: 110, rows: 40 });
    await go(one);
    for (const [columns, rows] of sizes) {
      const lines = one.at(columns, rows);
      expect(lines).toHaveLength(rows);
      for (const line of lines) {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what must not be there
        expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
        if (glyphs === "ascii") expect(line).toMatch(/^[ -~]*$/);
      }
      await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(
        `golden/${name}-${columns}x${rows}-${glyphs}.txt`,
      );
    }
  });

  test.each(scenes)("never draw %s larger than the terminal", async (_name, view, go) => {
    const one = await open(view, { glyphs, columns: 110, rows: 40 });
    await go(one);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 170 }), fc.integer({ min: 1, max: 60 }), (columns, rows) => {
        const lines = one.at(columns, rows);
        expect(lines).toHaveLength(rows);
        for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(columns);
      }),
      { numRuns: 40 },
    );
  });
});

test.each([...new Set(scenes.map(([, view]) => view))])(
  "%s is a line a fact for screen readers, without boxes",
  async (view) => {
    const one = await open(view, { isLinear: true, columns: 110, rows: 40 });
    await one.shown({ system: "Free some space.", stats: "95th percentile" }[view] ?? "Selected: ");
    expect(one.text()).not.toMatch(/[│╭╮]/);
  },
);
