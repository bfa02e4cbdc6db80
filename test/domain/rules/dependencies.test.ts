import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type DependentJob,
  dependenciesWithin,
  dependencyViolations,
  findCycle,
  maxParents,
  type ParentName,
  showCycle,
} from "../../../server/domain/rules/dependencies.ts";

const onRef = (...refs: readonly string[]): ParentName[] => refs.map((ref) => ({ type: "ref", ref }));

function job(overrides: Partial<DependentJob> = {}): DependentJob {
  return { ref: null, externalId: null, dependsOn: [], ...overrides };
}

function wrong(overrides: Partial<DependentJob>): string[] {
  return dependencyViolations(job(overrides), "job").map(({ field, message }) => `${field} ${message}`);
}

describe("the dependencies of a job", () => {
  test("may be of each sort", () => {
    const dependsOn: ParentName[] = [
      { type: "job", jobId: "x" },
      { type: "external", externalId: "x" },
      { type: "ref", ref: "x" },
    ];
    expect(wrong({ ref: "compile.all_1-x", dependsOn })).toEqual([]);
  });

  test("are refused at once, each by its place", () => {
    const dependsOn: ParentName[] = [
      { type: "ref", ref: "Not A Name" },
      { type: "external", externalId: "" },
      { type: "job", jobId: "one" },
      { type: "job", jobId: "one" },
    ];
    expect(wrong({ ref: "Ä", dependsOn })).toEqual([
      "job.ref must have 1 to 100 characters of a-z 0-9 . _ -",
      "job.dependsOn[0].ref must have 1 to 100 characters of a-z 0-9 . _ -",
      "job.dependsOn[1].externalId must not be empty",
      "job.dependsOn[3] is the same job as dependsOn[2]",
    ]);
  });

  test("are ten thousand at most", () => {
    const many = (count: number) => onRef(...Array.from({ length: count }, (_, n) => `r${n}`));
    expect(wrong({ dependsOn: many(maxParents) })).toEqual([]);
    expect(wrong({ dependsOn: many(maxParents + 1) })).toEqual([
      "job.dependsOn must have at most 10000 entries, and has 10001",
    ]);
  });
});

describe("a cycle", () => {
  const cycleOf = (jobs: readonly DependentJob[]) => findCycle(dependenciesWithin(jobs));

  test("is named in its order, by refs and external ids", () => {
    const jobs = [
      job({ ref: "start", dependsOn: onRef("a") }),
      job({ ref: "a", dependsOn: [{ type: "external", externalId: "B 7" }] }),
      job({ externalId: "B 7", dependsOn: onRef("a") }),
    ];
    const cycle = cycleOf(jobs);
    expect(cycle).toEqual([1, 2]);
    expect(showCycle(cycle ?? [], jobs)).toBe("a → B 7 → a");
  });

  test("may be one job that waits for itself", () => {
    const jobs = [job({ ref: "a", dependsOn: onRef("a") })];
    expect(showCycle(cycleOf(jobs) ?? [], jobs)).toBe("a → a");
  });

  test("of ten thousand is found without recursion, and shown in part", () => {
    const count = 10_000;
    const jobs = Array.from({ length: count }, (_, n) =>
      job({ ref: `r${n}`, dependsOn: onRef(`r${(n + 1) % count}`) }),
    );
    const cycle = cycleOf(jobs);
    expect(cycle).toHaveLength(count);
    expect(showCycle(cycle ?? [], jobs)).toMatch(/^r0 → r1 → .* → r16 → … → r9999 → r0$/);
  });

  test("is found wherever there is one, and nowhere else", () => {
    const graphs = fc.integer({ min: 1, max: 8 }).chain((count) =>
      fc.array(fc.array(fc.integer({ min: 0, max: count - 1 }), { maxLength: 3 }), {
        minLength: count,
        maxLength: count,
      }),
    );
    fc.assert(
      fc.property(graphs, (parents) => {
        const cycle = findCycle(parents);
        expect(cycle !== null).toBe(hasCycle(parents));
        if (cycle === null) return;
        expect(new Set(cycle).size).toBe(cycle.length);
        for (const [n, place] of cycle.entries()) {
          expect(parents[place]).toContain(cycle[(n + 1) % cycle.length]);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

/** The naive way: takes away whoever waits for nobody that is left, until nobody goes. */
function hasCycle(parents: readonly (readonly number[])[]): boolean {
  const left = new Set(parents.keys());
  for (let before = -1; before !== left.size; ) {
    before = left.size;
    for (const place of left) {
      if (!parents[place]?.some((parent) => left.has(parent))) left.delete(place);
    }
  }
  return left.size > 0;
}
