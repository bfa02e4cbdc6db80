import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { paintFor } from "../../../tui/output/paint.ts";
import { widthOf } from "../../../tui/output/width.ts";
import { progressBar, sparkline } from "../../../tui/top/bars.ts";
import type { Frame } from "../../../tui/top/lines.ts";
import { overview } from "../../../tui/top/overview.ts";
import { addFlow, bucketMs, createTopStore, type TopState } from "../../../tui/top/store.ts";
import { sampleMs, sampleState, sampleStatus } from "./sample.ts";

// The clock on the screen is of this machine's zone.
process.env["TZ"] = "UTC";

const address = "http://127.0.0.1:7070";

function frame(columns: number, rows: number, change: Partial<Frame> = {}): Frame {
  return { columns, rows, paint: paintFor("none"), glyphs: "unicode", ...change };
}

describe("the screen", () => {
  test.each([
    [110, 30, "unicode"],
    [80, 24, "unicode"],
    [60, 16, "unicode"],
    [110, 30, "ascii"],
    [80, 24, "ascii"],
    [60, 16, "ascii"],
  ] as const)("at %i×%i in %s is as it was approved", async (columns, rows, glyphs) => {
    const lines = overview(sampleState(), address, frame(columns, rows, { glyphs }));
    await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(
      `golden/overview-${columns}x${rows}-${glyphs}.txt`,
    );
  });

  test("has exactly the rows of the window and no line wider than it, at every size", () => {
    const state = sampleState();
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 70 }), (columns, rows) => {
        const lines = overview(state, address, frame(columns, rows));
        expect(lines).toHaveLength(rows);
        for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(columns);
      }),
    );
  });

  test("without colours uses bold, dim and reverse only, and says the same", () => {
    const plain = overview(sampleState(), address, frame(80, 24));
    const mono = overview(sampleState(), address, frame(80, 24, { paint: paintFor("mono") }));
    const colour = overview(sampleState(), address, frame(80, 24, { paint: paintFor("colour") }));
    expect(mono.map(stripVTControlCharacters)).toEqual(plain);
    expect(colour.map(stripVTControlCharacters)).toEqual(plain);
    const codes = mono
      .join("")
      .split("\u001b[")
      .slice(1)
      .map((rest) => rest.slice(0, rest.indexOf("m")));
    expect(new Set(codes)).toEqual(new Set(["0", "1", "2"]));
    expect(colour.join("")).toContain("\u001b[32m");
  });

  test("in ASCII has nothing else", () => {
    for (const line of overview(sampleState(), address, frame(110, 30, { glyphs: "ascii" }))) {
      expect(line).toMatch(/^[ -~]*$/);
    }
  });

  test("below 60×16 says what it needs", () => {
    const [first] = overview(sampleState(), address, frame(52, 14));
    expect(first).toBe("Terminal too small: 52×14, need 60×16 · q quits");
  });

  test("before the first figures says that it waits", () => {
    const lines = overview(createTopStore(sampleMs).getState(), address, frame(80, 24));
    expect(lines[0]).toContain("◐ connecting");
    expect(lines.join("\n")).toContain("Waiting for the first figures");
  });

  test("tells a lost connection, keeps the figures, and dims them after 10 s", () => {
    const state: TopState = {
      ...sampleState(),
      nowMs: sampleMs + 38_000,
      connection: {
        kind: "lost",
        sinceMs: sampleMs,
        attempt: 3,
        nextTryMs: sampleMs + 42_000,
        cause: "connection \u001b[0mrefused",
      },
    };
    const lines = overview(
      state,
      address,
      frame(160, 24, { paint: (style, text) => (style === "dim" ? `<${text}>` : text) }),
    );
    expect(lines[0]).toContain("◐ reconnecting");
    expect(lines.at(-1)).toContain(
      `◐ Reconnecting to ${address}: figures are 38s old, try 3, next in 4s: connection ␛[0mrefused`,
    );
    expect(lines.join("\n")).toContain("<gpu-1");
  });
});

describe("the store", () => {
  test("counts what happened by span, and leaves out what happened unseen", () => {
    const at = (ms: number, submitted: bigint) => sampleStatus({ atMs: ms, submitted, succeeded: 0n });
    let flow = addFlow([], undefined, at(sampleMs, 100n), 0);
    flow = addFlow(flow, at(sampleMs, 100n), at(sampleMs + bucketMs / 2, 103n), 0);
    flow = addFlow(flow, at(sampleMs + bucketMs / 2, 103n), at(sampleMs + bucketMs, 110n), 0);
    flow = addFlow(flow, at(sampleMs + bucketMs, 110n), at(sampleMs + 60_000, 99_999n), 0);
    expect(flow.map(({ submitted }) => submitted)).toEqual([3, 7, 0]);
    // A coordinator on another database: the counters start again.
    expect(addFlow(flow, at(sampleMs + 60_000, 5n), at(sampleMs + 61_000, 1n), 0).at(-1)?.submitted).toBe(0);
  });

  test("keeps the moment of the loss over several tries and forgets it when figures come", () => {
    const store = createTopStore(0);
    let published = 0;
    const unsubscribe = store.subscribe(() => published++);
    store.receive(sampleStatus(), 1_000);
    store.lose("gone", 500, 1, 2_000);
    store.lose("gone", 1_000, 2, 3_000);
    expect(store.getState().connection).toMatchObject({
      kind: "lost",
      sinceMs: 2_000,
      attempt: 2,
      nextTryMs: 4_000,
    });
    store.receive(sampleStatus(), 5_000);
    expect(published).toBe(4);
    unsubscribe();
    store.tick(7_000);
    expect(store.getState()).toMatchObject({ connection: { kind: "live" }, receivedMs: 5_000, nowMs: 7_000 });
    expect(published).toBe(4);
  });

  test("does not draw again for the time alone while figures come", () => {
    const store = createTopStore(0);
    store.receive(sampleStatus(), 1_000);
    let published = 0;
    store.subscribe(() => published++);
    store.tick(1_500);
    expect(published).toBe(0);
    store.tick(3_000);
    expect(published).toBe(1);
  });
});

describe("bars", () => {
  test("scale to the largest, keep zero apart from little, and leave the unknown blank", () => {
    expect(sparkline([0, 1, 50, 100, undefined], "unicode")).toBe("▁▂▅█ ");
    expect(sparkline([0, 0], "ascii")).toBe("__");
    expect(progressBar(0.5, 4, "unicode")).toBe("██░░");
    expect(progressBar(0.6, 4, "unicode")).toBe("██▍░");
    expect(progressBar(2, 4, "ascii")).toBe("####");
    expect(progressBar(Number.NaN, 4, "ascii")).toBe("----");
  });
});
