import { create } from "@bufbuild/protobuf";
import { PayloadSchema } from "@muster/client/v1/payload";
import { describe, expect, test } from "vitest";
import { JobFailure } from "../../worker/failure.ts";
import { decodePayload, encodeJson } from "../../worker/json.ts";

function failureOf(run: () => unknown): JobFailure {
  try {
    run();
  } catch (error) {
    if (error instanceof JobFailure) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("a result", () => {
  test.each([
    [undefined, "null"],
    [null, "null"],
    [{ a: [1, "ü"] }, '{"a":[1,"ü"]}'],
    ["a backslash \\u0000 in words", '"a backslash \\\\u0000 in words"'],
    [{ toJSON: () => 7 }, "7"],
  ])("%j is written as %s", (value, text) => {
    expect(Buffer.from(encodeJson(value, "RESULT", 1000)).toString()).toBe(text);
  });

  const circle: { self?: unknown } = {};
  circle.self = circle;
  test.each([
    ["a bigint", 1n, "RESULT_NOT_JSON"],
    ["a circle", circle, "RESULT_NOT_JSON"],
    ["a function", () => {}, "RESULT_NOT_JSON"],
    ["a NUL", { deep: ["a\0b"] }, "RESULT_HAS_NUL"],
    ["a NUL behind a backslash", "\\\0", "RESULT_HAS_NUL"],
    ["a NUL in a name", { "\0": 1 }, "RESULT_HAS_NUL"],
    ["too much", "x".repeat(1000), "RESULT_TOO_LARGE"],
  ])("%s is a final failure with a code", (_name, value, code) => {
    expect(failureOf(() => encodeJson(value, "RESULT", 1000))).toMatchObject({ code, retryable: false });
  });

  test("may have exactly the allowed size", () => {
    expect(encodeJson("x".repeat(998), "RESULT", 1000)).toHaveLength(1000);
    expect(failureOf(() => encodeJson("ü".repeat(500), "RESULT", 1000)).message).toMatch(
      /has 1002 bytes, allowed are 1000/,
    );
  });
});

describe("a payload", () => {
  test("is read from bytes, from a value, and from nothing", () => {
    expect(
      decodePayload(create(PayloadSchema, { content: { case: "data", value: Buffer.from('{"a":1}') } })),
    ).toEqual({ a: 1 });
    const json = { kind: { case: "numberValue" as const, value: 4 } };
    expect(decodePayload(create(PayloadSchema, { content: { case: "json", value: json } }))).toBe(4);
    expect(decodePayload(create(PayloadSchema))).toBeNull();
    expect(decodePayload(undefined)).toBeNull();
  });

  test("that is not JSON is a final failure", () => {
    const payload = create(PayloadSchema, { content: { case: "data", value: Buffer.from("{oops") } });
    expect(failureOf(() => decodePayload(payload))).toMatchObject({
      code: "PAYLOAD_NOT_JSON",
      retryable: false,
    });
  });
});
