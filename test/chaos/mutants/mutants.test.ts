import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { mutants } from "./mutants.ts";
import { editText } from "./tree.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const read = (file: string) => readFileSync(join(root, file), "utf8");

test("there are fourteen, each with a name of its own", () => {
  expect(new Set(mutants.map(({ name }) => name)).size).toBe(14);
});

describe.each(mutants)("the mutant: $name", ({ edits, detector }) => {
  test("finds each text that it replaces exactly once", () => {
    for (const [file, own] of Map.groupBy(edits, (edit) => edit.file)) {
      expect(editText(read(file), own)).not.toBe(read(file));
    }
  });

  test("has a test that is there", () => {
    const text = read(detector.file);
    // The titles of a table of tests end with what the table says.
    const title = detector.title.replace(/an hour ahead$/, "%s");
    expect(text).toContain(`"${title}"`);
  });
});

test("a text that stands there never, or twice, is an error", () => {
  const edit = { file: "a file", find: "x", put: "y" };
  expect(() => editText("", [edit])).toThrow("a file has 0 times");
  expect(() => editText("x x", [edit])).toThrow("a file has 2 times");
  expect(editText("a x", [edit])).toBe("a y");
});
