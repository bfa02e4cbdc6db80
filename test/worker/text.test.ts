import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cleanText, clipBytes, clipText, durationText, splitBytes, TextDecoding } from "../../worker/text.ts";

const text = () => fc.string({ unit: "binary" });

describe("text", () => {
  test("has neither NUL nor unpaired surrogates once clean", () => {
    expect(cleanText("a\0b\uD800c")).toBe("a\uFFFDb\uFFFDc");
    expect(cleanText("a😀b")).toBe("a😀b");
  });

  test("cut by characters ends in an ellipsis and never inside a pair", () => {
    expect(clipText("12345", 5)).toBe("12345");
    expect(clipText("123456", 5)).toBe("1234…");
    expect(clipText("123😀456", 5)).toBe("123…");
    fc.assert(
      fc.property(
        text(),
        fc.integer({ min: 1, max: 20 }),
        (given, most) => clipText(given, most).length <= most,
      ),
    );
  });

  test("cut by bytes keeps its beginning or its end, whole characters only", () => {
    expect(clipBytes("aüb", 2)).toBe("a");
    expect(clipBytes("aüb", 2, "end")).toBe("b");
    fc.assert(
      fc.property(text(), fc.integer({ min: 0, max: 20 }), (given, most) => {
        const start = clipBytes(given, most);
        const end = clipBytes(given, most, "end");
        expect(Buffer.byteLength(start)).toBeLessThanOrEqual(most);
        expect(Buffer.byteLength(end)).toBeLessThanOrEqual(most);
        expect(cleanText(given).startsWith(start)).toBe(true);
        expect(cleanText(given).endsWith(end)).toBe(true);
      }),
    );
  });

  test("cut into pieces is whole again, and no piece is too large", () => {
    expect(splitBytes("", 8)).toEqual([]);
    fc.assert(
      fc.property(text(), fc.integer({ min: 4, max: 20 }), (given, most) => {
        const clean = cleanText(given);
        const pieces = splitBytes(clean, most);
        expect(pieces.join("")).toBe(clean);
        expect(pieces.every((piece) => piece !== "" && Buffer.byteLength(piece) <= most)).toBe(true);
      }),
    );
  });

  test("decoded from chunks that cut characters in two is the same text", () => {
    fc.assert(
      fc.property(text(), fc.array(fc.integer({ min: 0, max: 40 })), (given, cuts) => {
        const clean = cleanText(given);
        const bytes = Buffer.from(clean);
        const decoding = new TextDecoding();
        const borders = [
          0,
          ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b),
          bytes.length,
        ];
        const parts = borders
          .slice(1)
          .map((end, index) => decoding.push(bytes.subarray(borders[index], end)));
        expect(parts.join("") + decoding.end()).toBe(clean);
      }),
    );
  });

  test("that ends inside a character says so", () => {
    const decoding = new TextDecoding();
    expect(decoding.push(Uint8Array.of(0x61, 0xc3))).toBe("a");
    expect(decoding.end()).toBe("\uFFFD");
  });
});

test.each([
  [0, "0ms"],
  [250, "250ms"],
  [1000, "1s"],
  [1200, "1.2s"],
  [90_000, "1.5m"],
  [14_400_000, "4h"],
])("%i ms are %s for people", (ms, shown) => {
  expect(durationText(ms)).toBe(shown);
});
