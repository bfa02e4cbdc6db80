import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  initialState,
  isRefused,
  type JobEvent,
  type JobFacts,
  transit,
} from "../../../server/domain/rules/lifecycle.ts";
import { isLeased, isTerminal, JobState, Outcome } from "../../../server/domain/rules/states.ts";
import {
  type EventType,
  isMove,
  liveSources,
  movesOf,
  refusal,
  sources,
  targetOf,
  transitionTable,
} from "../../../server/domain/rules/transition-table.ts";
import type { Decision } from "../../../server/domain/rules/transitions.ts";

const { blocked, scheduled, ready, offered, running, parked, succeeded, cancelled, dead } = JobState;

const job = (state: JobState, overrides: Partial<JobFacts> = {}): JobFacts => ({
  state,
  failures: 0,
  losses: 0,
  releases: 0,
  isCancelRequested: false,
  maxAttempts: 3,
  backoff: { initialMs: 1_000, factor: 2, maxMs: 60_000 },
  isAtMostOnce: false,
  isAlone: false,
  waitingOn: 0,
  readyInMs: null,
  ...overrides,
});
const cancel = (isForced = false): JobEvent => ({ type: "cancel-requested", isForced });
const held: JobEvent = { type: "held", wakeAfterMs: 7 };
const decided = (of: JobFacts, event: JobEvent): Decision => {
  const answer = transit(of, event, 0.5);
  if (isRefused(answer)) throw new Error(answer.refused);
  return answer;
};

