import { jobFilterTerms, workerFilterTerms } from "@muster/client/filter";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type FilterReading,
  readJobTerms,
  readWorkerTerms,
  type Term,
  writeTerms,
} from "../../../server/domain/rules/filter.ts";

const anyId = () => null;
const jobTerms = (text: string) => readJobTerms(text, anyId);

function terms(reading: FilterReading): readonly Term[] {
  if ("problems" in reading) throw new TypeError(JSON.stringify(reading.problems));
  return reading.terms;
}

function problem(text: string): string {
  const reading = jobTerms(text);
  if ("terms" in reading) throw new TypeError(`${text} was read as ${JSON.stringify(reading.terms)}`);
  return reading.problems
    .map(({ column, message, suggestion = "" }) => `${column}: ${message} | ${suggestion}`)
    .join("\n");
}

describe("a filter of jobs", () => {
  test.each<[string, readonly Partial<Term>[]]>([
    ["", []],
    ["  \t\n ", []],
    ["state:running", [{ type: "word", key: "state", isNegated: false, any: ["running"] }]],
    ["STATE:Queued,retry", [{ type: "word", key: "state", any: ["queued", "retry"] }]],
    [
      "-kind:agent.*",
      [{ type: "text", key: "kind", isNegated: true, any: [{ text: "agent.", isPrefix: true }] }],
    ],
    ["project:*", [{ type: "text", key: "project", any: [{ text: "", isPrefix: true }] }]],
    [
      'queue:"a b",c',
      [
        {
          type: "text",
          key: "queue",
          any: [
            { text: "a b", isPrefix: false },
            { text: "c", isPrefix: false },
          ],
        },
      ],
    ],
    ['external:"a*\\"\\\\"*', [{ any: [{ text: 'a*"\\', isPrefix: true }] }]],
    ["label:team=web", [{ type: "pair", any: [{ name: "team", value: { text: "web", isPrefix: false } }] }]],
    ["label.team:web", [{ type: "pair", any: [{ name: "team", value: { text: "web", isPrefix: false } }] }]],
    ["label:team", [{ type: "pair", any: [{ name: "team", value: { text: "", isPrefix: true } }] }]],
    ["label:a=b=c*", [{ type: "pair", any: [{ name: "a", value: { text: "b=c", isPrefix: true } }] }]],
    ["priority>=high", [{ type: "number", key: "priority", operator: ">=", any: [192] }]],
    ["attempt:1,2", [{ type: "number", key: "attempt", operator: ":", any: [1, 2] }]],
    ["age>1h30m", [{ type: "duration", key: "age", operator: ">", ms: 5_400_000 }]],
    ["age<=90s", [{ type: "duration", operator: "<=", ms: 90_000 }]],
    ["shot-0412", [{ type: "free", isNegated: false, text: "shot-0412" }]],
    ['-"two words"', [{ type: "free", isNegated: true, text: "two words" }]],
    ["a,b", [{ type: "free", text: "a,b" }]],
    ['"state:running"', [{ type: "free", text: "state:running" }]],
    ['"state=running"', [{ type: "free", text: "state=running" }]],
    [
      '"OR" or "(a)" f(x) kind:OR',
      [{ text: "OR" }, { text: "or" }, { text: "(a)" }, { text: "f(x)" }, { key: "kind" }],
    ],
    [
      "state:running skill:gpu age>10m text",
      [
        { type: "word" },
        { type: "text", key: "skill" },
        { type: "duration" },
        { type: "free", text: "text" },
      ],
    ],
  ])("%j is read", (text, expected) => {
    const read = terms(jobTerms(text));
    expect(read).toHaveLength(expected.length);
    expect(read).toMatchObject(expected);
  });

  test.each([
    ["sate:running", "1: sate is not a term | Did you mean state?"],
    ["kind:a  stat:x", "9: stat is not a term | Did you mean state?"],
    ["http://x", "1: http is not a term | "],
    ["state:runing", "7: runing is not a state | Did you mean running?"],
    ["state:ready,", "13: a value is missing here"],
    ["state:", "7: a value is missing here"],
    ["kind:,a", "6: a value is missing here"],
    ['kind:"a', "6: the quote that begins here is not closed"],
    ["kind:a*b", "7: * may stand at the end of a value only"],
    ["mac*", "4: * is for values of terms"],
    ["kind>a", "1: kind takes a colon, not > | Write it like kind:agent.*."],
    ["-kind>a", "2: kind takes a colon, not >"],
    ["state=running", "1: state takes a colon, not = | Did you mean state:running?"],
    ["state!=running", "1: state takes a colon, not != | Did you mean -state:running?"],
    [
      "kind:a OR kind:b",
      "8: OR is no operator of filters | All terms must hold; for any of several values write",
    ],
    ["a && b", "3: && is no operator of filters | Leave it out: all terms must hold."],
    ["NOT kind:a", "1: NOT is no operator of filters | Write -state:ready for a term that must not hold."],
    ["state = running", "7: = is no operator of filters | Write key, operator and value without spaces"],
    ["(kind:a kind:b)", "1: terms take no parentheses"],
    ["state:running (a)", "15: terms take no parentheses"],
    ["skill:a kind:b)", "15: terms take no parentheses | All terms must hold"],
    ["state:run*", "7: state takes no *"],
    ["points:many", "8: many is not a whole number"],
    ["priority>huge", "10: huge is not a whole number or the name of a priority"],
    ["points>1,2", "10: points> takes one number"],
    ["age:10m", "1: age is compared with one duration | Write it like age>10m."],
    ["age>soon", "5: soon is not a duration like 90s, 10m or 1h30m"],
    ["age>99999w", "5: 99999w is not a duration"],
    ["label:=x", "7: =x must have the form KEY=VALUE"],
    ["label:te*", "7: te must have the whole KEY"],
    ["a\u0007", "2: must not have control characters"],
    ["é\ud800", "2: must not have control characters"],
    ["éé sate:x", "4: sate is not a term"],
    ["-", "2: a value is missing here"],
    [Array.from({ length: 33 }, () => "a").join(" "), "65: are more than 32 terms"],
    ["a".repeat(1_001), "1001: must have at most 1000 characters"],
  ])("%j is refused", (text, expected) => {
    expect(problem(text)).toContain(expected);
  });

  test("tells all that is wrong, in the order of the text", () => {
    expect(
      problem("sate:x points:y age>z")
        .split("\n")
        .map((line) => line.split(":")[0]),
    ).toEqual(["1", "15", "21"]);
  });

  test("takes ids that the check takes", () => {
    const check = (_key: string, { text }: { readonly text: string }) =>
      text === "good" ? null : "is no id";
    expect(terms(readJobTerms("batch:good", check))).toHaveLength(1);
    const reading = readJobTerms("parent:good,bad", check);
    expect(reading).toEqual({ problems: [{ column: 13, message: "bad is no id" }] });
  });

  test.each([...jobFilterTerms, ...workerFilterTerms])("reads the example $example", ({ example, key }) => {
    const read = jobFilterTerms.some((one) => one.example === example) ? readJobTerms : readWorkerTerms;
    const [term] = terms(read(example, anyId));
    expect(term).toMatchObject({ key });
  });

  test("never throws, and reads what it wrote", () => {
    const word = fc.constantFrom(
      ...jobFilterTerms.map((one) => one.example),
      ...["-", '"', "*", ",", ":", ">=", "=", "\\", " ", "label.", "a b", "é", "state", "10m", "\u0000"],
    );
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }),
      fc.array(word).map((all) => all.join("")),
    );
    fc.assert(
      fc.property(text, (written) => {
        const reading = jobTerms(written);
        if ("problems" in reading) {
          expect(reading.problems.length).toBeGreaterThan(0);
          for (const { column } of reading.problems) expect(column).toBeLessThanOrEqual(1_001);
          return;
        }
        expect(terms(jobTerms(writeTerms(reading.terms)))).toEqual(reading.terms);
      }),
      { numRuns: 3_000 },
    );
  });

  test("takes time in proportion to its length", () => {
    // At the limit of length, in the forms that would make a backtracking reader slow.
    for (const part of ["a", "-", '\\"', "a.", "1s", "a,", '""', "*"]) {
      const text = `age>${part.repeat(Math.floor(990 / part.length))}x`;
      const startedMs = performance.now();
      for (let n = 0; n < 20; n++) jobTerms(text);
      expect(performance.now() - startedMs).toBeLessThan(2_000);
    }
  });
});
