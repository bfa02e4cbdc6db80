import { describe, expect, test } from "vitest";
import { wrapText } from "../../../../tui/top/overlays/box.ts";
import { fuzzyFind } from "../../../../tui/top/overlays/fuzzy.ts";
import { withState } from "../../../../tui/top/screens/job-columns.ts";
import { commandLine } from "../../../../tui/top/shell/command-line.ts";
import { completeFilter, jobTerms } from "../../../../tui/top/shell/filter-terms.ts";
import { keyPresses } from "../../../../tui/top/shell/keys.ts";
import { readSettings } from "../../../../tui/top/shell/settings.ts";
import { copySequence, readMouse } from "../../../../tui/top/shell/terminal.ts";
import { editText, insertText, textInput } from "../../../../tui/top/shell/text-input.ts";
import { noKey } from "../stage.ts";

const key = (name: string) => ({ name, text: name.length === 1 ? name : "" });

describe("a line of text", () => {
  test.each([
    ["home", "xone two", 1],
    ["end", "one twox", 8],
    ["alt-b", "one xtwo", 5],
    ["left", "one twxo", 7],
  ])("is written where %s leads", (name, text, cursor) => {
    const moved = editText(textInput("one two"), key(name)) ?? textInput();
    expect(editText(moved, key("x"))).toEqual({ text, cursor });
  });

  test.each([
    ["backspace", "one tw"],
    ["ctrl-w", "one "],
    ["ctrl-u", ""],
  ])("loses what %s takes", (name, text) => {
    expect(editText(textInput("one two"), key(name))?.text).toBe(text);
  });

  test("goes by what people take for one letter", () => {
    const family = "a👨‍👩‍👧";
    expect(editText(textInput(family), key("backspace"))?.text).toBe("a");
    expect(editText(textInput("e\u0301"), key("left"))?.cursor).toBe(0);
  });

  test("takes a paste without what could act on the terminal", () => {
    expect(insertText(textInput("a"), "b\n\u001b[2Jc\u0007").text).toBe("ab [2Jc");
  });

  test("leaves keys that write nothing to others", () => {
    expect(editText(textInput(), key("esc"))).toBeUndefined();
  });
});

describe("keys", () => {
  test("come by name, several at once, and not when they are let go", () => {
    expect(keyPresses("jG", noKey).map(({ name }) => name)).toEqual(["j", "G"]);
    expect(keyPresses("d", { ...noKey, ctrl: true })).toEqual([{ name: "ctrl-d", text: "" }]);
    expect(keyPresses("", { ...noKey, tab: true, shift: true })).toEqual([{ name: "shift-tab", text: "" }]);
    expect(keyPresses(" ", noKey)).toEqual([{ name: "space", text: " " }]);
    expect(keyPresses("x", { ...noKey, eventType: "release" })).toEqual([]);
  });

  test("of the mouse are read, and nothing else is taken for them", () => {
    expect(readMouse("[<64;1;1M")).toEqual({ kind: "wheel", by: -1 });
    expect(readMouse("[<0;10;8M")).toEqual({ kind: "click", column: 9, row: 7 });
    expect(readMouse("[<0;10;8m")).toBe("other");
    expect(readMouse("j")).toBeUndefined();
  });
});

describe("completion of a filter", () => {
  test("offers terms, then values, of the term that is written", () => {
    const at = (text: string) => completeFilter(jobTerms, text, text.length);
    expect(at("kind:x st").choices.map(({ text }) => text)).toEqual(["state:"]);
    expect(at("-st")).toMatchObject({ from: 1 });
    expect(at("state:running,d").choices.map(({ text }) => text)).toEqual(["dead"]);
    expect(at("state:running,d").from).toBe(14);
    expect(at("kind:").choices).toEqual([]);
  });

  test("of a tab puts its state in place of another", () => {
    expect(withState("state:ready skill:gpu", "dead")).toBe("state:dead skill:gpu");
    expect(withState("skill:gpu -state:dead", undefined)).toBe("skill:gpu");
  });
});

describe("finding by letters", () => {
  test("puts beginnings of words first", () => {
    const found = fuzzyFind("jc", ["object", "job cancel", "just catch", "x"], (text) => text);
    expect(found[0]).toBe("job cancel");
    expect(found).not.toContain("x");
    expect(fuzzyFind("", ["b", "a"], (text) => text)).toEqual(["b", "a"]);
  });
});

describe("a command line", () => {
  test("is one that a shell reads as it was meant", () => {
    expect(commandLine("job list", ["--filter", "kind:agent.* it's"], ["--reason", ""], undefined)).toBe(
      `muster job list --filter 'kind:agent.* it'\\''s'`,
    );
  });
});

describe("the configuration", () => {
  test("takes what it knows, and names what it does not", () => {
    const { settings, warnings } = readSettings(
      "theme: cb-saf\nthem: dark\nkeys: { job.cancel: [X], job.retry: nokey }\nrefresh: 2\nmouse: true\n",
    );
    expect(settings).toMatchObject({ theme: "terminal", refresh: 2, mouse: true });
    expect([...settings.keys]).toEqual([["job.cancel", ["X"]]]);
    expect(warnings).toEqual([
      "theme must be one of terminal, dark, light, cb-safe, mono",
      "them is not known. Did you mean theme?",
      'keys.job.retry does not know "nokey"',
    ]);
  });

  test.each([["a: ["], ["- x"], ["42"]])("of %j keeps the defaults, with a warning", (text) => {
    expect(readSettings(text).warnings).toHaveLength(1);
    expect(readSettings(text).settings.theme).toBe("terminal");
  });
});

describe("copying", () => {
  test("goes through tmux and screen, and refuses what terminals do not take", () => {
    expect(copySequence("x", {})).toBe("\u001b]52;c;eA==\u0007");
    expect(copySequence("x", { TMUX: "1" })).toBe("\u001bPtmux;\u001b\u001b]52;c;eA==\u0007\u001b\\");
    expect(copySequence("x", { TERM: "screen" })).toBe("\u001bP\u001b]52;c;eA==\u0007\u001b\\");
    expect(copySequence("x".repeat(60_000), {})).toBeUndefined();
  });
});

test("text is wrapped at blanks, and long words are cut", () => {
  expect(wrapText("aa bb cccccc", 5)).toEqual(["aa bb", "ccccc", "c"]);
  expect(wrapText("漢字漢字", 4)).toEqual(["漢字", "漢字"]);
});
