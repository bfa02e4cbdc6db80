import { describe, expect, test } from "vitest";
import { parseConfig } from "../../../tui/config/parse.ts";

const wrongIn = (text: string, level: "user" | "project" = "user") =>
  parseConfig(text, "c.yaml", level).violations.map(({ field, message }) => `${field} ${message}`);

describe("parseConfig", () => {
  test("reads settings and contexts", () => {
    const { file, violations } = parseConfig(
      "# mine\ncontext: prod\noutput: wide\nreadOnly: true\ncontexts:\n  prod: { address: 'https://m:1', readOnly: false }\n",
      "c.yaml",
      "user",
    );
    expect(violations).toEqual([]);
    expect(Object.fromEntries(file.settings)).toEqual({ context: "prod", output: "wide", readOnly: true });
    expect(Object.fromEntries(file.contexts.get("prod") ?? [])).toEqual({
      address: "https://m:1",
      readOnly: false,
    });
  });

  test("tells all that is wrong at once, each with its place and what was meant", () => {
    const text = "outptu: wide\noutput: wid\ntimeout: soon\ncontexts:\n  prod:\n    adress: x\n  b ad: {}\n";
    expect(wrongIn(text)).toEqual([
      'c.yaml:1:1 unknown setting "outptu"; Did you mean output?',
      'c.yaml:2:9 output: has no value "wid"; Did you mean wide?',
      expect.stringMatching(/^c\.yaml:3:10 timeout: is not a duration/),
      'c.yaml:6:5 unknown setting "contexts.prod.adress"; Did you mean address?',
      "c.yaml:5:3 contexts.prod: has no address",
      expect.stringContaining('c.yaml:7:3 "b ad" is not a name of a context'),
      "c.yaml:7:3 contexts.b ad: has no address",
    ]);
  });

  test.each([
    ["a: [", /^c\.yaml:\d+:\d+ is not YAML/],
    ["- a\n", /must hold settings/],
    ["contexts: 1\n", /contexts: must hold contexts by their names/],
    ["address: http://x\n", /address: belongs to a context/],
    ["output: 3\n", /output: must be text/],
    ["contexts: { p: { address: 'ftp://x' } }\n", /is not an address/],
  ])("refuses %j", (text, message) => {
    expect(wrongIn(text)[0]).toMatch(message);
  });

  test.each([
    "contexts: { a: { address: http://evil } }",
    "address: http://evil",
    "keyFile: ~/.ssh/id",
    "tlsCa: x",
  ])("lets a project's file not say where anything is: %s", (text) => {
    expect(wrongIn(text, "project")[0]).toMatch(/a project may name a context, and only you say where it is/);
    expect(wrongIn("context: prod\noutput: json\n", "project")).toEqual([]);
  });
});
