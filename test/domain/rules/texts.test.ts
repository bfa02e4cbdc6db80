import { describe, expect, test } from "vitest";
import { nameViolations, projectRule, slugRule, textViolations } from "../../../server/domain/rules/texts.ts";

describe("a text", () => {
  test.each([
    ["ok", { min: 1, max: 2 }, []],
    ["", { min: 0, max: 2 }, []],
    ["", { min: 1, max: 2 }, ["must not be empty"]],
    ["\t ", { min: 1, max: 2 }, ["must not be empty"]],
    ["abc", { min: 0, max: 2 }, ["must have at most 2 characters"]],
    ["abc", { min: 1, max: 2 }, ["must have 1 to 2 characters"]],
    ["😀😀", { min: 1, max: 2 }, []],
    ["a\nb", { min: 1, max: 9 }, ["must not have control characters"]],
    ["a\nb\tc\r", { min: 1, max: 9, isMultiline: true }, []],
    ["a\0", { min: 1, max: 9, isMultiline: true }, ["must not have control characters"]],
    ["a\u0085", { min: 1, max: 9, isMultiline: true }, ["must not have control characters"]],
    ["a\udc00", { min: 1, max: 9 }, ["must be well-formed Unicode"]],
    ["x".repeat(10_000_000), { min: 1, max: 9 }, ["must have 1 to 9 characters"]],
  ])("%.10j under %j has the violations %j", (text, rule, messages) => {
    expect(textViolations("name", text, rule)).toEqual(
      messages.map((message) => ({ field: "name", message })),
    );
  });
});

describe("a name", () => {
  test.each([
    ["shell.run", slugRule, true],
    ["a_b-c.9", slugRule, true],
    ["A", slugRule, false],
    ["", slugRule, false],
    ["a\n", slugRule, false],
    ["x".repeat(101), slugRule, false],
    ["Acme/web", projectRule, true],
    ["x".repeat(200), projectRule, true],
    ["x".repeat(201), projectRule, false],
    ["a b", projectRule, false],
  ])("%j is judged", (name, rule, isRight) => {
    const violations = nameViolations("queue", name, rule);
    expect(violations).toEqual(isRight ? [] : [{ field: "queue", message: `must have ${rule.words}` }]);
  });
});
