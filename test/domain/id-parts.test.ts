import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readIdPart } from "../../server/domain/id-parts.ts";
import { encodeId } from "../../server/domain/ids.ts";

const uuids = fc.uuid();

describe("a part of an id", () => {
  test("at its beginning is a range that holds exactly the ids that begin so", () => {
    fc.assert(
      fc.property(
        uuids,
        uuids,
        fc.integer({ min: 1, max: 26 }),
        fc.boolean(),
        (uuid, other, length, isWhole) => {
          const id = encodeId("job", uuid);
          const part = isWhole ? id.slice(0, 4 + length) : id.slice(4, 4 + length);
          const { range } = readIdPart("job", part.toUpperCase());
          if (range === null) throw new Error("a beginning of an id is a range");
          for (const candidate of [uuid, other, range.low, range.high]) {
            const begins = encodeId("job", candidate)
              .slice(4)
              .startsWith(id.slice(4, 4 + length));
            expect(range.low <= candidate && candidate <= range.high).toBe(begins);
          }
        },
      ),
    );
  });

  test("at its end is an expression that fits exactly the ids that end so", () => {
    fc.assert(
      fc.property(uuids, uuids, fc.integer({ min: 1, max: 25 }), (uuid, other, length) => {
        const id = encodeId("job", uuid);
        const { ending } = readIdPart("job", id.slice(-length));
        const matches = new RegExp(ending ?? "^$");
        expect(matches.test(uuid.replaceAll("-", ""))).toBe(true);
        expect(matches.test(other.replaceAll("-", ""))).toBe(
          encodeId("job", other).endsWith(id.slice(-length)),
        );
      }),
    );
  });

  test("that is none, or of another noun, means nothing", () => {
    for (const text of ["wrk_01h4", "01h4!", "0".repeat(27), "job", "il", "job_8"]) {
      expect(readIdPart("job", text).range).toBeNull();
    }
    expect(readIdPart("job", "job_").range?.low).toBe("00000000-0000-0000-0000-000000000000");
    expect(readIdPart("job", "job_").range?.high).toBe("ffffffff-ffff-ffff-ffff-ffffffffffff");
    expect(readIdPart("job", "job_01h4").ending).toBeNull();
  });
});
