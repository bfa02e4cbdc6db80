import { describe, expect, test } from "vitest";
import { transit } from "../../server/domain/rules/lifecycle.ts";
import { isTerminal, JobState } from "../../server/domain/rules/states.ts";
import { type SearchOptions, searchWorld } from "./search.ts";

describe("the small world of 2 jobs, 2 workers and 2 coordinators", () => {
  test.each([
    ["each worker holds one lease", {}],
    ["a queue admits one lease", { queueLimit: 1 }],
  ] satisfies [string, SearchOptions][])(
    "keeps every promise in every state, and can always come to an end: %s",
    (name, options) => {
      const startedAt = performance.now();
      const { states, transitions, violation, stuck } = searchWorld(options);
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
      process.stdout.write(
        `small world, ${name}: ${states} states, ${transitions} transitions, ${seconds} s\n`,
      );
      expect(violation).toBeNull();
      expect(stuck).toBe(0);
      expect(states).toBeGreaterThan(10_000);
    },
    90_000,
  );
});

describe("the search finds by a shortest way", () => {
  const find = (options: SearchOptions) => {
    const { violation } = searchWorld(options);
    return { promise: violation?.promise, trace: violation?.trace };
  };

  test("a fence without the lease", () => {
    const isCurrent: NonNullable<SearchOptions["rules"]>["isCurrent"] = (row, fence) =>
      row.leaseId !== null && row.workerId === fence.workerId;
    expect(find({ rules: { tracksOver: true, isCurrent } })).toEqual({
      promise: "G4",
      trace: [
        "worker 0: says hello to 0",
        "job 0: claim for worker 0",
        "job 0: offer timeout",
        "job 0: claim for worker 0",
        "job 0: succeeded of a lease of worker 0 that is over",
      ],
    });
  });

  test("a guard by the state alone", () => {
    const { promise, trace } = find({
      rules: { tracksOver: true, isCurrent: (row) => row.leaseId !== null },
    });
    expect([promise, trace?.length]).toEqual(["G4", 5]);
  });

  test("attempt numbers that a replay begins again", () => {
    expect(find({ rules: { tracksOver: true, keepsAttempt: false } })).toEqual({
      promise: "G3",
      trace: ["job 0: cancel", "job 0: replay", "job 0: cancel"],
    });
  });

  test("a fence by the attempt alone, once a replay begins the numbers again", () => {
    const isCurrent: NonNullable<SearchOptions["rules"]>["isCurrent"] = (row, fence) =>
      row.leaseId !== null && row.workerId === fence.workerId && row.attempt === fence.attempt;
    const rules = { tracksOver: true, isCurrent };
    expect(find({ only: "G4", rules: { ...rules, keepsAttempt: false } })).toEqual({
      promise: "G4",
      trace: [
        "worker 0: says hello to 0",
        "job 0: claim for worker 0",
        "job 0: loss",
        "job 0: replay",
        "job 0: claim for worker 0",
        "job 0: succeeded of a lease of worker 0 that is over",
      ],
    });
  });

  test("a run that ends twice", () => {
    const rules: SearchOptions["rules"] = {
      tracksOver: true,
      isCurrent: () => true,
      transit: (job, event, random) =>
        transit(isTerminal(job.state) ? { ...job, state: JobState.running } : job, event, random),
    };
    const { promise, trace } = find({ only: "G2", rules });
    expect(promise).toBe("G2");
    expect(trace?.length).toBeLessThanOrEqual(4);
  });

  test("a grant on a link that was replaced", () => {
    expect(find({ rules: { checksEpoch: false } })).toEqual({
      promise: "G6",
      trace: [
        "worker 0: says hello to 0",
        "job 0: claim for worker 0",
        "worker 0: says hello to 1",
        "job 1: claim for worker 0 on an older link",
      ],
    });
  });

  test.each([
    ["a lease that is forgotten before it is over", { forgetsOnlyEnded: false }],
    ["a Hello after which offers that it does not list count for nothing", { recountsAll: false }],
  ])("%s", (_, rules) => {
    expect(find({ rules }).promise).toBe("G6");
  });

  test("a state that nothing leads out of", () => {
    const rules: SearchOptions["rules"] = {
      transit: (job, event, random) =>
        job.state === JobState.parked && event.type !== "cancel-requested"
          ? { refused: "not-possible", state: job.state }
          : transit(job, event, random),
    };
    expect(searchWorld({ rules, queueLimit: 1 }).stuck).toBeGreaterThan(0);
  });
});
