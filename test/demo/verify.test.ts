import { AttemptOutcome } from "@muster/client/v1/job";
import { describe, expect, test } from "vitest";
import type { Role } from "./jobs.ts";
import type { JobRecord } from "./records.ts";
import { failedAttempt, resultOf, type SampleAttempt, sampleFile, sampleRecord } from "./samples.ts";
import { judge, percent, readFigures } from "./verify.ts";

const roles: readonly Role[] = ["file", "high", "flaky", "held", "poison", "endless"];
const succeeded: SampleAttempt = { outcome: AttemptOutcome.SUCCEEDED };
const lost: SampleAttempt = { outcome: AttemptOutcome.LOST };
const elsewhere = { workerId: "wrk_2", workerName: "worker-2" };

/** One job of each role, the urgent one started first; `changed` stand in for those of their roles. */
function judgeWith(...changed: readonly JobRecord[]) {
  const instead = new Map(changed.map((record) => [record.planned.role, record]));
  const jobs = roles.map(
    (role) => instead.get(role) ?? sampleRecord(role, undefined, role === "high" ? 0 : 1_000),
  );
  const dead = jobs.find(({ planned }) => planned.role === "poison");
  return judge({ jobs, deadLetters: new Map([[dead?.job.jobId ?? "", "failures"]]) }, "worker-1");
}

describe("judge", () => {
  test("counts what came out as planned, and finds nothing wrong", () => {
    expect(judgeWith()).toEqual({
      tally: { jobs: 6, succeeded: 4, retried: 1, dead: 1, cancelled: 1, reassigned: 1, verified: 4 },
      startedAfterHigh: 1,
      problems: [],
    });
  });

  test.each([
    ["sha256", { sha256: "f".repeat(64) }],
    ["lines", { lines: 4 }],
    ["gzip size", { gzipBytes: 31 }],
  ])("finds a result with another %s", (_, change) => {
    const planned = sampleRecord("file").planned;
    const result = resultOf(planned.file ?? sampleFile(""), change);
    const { tally, problems } = judgeWith(sampleRecord("file", [{ ...succeeded, result }]));
    expect(tally.verified).toBe(3);
    expect(problems).toEqual([expect.stringContaining("came out as {")]);
  });

  test.each<[string, Role, readonly SampleAttempt[], string]>([
    ["a job that ended twice", "file", [{ ...succeeded, final: true }, succeeded], "2 final attempts"],
    ["a job that died", "file", [failedAttempt], "is dead instead of succeeded"],
    ["a job that is still there", "file", [], "is ready instead of succeeded"],
    ["a failure that was not planned", "file", [failedAttempt, succeeded], "failed in attempt 1"],
    [
      "a flaky job that failed again",
      "flaky",
      [failedAttempt, failedAttempt, succeeded],
      "failed 2 times instead of 1",
    ],
    ["a flaky job that did not fail", "flaky", [succeeded], "failed 0 times"],
    ["a poison job that was given up early", "poison", [failedAttempt, failedAttempt], "failed 2 times"],
    ["a poison job that succeeded", "poison", [succeeded], "is succeeded instead of dead"],
    ["a job that was not cancelled", "endless", [succeeded], "is succeeded instead of cancelled"],
  ])("finds %s", (_, role, attempts, problem) => {
    expect(judgeWith(sampleRecord(role, attempts)).problems.join("\n")).toContain(problem);
  });

  test("takes a loss for no fault of the job, and counts who took it over", () => {
    const { tally, problems } = judgeWith(
      sampleRecord("file", [lost, { ...succeeded, ...elsewhere }]),
      sampleRecord("flaky", [lost, succeeded]),
    );
    expect(problems).toEqual(["no job failed at first and was retried"]);
    expect(tally.reassigned).toBe(2);
  });

  test("wants the killed worker to have lost a job, and another to have run it", () => {
    const here = sampleRecord("held", [lost, succeeded]);
    expect(judgeWith(here).problems).toEqual(["no job of the killed worker ran on another one"]);
    const never = sampleRecord("held", [{ ...lost, ...elsewhere }, succeeded]);
    expect(judgeWith(never).problems).toEqual(["worker-1 was killed, and lost no job"]);
  });

  test("wants the urgent jobs to start first", () => {
    const { startedAfterHigh, problems } = judgeWith(sampleRecord("high", undefined, 2_000));
    expect(startedAfterHigh).toBe(0);
    expect(problems).toEqual([expect.stringContaining("high priority")]);
  });

  test("wants the poison job to be a dead letter for its failures", () => {
    const jobs = roles.map((role) => sampleRecord(role, undefined, role === "high" ? 0 : 1_000));
    const deadLetters = new Map([["job_poison", "poison"]]);
    expect(judge({ jobs, deadLetters }, "worker-1").problems).toEqual([
      expect.stringContaining("is no dead letter for its failures"),
    ]);
  });
});

describe("readFigures", () => {
  test("reads what the commands wrote, also where wc pads its numbers", () => {
    const result = resultOf(sampleFile("a"));
    expect(readFigures({ result: { $typeName: "muster.v1.Payload", ...result } })).toEqual(
      sampleFile("a").expected,
    );
  });

  test.each(['{"stdoutTail":"no figures"}', "[]", "null"])("reads nothing from %s", (text) => {
    const content = { case: "data" as const, value: new TextEncoder().encode(text) };
    expect(readFigures({ result: { $typeName: "muster.v1.Payload", content } })).toBeNull();
  });
});

test("never rounds up to all", () => {
  expect([percent(1), percent(0.999), percent(0)]).toEqual(["100 %", "99 %", "0 %"]);
});
