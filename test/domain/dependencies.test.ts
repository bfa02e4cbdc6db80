import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { getBatch } from "../../server/domain/batches.ts";
import { DomainError } from "../../server/domain/errors.ts";
import { encodeId } from "../../server/domain/ids.ts";
import { cancelJob, cancelOverdueJob, retryJob, submitJob } from "../../server/domain/jobs.ts";
import { createResultBatcher, endLeases } from "../../server/domain/leases.ts";
import { parkJob, unparkJob } from "../../server/domain/parking.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { promoteDueJobs } from "../../server/maintain/due.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCoordinator,
} from "../support/database.ts";
import {
  dependingOrg,
  failure,
  isOpen,
  whileLocked as lockedIn,
  never,
  onJob,
  onRef,
} from "../support/depending.ts";
import { jobRequest } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

const { blocked, scheduled, ready, parked, succeeded, cancelled, dead } = JobState;
const org = () => dependingOrg(db, c);
const whileLocked = <T>(jobId: string, doings: readonly (() => Promise<T>)[]) => lockedIn(db, jobId, doings);

describe("a chain", () => {
  test("runs one after the other, however far it is", async () => {
    const { batch, end, read, rows } = await org();
    const { jobIds } = await batch([
      { dependsOn: onRef("b"), ref: "c" },
      { ref: "a" },
      { ref: "b", dependsOn: onRef("a") },
    ]);
    const [last = "", first = "", middle = ""] = jobIds;
    expect(await read(middle)).toMatchObject({ state: blocked, waitingOn: 1, spec: { dependsOn: [first] } });
    await end(first);
    expect(isOpen(await read(middle))).toBe(true);
    expect(await read(last)).toMatchObject({ state: blocked, waitingOn: 1 });
    await end(middle);
    await end(last);
    expect(await read(last)).toMatchObject({ state: succeeded });
    expect(await rows("edges")).toBe(0);
  });

  test("of a dead job is cancelled whole, and its batch counts that", async () => {
    const { batch, end, read, caller, rows } = await org();
    const { batchId, jobIds } = await batch([
      { ref: "a" },
      { ref: "b", dependsOn: onRef("a") },
      { ref: "c", dependsOn: onRef("b", "a") },
      { dependsOn: onRef("c") },
    ]);
    const [a = "", b = "", , last = ""] = jobIds;
    await end(a, failure);
    expect(await read(b)).toMatchObject({
      state: cancelled,
      reason: `a job that it depends on died: ${encodeId("job", a)}`,
    });
    expect(await read(last)).toMatchObject({ state: cancelled, attempt: 1 });
    expect(await getBatch(c, caller, batchId)).toMatchObject({ pending: 0, dead: 1, cancelled: 3 });
    expect(await rows("edges")).toBe(0);
  });
});