describe("the life of a job", () => {
  test.each<[string, { waitingOn: number; readyInMs: number | null }, JobState]>([
    ["T1 starts ready", { waitingOn: 0, readyInMs: null }, ready],
    ["T1 starts scheduled when its run time is ahead", { waitingOn: 0, readyInMs: 5 }, scheduled],
    [
      "T1 starts blocked when it waits for others, whatever its run time",
      { waitingOn: 1, readyInMs: 5 },
      blocked,
    ],
  ])("%s", (_, of, state) => expect(initialState(of)).toBe(state));

  test.each<[string, JobFacts, JobEvent, Partial<Decision>]>([
    [
      "T2 the last dependency",
      job(blocked, { waitingOn: 1 }),
      { type: "dependency-succeeded" },
      { state: ready },
    ],
    [
      "T2 one of several",
      job(blocked, { waitingOn: 2 }),
      { type: "dependency-succeeded" },
      { state: blocked },
    ],
    [
      "T2 the last one before the run time",
      job(blocked, { waitingOn: 1, readyInMs: 9 }),
      { type: "dependency-succeeded" },
      { state: scheduled, wakeInMs: 9 },
    ],
    [
      "T2 of a parked job only counts",
      job(parked, { waitingOn: 1 }),
      { type: "dependency-succeeded" },
      { state: parked },
    ],
    ["T3 due", job(scheduled), { type: "due" }, { state: ready, renewsReadyAt: false }],
    ["T3 due after a park", job(parked), { type: "due" }, { state: ready, renewsReadyAt: true }],
    ["T3 due, and blocked still", job(parked, { waitingOn: 1 }), { type: "due" }, { state: blocked }],
    [
      "T3 due before the run time",
      job(parked, { readyInMs: 3 }),
      { type: "due" },
      { state: scheduled, wakeInMs: 3 },
    ],
    ["T3 unparked", job(parked), { type: "unparked" }, { state: ready, renewsReadyAt: true }],
    [
      "T3 unparked, and blocked still",
      job(parked, { waitingOn: 2, readyInMs: 3 }),
      { type: "unparked" },
      { state: blocked },
    ],
    [
      "T3 unparked in a backoff",
      job(parked, { readyInMs: 3 }),
      { type: "unparked" },
      { state: scheduled, wakeInMs: 3 },
    ],
    [
      "T3 unparked after the run time",
      job(parked, { readyInMs: -3 }),
      { type: "unparked" },
      { state: ready },
    ],
    [
      "T3 hurried out of a backoff",
      job(scheduled),
      { type: "hurried" },
      { state: ready, renewsReadyAt: true },
    ],
    ["T4 claim", job(ready), { type: "claimed" }, { state: offered, attemptStep: 1 }],
    ["T5 accept", job(offered), { type: "accepted" }, { state: running, attemptStep: 0 }],
    [
      "T7 an offer that its drained worker never saw",
      job(offered, { losses: 1, releases: 1 }),
      { type: "left", isProven: false },
      { state: ready, outcome: Outcome.offerTimedOut, losses: 1, releases: 1 },
    ],
    [
      "T11 what a worker left that fell silent while it drained",
      job(running, { losses: 1 }),
      { type: "left", isProven: false },
      { state: ready, outcome: Outcome.released, losses: 1, releases: 1 },
    ],
    [
      "T11 what a drained worker left, and nobody wants any more",
      job(running, { isCancelRequested: true }),
      { type: "left", isProven: true },
      { state: cancelled, outcome: Outcome.released, losses: 0 },
    ],
    [
      "T7 an offer of a job that may run once, when its drained worker says that nothing runs",
      job(offered, { isAtMostOnce: true }),
      { type: "left", isProven: true },
      { state: ready, outcome: Outcome.offerTimedOut },
    ],
    [
      "T13 the same when its worker only fell silent: it may have begun",
      job(offered, { isAtMostOnce: true }),
      { type: "left", isProven: false },
      { state: dead, deadCause: "lost" },
    ],
    [
      "T13 a job that may run once, and had begun",
      job(running, { isAtMostOnce: true }),
      { type: "left", isProven: true },
      { state: dead, deadCause: "lost" },
    ],
    ["T14 cancel", job(parked), cancel(), { state: cancelled, attemptStep: 1, outcome: Outcome.cancelled }],
    ["T14 cancel of an offer", job(offered), cancel(), { state: cancelled, attemptStep: 0 }],
    [
      "T15 cancel of a run",
      job(running),
      cancel(),
      { state: running, isCancelRequested: true, outcome: null },
    ],
    [
      "T15 by force",
      job(running),
      cancel(true),
      { state: cancelled, attemptStep: 0, outcome: Outcome.cancelled },
    ],
    ["T16 park", job(scheduled, { failures: 1 }), held, { state: parked, wakeInMs: 7, failures: 1 }],
    [
      "T17 a dependency died",
      job(blocked, { waitingOn: 2 }),
      { type: "dependency-ended", policy: "cancel" },
      { state: cancelled, attemptStep: 1 },
    ],
    [
      "T17 a dependency died, and does not matter",
      job(blocked, { waitingOn: 1 }),
      { type: "dependency-ended", policy: "release" },
      { state: ready },
    ],
    [
      "T17 a dependency of a parked job died",
      job(parked, { waitingOn: 1 }),
      { type: "dependency-ended", policy: "cancel" },
      { state: cancelled },
    ],
    [
      "T18 deadline",
      job(blocked, { waitingOn: 1 }),
      { type: "deadline-passed" },
      { state: cancelled, attemptStep: 1 },
    ],
    [
      "T18 deadline of a run",
      job(running),
      { type: "deadline-passed" },
      { state: running, isCancelRequested: true },
    ],
    [
      "T19 replay",
      job(dead, { failures: 3, losses: 2, releases: 9, isAlone: true, isCancelRequested: true }),
      { type: "replayed" },
      {
        ...{ state: ready, failures: 0, losses: 0, releases: 0, generationStep: 1, attemptStep: 0 },
        ...{ runsAlone: false, isCancelRequested: false },
      },
    ],
  ])("%s", (_, of, event, expected) => expect(decided(of, event)).toMatchObject(expected));

  test.each<[string, JobFacts, JobEvent, string]>([
    ["a cancel of a run that ended", job(dead), cancel(), "already-terminal"],
    ["a result of a run that ended", job(succeeded), { type: "succeeded" }, "already-terminal"],
    ["a result without a lease", job(ready), { type: "succeeded" }, "superseded"],
    ["a decline of what runs", job(running), { type: "declined", coolDownMs: 1 }, "superseded"],
    ["an offer timeout of what runs", job(running), { type: "offer-timed-out" }, "superseded"],
    ["a withdrawal of what runs", job(running), { type: "withdrawn" }, "superseded"],
    ["a revoke of what waits", job(ready), { type: "revoked" }, "superseded"],
    [
      "a revoke of what runs at most once",
      job(running, { isAtMostOnce: true }),
      { type: "revoked" },
      "not-possible",
    ],
    ["a park of a run", job(running), held, "not-possible"],
    ["a park of what is parked", job(parked), held, "not-possible"],
    ["a claim of what is offered", job(offered), { type: "claimed" }, "not-possible"],
    ["a replay of a success", job(succeeded), { type: "replayed" }, "already-terminal"],
    ["a replay of what lives", job(ready), { type: "replayed" }, "not-possible"],
    ["a dependency of what waits for none", job(parked), { type: "dependency-succeeded" }, "not-possible"],
  ])("refuses %s", (_, of, event, refused) =>
    expect(transit(of, event, 0.5)).toEqual({ refused, state: of.state }),
  );
});

