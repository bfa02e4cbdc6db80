import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DomainError } from "../../../server/domain/errors.ts";
import {
  createIdGenerator,
  decodeId,
  encodeId,
  type IdNoun,
  idPrefixes,
  newUuidV7,
} from "../../../server/domain/ids.ts";

// The suffixes of the vectors in spec/valid.yml of TypeID 0.3; the prefix does not enter the suffix.
const vectors: [string, string, string][] = [
  ["nil", "00000000000000000000000000", "00000000-0000-0000-0000-000000000000"],
  ["one", "00000000000000000000000001", "00000000-0000-0000-0000-000000000001"],
  ["ten", "0000000000000000000000000a", "00000000-0000-0000-0000-00000000000a"],
  ["sixteen", "0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"],
  ["thirty-two", "00000000000000000000000010", "00000000-0000-0000-0000-000000000020"],
  ["max-valid", "7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
  ["valid-alphabet", "0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"],
  ["valid-uuidv7", "01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"],
];

describe("the codec", () => {
  test.each(vectors)("agrees with the specification on %s, both ways", (_, suffix, uuid) => {
    expect(encodeId("job", uuid)).toBe(`job_${suffix}`);
    expect(decodeId("job", `job_${suffix}`)).toBe(uuid);
  });

  // The invalid vectors that concern us: ours have one fixed prefix a noun.
  test.each([
    ["an uppercase prefix", "JOB_00000000000000000000000000"],
    ["a numeric prefix", "123_00000000000000000000000000"],
    ["spaces before", "  job_00000000000000000000000000"],
    ["no prefix", "00000000000000000000000000"],
    ["an empty prefix", "_00000000000000000000000000"],
    ["a prefix that only starts alike", "jobs_00000000000000000000000000"],
    ["another separator", "job-00000000000000000000000000"],
    ["a short suffix", "job_1234567890123456789012345"],
    ["a long suffix", "job_123456789012345678901234567"],
    ["a space in the suffix", "job_1234567890123456789012345 "],
    ["an uppercase suffix", "job_0123456789ABCDEFGHJKMNPQRS"],
    ["hyphens in the suffix", "job_123456789-123456789-123456"],
    ["letters outside the alphabet", "job_ooooooiiiiiiuuuuuuulllllll"],
    ["Crockford's ambiguous letters", "job_i23456789ol23456789oi23456"],
    ["more than 128 bits", "job_8zzzzzzzzzzzzzzzzzzzzzzzzz"],
    ["letters beyond ASCII", "job_0000000000000000000000000é"],
    ["nothing", ""],
  ])("refuses %s", (_, text) => {
    expect(() => decodeId("job", text)).toThrow(DomainError);
  });

  test.each(Object.keys(idPrefixes).filter(isNoun))("brings every uuid through the id of a %s", (noun) => {
    fc.assert(
      fc.property(fc.uuid(), (uuid) => {
        const id = encodeId(noun, uuid);
        expect(id).toMatch(/^[a-z]{3,4}_[0-7][0-9a-hjkmnp-tv-z]{25}$/);
        expect(decodeId(noun, id)).toBe(uuid);
      }),
    );
  });

  test("keeps the order of uuids", () => {
    fc.assert(
      fc.property(fc.uuid(), fc.uuid(), (a, b) => {
        expect(encodeId("job", a) < encodeId("job", b)).toBe(a < b);
      }),
    );
  });

  test("refuses each character that is not a digit, at each place", () => {
    const id = encodeId("job", "01890a5d-ac96-774b-bcce-b302099a8057");
    for (let at = 4; at < id.length; at++) {
      for (const wrong of ["u", "l", "A", "-", "\u0000", "\u0080", "ÿ"]) {
        expect(() => decodeId("job", id.slice(0, at) + wrong + id.slice(at + 1))).toThrow(DomainError);
      }
    }
  });

  test("gives each noun a prefix of its own", () => {
    expect(new Set(Object.values(idPrefixes)).size).toBe(Object.values(idPrefixes).length);
  });

  test("names the field that holds no id, and tells when the id is of another noun", () => {
    expect(violationOf(() => decodeId("job", "x"))).toEqual({
      field: "jobId",
      message: "must be a job id: job_ and 26 characters of 0-9 a-z",
    });
    const worker = encodeId("worker", "01890a5d-ac96-774b-bcce-b302099a8057");
    expect(violationOf(() => decodeId("job", worker, "jobs[3].parentJobId"))).toEqual({
      field: "jobs[3].parentJobId",
      message: "is a worker id; a job id is job_ and 26 characters of 0-9 a-z",
    });
  });

  test("takes uppercase uuids, and throws on what is no uuid", () => {
    expect(encodeId("job", "01890A5D-AC96-774B-BCCE-B302099A8057")).toBe("job_01h455vb4pex5vsknk084sn02q");
    const malformed = [
      "",
      "01890a5dac96774bbcceb302099a8057",
      "01890a5d-ac96-774b-bcce-b302099a805g",
      "01890a5d_ac96-774b-bcce-b302099a8057",
    ];
    for (const text of malformed) expect(() => encodeId("job", text)).toThrow(TypeError);
  });
});

describe("a new uuid", () => {
  test("is laid out as RFC 9562 says of version 7", () => {
    const ones = newUuidV7(0x0123456789ab, (count) => new Uint8Array(count).fill(255));
    const zeros = newUuidV7(0x0123456789ab, (count) => new Uint8Array(count));
    expect(ones).toBe("01234567-89ab-7fff-bfff-ffffffffffff");
    expect(zeros).toBe("01234567-89ab-7000-8000-000000000000");
  });

  test("holds the millisecond, up to the year 10889", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 48 - 1), (ms) => {
        const uuid = newUuidV7(ms + 0.7, randomBytes);
        expect(millisecondOf(uuid)).toBe(ms);
        expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      }),
    );
  });
});

