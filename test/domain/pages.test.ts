import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pageOf, pageRows, readPageToken, uuidForm, writePageToken } from "../../server/domain/pages.ts";

const identity = { list: "jobs", orgId: "0190d9c8-0000-7000-8000-000000000000", filter: { kind: "a" } };
const id = "0190d9c8-1111-7000-8000-000000000000";
const page = (pageToken: string) => ({ pageSize: 0, pageToken });
const invalid = { code: "invalid_argument" };

function refusal(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}

describe("the size of a page", () => {
  test.each([
    [0, 50],
    [1, 1],
    [1_000, 1_000],
    [1_001, 1_000],
    [2 ** 31 - 1, 1_000],
  ])("%i means %i rows", (pageSize, rows) => {
    expect(pageRows({ pageSize, pageToken: "" })).toBe(rows);
  });

  test.each([-1, 0.5, Number.NaN])("%d is refused", (pageSize) => {
    const error = refusal(() => pageRows({ pageSize, pageToken: "" }));
    expect(error).toMatchObject({ ...invalid, violations: [{ field: "pageSize" }] });
  });
});

describe("a page token", () => {
  test("carries a position", () => {
    const token = writePageToken(identity, [id]);
    expect(readPageToken(identity, page(token), [uuidForm])).toEqual([id]);
    expect(readPageToken(identity, page(""), [uuidForm])).toBeNull();
  });

  test.each([
    ["another list", { ...identity, list: "batches" }],
    ["another org", { ...identity, orgId: id }],
    ["another filter", { ...identity, filter: { kind: "b" } }],
    ["no filter", { list: "jobs", orgId: identity.orgId }],
  ])("of %s is refused", (_, other) => {
    const token = writePageToken(other, [id]);
    const error = refusal(() => readPageToken(identity, page(token), [uuidForm]));
    expect(error).toMatchObject({ ...invalid, reason: "PAGE_TOKEN_INVALID" });
  });

  test.each([[["x"]], [[]], [[id, id]], [["a\0"]]])("with the position %j is refused", (position) => {
    const token = writePageToken(identity, position);
    const error = refusal(() => readPageToken(identity, page(token), [uuidForm]));
    expect(error).toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
  });

  test("of any other text is refused, and nothing else happens", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.json().map(btoaOf)), (token) => {
        fc.pre(token !== "");
        const error = refusal(() => readPageToken(identity, page(token), [/^/]));
        return Object(error).reason === "PAGE_TOKEN_INVALID";
      }),
    );
  });
});

describe("a page", () => {
  test.each([
    [[], [], ""],
    [[1, 2], [1, 2], ""],
    [[1, 2, 3], [1, 2], "2"],
  ])("of 2, read as %j, has %j and goes on after %j", (rows, items, after) => {
    const made = pageOf(
      rows,
      2,
      identity,
      (row) => [String(row)],
      (row) => row,
    );
    expect(made.items).toEqual(items);
    expect(made.nextPageToken).toBe(after === "" ? "" : writePageToken(identity, [after]));
  });
});

function btoaOf(text: string): string {
  return Buffer.from(text).toString("base64url");
}
