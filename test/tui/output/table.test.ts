import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { paintFor, paintLevel } from "../../../tui/output/paint.ts";
import { glyphSetOf } from "../../../tui/output/states.ts";
import { layFacts, layTable } from "../../../tui/output/table.ts";
import { showAge, showDuration, showTimeAndAge } from "../../../tui/output/time.ts";
import { fitTo, truncate } from "../../../tui/output/width.ts";

const paint = paintFor("none");

describe("a table", () => {
  const columns = [{ title: "NAME" }, { title: "N", align: "right" }, { title: "ABOUT" }] as const;
  const rows = [
    ["漢字", "5", "short"],
    ["a\tb", "1,000", "a long text that does not fit"],
  ];

  test("is aligned by cells on a terminal, with only its last column cut", () => {
    expect(layTable(columns, rows, { columns: 30, paint })).toEqual([
      "NAME      N  ABOUT",
      "漢字      5  short",
      "a␉b   1,000  a long text that…",
    ]);
  });

  test("has a tab between cells elsewhere, and is never cut", () => {
    expect(layTable(columns, rows, { columns: undefined, paint })).toEqual([
      "NAME\tN\tABOUT",
      "漢字\t5\tshort",
      "a␉b\t1,000\ta long text that does not fit",
    ]);
  });

  test("leaves out on a narrow terminal what matters least", () => {
    const many = [{ title: "A" }, { title: "B", drop: 2 }, { title: "C", drop: 1 }, { title: "D" }] as const;
    const row = [["aaaa", "bbbb", "cccc", "dddddddddddd"]];
    const at = (cells: number) => layTable(many, row, { columns: cells, paint })[1];
    expect(at(28)).toBe("aaaa  bbbb  cccc  dddddddddd".replace("dddddddddd", "ddddddddd…"));
    expect(at(27)).toBe("aaaa  bbbb  dddddddddddd");
    expect(at(21)).toBe("aaaa  dddddddddddd");
    expect(at(5)).toBe("aaaa  ddddddddd…");
  });

  test("of facts leaves out what is not known", () => {
    const facts = [
      ["id", "job_1"],
      ["reason", ""],
      ["error", undefined],
      ["state", { text: "DEAD\u0007", style: "red" }],
    ] as const;
    expect(layFacts(facts, { columns: 80, paint })).toEqual(["id     job_1", "state  DEAD␇"]);
  });
});

describe("width", () => {
  test("is cut by whole graphemes", () => {
    expect(truncate("👩‍🚀👩‍🚀👩‍🚀", 5)).toBe("👩‍🚀👩‍🚀…");
    expect(truncate("漢字漢字", 4)).toBe("漢…");
    expect(truncate("e\u0301e\u0301", 2)).toBe("e\u0301e\u0301");
    expect(truncate("abc", 0)).toBe("");
    expect(fitTo("漢字漢字", 4)).toBe("漢… ");
    expect(fitTo("7", 3, "right")).toBe("  7");
  });
});

describe("time", () => {
  test.each([
    [0, "0s"],
    [850, "850ms"],
    [1_250, "1.2s"],
    [12_000, "12s"],
    [245_000, "4m05s"],
    [11_520_000, "3h12m"],
    [187_200_000, "2d4h"],
  ])("shows %i ms as %s", (ms, text) => {
    expect(showDuration(ms)).toBe(text);
  });

  test("tells what was from what will be", () => {
    expect(showTimeAndAge(timestampFromMs(0), 90_000)).toBe("1970-01-01T00:00:00.000Z (1m30s ago)");
    expect(showTimeAndAge(timestampFromMs(90_000), 0)).toBe("1970-01-01T00:01:30.000Z (in 1m30s)");
    expect(showAge(timestampFromMs(90_000), 0)).toBe("0s");
    expect(showAge(undefined, 0)).toBe("-");
    expect(
      showTimeAndAge({ $typeName: "google.protobuf.Timestamp", seconds: 10n ** 17n, nanos: 0 }, 0),
    ).toContain("(not a time)");
  });
});

describe("what a terminal can show", () => {
  test.each([
    [{ isTty: true, noColor: false, env: {} }, "colour"],
    [{ isTty: false, noColor: false, env: {} }, "none"],
    [{ isTty: true, noColor: true, env: {} }, "mono"],
    [{ isTty: true, noColor: false, env: { NO_COLOR: "1" } }, "mono"],
    [{ isTty: true, noColor: false, env: { NO_COLOR: "1", FORCE_COLOR: "1" } }, "mono"],
    [{ isTty: true, noColor: false, env: { TERM: "dumb" } }, "mono"],
    [{ isTty: false, noColor: false, env: { FORCE_COLOR: "1" } }, "colour"],
    [{ isTty: false, noColor: true, env: { FORCE_COLOR: "1" } }, "none"],
  ])("with %j is %s", (options, level) => {
    expect(paintLevel(options)).toBe(level);
  });

  test("is ASCII without a UTF-8 locale and on the Linux console", () => {
    expect(glyphSetOf({ LANG: "de_DE.UTF-8" })).toBe("unicode");
    expect(glyphSetOf({ LC_ALL: "C", LANG: "de_DE.UTF-8" })).toBe("ascii");
    expect(glyphSetOf({ LANG: "de_DE.utf8", TERM: "linux" })).toBe("ascii");
    expect(glyphSetOf({})).toBe("unicode");
  });
});