describe("a job with several parents", () => {
  test("opens once when they end in one flush", async () => {
    const { submit, resultOf, results, orgId, read } = await org();
    const parents = await Promise.all([submit(), submit(), submit()]);
    const child = await submit({ dependsOn: onJob(...parents) });
    expect(await read(child)).toMatchObject({ state: blocked, waitingOn: 3 });
    const all = await Promise.all(parents.map((parent) => resultOf(parent)));
    await results.addAll(orgId, all);
    expect(await read(child)).toMatchObject({ state: ready, waitingOn: 0 });
    const changes = await db.admin`select job_ids, states from muster.changes where org_id = ${orgId}`;
    const opened = changes.flatMap((row) =>
      row["job_ids"].filter((id: string, n: number) => id === child && row["states"][n] === ready),
    );
    expect(opened).toHaveLength(1);
  });

  test("opens once when two end at the same time, each on its own coordinator", async () => {
    const { submit, resultOf, orgId, read } = await org();
    const [one, two] = [await submit(), await submit()];
    const child = await submit({ dependsOn: onJob(one, two) });
    const [first, second] = [await resultOf(one), await resultOf(two)];
    const answers = await whileLocked(child, [
      () => createResultBatcher(c).add(orgId, first),
      () => createResultBatcher(testCoordinator(db)).add(orgId, second),
    ]);
    expect(answers).toMatchObject([{ status: "committed" }, { status: "committed" }]);
    expect(await read(child)).toMatchObject({ state: ready, waitingOn: 0 });
  });

  test("goes on without those that died when it was told so, and is cancelled once the first dies else", async () => {
    const { submit, end, read } = await org();
    const [one, two] = [await submit(), await submit()];
    const patient = await submit({ dependsOn: onJob(one, two), dependencyPolicy: "release" });
    const strict = await submit({ dependsOn: onJob(one, two) });
    await end(one, failure);
    expect(await read(patient)).toMatchObject({ state: blocked, waitingOn: 1 });
    expect(await read(strict)).toMatchObject({ state: cancelled });
    await end(two);
    expect(await read(patient)).toMatchObject({ state: ready });
    expect(await read(strict)).toMatchObject({ state: cancelled, attempt: 1 });
  });

  test("has ten thousand of them", { timeout: 60_000 }, async () => {
    const { batch, submit, read, rows, orgId } = await org();
    const { jobIds } = await batch(Array.from({ length: 10_000 }, () => ({ kind: "nobody" })));
    const child = await submit({ dependsOn: onJob(...jobIds) });
    expect(await read(child)).toMatchObject({ state: blocked, waitingOn: 10_000 });
    expect(await rows("edges")).toBe(10_000);
    const [row] = await db.admin`select count(*)::int as count from muster.job_queue
      where org_id = ${orgId} and has_dependants`;
    expect(row).toEqual({ count: 10_000 });
  });

  test("may be the last of a chain of ten thousand", { timeout: 60_000 }, async () => {
    const { batch, end, read } = await org();
    const { jobIds } = await batch(
      Array.from({ length: 10_000 }, (_, n) => ({
        ref: `${n}`,
        dependsOn: n === 0 ? [] : onRef(`${n - 1}`),
      })),
    );
    expect(await read(jobIds[9_999] ?? "")).toMatchObject({ state: blocked, waitingOn: 1 });
    await end(jobIds[0] ?? "");
    expect(isOpen(await read(jobIds[1] ?? ""))).toBe(true);
  });
});

