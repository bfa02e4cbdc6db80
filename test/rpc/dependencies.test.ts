import { Code } from "@connectrpc/connect";
import { BatchService } from "@muster/client/v1/batch_service";
import { DependencyPolicy, JobState } from "@muster/client/v1/job";
import { JobService, JobView } from "@muster/client/v1/job_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { failure, openApi, type TestApi, violationsOf } from "./api.ts";

let db: TestDatabase;
let api: TestApi;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await openApi(db);
});
afterAll(async () => {
  await api?.stop();
  await db?.close();
});

async function clients() {
  const client = await api.client();
  return { ...client, jobs: client.of(JobService), batches: client.of(BatchService) };
}

const onRef = (...refs: readonly string[]) =>
  refs.map((ref) => ({ parent: { case: "ref" as const, value: ref } }));
const onJob = (...ids: readonly string[]) =>
  ids.map((id) => ({ parent: { case: "jobId" as const, value: id } }));

test("what a job waits for is shown whole, and in the basic view by its count", async () => {
  const { jobs, batches } = await clients();
  const { jobIds } = await batches.submitBatch({
    jobs: [
      { kind: "a", ref: "a" },
      { kind: "b", externalId: "b" },
      {
        kind: "c",
        dependsOn: [...onRef("a"), { parent: { case: "externalId", value: "b" } }],
        dependencyPolicy: DependencyPolicy.RELEASE,
      },
    ],
  });
  const [a = "", b = "", c = ""] = jobIds;
  const { job } = await jobs.getJob({ jobId: c });
  expect(job).toMatchObject({ state: JobState.BLOCKED, waitingOn: 2 });
  expect(job?.spec).toMatchObject({ dependencyPolicy: DependencyPolicy.RELEASE, ref: "" });
  expect(job?.spec?.dependsOn.map(({ parent }) => parent.value)).toEqual([a, b]);
  const basic = await jobs.getJob({ jobId: c, view: JobView.BASIC });
  expect(basic.job).toMatchObject({ waitingOn: 2, spec: { dependsOn: [] } });
  const free = await jobs.getJob({ jobId: a });
  expect(free.job?.spec?.dependencyPolicy).toBe(DependencyPolicy.UNSPECIFIED);
});

describe("a cycle is refused before anything is kept, and named in its order", () => {
  test("through a batch", async () => {
    const { jobs, batches } = await clients();
    const error = await failure(
      batches.submitBatch({
        jobs: [
          { kind: "x", ref: "free", externalId: "free" },
          { kind: "x", ref: "a", dependsOn: onRef("b", "free") },
          { kind: "x", ref: "b", dependsOn: [{ parent: { case: "externalId", value: "c d" } }] },
          { kind: "x", externalId: "c d", dependsOn: onRef("a") },
        ],
      }),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.detail?.reason).toBe("DEPENDENCY_CYCLE");
    expect(violationsOf(error)).toEqual(["jobs[1].dependsOn is part of a cycle: a → b → c d → a"]);
    expect((await jobs.listJobs({})).jobs).toEqual([]);
  });

  test("of a job with itself", async () => {
    const { jobs } = await clients();
    const own = { parent: { case: "externalId" as const, value: "me" } };
    const error = await failure(jobs.submitJob({ job: { kind: "x", externalId: "me", dependsOn: [own] } }));
    expect(error.detail?.reason).toBe("DEPENDENCY_CYCLE");
    expect(violationsOf(error)).toEqual(["job.dependsOn is part of a cycle: me → me"]);
  });
});

describe("wrong dependencies are told all at once, each by its place", () => {
  test("that the request alone shows", async () => {
    const { batches } = await clients();
    const error = await failure(
      batches.submitBatch({
        jobs: [
          { kind: "x", ref: "compile" },
          { kind: "x", ref: "compile" },
          { kind: "x", ref: "No!" },
          {
            kind: "x",
            dependsOn: [
              ...onRef("compiel", "Bad Ref"),
              { parent: { case: undefined } },
              ...onJob("wrk_01h455vb4pex5vsknk084sn02q", ""),
              ...onRef("compile", "compile"),
            ],
          },
          { kind: "x", dependencyPolicy: 9 as DependencyPolicy },
        ],
      }),
    );
    expect(error.detail?.reason).toBe("VALIDATION_FAILED");
    expect(new Set(violationsOf(error))).toEqual(
      new Set([
        "jobs[1].ref is that of jobs[0]",
        "jobs[2].ref must have 1 to 100 characters of a-z 0-9 . _ -",
        "jobs[3].dependsOn[0].ref is the ref of no job of this request; did you mean compile?",
        "jobs[3].dependsOn[1].ref must have 1 to 100 characters of a-z 0-9 . _ -",
        "jobs[3].dependsOn[1].ref is the ref of no job of this request",
        "jobs[3].dependsOn[2] must name a job: by jobId, externalId or ref",
        expect.stringMatching(/^jobs\[3\].dependsOn\[3\].jobId /),
        "jobs[3].dependsOn[4].jobId is required",
        "jobs[3].dependsOn[6] is the same job as dependsOn[5]",
        "jobs[4].dependencyPolicy must be one of DEPENDENCY_POLICY_CANCEL, DEPENDENCY_POLICY_RELEASE",
      ]),
    );
  });

  test("that only the store shows; a job of another org is not there", async () => {
    const { jobs } = await clients();
    const other = await clients();
    const { jobId: hidden } = await other.jobs.submitJob({ job: { kind: "x" } });
    const missing = encodeId("job", db.newId());
    const job = { kind: "x", dependsOn: [...onJob(hidden, missing), ...onRef("x")] };
    const refs = await failure(jobs.submitJob({ job }));
    expect(violationsOf(refs)).toEqual(["job.dependsOn[2].ref is the ref of no job of this request"]);
    const error = await failure(jobs.submitJob({ job: { ...job, dependsOn: onJob(hidden, missing) } }));
    expect(violationsOf(error)).toEqual([
      "job.dependsOn[0].jobId is not that of a job that exists",
      "job.dependsOn[1].jobId is not that of a job that exists",
    ]);
  });

  test("that are too many", async () => {
    const { jobs, batches } = await clients();
    const ids = (count: number) => Array.from({ length: count }, (_, n) => `r${n}`);
    const error = await failure(jobs.submitJob({ job: { kind: "x", dependsOn: onRef(...ids(10_001)) } }));
    expect(violationsOf(error)).toContain("job.dependsOn must have at most 10000 entries, and has 10001");
    const refs = ids(9_000);
    const many = Array.from({ length: 12 }, () => ({ kind: "x", dependsOn: onRef(...refs) }));
    const all = await failure(batches.submitBatch({ jobs: many }));
    expect(violationsOf(all)).toEqual(["jobs must have at most 100000 dependencies in all, and have 108000"]);
  });
});
