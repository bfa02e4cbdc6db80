import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  generateKey,
  hashKey,
  keyTypes,
  maskKey,
  parseKey,
  readJobToken,
  verifyKey,
  writeJobToken,
} from "../../../../server/domain/rules/keys.ts";

const pepper = new Uint8Array(32).fill(7);

describe("a generated key", () => {
  test.each(keyTypes.filter((type) => type !== "job"))(
    "of type %s has the form mk_<type>_<id>_<secret>_<crc> and can be parsed",
    (type) => {
      const { text, ...parts } = generateKey(type);
      expect(text).toMatch(new RegExp(`^mk_${type}_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$`));
      expect(parseKey(text)).toEqual(parts);
      expect(parts.type).toBe(type);
    },
  );

  test("is never the same twice", () => {
    const keys = Array.from({ length: 500 }, () => generateKey("api"));
    expect(new Set(keys.map((key) => key.id)).size).toBe(500);
    expect(new Set(keys.map((key) => key.secret)).size).toBe(500);
  });
});

describe("the token of a job", () => {
  const lease = {
    orgId: "00000000-0000-7000-8000-000000000001",
    jobId: "0198a000-0000-7000-8000-00000000000f",
    leaseId: "ffffffff-ffff-ffff-ffff-ffffffffffff",
    attempt: 2_147_483_647,
  };

  test("says what it is for to who knows the secret", () => {
    const parts = parseKey(writeJobToken(pepper, lease, "acme"));
    expect(parts).toMatchObject({ prefix: "acme", type: "job" });
    if (parts === null) throw new Error("it cannot be parsed");
    expect(readJobToken([new Uint8Array(32), pepper], parts)).toEqual(lease);
    expect(readJobToken([new Uint8Array(32)], parts)).toBeNull();
    const largest = { ...parts, id: "z".repeat(70) };
    expect(readJobToken([pepper], largest)).toBeNull();
  });
});

describe("parsing", () => {
  test("accepts a key that was made elsewhere, by the format alone", () => {
    // Bytes 0 to 31 as the secret; checksum by another implementation of CRC-32. Must parse for ever.
    const secret = "003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf";
    expect(parseKey(`mk_api_0123456789Az_${secret}_1HNMjL`)).toEqual({
      prefix: "mk",
      type: "api",
      id: "0123456789Az",
      secret,
    });
  });

  test("rejects 10,000 mutated keys without throwing", () => {
    const { text } = generateKey("worker");
    const character = fc.constantFrom(..."0189ABYZabyz_- é\u0000");
    const edit = fc.record({
      at: fc.nat(text.length),
      remove: fc.nat(3),
      insert: fc.array(character, { maxLength: 3 }).map((characters) => characters.join("")),
    });
    const edits = fc.array(edit, { minLength: 1, maxLength: 4 });
    const mutant = edits
      .map((all) =>
        all.reduce((key, { at, remove, insert }) => key.slice(0, at) + insert + key.slice(at + remove), text),
      )
      .filter((key) => key !== text);
    fc.assert(
      fc.property(mutant, (key) => parseKey(key) === null),
      { numRuns: 10_000 },
    );
  });

  test("rejects every key with one character replaced by another of the alphabet", () => {
    const { text } = generateKey("api");
    for (let at = 0; at < text.length; at++) {
      for (const character of "09AZaz_") {
        const mutated = text.slice(0, at) + character + text.slice(at + 1);
        if (mutated !== text) expect(parseKey(mutated)).toBeNull();
      }
    }
  });

  test("rejects a key whose parts are moved to another type or cut from two keys", () => {
    const [a, b] = [generateKey("api").text, generateKey("api").text];
    expect(parseKey(a.replace("mk_api_", "mk_job_"))).toBeNull();
    expect(parseKey(a.slice(0, 40) + b.slice(40))).toBeNull();
  });

  test.each(["", "mk", "mk_api", "mk_api____", "Bearer mk_api_", "\u0000", "mk_api_".repeat(200_000)])(
    "rejects what is no key at all (%#)",
    (text) => {
      expect(parseKey(text)).toBeNull();
    },
  );

  test("rejects any text without throwing", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 100 }), (text) => parseKey(text) === null),
      { numRuns: 2_000 },
    );
  });
});

describe("a stored hash", () => {
  test("is the HMAC-SHA-256 of the secret under the pepper", () => {
    expect(hashKey(pepper, "secret")).toEqual(createHmac("sha256", pepper).update("secret").digest());
    expect(hashKey(new Uint8Array(32), "secret")).not.toEqual(hashKey(pepper, "secret"));
  });

  test("is matched by its own secret under its own pepper alone", () => {
    const stored = hashKey(pepper, "secret");
    expect(verifyKey(pepper, "secret", stored)).toBe(true);
    expect(verifyKey(pepper, "secreT", stored)).toBe(false);
    expect(verifyKey(new Uint8Array(32), "secret", stored)).toBe(false);
  });

  test("that is missing or of another length matches nothing, without throwing", () => {
    expect(verifyKey(pepper, "secret", null)).toBe(false);
    expect(verifyKey(pepper, "secret", new Uint8Array(0))).toBe(false);
    expect(verifyKey(pepper, "secret", new Uint8Array(64))).toBe(false);
    expect(verifyKey(pepper, "secret", new Uint8Array(32))).toBe(false);
  });
});

describe("a masked key", () => {
  test("shows its type, id and last four characters, and nothing of the secret", () => {
    const { text, id } = generateKey("enrol");
    expect(maskKey(text)).toBe(`mk_enrol_${id}_…${text.slice(-4)}`);
  });

  test("of another form shows four characters of a long text, none of a short one", () => {
    expect(maskKey("an-imported-key-of-more-than-thirty-two-characters-wxyz")).toBe("…wxyz");
    expect(maskKey("hunter2")).toBe("…");
  });
});