describe("a submit", () => {
  test("does not wait for what has succeeded", async () => {
    const { submit, end, read } = await org();
    const parent = await submit();
    await end(parent);
    const child = await submit({ dependsOn: onJob(parent) });
    expect(await read(child)).toMatchObject({ state: ready, waitingOn: 0, spec: { dependsOn: [parent] } });
  });

  test("after a death acts as if it came right after", async () => {
    const { submit, end, read, drain, rows } = await org();
    const [parent, other] = [await submit(), await submit()];
    await end(parent, failure);
    const strict = await submit({ dependsOn: onJob(parent, other) });
    const patient = await submit({ dependsOn: onJob(parent), dependencyPolicy: "release" });
    const waits = await submit({ dependsOn: onJob(parent, other), dependencyPolicy: "release" });
    expect(await read(patient)).toMatchObject({ state: ready });
    expect(await read(waits)).toMatchObject({ state: blocked, waitingOn: 1 });
    expect(c.woken).toContainEqual(["released", expect.anything()]);
    await drain();
    expect(await read(strict)).toMatchObject({
      state: cancelled,
      reason: `a job that it depends on died: ${encodeId("job", parent)}`,
    });
    expect(await rows("releases")).toBe(0);
    await end(other);
    expect(await read(waits)).toMatchObject({ state: ready });
  });

  test.each(["the end first", "the submit first"])(
    "and the end of its parent at the same time: %s",
    async (order) => {
      const { submit, resultOf, results, orgId, read } = await org();
      const parent = await submit();
      const result = await resultOf(parent);
      const ending = () => results.add(orgId, result).then(() => "");
      const submitting = () => submit({ dependsOn: onJob(parent) });
      const doings = order === "the end first" ? [ending, submitting] : [submitting, ending];
      const child = (await whileLocked(parent, doings)).find((id) => id !== "") ?? "";
      expect(await read(parent)).toMatchObject({ state: succeeded });
      expect(await read(child)).toMatchObject({ state: ready, waitingOn: 0 });
    },
  );

  test("names every parent that is not there, and leaves its keys to the next try", async () => {
    const { batch, submit, read } = await org();
    const elsewhere = await (await org()).submit();
    const known = await submit({ externalId: "known" });
    const missing = db.newId();
    const jobs: Partial<JobRequest>[] = [
      { externalId: "child" },
      { dependsOn: [...onJob(known, missing), { type: "external", externalId: "none" }] },
      { dependsOn: [...onJob(elsewhere), ...onJob(known), { type: "external", externalId: "known" }] },
    ];
    const error = await batch(jobs).catch((reason: unknown) => reason);
    if (!(error instanceof DomainError)) throw error;
    expect(error.violations.map(({ field, message }) => `${field} ${message}`)).toEqual([
      "jobs[1].dependsOn[1].jobId is not that of a job that exists",
      "jobs[1].dependsOn[2].externalId is not that of a job that exists",
      "jobs[2].dependsOn[0].jobId is not that of a job that exists",
      "jobs[2].dependsOn[2].externalId is that of dependsOn[1]",
    ]);
    const { jobIds } = await batch([
      { externalId: "child" },
      { dependsOn: [{ type: "external", externalId: "child" }] },
    ]);
    expect(await read(jobIds[1] ?? "")).toMatchObject({ state: blocked, spec: { dependsOn: [jobIds[0]] } });
  });

  test("that is repeated gives the same job, though its parents are gone", async () => {
    const { submit, caller, orgId } = await org();
    const parent = await submit();
    const request = { job: jobRequest({ dependsOn: onJob(parent) }), idempotencyKey: "once", parent: null };
    const first = await submitJob(c, caller, request);
    await db.admin`delete from muster.job_queue where org_id = ${orgId} and job_id = ${parent}`;
    expect(await submitJob(c, caller, request)).toEqual({ ...first, isReplayed: true });
  });

  test("of a flush does not find the jobs of one that is refused", async () => {
    const { submit, orgId } = await org();
    const refused = submit({ externalId: "first", dependsOn: onJob(db.newId()) });
    const after = submit({ dependsOn: [{ type: "external", externalId: "first" }] });
    const again = submit({ externalId: "first", dependsOn: onJob(db.newId()) });
    const settled = await Promise.allSettled([refused, after, again]);
    expect(settled.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    const [row] = await db.admin`select count(*)::int as count from muster.job_keys where org_id = ${orgId}`;
    expect(row).toEqual({ count: 0 });
  });
});

describe("an end reaches those that depend on it", () => {
  test("when its job is cancelled, passes its deadline, or is lost for good", async () => {
    const { submit, read, caller, leaseOf, orgId, end } = await org();
    const child = async (parent: string) => submit({ dependsOn: onJob(parent) });
    const waits = await submit({ kind: "nobody" });
    const runs = await submit();
    const overdue = await submit({ kind: "nobody", deadline: new Date(db.nowMs() + 60_000) });
    const fragile = await submit({ atMostOnce: true });
    const children = await Promise.all([waits, runs, overdue, fragile].map(child));
    await cancelJob(c, caller, { jobId: waits, reason: "no more", isForced: false });
    await leaseOf(runs);
    await cancelJob(c, caller, { jobId: runs, reason: "now", isForced: true });
    await db.advanceClock(61_000);
    await cancelOverdueJob(c, caller, overdue);
    const fence = await leaseOf(fragile);
    await endLeases(c, orgId, [{ fence, event: { type: "lost", isFleetEvent: false }, reason: "silent" }]);
    expect(await read(fragile)).toMatchObject({ state: dead });
    const views = await Promise.all(children.map(read));
    expect(views.map(({ state }) => state)).toEqual([cancelled, cancelled, cancelled, cancelled]);
    expect(views[0]?.reason).toBe(`a job that it depends on was cancelled: ${encodeId("job", waits)}`);
    expect(views[3]?.reason).toBe(`a job that it depends on died: ${encodeId("job", fragile)}`);
    await expect(end(runs)).resolves.toMatchObject({ status: "superseded" });
  });

  test("not when it is to be tried again", async () => {
    const { submit, end, read } = await org();
    const parent = await submit();
    const child = await submit({ dependsOn: onJob(parent) });
    await end(parent, { ...failure, isRetryable: true });
    expect(await read(child)).toMatchObject({ state: blocked, waitingOn: 1 });
  });

  test("and leaves one alone that was cancelled meanwhile", async () => {
    const { submit, resultOf, results, orgId, caller, read, rows } = await org();
    const parent = await submit();
    const child = await submit({ dependsOn: onJob(parent) });
    const result = await resultOf(parent);
    await whileLocked<unknown>(child, [
      () => cancelJob(c, caller, { jobId: child, reason: "no more", isForced: false }),
      () => results.add(orgId, result),
    ]);
    expect(await read(parent)).toMatchObject({ state: succeeded });
    expect(await read(child)).toMatchObject({ state: cancelled, reason: "no more" });
    expect(await rows("edges")).toBe(0);
  });

  test("and counts for one that is parked, without waking it", async () => {
    const { submit, end, read, caller } = await org();
    const [one, two] = [await submit(), await submit()];
    const until = new Date(Math.ceil(db.nowMs() / 1_000) * 1_000 + 600_000);
    const child = await submit({ dependsOn: onJob(one, two) });
    const request = { jobId: child, reason: "hold it", requestId: "" };
    await parkJob(c, caller, { ...request, until });
    await end(one);
    expect(await read(child)).toMatchObject({ state: parked, waitingOn: 1, reason: "hold it" });
    expect((await read(child)).wakeAt?.getTime()).toBeCloseTo(until.getTime(), -2);
    await unparkJob(c, caller, request);
    expect(await read(child)).toMatchObject({ state: blocked, waitingOn: 1 });
    await parkJob(c, caller, { ...request, until: null });
    await end(two);
    expect(await read(child)).toMatchObject({ state: parked, waitingOn: 0 });
    await unparkJob(c, caller, request);
    expect(await read(child)).toMatchObject({ state: ready });
  });

  test("and leaves it its time, parked meanwhile or not", async () => {
    const { submit, end, read, caller, orgId } = await org();
    const parent = await submit();
    const runAt = new Date(Math.ceil(db.nowMs() / 1_000) * 1_000 + 600_000);
    const ids = await Promise.all([1, 2, 3].map(() => submit({ dependsOn: onJob(parent), runAt })));
    const [plain = "", byHand = "", byTime = ""] = ids;
    const request = { reason: "", requestId: "" };
    await parkJob(c, caller, { ...request, jobId: byHand, until: null });
    await parkJob(c, caller, { ...request, jobId: byTime, until: new Date(db.nowMs() + 60_000) });
    await unparkJob(c, caller, { ...request, jobId: byHand });
    await db.advanceClock(61_000);
    await promoteDueJobs(c, orgId, never);
    expect(await read(byTime)).toMatchObject({ state: blocked });
    await end(parent);
    for (const jobId of [plain, byHand, byTime]) {
      const job = await read(jobId);
      expect(job.state).toBe(scheduled);
      expect(job.wakeAt?.getTime()).toBeCloseTo(runAt.getTime(), -2);
    }
  });
});

test("a child that was replayed waits for nobody", async () => {
  const { submit, end, caller, read, statesOf } = await org();
  const [one, two] = [await submit(), await submit()];
  const child = await submit({ dependsOn: onJob(one, two), kind: "nobody" });
  await end(one, failure);
  await retryJob(c, caller, { jobId: child, reason: "" });
  await end(two, failure);
  expect(await read(child)).toMatchObject({ state: ready, generation: 2 });
  expect(await statesOf([one, two])).toEqual([dead, dead]);
});
