import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isTerminal, JobState, Outcome } from "../../../server/domain/rules/states.ts";
import {
  decide,
  freeReleases,
  type LeasedJob,
  type LeaseEvent,
  poisonLosses,
} from "../../../server/domain/rules/transitions.ts";

const job = (overrides: Partial<LeasedJob> = {}): LeasedJob => ({
  failures: 0,
  losses: 0,
  releases: 0,
  isCancelRequested: false,
  maxAttempts: 3,
  backoff: { initialMs: 1_000, factor: 2, maxMs: 60_000 },
  isAtMostOnce: false,
  isAlone: false,
  ...overrides,
});
const failed = (isRetryable = true): LeaseEvent => ({
  type: "failed",
  isRetryable,
  isTimedOut: false,
  retryAfterMs: null,
});
const lost: LeaseEvent = { type: "lost", isFleetEvent: false };

describe("the table of transitions", () => {
  test.each<[string, Partial<LeasedJob>, LeaseEvent, Partial<ReturnType<typeof decide>>]>([
    [
      "T8 a success ends the run",
      {},
      { type: "succeeded" },
      { state: JobState.succeeded, outcome: Outcome.succeeded },
    ],
    [
      "T8 a success after a cancel request is a success",
      { isCancelRequested: true },
      { type: "succeeded" },
      { state: JobState.succeeded },
    ],
    [
      "T9 a failure is tried again after the backoff",
      {},
      failed(),
      { state: JobState.scheduled, failures: 1, wakeInMs: 1_000, renewsReadyAt: true },
    ],
    ["T9 the second waits twice as long", { failures: 1 }, failed(), { failures: 2, wakeInMs: 2_000 }],
    [
      "T9 the last failure is a dead letter",
      { failures: 2 },
      failed(),
      { state: JobState.dead, failures: 3, deadCause: "failures" },
    ],
    [
      "T9 a failure after a cancel request is a cancel",
      { isCancelRequested: true },
      failed(),
      { state: JobState.cancelled, outcome: Outcome.failed },
    ],
    [
      "T9 the handler's own wish wins over the backoff",
      {},
      { type: "failed", isRetryable: true, isTimedOut: false, retryAfterMs: 7 },
      { wakeInMs: 7 },
    ],
    [
      "T9 a passed hard timeout is told apart",
      {},
      { type: "failed", isRetryable: true, isTimedOut: true, retryAfterMs: null },
      { outcome: Outcome.timedOut, failures: 1 },
    ],
    ["T10 a final failure is a dead letter", {}, failed(false), { state: JobState.dead, deadCause: "final" }],
    [
      "T11 a release keeps the place in the line",
      {},
      { type: "released" },
      { state: JobState.ready, releases: 1, failures: 0, losses: 0, renewsReadyAt: false, wakeInMs: null },
    ],
    [
      "T11 from the sixth on a release waits",
      { releases: freeReleases },
      { type: "released" },
      { state: JobState.scheduled, releases: freeReleases + 1, wakeInMs: 1_000 },
    ],
    [
      "T11 a revoke goes elsewhere at once, also after the sixth",
      { releases: freeReleases },
      { type: "revoked" },
      {
        state: JobState.ready,
        outcome: Outcome.released,
        releases: freeReleases + 1,
        losses: 0,
        avoidsWorker: true,
        renewsReadyAt: false,
      },
    ],
    [
      "T11 a revoke after a cancel request is a cancel",
      { isCancelRequested: true },
      { type: "revoked" },
      { state: JobState.cancelled, outcome: Outcome.released, releases: 1 },
    ],
    [
      "T12 parking spends nothing",
      {},
      { type: "parked", wakeAfterMs: 5 },
      { state: JobState.parked, failures: 0, losses: 0, releases: 0, wakeInMs: 5 },
    ],
    [
      "T6 a decline spends nothing and goes elsewhere",
      {},
      { type: "declined", coolDownMs: 9 },
      { state: JobState.ready, outcome: null, avoidsWorker: true, wakeInMs: 9 },
    ],
    [
      "T7 an unanswered offer spends nothing",
      {},
      { type: "offer-timed-out" },
      { state: JobState.ready, losses: 0 },
    ],
    [
      "T7 a withdrawn offer leaves nothing behind",
      {},
      { type: "withdrawn" },
      { state: JobState.ready, outcome: null, avoidsWorker: false, wakeInMs: null, renewsReadyAt: false },
    ],
    [
      "T7 a withdrawn offer that was to be cancelled is",
      { isCancelRequested: true },
      { type: "withdrawn" },
      { state: JobState.cancelled, outcome: Outcome.cancelled },
    ],
    [
      "T13 a loss goes to another worker",
      {},
      lost,
      { state: JobState.ready, losses: 1, avoidsWorker: true, runsAlone: false },
    ],
    [
      "T13 after the second it runs alone",
      { losses: 1 },
      lost,
      { state: JobState.ready, losses: 2, runsAlone: true },
    ],
    [
      "T13 lost while alone it is poison",
      { losses: 2, isAlone: true },
      lost,
      { state: JobState.dead, deadCause: "poison" },
    ],
    [
      "T13 so it is by five losses",
      { losses: poisonLosses - 1 },
      lost,
      { state: JobState.dead, deadCause: "poison" },
    ],
    [
      "T13 a fleet event counts for nothing",
      { losses: 4, isAlone: true },
      { type: "lost", isFleetEvent: true },
      { state: JobState.ready, losses: 4 },
    ],
    [
      "T13 at most once means not again",
      { isAtMostOnce: true },
      lost,
      { state: JobState.dead, deadCause: "lost" },
    ],
    [
      "T13 a loss after a cancel request is a cancel",
      { isCancelRequested: true },
      lost,
      { state: JobState.cancelled },
    ],
    [
      "a worker that stops by itself gives the job back",
      {},
      { type: "cancelled" },
      { state: JobState.ready, releases: 1 },
    ],
    [
      "one that was asked to has cancelled it",
      { isCancelRequested: true },
      { type: "cancelled" },
      { state: JobState.cancelled, outcome: Outcome.cancelled },
    ],
  ])("%s", (_, of, event, expected) => {
    expect(decide(job(of), event, 0.5)).toMatchObject(expected);
  });

  const jobs = fc.record({
    failures: fc.nat(5),
    losses: fc.nat(5),
    releases: fc.nat(9),
    isCancelRequested: fc.boolean(),
    maxAttempts: fc.integer({ min: 1, max: 5 }),
    isAtMostOnce: fc.boolean(),
    isAlone: fc.boolean(),
  });
  const events: fc.Arbitrary<LeaseEvent> = fc.oneof(
    fc.constant<LeaseEvent>({ type: "succeeded" }),
    fc.record({
      type: fc.constant("failed" as const),
      isRetryable: fc.boolean(),
      isTimedOut: fc.boolean(),
      retryAfterMs: fc.option(fc.nat(1_000)),
    }),
    fc.constant<LeaseEvent>({ type: "cancelled" }),
    fc.constant<LeaseEvent>({ type: "released" }),
    fc.constant<LeaseEvent>({ type: "revoked" }),
    fc.record({ type: fc.constant("parked" as const), wakeAfterMs: fc.option(fc.nat(1_000)) }),
    fc.record({ type: fc.constant("declined" as const), coolDownMs: fc.nat(1_000) }),
    fc.constant<LeaseEvent>({ type: "offer-timed-out" }),
    fc.constant<LeaseEvent>({ type: "withdrawn" }),
    fc.record({ type: fc.constant("lost" as const), isFleetEvent: fc.boolean() }),
  );

  test("lets counters only grow, each by its own event, and never leaves a lease current", () => {
    fc.assert(
      fc.property(jobs, events, fc.double({ min: 0, max: 0.999, noNaN: true }), (of, event, random) => {
        const before = job(of);
        const after = decide(before, event, random);
        expect(after.failures - before.failures).toBe(event.type === "failed" ? 1 : 0);
        expect(after.releases).toBeLessThanOrEqual(before.releases + 1);
        expect(after.losses).toBeLessThanOrEqual(before.losses + (event.type === "lost" ? 1 : 0));
        expect([JobState.offered, JobState.running]).not.toContain(after.state);
        expect(after.deadCause !== null).toBe(after.state === JobState.dead);
        // What ends a run leaves a row of history; a cancel request is never answered by another try.
        if (isTerminal(after.state)) expect(after.outcome).not.toBeNull();
        if (before.isCancelRequested) expect(isTerminal(after.state)).toBe(true);
        if (after.state === JobState.scheduled) expect(after.wakeInMs).not.toBeNull();
      }),
    );
  });
});
