import fc from "fast-check";
import stringWidth from "string-width";
import { describe, expect, test } from "vitest";
import { truncate, widthOf } from "../../../tui/output/width.ts";

const signs = " aZ~¡¬®ÿé©±–—‖•…←↑→↓─│▌█▟▲△▶▸▼▽○◌●◐◔◯✓✔✕✖";
const others = ["\u0301", "\ufe0f", "\u200d", "漢", "👩", "🇨", "✅", "◽", "\u00ad", "한", "⌚"];

describe("the width of a text", () => {
  test("is one cell for each character that counts as narrow", () => {
    const odd = [];
    for (let point = 0x20; point < 0x3000; point++) {
      const text = String.fromCodePoint(point);
      if (widthOf(text) !== stringWidth(text)) odd.push(point.toString(16));
    }
    expect(odd).toEqual([]);
  });

  test("is what string-width says, painted or not", () => {
    const part = fc.constantFrom(...signs, ...others, "\u001b[1m", "\u001b[38;5;4m", "\u001b[0m");
    fc.assert(
      fc.property(fc.array(part), (parts) => {
        const text = parts.join("");
        expect(widthOf(text)).toBe(stringWidth(text));
      }),
    );
  });

  test("is never more than asked for after a cut, and nothing is cut that fits", () => {
    const part = fc.constantFrom(...signs, ...others);
    fc.assert(
      fc.property(fc.array(part), fc.integer({ min: 0, max: 30 }), (parts, cells) => {
        const text = parts.join("");
        const cut = truncate(text, cells);
        expect(stringWidth(cut)).toBeLessThanOrEqual(cells);
        if (cells > 0 && stringWidth(text) <= cells) expect(cut).toBe(text);
      }),
    );
  });
});
