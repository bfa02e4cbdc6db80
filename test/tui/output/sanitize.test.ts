import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { escapeJson, sanitize, sanitizeLines } from "../../../tui/output/sanitize.ts";

// Written independently of the implementation: by code point.
function isDangerous(text: string, allowed = ""): boolean {
  return [...text].some((character) => {
    if (allowed.includes(character)) return false;
    const point = character.codePointAt(0) ?? 0;
    const isControl = point < 0x20 || (point >= 0x7f && point <= 0x9f);
    const isBidi = (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
    const isMark = [0x061c, 0x200b, 0x200e, 0x200f, 0x2028, 0x2029, 0x2060, 0xfeff].includes(point);
    const isNotation = (point >= 0x1bca0 && point <= 0x1bca3) || (point >= 0x1d173 && point <= 0x1d17a);
    const isTag = point >= 0xe0000 && point <= 0xe007f;
    return isControl || isBidi || isMark || isNotation || isTag || (point >= 0xd800 && point <= 0xdfff);
  });
}

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)) }),
  fc
    .array(
      fc.constantFrom(
        "\u001b",
        "\u009b",
        "\u0007",
        "[31m",
        "]52;c;AAAA",
        "\u202e",
        "\r",
        "\n",
        "é",
        "漢",
        "👩‍🚀",
      ),
    )
    .map((parts) => parts.join("")),
);

describe("sanitize", () => {
  test("leaves nothing that a terminal acts on", () => {
    fc.assert(
      fc.property(anyText, (text) => !isDangerous(sanitize(text))),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(anyText, (text) => !isDangerous(sanitizeLines(text), "\n")),
      { numRuns: 2_000 },
    );
  });

  test("is done after one pass", () => {
    fc.assert(fc.property(anyText, (text) => sanitize(sanitize(text)) === sanitize(text)));
  });

  test("changes nothing in text without anything dangerous", () => {
    const pieces = fc.constantFrom("a", "é", "e\u0301", "漢", "👩‍🚀", "✔", " ", "~", "नि", "‖", "█");
    const safeText = fc
      .array(fc.oneof(pieces, fc.string({ unit: "grapheme-ascii" })))
      .map((all) => all.join(""));
    fc.assert(
      fc.property(safeText, (text) => sanitize(text) === text),
      { numRuns: 1_000 },
    );
  });

  test.each([0x1bca0, 0x1bca3, 0x1d173, 0x1d17a])("shows the invisible U+%s", (point) => {
    const shown = `⟨U+${point.toString(16).toUpperCase()}⟩`;
    expect(sanitize(`a${String.fromCodePoint(point)}b`)).toBe(`a${shown}b`);
  });

  test.each([
    ["\u001b[31mred\u001b[0m", "␛[31mred␛[0m"],
    ["\u001b]52;c;ZXZpbA==\u0007", "␛]52;c;ZXZpbA==␇"],
    ["\u009b2J", "␛[2J"],
    ["a\u202eb", "a⟨U+202E⟩b"],
    ["line\nbreak\ttab\r", "line␊break␉tab␍"],
    ["\u007f\u0000", "␡␀"],
    ["half \ud800", "half \ufffd"],
    ["grüße 漢字 👩‍🚀", "grüße 漢字 👩‍🚀"],
  ])("shows %j as %j", (text, shown) => {
    expect(sanitize(text)).toBe(shown);
  });

  test("keeps lines where several are wanted", () => {
    expect(sanitizeLines("a\r\n\tb\u001b[1m\nc")).toBe("a\n    b␛[1m\nc");
  });
});

describe("escapeJson", () => {
  test("says the same without a dangerous character", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const json = escapeJson(JSON.stringify({ text }, null, 2));
        expect(isDangerous(json, "\n")).toBe(false);
        expect(JSON.parse(json)).toEqual({ text });
      }),
      { numRuns: 1_000 },
    );
  });
});
