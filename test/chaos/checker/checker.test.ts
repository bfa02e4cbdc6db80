import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JobState, Outcome } from "../../../server/domain/rules/states.ts";
import { describeVerdict } from "./report.ts";
import { check, finish, wrongNames } from "./scripted-check.ts";
import { ScriptedRun } from "./scripted-run.ts";
import { type Invariant, invariantNames } from "./verdict.ts";

describe("a run in which nothing is wrong", () => {
  const lost = { outcome: Outcome.lost };
  const turns = [
    "lose",
    "fail",
    "release",
    "park",
    "time-out",
    "offer-time-out",
    "start-and-lose",
    "decline",
  ] as const;
  const ends = ["succeed", "cancel", "fail-for-good"] as const;
  const story = fc.record({
    turns: fc.array(fc.constantFrom(...turns), { maxLength: 4 }),
    end: fc.constantFrom(...ends),
    isReplayed: fc.boolean(),
    isExclusive: fc.boolean(),
  });

  test("passes, whatever became of its jobs", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(story, { minLength: 1, maxLength: 8 }), async (stories) => {
        const run = new ScriptedRun();
        const workers = [run.worker(), run.worker()] as const;
        for (const { turns: toTake, end, isReplayed, isExclusive } of stories) {
          const failures = toTake.filter((turn) => turn === "fail" || turn === "time-out").length;
          const dies = end === "fail-for-good";
          const job = run.job({
            exclusive: isExclusive,
            maxAttempts: failures + 1,
            failures: dies ? -1 : failures,
          });
          for (const [index, turn] of toTake.entries()) {
            const lease = run.grant(job, workers[index % 2 === 0 ? 0 : 1]);
            if (turn === "decline") run.tell([[job.jobId, JobState.ready, lease.attempt, lease.workerId]]);
            else if (turn === "lose") run.end(lease, lost);
            else if (turn === "offer-time-out") run.end(lease, { outcome: Outcome.offerTimedOut });
            else {
              run.start(lease);
              if (turn === "start-and-lose") run.stop(lease, "stopped:lost");
              if (turn === "fail") run.stop(lease, "failed");
              const outcome =
                turn === "fail"
                  ? Outcome.failed
                  : turn === "release"
                    ? Outcome.released
                    : turn === "park"
                      ? Outcome.parked
                      : turn === "time-out"
                        ? Outcome.timedOut
                        : Outcome.lost;
              run.end(lease, { outcome });
            }
          }
          if (end === "succeed") run.succeed(job, workers[0]);
          else if (end === "cancel") run.cancelWaiting(job);
          else {
            const lease = run.grant(job, workers[1]);
            run.start(lease);
            run.stop(lease, "failed");
            run.end(lease, { outcome: Outcome.failed, state: JobState.dead });
          }
          if (isReplayed && end !== "succeed") {
            run.replay(job);
            run.succeed(job, workers[0]);
          }
        }
        const verdict = await check(run);
        expect(describeVerdict(verdict)).toContain("nothing is wrong");
        expect(verdict.isRight).toBe(true);
        expect(verdict.counts.jobs).toBe(stories.length);
      }),
      { numRuns: 25 },
    );
  });

  test("passes with a submission that was never answered, a torn line and a batch", async () => {
    const run = new ScriptedRun();
    const worker = run.worker();
    const batchId = run.id("bat");
    const jobs = run.submit([{}, {}, {}], { batchId });
    for (const job of jobs) run.succeed(job, worker);
    run.batch(batchId, jobs);
    const [unanswered] = run.submit([{}]);
    run.clients.pop();
    if (unanswered) run.succeed(unanswered, worker);
    const verdict = await check(run);
    expect(wrongNames(verdict)).toEqual({});
    expect(verdict.counts).toMatchObject({ jobs: 4, acknowledged: 3, unanswered: 1, succeeded: 4 });
  });
});

