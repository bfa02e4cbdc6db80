import { describe, expect, test } from "vitest";
import { JobState, Outcome } from "../../../server/domain/rules/states.ts";
import { describeVerdict } from "./report.ts";
import { check, finish, wrongNames } from "./scripted-check.ts";
import { ScriptedRun } from "./scripted-run.ts";
import type { Invariant } from "./verdict.ts";

describe("a closer look", () => {
  const broken: readonly [what: string, name: Invariant, (run: ScriptedRun, workers: string[]) => void][] = [
    [
      "a run with two final attempts",
      "finishedTwice",
      (run, [worker = ""]) => {
        const job = run.job();
        run.succeed(job, worker);
        run.cancelWaiting(job);
      },
    ],
    [
      "a result that was refused as late and is applied",
      "staleApplied",
      (run, [worker = ""]) => {
        const job = run.job();
        const lease = run.succeed(job, worker);
        const resultId = run.attempts.at(-1)?.resultId ?? "";
        run.final.push({ type: "late", resultId, jobId: job.jobId, attempt: 1, leaseId: lease.leaseId });
      },
    ],
    [
      "a result that ended two attempts",
      "staleApplied",
      (run, [worker = ""]) => {
        for (const job of run.submit([{}, {}])) {
          const lease = run.grant(job, worker);
          run.start(lease);
          run.stop(lease);
          run.end(lease, { outcome: Outcome.succeeded, state: JobState.succeeded, resultId: "res_1" });
        }
      },
    ],
    [
      "an attempt that another worker than the granted one ended",
      "staleApplied",
      (run, [one = "", other = ""]) => {
        const lease = run.grant(run.job(), one);
        finish(run, { ...lease, workerId: other });
      },
    ],
    [
      "one lease for two jobs",
      "attemptsNotGrowing",
      (run, [worker = ""]) => {
        const [first, second] = run.submit([{}, {}]).map((job) => run.grant(job, worker));
        if (!first || !second) return;
        finish(run, first);
        run.tell([]);
        run.end({ ...second, leaseId: first.leaseId }, { outcome: Outcome.released });
        run.succeed(second.job, worker);
      },
    ],
    [
      "a run that goes on after it succeeded",
      "takenBack",
      (run, [worker = ""]) => {
        const job = run.job();
        const lease = run.grant(job, worker);
        run.end(lease, { outcome: Outcome.lost });
        run.cancelWaiting(job);
        run.end(run.grant(job, worker), { outcome: Outcome.lost });
      },
    ],
    [
      "a grant after the end of the last run",
      "takenBack",
      (run, [worker = ""]) => {
        const job = run.job();
        run.succeed(job, worker);
        run.grant(job, worker);
      },
    ],
    [
      "an acknowledged result of which nothing is left",
      "takenBack",
      (run, [worker = ""]) => {
        const job = run.job();
        const lease = run.grant(job, worker);
        run.start(lease);
        run.stop(lease);
        run.effects.push({ type: "acknowledged", at: run.now++, leaseId: lease.leaseId });
        run.final.push({
          type: "live",
          jobId: job.jobId,
          state: JobState.running,
          attempt: 1,
          reason: null,
          leaseId: lease.leaseId,
        });
      },
    ],
    [
      "a death of a job that cannot fail so often",
      "deadTooEarly",
      (run, [worker = ""]) => {
        const lease = run.grant(run.job({ maxAttempts: 1, failures: 0 }), worker);
        run.start(lease);
        run.stop(lease, "failed");
        run.end(lease, { outcome: Outcome.failed, state: JobState.dead });
      },
    ],
    [
      "an acknowledged batch that is not there",
      "batchesWrong",
      (run, [worker = ""]) => {
        const known = run.id("bat");
        const jobs = run.submit([{}], { batchId: known });
        for (const job of jobs) run.succeed(job, worker);
        run.batch(known, jobs);
        for (const job of run.submit([{}], { batchId: run.id("bat") })) run.succeed(job, worker);
      },
    ],
    [
      "a failure that a handler did not make, in a drain",
      "drainSpent",
      (run, [worker = ""]) => {
        const job = run.job();
        const lease = run.grant(job, worker);
        run.start(lease);
        run.fault("drain-worker", worker);
        run.stop(lease, "stopped:drain");
        run.end(lease, { outcome: Outcome.failed });
        run.fault("start-worker", worker);
        run.succeed(job, worker);
      },
    ],
  ];

  test.each(broken)("catches %s", async (_, name, breakIt) => {
    const run = new ScriptedRun();
    breakIt(run, [run.worker(), run.worker()]);
    expect(Object.keys(wrongNames(await check(run)))).toContain(name);
  });

  test("counts an overlap apart when the earlier worker was frozen", async () => {
    const run = new ScriptedRun();
    const [one, other] = [run.worker(), run.worker()];
    const job = run.job({ exclusive: true });
    const first = run.grant(job, one);
    run.start(first);
    run.fault("freeze-worker", one);
    run.end(first, { outcome: Outcome.lost });
    run.succeed(job, other);
    run.wait(1_000);
    run.fault("thaw-worker", one);
    run.stop(first, "stopped:lost");
    const verdict = await check(run);
    expect(wrongNames(verdict)).toEqual({});
    expect(verdict.counts.overlapsWhileFrozen).toBe(1);
  });

  test("counts an innocent that is dead as poison apart when a fault took its worker each time", async () => {
    const run = new ScriptedRun();
    const worker = run.worker();
    const lease = run.grant(run.job(), worker);
    run.start(lease);
    run.fault("kill-worker", worker);
    run.end(lease, { outcome: Outcome.lost, state: JobState.dead });
    const verdict = await check(run);
    expect(wrongNames(verdict)).toEqual({});
    expect(verdict.counts.poisonByFault).toBe(1);
  });

  test("does not blame a drain for what a partition of its worker took", async () => {
    const run = new ScriptedRun();
    const [one, other] = [run.worker(), run.worker()];
    const job = run.job();
    const lease = run.grant(job, one);
    run.start(lease);
    run.fault("partition", one, 30_000);
    run.fault("drain-worker", one);
    run.end(lease, { outcome: Outcome.lost });
    run.succeed(job, other);
    expect(wrongNames(await check(run))).toEqual({});
  });

  test("takes the kill of its worker for the end of an execution, but not that of a later process", async () => {
    const overlapping = new ScriptedRun();
    const [one, other] = [overlapping.worker(), overlapping.worker()];
    const lease = overlapping.grant(overlapping.job({ exclusive: true }), one);
    overlapping.start(lease);
    overlapping.end(lease, { outcome: Outcome.lost });
    overlapping.succeed(lease.job, other);
    overlapping.wait(1_000);
    const before = overlapping.now;
    overlapping.fault("kill-worker", one);
    expect(wrongNames(await check(overlapping))).toEqual({ exclusiveOverlaps: 1 });
    overlapping.faults.unshift({ type: "start-worker", at: before - 500, target: one });
    expect(wrongNames(await check(overlapping))).toEqual({});
  });

  test("does not blame a cancel for a worker that had not heard of its loss", async () => {
    const run = new ScriptedRun();
    const worker = run.worker();
    const job = run.job();
    const lease = run.grant(job, worker);
    run.end(lease, { outcome: Outcome.lost });
    run.cancelWaiting(job);
    run.wait(1_000);
    run.start(lease);
    const verdict = await check(run);
    expect(wrongNames(verdict)).toEqual({});
    expect(verdict.counts.lateStarts).toBe(1);
  });

  test("tells the whole history of a job in order, with what was asked", async () => {
    const run = new ScriptedRun();
    const [job] = run.submit([{ kind: "other" }, {}].toReversed());
    if (!job) throw new Error("submitted");
    run.fault("kill-worker", run.worker());
    const verdict = await check(run);
    const violation = verdict.violations.find(({ jobId }) => jobId === job.jobId);
    expect(violation?.history.map(({ file }) => file)).toEqual(["client-1", "changes", "client-1"]);
    expect(violation?.history[0]?.line).toMatchObject({ type: "submit", asked: { kind: "echo" } });
    expect(describeVerdict(verdict)).toContain(job.jobId);
  });

  test("keeps some breaches of every name, and counts all", async () => {
    const run = new ScriptedRun();
    for (let n = 0; n < 250; n++) run.job();
    const job = run.job();
    run.succeed(job, run.worker());
    run.tell([[job.jobId, JobState.succeeded, 1, null]]);
    const verdict = await check(run);
    expect(verdict.counts).toMatchObject({ lost: 250, finishedTwice: 1 });
    expect(verdict.violations).toHaveLength(100);
    expect(verdict.violations.map(({ invariant }) => invariant)).toContain("finishedTwice");
  });
});