describe("an id generator", () => {
  test("only grows, also within a millisecond and when the count overflows", () => {
    const nowMs = 1_700_000_000_000;
    const next = createIdGenerator(() => nowMs);
    const ids = Array.from({ length: 20_000 }, next);
    expect(ids).toEqual([...ids].sort());
    expect(new Set(ids).size).toBe(ids.length);
    expect(millisecondOf(ids[2_047] ?? "")).toBe(nowMs);
    expect(millisecondOf(ids.at(-1) ?? "") - nowMs).toBeLessThan(10);
  });

  test("only grows when the clock goes back, and follows it when it goes on", () => {
    const times = [1_000, 1_005, 900, 1_005, 1_004.9, 1_006, 5_000];
    let at = 0;
    const next = createIdGenerator(() => times[at++] ?? 0);
    const ids = times.map(() => next());
    expect(ids).toEqual([...ids].sort());
    expect(ids.map(millisecondOf)).toEqual([1_000, 1_005, 1_005, 1_005, 1_005, 1_006, 5_000]);
  });

  test("gives two generators of one moment different ids", () => {
    const [a, b] = [createIdGenerator(() => 7), createIdGenerator(() => 7)];
    const ids = Array.from({ length: 2_000 }, (_, n) => (n % 2 === 0 ? a() : b()));
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("draws fresh randomness for every id", () => {
    const next = createIdGenerator(() => 7);
    const tails = Array.from({ length: 2_000 }, () => next().slice(19));
    expect(new Set(tails).size).toBe(tails.length);
  });
});

function isNoun(text: string): text is IdNoun {
  return text in idPrefixes;
}

function millisecondOf(uuid: string): number {
  return Number.parseInt(uuid.slice(0, 8) + uuid.slice(9, 13), 16);
}

function violationOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    if (error instanceof DomainError) return error.violations[0];
    throw error;
  }
  return undefined;
}
