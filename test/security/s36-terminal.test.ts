import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { escapeJson, sanitize, sanitizeLines } from "../../tui/output/sanitize.ts";
import { startHostilePeer } from "../support/hostile-peer.ts";
import { makeDirectory, startCli } from "../tui/run-cli.ts";

const esc = String.fromCharCode(27);
const attacks = [
  `${esc}]52;c;ZXZpbA==\u0007`, // the clipboard
  `${esc}]8;;https://evil.test\u0007click${esc}]8;;\u0007`, // a link
  `${esc}]0;title\u0007`,
  `${esc}P$qm${esc}\\`, // a request that the terminal answers as if typed
  `${esc}_Gevil${esc}\\${esc}^pm${esc}\\`,
  `${esc}[2J${esc}[1;1H${esc}[?1049h${esc}c`,
  "\u009b31m\u009d52;c;x\u009c\u0090x\u009c",
  "\u202etxt.exe\u202c\u2066x\u2069\u200b\u200e\ufeff",
  "a\rb\bc\u0000d\u007f",
  `x${"y".repeat(1_000_000)}${esc}[31m`,
  Buffer.from([0x61, 0xff, 0xfe, 0xc0, 0x80, 0x1b, 0x5b]).toString("utf8"),
];
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const acted = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f\ufeff]/;

describe("S36 untrusted text cannot steer a terminal", () => {
  test.each(attacks)("attack %#: no byte of it acts, and it shows", (attack) => {
    for (const safe of [sanitize(attack), sanitizeLines(attack), escapeJson(JSON.stringify(attack))]) {
      expect(safe).not.toMatch(acted);
    }
    expect(sanitize(attack)).not.toBe("");
  });

  test("nor of any text, in any pieces", () => {
    const piece = fc.oneof(
      fc.constantFrom(...attacks.filter((one) => one.length < 100)),
      fc.string({ unit: "binary" }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => !acted.test(sanitizeLines(pieces.join("")))),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ["job", "get", "job_01jd9y3f4k8qkx2m0000000001"],
    ["job", "list"],
    ["worker", "list"],
  ])("from the coordinator to the terminal: muster %s %s", async (...argv) => {
    let text = "";
    const peer = await startHostilePeer(() => ({ text, nth: 0 }));
    const directory = makeDirectory();
    try {
      for (text of attacks.filter((one) => one.length < 100)) {
        const env = { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: "k" };
        const terminal = { columns: 100, rows: 30 };
        const running = startCli(argv.filter(Boolean), { env, cwd: directory.path, terminal, stdin: "" });
        peer.begin(running.interrupt);
        await running.exit;
        const output = running.stdout() + running.stderr();
        expect(output.length).toBeGreaterThan(0);
        expect(output.replaceAll(new RegExp(`${esc}\\[[0-9;]*m`, "g"), "").replaceAll("\t", "")).not.toMatch(
          acted,
        );
      }
    } finally {
      await peer.close();
      directory.remove();
    }
  });
});
