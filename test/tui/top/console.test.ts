import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { widthOf } from "../../../tui/output/width.ts";
import { everyScreen } from "../../../tui/top/screens/views.ts";
import { clashes, labelOf } from "../../../tui/top/shell/bindings.ts";
import { showKey } from "../../../tui/top/shell/keys.ts";
import { jobId, makePeer } from "./peer.ts";
import { type Stage, type StageOptions, stage } from "./stage.ts";

const stages: Stage[] = [];

afterEach(async () => {
  await Promise.all(stages.splice(0).map((one) => one.close()));
});

function open(options: StageOptions): Stage {
  const made = stage(options);
  stages.push(made);
  return made;
}

async function openJobs(options: StageOptions & { peer?: ReturnType<typeof makePeer> } = {}) {
  const peer = options.peer ?? makePeer();
  const one = open({ routes: peer.routes, settings: { view: "jobs" }, ...options });
  await one.shown("agent.codegen");
  await one.shown("● live");
  return { peer, one };
}

const sizes = [
  [110, 30],
  [80, 24],
  [60, 16],
] as const;

describe.each(["unicode", "ascii"] as const)("the console in %s", (glyphs) => {
  const scenes: readonly (readonly [name: string, go: (one: Stage) => Promise<void>])[] = [
    [
      "overview",
      async (one) => {
        one.press("1");
        await one.shown("kind:render");
      },
    ],
    ["jobs", async () => undefined],
    ["jobs-marked", async (one) => one.press("j", "space", "space")],
    [
      "job",
      async (one) => {
        one.press("j", "enter");
        await one.shown("frame 324 done");
      },
    ],
    [
      "job-attempts",
      async (one) => {
        one.press("j", "enter");
        await one.shown("frame 324 done");
        one.press("]", "]");
      },
    ],
    [
      "job-logs",
      async (one) => {
        one.press("j", "L");
        await one.shown("frame 324 done");
        one.press("g");
      },
    ],
    [
      "cancel",
      async (one) => {
        one.press("j", "x");
        await one.shown("1 running");
      },
    ],
    ["submit", async (one) => one.press("c")],
    ["help", async (one) => one.press("?")],
    ["palette", async (one) => one.press(":")],
    [
      "filter",
      async (one) => {
        one.press("/");
        one.type("sta");
      },
    ],
  ];
  test.each(scenes)("shows %s as it was approved", async (name, go) => {
    const peer = makePeer();
    const one = open({ routes: peer.routes, settings: { view: "jobs" }, glyphs });
    await one.shown("agent.codegen");
    await one.shown("live");
    await go(one);
    for (const [columns, rows] of sizes) {
      const lines = one.at(columns, rows);
      expect(lines).toHaveLength(rows);
      if (glyphs === "ascii") for (const line of lines) expect(line).toMatch(/^[ -~]*$/);
      await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(
        `golden/${name}-${columns}x${rows}-${glyphs}.txt`,
      );
    }
  });

  test.each(scenes)("never draws %s larger than the terminal", async (_name, go) => {
    const one = open({ routes: makePeer().routes, settings: { view: "jobs" }, glyphs });
    await one.shown("agent.codegen");
    await go(one);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 170 }), fc.integer({ min: 1, max: 60 }), (columns, rows) => {
        const lines = one.at(columns, rows);
        expect(lines).toHaveLength(rows);
        for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(columns);
      }),
      { numRuns: 60 },
    );
  });
});

describe("keys", () => {
  test.each(["overview", "jobs"])("of %s mean one thing each, and all are in the help", async (view) => {
    const one = open({ settings: { view } });
    const { bindings } = one.console.keys();
    expect(clashes(bindings)).toEqual([]);
    one.press("?");
    const help = one.at(100, 200).join("\n");
    for (const binding of bindings) {
      const [key = ""] = binding.keys;
      expect(help).toContain(showKey(key, false));
      expect(help).toContain(labelOf(binding));
    }
  });

  test("of what was opened from a list mean one thing each", async () => {
    const { one } = await openJobs();
    for (const keys of [["enter"], ["L"], ["w"]]) {
      one.press(...keys);
      expect(clashes(one.console.keys().bindings)).toEqual([]);
      expect(clashes(one.console.screen().keys())).toEqual([]);
      one.press("q");
    }
  });

  test("of every screen clash nowhere among its own, and name what they equal", () => {
    const { shell } = open({});
    for (const screen of everyScreen(shell)) {
      expect(clashes(screen.keys()), screen.id).toEqual([]);
      expect(screen.equals, screen.id).not.toEqual([]);
      for (const { id, danger, equal } of screen.keys()) {
        if (danger !== "none") expect(equal, `${screen.id}: ${id}`).toBeDefined();
      }
    }
  });

  test("can be chosen in the configuration", async () => {
    const { one } = await openJobs({ settings: { view: "jobs", keys: new Map([["job.why", ["W"]]]) } });
    one.press("w");
    expect(one.console.screen().id).toBe("jobs");
    one.press("W");
    expect(one.console.screen().id).toBe("job.why");
  });

  test("say why when what they do cannot be done", async () => {
    const { one } = await openJobs({ isReadOnly: true });
    one.press("x");
    expect(one.text()).toContain("this console is read only");
    one.press("G", "x");
    expect(one.console.overlay()).toBeUndefined();
  });

  test("of actions need the scope that the key has", async () => {
    const { one } = await openJobs();
    one.console.identify("read", ["read"]);
    one.press("x");
    expect(one.text()).toContain("needs a key with scope operate (yours: read)");
  });
});

describe("leaving", () => {
  test("q goes back and quits at the top, Esc never quits", async () => {
    const { one } = await openJobs();
    one.press("enter", "q");
    expect(one.console.screen().id).toBe("jobs");
    one.press("esc", "esc");
    expect(one.quits).toEqual([]);
    one.press("q");
    expect(one.quits).toEqual(["q"]);
  });

  test("Ctrl-C closes the top layer, and quits when pressed twice", async () => {
    const { one } = await openJobs();
    one.press("enter", "?");
    one.press("ctrl-c");
    expect(one.console.overlay()).toBeUndefined();
    expect(one.quits).toEqual([]);
    one.press("j", "ctrl-c");
    expect(one.console.screen().id).toBe("jobs");
    one.press("ctrl-c");
    expect(one.quits).toEqual(["ctrl-c"]);
  });
});

describe("for screen readers", () => {
  test("is a line a fact, without boxes and columns", async () => {
    const { one } = await openJobs({ isLinear: true });
    const text = one.text();
    expect(text).toContain("Selected: id …00099998, state ○ READY");
    expect(text).not.toMatch(/[─│╭]/);
    one.press("?");
    expect(one.text()).not.toMatch(/[─│╭]/);
  });
});

test("says how long it was away", async () => {
  const peer = makePeer();
  const one = open({ routes: peer.routes, wait: () => Promise.resolve() });
  await one.shown("● live");
  peer.failStatus();
  await one.shown("back after");
});

test("copies by the terminal's own clipboard", async () => {
  const { one } = await openJobs();
  one.press("y");
  expect(one.written).toEqual([`\u001b]52;c;${Buffer.from(jobId(1)).toString("base64")}\u0007`]);
  expect(one.text()).toContain(`copied ${jobId(1)}`);
  one.press("C");
  expect(one.written[1]).toBe(`\u001b]52;c;${Buffer.from("muster job list").toString("base64")}\u0007`);
});
