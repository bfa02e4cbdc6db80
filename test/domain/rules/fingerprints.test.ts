import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { errorPattern } from "../../../server/domain/rules/fingerprints.ts";

describe("equal errors", () => {
  test.each<[string, string, string]>([
    ["numbers", "exit 137 after 60.5s", "exit 9 after 1s"],
    ["counts in a list", "ports 80, 443, 8080 are taken", "ports 22 are taken"],
    ["our ids", "job job_01jd9y3f4k8qkx2m0000000000 died", "job job_01jd9y3f4k8qkx2m0000000001 died"],
    [
      "UUIDs",
      "no volume 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
      "no volume 6BA7B811-9DAD-11D1-80B4-00C04FD430C9",
    ],
    ["paths", "cannot open '/srv/a/shot_01.blend'", "cannot open '/home/kim/b.blend'"],
    ["paths of Windows", "missing C:\\work\\one\\a.txt", "missing D:\\x\\y.txt"],
    ["relative paths", "at ./src/a/index.ts:10:4", "at ./src/other/b.ts:7:12"],
    ["addresses in memory", "segfault at 0x7ffe12ab", "segfault at 0x0"],
    ["digests", "no image sha256:4f2c9a1b77de", "no image sha256:aa81c0ffee12"],
    ["commits", "unknown revision 4f2c9a1", "unknown revision 00ab12c"],
    ["times", "expired at 2026-11-22T14:03:22.123Z", "expired at 2025-01-01T00:00:00+01:00"],
    [
      "what URLs lead to",
      "fatal: Authentication failed for 'https://github.com/acme/old.git/'",
      "fatal: Authentication failed for 'https://github.com/acme/new/x.git/'",
    ],
    ["addresses", "connect ECONNREFUSED 10.0.4.13:5432", "connect ECONNREFUSED 127.0.0.1:80"],
    ["names of pods", "pod web-7f9c8d6b54-x2x9z-aaaaaaaa died", "pod web-5d4c8d6b99-k3k1z-bbbbbbbb died"],
    ["white space", "a\n  b", "a b"],
  ])("share a pattern, whatever %s they mention", (_, one, other) => {
    expect(errorPattern(one)).toBe(errorPattern(other));
  });

  test.each<[string, string]>([
    ["git: authentication failed", "git: repository not found"],
    ["cannot reach https://one.example/a", "cannot reach https://two.example/a"],
    ["CUDA out of memory", "CUDA driver is missing"],
    ["bad face", "bad decade"],
  ])("do not: %s and %s", (one, other) => expect(errorPattern(one)).not.toBe(errorPattern(other)));

  test("a pattern is its own pattern, of any text, in little time", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("a", "f", "1", "/", "_", "-", " ", ":", "#", ".") }),
        (text) => {
          const pattern = errorPattern(text);
          expect(errorPattern(pattern).length).toBeLessThanOrEqual(pattern.length + 1);
        },
      ),
    );
    for (const text of ["/a".repeat(5_000), "a-".repeat(5_000), "1.".repeat(5_000), "# ".repeat(5_000)]) {
      expect(errorPattern(text).length).toBeLessThanOrEqual(2_000);
    }
  });
});