describe("what is wrong is caught by its name:", () => {
  const cases: Record<Invariant, (run: ScriptedRun, workers: readonly [string, string]) => void> = {
    lost(run) {
      run.job();
    },
    stuck(run) {
      const job = run.job();
      run.final.push({ type: "live", jobId: job.jobId, state: JobState.ready, attempt: 0, reason: null });
    },
    withoutIntent(run, [worker]) {
      const job = run.job();
      run.clients.length = 0;
      run.succeed(job, worker);
    },
    answeredTwice(run, [worker]) {
      for (const job of [...run.submit([{}], { key: "k" }), ...run.submit([{}], { key: "k" })]) {
        run.succeed(job, worker);
      }
    },
    finishedTwice(run, [worker]) {
      const job = run.job();
      const lease = run.succeed(job, worker);
      run.tell([[job.jobId, JobState.succeeded, lease.attempt, worker]]);
    },
    attemptsNotGrowing(run, [worker]) {
      const job = run.job();
      run.end(run.grant(job, worker), { outcome: Outcome.lost });
      job.attempt = 0;
      run.tell([[job.jobId, JobState.offered, 1, worker]]);
      job.attempt = 1;
      run.succeed(job, worker);
    },
    leasesOverlap(run, [one, other]) {
      const job = run.job();
      const first = run.grant(job, one);
      const second = run.grant(job, other);
      run.wait(2_000);
      run.end(first, { outcome: Outcome.lost });
      run.start(second);
      run.stop(second);
      run.end(second, { outcome: Outcome.succeeded, state: JobState.succeeded });
    },
    ungranted(run, [worker]) {
      const job = run.job();
      const lease = run.grant(job, worker);
      run.start({ ...lease, leaseId: run.id("lse") });
      run.end(lease, { outcome: Outcome.lost });
      run.succeed(job, worker);
    },
    startedBeforeGrant(run, [worker]) {
      const job = run.job();
      const lease = run.grant(job, worker);
      run.effects.push({
        type: "start",
        at: lease.grantedAt - 500,
        jobId: job.jobId,
        attempt: 1,
        leaseId: lease.leaseId,
        workerId: worker,
        bootId: "boot",
        pid: 1,
      });
      run.stop(lease);
      run.end(lease, { outcome: Outcome.succeeded, state: JobState.succeeded });
    },
    missingFromFeed(run, [worker]) {
      const job = run.job();
      const lease = run.grant(job, worker);
      run.changes.pop();
      run.start(lease);
      run.stop(lease);
      run.end(lease, { outcome: Outcome.succeeded, state: JobState.succeeded });
    },
    unexplainedDuplicates(run, [worker]) {
      const lease = run.grant(run.job(), worker);
      run.start(lease);
      run.start(lease);
      run.stop(lease);
      run.end(lease, { outcome: Outcome.succeeded, state: JobState.succeeded });
    },
    staleApplied(run, [one, other]) {
      const job = run.job();
      const stale = run.grant(job, one);
      run.start(stale);
      run.end(stale, { outcome: Outcome.lost });
      const current = run.grant(job, other);
      run.start(current);
      run.stop(stale);
      run.end(current, { outcome: Outcome.succeeded, state: JobState.succeeded });
      run.stop(current, "stopped:lost");
    },
    takenBack(run, [one, other]) {
      const job = run.job();
      const lease = run.grant(job, one);
      run.start(lease);
      run.stop(lease);
      run.effects.push({ type: "acknowledged", at: run.now++, leaseId: lease.leaseId });
      run.end(lease, { outcome: Outcome.lost });
      run.succeed(job, other);
    },
    startedAfterCancel(run, [worker]) {
      const job = run.job();
      const lease = run.grant(job, worker);
      run.end(lease, { outcome: Outcome.released });
      run.cancelWaiting(job);
      run.wait(1_000);
      run.start(lease);
    },
    exclusiveOverlaps(run, [one, other]) {
      const job = run.job({ exclusive: true });
      const first = run.grant(job, one);
      run.start(first);
      run.end(first, { outcome: Outcome.lost });
      run.succeed(job, other);
      run.wait(1_000);
      run.stop(first, "stopped:lost");
    },
    capacityExceeded(run) {
      const small = run.worker(1);
      const leases = run.submit([{}, {}]).map((job) => run.grant(job, small));
      for (const lease of leases) finish(run, lease);
    },
    batchesWrong(run, [worker]) {
      const batchId = run.id("bat");
      const jobs = run.submit([{}, {}], { batchId });
      for (const job of jobs) run.succeed(job, worker);
      run.batch(batchId, jobs, { succeeded: 1 });
    },
    foreignOrg(run, [worker]) {
      const [job] = run.submit([{}], { key: "k", org: "org_a" });
      if (!job) return;
      run.succeed(job, worker);
      run.submit([{}], { key: "k", org: "org_b" });
      run.changes.pop();
      const answer = run.clients.at(-1);
      if (answer?.type === "submitted")
        run.clients[run.clients.length - 1] = { ...answer, jobIds: [job.jobId] };
    },
    deadTooEarly(run, [worker]) {
      const lease = run.grant(run.job({ maxAttempts: 3, failures: -1 }), worker);
      run.start(lease);
      run.stop(lease, "failed");
      run.end(lease, { outcome: Outcome.failed, state: JobState.dead });
    },
    countersWrong(run, [worker]) {
      const job = run.job();
      run.end(run.grant(job, worker), { outcome: Outcome.lost, failures: 1 });
      run.succeed(job, worker);
    },
    poisonInnocents(run, [worker]) {
      const lease = run.grant(run.job(), worker);
      run.start(lease);
      run.end(lease, { outcome: Outcome.lost, state: JobState.dead });
    },
    drainSpent(run, [worker, other]) {
      const job = run.job();
      const lease = run.grant(job, worker);
      run.start(lease);
      run.fault("drain-worker", `name of ${worker}`);
      run.end(lease, { outcome: Outcome.lost });
      run.succeed(job, other);
    },
  };

  test.each(invariantNames())("%s", async (name) => {
    const run = new ScriptedRun();
    cases[name](run, [run.worker(), run.worker()]);
    const verdict = await check(run);
    expect(verdict.isRight).toBe(false);
    expect(Object.keys(wrongNames(verdict))).toEqual([name]);
    const violation = verdict.violations.find(({ invariant }) => invariant === name);
    expect(violation?.jobId).toMatch(/^job_/);
    expect(violation?.history.length).toBeGreaterThan(0);
    const times = violation?.history.map(({ at }) => at ?? Number.POSITIVE_INFINITY) ?? [];
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });
});
