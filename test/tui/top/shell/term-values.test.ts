import { describe, expect, test } from "vitest";
import { knownTerms, readTerms, writeTerm } from "../../../../tui/top/shell/term-values.ts";

const terms = [
  { name: "worker", about: "" },
  { name: "risk", about: "", values: ["yes"] },
];

describe("the terms of a filter", () => {
  test("are read, with blanks in quotes, as they are written", () => {
    expect(readTerms(' worker:"a b"  risk:yes ', terms)).toEqual(
      new Map([
        ["worker", "a b"],
        ["risk", "yes"],
      ]),
    );
    expect(readTerms(writeTerm("worker", 'a "b"'), terms).get("worker")).toBe("a b");
    expect(readTerms(writeTerm("worker", "x:y"), terms).get("worker")).toBe("x:y");
  });

  test.each([
    ["gpu", '"gpu" at position 1 is not a term like worker:VALUE'],
    ["risk:yes wroker:x", 'there is no term "wroker" at position 10. Did you mean worker?'],
    ["zzz:x", 'there is no term "zzz" at position 1. Terms here are: worker, risk.'],
    ["risk:no", "risk at position 1 must be yes"],
    ["worker:a worker:b", "worker at position 10 was given before"],
    ["worker:", '"worker:" at position 1 is not a term like worker:VALUE'],
  ])("say where %j is wrong", (text, message) => {
    expect(() => readTerms(text, terms)).toThrow(message);
    expect(knownTerms(text, terms)).toEqual(new Map());
  });
});
