import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { AttemptOutcome, AttemptSchema, JobSchema, JobState } from "@muster/client/v1/job";
import type { InputFile } from "./inputs.ts";
import { type PlannedJob, planJobs, type Role } from "./jobs.ts";
import type { JobRecord } from "./records.ts";

/** A file as `takeInputs` describes it; its figures are made of its name. */
export function sampleFile(path: string): InputFile {
  return {
    path,
    sizeBytes: 10,
    expected: {
      sha256: Buffer.from(path).toString("hex").padEnd(64, "0").slice(0, 64),
      lines: 3,
      gzipBytes: 30,
    },
  };
}

/** Files enough for every role: `count` ordinary ones, and two of high priority. */
export function sampleFiles(count: number): InputFile[] {
  const ordinary = Array.from({ length: count }, (_, index) => sampleFile(`src/${index}.ts`));
  return [...ordinary, sampleFile("proto/a.proto"), sampleFile("proto/b.proto")];
}

/** Where the jobs of the samples find things. */
export const samplePlaces = { inputs: "/demo/inputs", gate: "/demo/gate", mark: "muster-demo-x" };

/** An attempt: how it ended, and where that is not on worker-1, or the result is another than the right one. */
export interface SampleAttempt {
  readonly outcome: AttemptOutcome;
  readonly workerId?: string;
  readonly workerName?: string;
  readonly final?: boolean;
  readonly error?: { readonly code: string; readonly message: string };
  readonly result?: ReturnType<typeof resultOf>;
}

/** A job that ended as planned; `attempts` replaces how. */
export function sampleRecord(role: Role, attempts = goodAttempts[role], startMs = 1_000): JobRecord {
  const planned = plannedAs(role);
  const jobId = `job_${role}`;
  const last = attempts.at(-1);
  const states: Partial<Record<AttemptOutcome, JobState>> = {
    [AttemptOutcome.SUCCEEDED]: JobState.SUCCEEDED,
    [AttemptOutcome.CANCELLED]: JobState.CANCELLED,
    [AttemptOutcome.FAILED]: JobState.DEAD,
  };
  const state = states[last?.outcome ?? AttemptOutcome.UNSPECIFIED] ?? JobState.READY;
  const result = planned.file === null ? {} : { result: resultOf(planned.file) };
  return {
    planned,
    job: create(JobSchema, { jobId, state }),
    attempts: attempts.map((attempt, index) =>
      create(AttemptSchema, {
        jobId,
        attempt: index + 1,
        workerId: "wrk_1",
        workerName: "worker-1",
        startTime: timestampFromMs(startMs + index),
        final: index === attempts.length - 1,
        ...(attempt.outcome === AttemptOutcome.SUCCEEDED ? result : {}),
        ...attempt,
      }),
    ),
  };
}

/** The result of `shell.run` for a file, as its commands write it. */
export function resultOf({ expected }: InputFile, change: Partial<InputFile["expected"]> = {}) {
  const { sha256, lines, gzipBytes } = { ...expected, ...change };
  const stdoutTail = `${sha256}  -\n${lines}\n ${gzipBytes}\n`;
  const value = new TextEncoder().encode(JSON.stringify({ exitCode: 0, stdoutTail }));
  return { content: { case: "data" as const, value } };
}

/** An attempt that failed as `shell.run` fails. */
export const failedAttempt: SampleAttempt = {
  outcome: AttemptOutcome.FAILED,
  error: { code: "EXIT_NONZERO", message: "sh exited with 66" },
};

const succeeded: SampleAttempt = { outcome: AttemptOutcome.SUCCEEDED };

const goodAttempts: Readonly<Record<Role, readonly SampleAttempt[]>> = {
  file: [succeeded],
  high: [succeeded],
  flaky: [failedAttempt, succeeded],
  held: [{ outcome: AttemptOutcome.LOST }, { ...succeeded, workerId: "wrk_2", workerName: "worker-2" }],
  poison: [failedAttempt, failedAttempt, failedAttempt],
  endless: [{ outcome: AttemptOutcome.CANCELLED }],
};

function plannedAs(role: Role): PlannedJob {
  const { batch, poison, endless } = planJobs(sampleFiles(60), samplePlaces);
  const found = [...batch, poison, endless].find((job) => job.role === role);
  if (found === undefined) throw new Error(`no job is planned as ${role}`);
  return found;
}
