import { create } from "@bufbuild/protobuf";
import { type AttemptEvent, AttemptEventSchema, LogStream } from "@muster/client/v1/event";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeLogLines } from "../../../tui/output/log-lines.ts";

function record(text: string, stream = LogStream.STDOUT, level = ""): AttemptEvent {
  return create(AttemptEventSchema, {
    attempt: 1,
    sequence: 1n,
    body: { case: "log", value: { text, stream, level } },
  });
}

describe("log lines", () => {
  test("are what the program wrote, wherever it was cut", () => {
    const text = fc.array(fc.constantFrom("a", "bc", "\n", " ", "é")).map((parts) => parts.join(""));
    fc.assert(
      fc.property(fc.array(text), (pieces) => {
        const lines = makeLogLines();
        const shown = pieces.flatMap((piece) => lines.push(record(piece))).concat(lines.flush());
        const whole = pieces.join("");
        expect(shown.map((line) => line.text)).toEqual(
          whole === "" ? [] : whole.replace(/\n$/, "").split("\n"),
        );
      }),
    );
  });

  test("of two outputs are kept apart, and each log call is a line", () => {
    const lines = makeLogLines();
    const shown = [
      record("one "),
      record("warn", LogStream.STDERR),
      record("called", LogStream.LOG, "warn"),
      record("half\n"),
      record("ing\r\n", LogStream.STDERR),
      record("two\nlines", LogStream.SYSTEM),
    ].flatMap((event) => lines.push(event));
    expect(shown.map(({ source, text }) => `${source}: ${text}`)).toEqual([
      "warn: called",
      "out: one half",
      "err: warning",
      "sys: two",
      "sys: lines",
    ]);
    expect(lines.flush()).toEqual([]);
  });

  test("that never end are shown once they are long", () => {
    const lines = makeLogLines();
    expect(lines.push(record("x".repeat(60_000)))).toEqual([]);
    expect(lines.push(record("x".repeat(10_000)))[0]?.text).toHaveLength(70_000);
  });
});
