import { PassThrough, Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { type GlobalOptions, prepareCall } from "../../../tui/call.ts";
import { askHidden } from "../../../tui/input/ask.ts";
import { confirmDanger, type Danger, dangerOfMany } from "../../../tui/input/confirm.ts";

const severe: Danger = {
  level: "severe",
  what: 'Cancel 1,204 jobs that match "kind:a"',
  count: 1204,
  command: "muster job cancel --filter kind:a",
};
const moderate: Danger = { level: "moderate", what: "Cancel 2 jobs", command: "muster job cancel a b" };

function ask(danger: Danger, globals: GlobalOptions, typed?: string) {
  const stdin = Object.assign(Readable.from(typed === undefined ? [] : [Buffer.from(typed)]), {
    isTTY: typed !== undefined,
  });
  const stderr = Object.assign(new PassThrough(), { isTTY: typed !== undefined });
  const surroundings = {
    env: {},
    stdin,
    stdout: new PassThrough(),
    stderr,
    signal: new AbortController().signal,
    forced: new AbortController().signal,
    cwd: "/",
    home: "/nonexistent",
    now: Date.now,
  };
  const asked = confirmDanger(
    prepareCall(surroundings, globals, [], () => {}),
    danger,
  );
  return { asked, shown: () => String(stderr.read() ?? "") };
}

describe("confirmDanger", () => {
  test.each<[string, Danger, GlobalOptions]>([
    ["a mild act", { ...moderate, level: "mild" }, {}],
    ["a moderate act with --yes", moderate, { yes: true }],
    ["a severe act with its count", severe, { confirm: "1204" }],
    ["a severe act with its name", { ...severe, expected: "web" }, { confirm: "web" }],
  ])("lets %s go on without asking", async (_, danger, globals) => {
    await ask(danger, globals).asked;
  });

  test.each<[string, Danger, GlobalOptions, string]>([
    ["a moderate act", moderate, {}, "If you mean it: muster job cancel a b --yes"],
    [
      "a severe act, whatever --yes says",
      severe,
      { yes: true },
      "If you mean it: muster job cancel --filter kind:a --confirm 1204",
    ],
    ["another count", severe, { confirm: "3" }, "muster job cancel --filter kind:a --confirm 1204"],
    ["a name to quote", { ...severe, expected: "it's" }, {}, "--confirm 'it'\\''s'"],
  ])("refuses %s where nobody can be asked, with the command to run", async (_, danger, globals, command) => {
    await expect(ask(danger, globals).asked).rejects.toMatchObject({
      reason: "NOT_CONFIRMED",
      exitCode: 2,
      suggestion: expect.stringContaining(command),
    });
  });

  test("asks at a terminal, and takes yes, the count with separators, and nothing else", async () => {
    await ask(moderate, {}, "y\n").asked;
    const many = ask(severe, {}, "1,204\n");
    await many.asked;
    expect(many.shown()).toContain("It cannot be undone.\nType ");
    for (const [danger, typed] of [
      [moderate, "\n"],
      [moderate, "n\n"],
      [moderate, ""],
      [severe, "y\n"],
      [severe, "\u0003"],
    ] as const) {
      await expect(ask(danger, {}, typed).asked).rejects.toMatchObject({ exitCode: 130 });
    }
    await expect(ask(moderate, { input: false }, "y\n").asked).rejects.toMatchObject({ exitCode: 2 });
  });

  test("shows nothing of others that the terminal would act on", async () => {
    const { asked, shown } = ask({ ...moderate, what: "Remove \u001b[2Jx" }, {}, "y\n");
    await asked;
    expect(shown()).toContain("Remove ␛[2Jx.");
  });

  test("takes more than 50, and all that match a filter, for severe", () => {
    expect([dangerOfMany(50, false), dangerOfMany(51, false), dangerOfMany(1, true)]).toEqual([
      "moderate",
      "severe",
      "severe",
    ]);
  });
});

test("askHidden shows nothing of what is typed", async () => {
  const stdin = Object.assign(Readable.from([Buffer.from("mk_secret\n")]), { isTTY: true });
  const stderr = Object.assign(new PassThrough(), { isTTY: true });
  const signal = new AbortController().signal;
  expect(await askHidden({ stdin, stderr, signal }, "Key: ")).toBe("mk_secret");
  expect(String(stderr.read())).toBe("Key: \n");
});
