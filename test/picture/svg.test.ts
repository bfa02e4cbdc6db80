import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { drawTerminal } from "./svg.ts";

const draw = (text: string, columns = 20, rows = 3) =>
  drawTerminal({ text, columns, rows, title: "a <title>" });
/** The attributes and the text of each run. */
const runs = (svg: string) =>
  [...svg.matchAll(/<tspan ([^>]*)>([^<]*)<\/tspan>/g)].map(([, attributes = "", text]) => ({
    ...Object.fromEntries(
      [...attributes.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
    ),
    text,
  }));

describe("a drawing of a terminal", () => {
  test("has one text a line and a run for each look, in its column", () => {
    const svg = draw("ab \u001b[32mcd\u001b[0m\n\nef");
    expect(svg.match(/<text /g)).toHaveLength(2);
    expect(runs(svg)).toMatchObject([
      { x: "12", textLength: "16.8", text: "ab" },
      { x: "37.2", fill: "#7ee787", text: "cd" },
      { x: "12", text: "ef" },
    ]);
    expect(svg).toContain('viewBox="0 0 192 78"');
  });

  test.each([
    ["1", { "font-weight": "bold" }],
    ["2", { "fill-opacity": "0.6" }],
    ["31", { fill: "#ff7b72" }],
    ["97", { fill: "#ffffff" }],
    ["1;33", { fill: "#e3b341", "font-weight": "bold" }],
    ["38;5;4", { fill: "#79c0ff" }],
    ["38;5;12", { fill: "#a5d6ff" }],
    ["38;2;0;158;115", { fill: "#009e73" }],
    ["38;2;0;158;115;1", { fill: "#009e73", "font-weight": "bold" }],
    ["7", { fill: "#0d1117" }],
    ["7;31", { fill: "#0d1117" }],
  ])("knows the look %s", (codes, look) => {
    expect(runs(draw(`\u001b[${codes}mx`))).toMatchObject([look]);
  });

  test.each(["0", "", "31;0", "31;39", "1;22", "7;27", "41;49", "38;5;200"])(
    "has the terminal's own look after %s",
    (codes) => {
      const svg = draw(`\u001b[${codes}mx`);
      expect(Object.keys(runs(svg)[0] ?? {})).toEqual(["x", "textLength", "lengthAdjust", "text"]);
      expect(svg.match(/<rect /g)).toHaveLength(1);
    },
  );

  test("puts the ground of a look behind its text, blanks too", () => {
    const svg = draw("a\u001b[7;31m b \u001b[0m\u001b[42m  \u001b[0m");
    expect(
      [...svg.matchAll(/<rect x="([\d.]+)".*width="([\d.]+)".*fill="(.*)"/g)].map((one) => one.slice(1)),
    ).toEqual([
      ["20.4", "25.2", "#ff7b72"],
      ["45.6", "16.8", "#7ee787"],
    ]);
  });

  test("keeps a look over the end of a line", () => {
    expect(runs(draw("\u001b[31ma\nb"))).toMatchObject([{ fill: "#ff7b72" }, { fill: "#ff7b72" }]);
  });

  test("counts wide characters as two cells", () => {
    expect(runs(draw("漢字\u001b[1mx"))).toMatchObject([{ textLength: "33.6" }, { x: "45.6", text: "x" }]);
  });

  test("drops other escapes, and what is below the last row", () => {
    expect(runs(draw("a\u001b[2Jb\u001b(Bc\u000e\n1\n2\n3")).map(({ text }) => text)).toEqual([
      "a",
      "b",
      "c",
      "1",
      "2",
    ]);
  });

  test("is XML whatever the text is", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }),
        fc.string({ unit: fc.constantFrom("<", "&", '"', "]]>", "\u001b[1m", "\ud800", "\n") }),
        (one, other) => {
          const svg = draw(one + other);
          const open: string[] = [];
          for (const [, close, name = "", isEmpty] of svg.matchAll(/<(\/?)(\w+)[^<>]*?(\/?)>/g)) {
            if (close === "/") expect(open.pop()).toBe(name);
            else if (isEmpty !== "/") open.push(name);
          }
          expect(open).toEqual([]);
          const texts = svg.replaceAll(/<\/?\w[^<>]*>/g, "");
          expect(texts).not.toMatch(/[<>]|&(?!#\d+;)/);
          // What XML 1.0 does not allow.
          expect(svg).not.toMatch(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u);
        },
      ),
    );
  });
});
