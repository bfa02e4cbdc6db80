import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Redaction, redactedText } from "../../worker/redaction.ts";
import { secretForms } from "../../worker/secret-forms.ts";

const secret = 'p@ss "wörd"/+1';

function redacting(...secrets: string[]): Redaction {
  const redaction = new Redaction();
  for (const one of secrets) expect(redaction.add(one)).toBe(true);
  return redaction;
}

describe("redaction", () => {
  test.each([
    ["as it is", secret],
    ["in JSON", JSON.stringify({ secret }).slice(11, -2)],
    ["in JSON inside of JSON", JSON.stringify(JSON.stringify(secret)).slice(3, -3)],
    ["in a URL", encodeURIComponent(secret)],
    ["in a form", new URLSearchParams({ secret }).toString().slice(7)],
    ["in base64", Buffer.from(secret).toString("base64")],
    ["in base64 for URLs", Buffer.from(secret).toString("base64url")],
    ["in hex", Buffer.from(secret).toString("hex")],
  ])("finds a secret %s", (_, written) => {
    expect(redacting(secret).redact(`a ${written} b ${written}`)).toBe(`a *** b ***`);
  });

  test("finds it encoded together with what stands around it", () => {
    for (const before of ["", "u", "us", "user:"]) {
      for (const after of ["", "x", "xy"]) {
        const encoded = Buffer.from(`${before}${secret}${after}`).toString("base64");
        const left = redacting(secret).redact(encoded).replace(redactedText, "");
        // What is left are the neighbours' own characters, and those that carry a neighbour's bits, too.
        expect(left.length, encoded).toBeLessThanOrEqual(
          Math.ceil((before.length * 8) / 6) + Math.ceil((after.length * 8) / 6) + 3,
        );
      }
    }
  });

  test("covers secrets that overlap as one, and each line of one with several", () => {
    expect(redacting("abcdef", "defghi").redact("-abcdefghi-")).toBe("-***-");
    expect(redacting("line-one\nline-two").redact("x line-two y line-one")).toBe("x *** y ***");
  });

  test("does not look for what is too short", () => {
    const redaction = new Redaction();
    expect(redaction.add("12345")).toBe(false);
    expect(redaction.redact("12345")).toBe("12345");
  });

  test("holds back only what may be the start of a secret", () => {
    const stream = redacting("secret-1").stream();
    expect(stream.push("one s")).toBe("one ");
    expect(stream.push("ecret")).toBe("");
    expect(stream.push("ary two secret-")).toBe("secretary two ");
    expect(stream.push("1 three")).toBe("*** three");
    expect(stream.push(Buffer.from("sec"))).toBe("");
    expect(stream.end()).toBe("sec");
  });

  test("finds a secret that is registered while its start is held back for another", () => {
    const redaction = redacting("secret-1");
    const stream = redaction.stream();
    expect(stream.push("secret")).toBe("");
    redaction.add("secret-2");
    expect(stream.push("-2.") + stream.end()).toBe("***.");
  });

  test("finds a secret whose characters are cut in two", () => {
    const stream = redacting("wörd-wörd").stream();
    const bytes = Buffer.from("a wörd-wörd b");
    expect([...bytes].map((byte) => stream.push(Uint8Array.of(byte))).join("") + stream.end()).toBe(
      "a *** b",
    );
  });

  test("of JSON keeps it JSON, whatever held the secret", () => {
    const redaction = redacting("1234567", '","b":"');
    const json = (value: unknown) => JSON.parse(Buffer.from(redaction.redactJson(bytesOf(value))).toString());
    expect(json({ a: 12345678, k1234567: ["x1234567y"], ok: true })).toEqual({
      a: "***8",
      "k***": ["x***y"],
      ok: true,
    });
    expect(json({ a: "x", b: "y" })).toBe(redactedText);
    const untouched = bytesOf({ a: 1 });
    expect(redaction.redactJson(untouched)).toBe(untouched);
  });
});

test("what comes out of any chunks is what comes out of the whole, and holds no secret", () => {
  const letter = fc.constantFrom("a", "b", "c");
  const word = fc.string({ unit: letter, minLength: 6, maxLength: 9 });
  const cases = fc.record({
    secrets: fc.array(word, { minLength: 1, maxLength: 3 }),
    parts: fc.array(fc.oneof(fc.string({ unit: letter, maxLength: 8 }), fc.nat(2)), { maxLength: 8 }),
    cuts: fc.array(fc.nat(60), { maxLength: 8 }),
  });
  fc.assert(
    fc.property(cases, ({ secrets, parts, cuts }) => {
      const text = parts.map((part) => (typeof part === "string" ? part : (secrets[part] ?? ""))).join("");
      const redaction = redacting(...secrets);
      const stream = redaction.stream();
      const borders = [...new Set([0, ...cuts.map((cut) => Math.min(cut, text.length)), text.length])].sort(
        (a, b) => a - b,
      );
      let out = "";
      for (const [index, start] of borders.entries())
        out += stream.push(text.slice(start, borders[index + 1]));
      out += stream.end();
      const forms = secrets.flatMap(secretForms);
      expect(forms.filter((form) => out.includes(form))).toEqual([]);
      expect(out).toBe(plainly(text, forms));
    }),
    { numRuns: 3_000 },
  );
});

/** The same by the definition: every character of every match is covered. */
function plainly(text: string, forms: readonly string[]): string {
  const covered = new Set<number>();
  for (const form of forms)
    for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, at + 1))
      for (let offset = 0; offset < form.length; offset++) covered.add(at + offset);
  let out = "";
  for (let at = 0; at < text.length; at++) {
    if (!covered.has(at)) out += text.charAt(at);
    else if (!covered.has(at - 1)) out += redactedText;
  }
  return out;
}

function bytesOf(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
