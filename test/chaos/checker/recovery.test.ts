import { describe, expect, test } from "vitest";
import { JobState, Outcome } from "../../../server/domain/rules/states.ts";
import { checkHistory } from "./checker.ts";
import { durations } from "./recovery.ts";
import { ScriptedRun } from "./scripted-run.ts";
import type { Recovery } from "./verdict.ts";

async function recoveryOf(run: ScriptedRun): Promise<Recovery> {
  const { folder, remove } = await run.write();
  try {
    return (await checkHistory(folder)).recovery;
  } finally {
    await remove();
  }
}

const done = { outcome: Outcome.succeeded, state: JobState.succeeded };

describe("recovery", () => {
  test("is the time from a kill until the worker's jobs run again", async () => {
    const run = new ScriptedRun();
    const [killed, other] = [run.worker(), run.worker()];
    const [one, two, inOutbox] = run.submit([{}, {}, {}]).map((job) => run.grant(job, killed));
    const elsewhere = run.grant(run.job(), other);
    if (!one || !two || !inOutbox) throw new Error("granted");
    for (const lease of [one, two, inOutbox, elsewhere]) run.start(lease);
    run.stop(inOutbox);
    run.fault("kill-worker", killed);
    const killedAt = run.now - 1;
    run.end(inOutbox, done);
    run.end(one, { outcome: Outcome.lost });
    run.end(two, { outcome: Outcome.lost });
    const again = [one, two].map(({ job }) => run.grant(job, other));
    const startedMs = again.map((lease) => {
      run.wait(1_000);
      run.start(lease);
      return run.now - 1 - killedAt;
    });
    for (const lease of [...again, elsewhere]) {
      run.stop(lease);
      run.end(lease, done);
    }
    const { killedWorkers } = await recoveryOf(run);
    expect(killedWorkers).toMatchObject({
      kills: 1,
      count: 2,
      settledOtherwise: 1,
      p50Ms: startedMs[0],
      maxMs: startedMs[1],
      byKill: [{ at: killedAt, target: killed, count: 2, maxMs: startedMs[1] }],
    });
  });

  test("tells which attempts outlived a fault, and leaves out what a kill took", async () => {
    const run = new ScriptedRun();
    const [cut, killed] = [run.worker(), run.worker()];
    const [stays, goes, dies] = run.submit([{}, {}, {}]);
    if (!stays || !goes || !dies) throw new Error("submitted");
    const resumed = run.grant(stays, cut);
    const reassigned = run.grant(goes, cut);
    const lost = run.grant(dies, killed);
    run.fault("partition", `name of ${cut}`, 500);
    run.fault("kill-coordinator", "1");
    run.fault("kill-worker", killed);
    run.end(lost, { outcome: Outcome.lost });
    run.end(reassigned, { outcome: Outcome.lost });
    run.end(resumed, done);
    run.fault("dispatch-resumed", "1", 700);
    const { spared, dispatchResumed } = await recoveryOf(run);
    expect(spared["partition"]).toEqual({ faults: 1, resumed: 1, reassigned: 1 });
    expect(spared["kill-coordinator"]).toEqual({ faults: 1, resumed: 1, reassigned: 1 });
    expect(dispatchResumed).toMatchObject({ count: 1, maxMs: 700 });
  });

  test("gives quantiles that were measured, not computed between", () => {
    expect(durations([])).toEqual({ count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(durations(hundred)).toEqual({ count: 100, p50Ms: 50, p99Ms: 99, maxMs: 100 });
  });
});
