import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readJsonText, writeJsonText } from "../../../server/domain/rules/json-text.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const unfit = "must not have NUL characters or halves of surrogate pairs";

describe("reading", () => {
  test("takes any JSON as it is written", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const reading = readJsonText(bytes(text));
        return reading.fault === unfit || reading.text === text;
      }),
    );
  });

  test.each([
    ["no bytes, as null", "", "null"],
    ["white space around", ' {"a" : 1}\n', ' {"a" : 1}\n'],
    ["an escaped pair", '"\\ud83d\\ude42"', '"\\ud83d\\ude42"'],
    ["an escaped backslash before u0000", '"\\\\u0000"', '"\\\\u0000"'],
    ["depth that would break a recursion", `${"[".repeat(100_000)}${"]".repeat(100_000)}`, undefined],
    ["depth with an escape in it", `${"[".repeat(50_000)}"\\u0041"${"]".repeat(50_000)}`, undefined],
  ])("takes %s", (_name, text, expected) => {
    expect(readJsonText(bytes(text))).toEqual({ text: expected ?? text, fault: null });
  });

  test.each([
    ["an escaped NUL", '"a\\u0000b"', unfit],
    ["an escaped NUL in a key", '{"a\\u0000":1}', unfit],
    ["a high surrogate alone", '["\\uD800"]', unfit],
    ["a low surrogate alone", '{"a":{"b":["\\udc00"]}}', unfit],
    ["surrogates in the wrong order", '"\\udc00\\ud800"', unfit],
    ["a NUL as it is", '"a\0b"', /^must be JSON: /],
    ["no JSON", "{a:1}", /^must be JSON: /],
    ["two documents", "1 2", /^must be JSON: /],
    ["a mark before it", "\ufeff1", /^must be JSON: /],
  ])("refuses %s", (_name, text, fault) => {
    const reading = readJsonText(bytes(text));
    expect(reading.text).toBeNull();
    expect(reading.fault).toMatch(fault);
    expect(reading.fault?.length).toBeLessThan(200);
  });

  test("refuses what is not UTF-8", () => {
    for (const wrong of [
      [0x22, 0xff, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0xc0, 0x80],
    ]) {
      expect(readJsonText(Uint8Array.from(wrong))).toEqual({ text: null, fault: "must be UTF-8" });
    }
  });

  test("reads a view into a larger buffer", () => {
    expect(readJsonText(bytes('xx{"a":1}yy').subarray(2, 9)).text).toBe('{"a":1}');
  });
});

test("writing refuses what reading refuses", () => {
  expect(writeJsonText({ a: [1, "\u0001"] })).toEqual({ text: '{"a":[1,"\\u0001"]}', fault: null });
  expect(writeJsonText({ a: ["\0"] }).fault).toBe(unfit);
  expect(writeJsonText({ "\ud800": 1 }).fault).toBe(unfit);
});