describe("the table", () => {
  const types = Object.keys(transitionTable) as EventType[];

  test("has every line of the contract", () => {
    const lines = new Set(types.flatMap((type) => transitionTable[type].line.split(", ")));
    expect([...lines].sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)))).toEqual(
      Array.from({ length: 20 }, (_, n) => `T${n + 1}`),
    );
  });

  test("leaves terminal states by replay and removal alone", () => {
    const leaving = types.filter((type) =>
      movesOf(type).some(([from]) => from !== "nowhere" && isTerminal(from)),
    );
    expect(leaving).toEqual(["replayed", "deleted"]);
  });

  test("gives statements their states", () => {
    expect([targetOf("claimed"), targetOf("accepted"), targetOf("succeeded"), targetOf("replayed")]).toEqual([
      offered,
      running,
      succeeded,
      ready,
    ]);
    expect(() => targetOf("lost")).toThrow("lost does not lead to one state");
    expect(liveSources("due")).toEqual([scheduled, parked]);
    expect(liveSources("replayed")).toEqual([]);
  });

  test("refuses exactly what it has no move for", () => {
    for (const type of types) {
      for (const place of [...Object.values(JobState), "nowhere"] as const) {
        expect(refusal(place, type) === null).toBe(sources(type).includes(place));
      }
    }
  });
});

interface Row {
  facts: JobFacts;
  attempt: number;
  generation: number;
  finals: number;
}

const events: fc.Arbitrary<JobEvent> = fc.oneof(
  ...(["due", "unparked", "hurried", "claimed", "accepted", "deadline-passed", "replayed"] as const).map(
    (type) => fc.constant<JobEvent>({ type }),
  ),
  fc.constant<JobEvent>({ type: "claimed" }),
  fc.constant<JobEvent>({ type: "accepted" }),
  fc.constant<JobEvent>({ type: "dependency-succeeded" }),
  fc.record({ type: fc.constant("dependency-ended" as const), policy: fc.constantFrom("cancel", "release") }),
  fc.record({ type: fc.constant("cancel-requested" as const), isForced: fc.boolean() }),
  fc.record({ type: fc.constant("held" as const), wakeAfterMs: fc.option(fc.nat(100)) }),
  ...(["succeeded", "cancelled", "released", "revoked", "offer-timed-out", "withdrawn"] as const).map(
    (type) => fc.constant<JobEvent>({ type }),
  ),
  fc.record({
    type: fc.constant("failed" as const),
    isRetryable: fc.boolean(),
    isTimedOut: fc.boolean(),
    retryAfterMs: fc.option(fc.nat(1_000)),
  }),
  fc.record({ type: fc.constant("parked" as const), wakeAfterMs: fc.option(fc.nat(100)) }),
  fc.record({ type: fc.constant("declined" as const), coolDownMs: fc.nat(100) }),
  fc.record({ type: fc.constant("lost" as const), isFleetEvent: fc.boolean() }),
);

describe("any sequence of events on one job", () => {
  const starts = fc.record({
    waitingOn: fc.nat(2),
    readyInMs: fc.option(fc.nat(50)),
    maxAttempts: fc.integer({ min: 1, max: 4 }),
    isAtMostOnce: fc.boolean(),
  });

  test("keeps what the contract promises of its numbers", () => {
    fc.assert(
      fc.property(starts, fc.array(events, { maxLength: 60 }), (start, sequence) => {
        const record: Row = {
          facts: job(initialState(start), start),
          attempt: 0,
          generation: 1,
          finals: 0,
        };
        for (const event of sequence) step(record, event);
      }),
      { numRuns: 2_000 },
    );
  });

  // Applies an event to a row as the store does, and checks each number.
  function step(record: Row, event: JobEvent): void {
    const before = record.facts;
    const answer = transit(before, event, 0.5);
    if (isRefused(answer)) {
      const isOnce = event.type === "revoked" && before.isAtMostOnce;
      const hasCause = isOnce || event.type.startsWith("dependency-");
      expect(refusal(before.state, event.type) !== null || hasCause).toBe(true);
      return;
    }
    const { state } = answer;
    expect(isMove(event.type, before.state, state)).toBe(true);
    if (isTerminal(before.state)) expect(event.type).toBe("replayed");
    const isNew = event.type === "replayed";
    // The counters move by their own events alone, one at a time, and begin again with a new generation.
    const grown = (name: "failures" | "losses" | "releases") => answer[name] - (isNew ? 0 : before[name]);
    expect(grown("failures")).toBe(event.type === "failed" ? 1 : 0);
    expect(grown("losses")).toBe(event.type === "lost" && !event.isFleetEvent ? 1 : 0);
    const isStop = event.type === "cancelled" && !before.isCancelRequested;
    expect(grown("releases")).toBe(["released", "revoked"].includes(event.type) || isStop ? 1 : 0);
    if (answer.deadCause === "failures") expect(answer.failures).toBe(before.maxAttempts);
    // The attempt number grows by one with a lease, and with an end that had none; a replay keeps it.
    const endsWithoutLease = isTerminal(state) && !isLeased(before.state);
    expect(answer.attemptStep).toBe(event.type === "claimed" || endsWithoutLease ? 1 : 0);
    record.attempt += answer.attemptStep;
    record.generation += answer.generationStep;
    record.finals = isNew ? 0 : record.finals + (isTerminal(state) ? 1 : 0);
    expect(record.finals).toBeLessThanOrEqual(1);
    // A lease is asked to stop once, and after that only ends.
    if (before.isCancelRequested && !isNew) {
      expect(isTerminal(state) || state === running).toBe(true);
      if (state === cancelled || state === succeeded) expect(answer.outcome).not.toBeNull();
    }
    if (answer.isCancelRequested && !isTerminal(state)) expect(state).toBe(running);
    // What waits for a time is woken; what ends is told how.
    if (state === scheduled) expect(answer.wakeInMs).not.toBeNull();
    if (isTerminal(state)) expect(answer.outcome).not.toBeNull();
    const counts = event.type === "dependency-succeeded" || event.type === "dependency-ended";
    record.facts = {
      ...before,
      state,
      failures: answer.failures,
      losses: answer.losses,
      releases: answer.releases,
      isAlone: answer.runsAlone,
      isCancelRequested: answer.isCancelRequested,
      // A new run waits for no other.
      waitingOn: isNew ? 0 : Math.max(0, before.waitingOn - (counts ? 1 : 0)),
      readyInMs:
        state === parked && before.state === scheduled ? 5 : state === parked ? before.readyInMs : null,
    };
    if (state === ready) expect(record.facts.waitingOn).toBe(0);
  }
});
