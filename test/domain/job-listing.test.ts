import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createJobCountsReader } from "../../server/domain/job-counts.ts";
import { listJobs } from "../../server/domain/job-lists.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { anyJob, type JobFilter } from "../../server/store/job-lists.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { insertAttempt, insertJob, insertWorkerRow } from "../support/rows.ts";

let db: TestDatabase;

let c: TestCoordinator;

beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});

afterAll(() => db.close());

/** A page, newest first. */
function listed(orgId: string, filter: Partial<JobFilter>, page = { pageSize: 0, pageToken: "" }) {
  const list = { order: "newest-first", isLastPage: false, isCounted: false } as const;
  const counts = createJobCountsReader(c);
  return listJobs(c, testCaller(orgId), { ...page, ...list, filter: { ...anyJob, ...filter } }, counts);
}

describe("listing jobs", () => {
  let orgId: string;
  let workerId: string;
  const batchId = "0190d9c8-0000-7000-8000-00000000000b";
  const ids: Record<string, string> = {};

  beforeAll(async () => {
    orgId = await db.orgId();
    workerId = await insertWorkerRow(db, orgId, { name: "box" });
    const add = async (name: string, rows: Parameters<typeof insertJob>[2]) => {
      ids[name] = (await insertJob(db, orgId, rows)).jobId;
      return ids[name];
    };
    const end = async (name: string, state: JobState) => {
      const outcome = state === JobState.succeeded ? Outcome.succeeded : Outcome.failed;
      await insertAttempt(db, orgId, await add(name, { kind: `k.${name}` }), { outcome, state });
    };
    const parentJobId = await add("parent", { kind: "build", labels: { team: "a", tier: "1" } });
    await add("first", { batchId, queue: "slow" });
    await add("second", { batchId, project: "acme/web" });
    await add("child", { parentJobId, state: JobState.scheduled });
    await add("running", { state: JobState.running, worker: { workerId }, labels: { team: "b", tier: "1" } });
    await end("succeeded", JobState.succeeded);
    await end("dead", JobState.dead);
    await end("cancelled", JobState.cancelled);
    const replayed = await add("replayed", {});
    await insertAttempt(db, orgId, replayed, { outcome: Outcome.failed, state: JobState.dead });
    await db.admin`insert into muster.job_queue (org_id, job_id, shape_id, points, reclaim_after_ms, lease_ttl_ms, state,
      priority, attempt, generation) values (${orgId}, ${replayed}, 1, 1, 1, 1, 3, 128, 1, 2)`;
    await db.admin`insert into muster.batches (org_id, batch_id, title, first_job_id, last_job_id, total, pending)
      values (${orgId}, ${batchId}, '', ${ids["first"] ?? ""}, ${ids["second"] ?? ""}, 2, 2)`;
    await insertJob(db, await db.orgId(), { batchId, labels: { team: "a" } });
  });

  const list = async (filter: Partial<JobFilter>, page = { pageSize: 0, pageToken: "" }) => {
    const answer = await listed(orgId, filter, page);
    const names = Object.fromEntries(Object.entries(ids).map(([name, id]) => [id, name]));
    return { ...answer, names: answer.items.map((job) => names[job.jobId] ?? job.jobId) };
  };

  test.each([
    [
      "nothing",
      {},
      ["replayed", "cancelled", "dead", "succeeded", "running", "child", "second", "first", "parent"],
    ],
    ["a live state", { states: [JobState.running] }, ["running"]],
    [
      "live states",
      { states: [JobState.ready, JobState.scheduled] },
      ["replayed", "child", "second", "first", "parent"],
    ],
    ["a terminal state", { states: [JobState.dead] }, ["dead"]],
    [
      "live and terminal states",
      { states: [JobState.running, JobState.cancelled] },
      ["cancelled", "running"],
    ],
    ["a kind", { kind: "build" }, ["parent"]],
    ["a queue", { queue: "slow" }, ["first"]],
    ["a batch", { batchId }, ["second", "first"]],
    ["a batch that is not there", { batchId: "0190d9c8-0000-7000-8000-00000000000c" }, []],
    ["a project", { project: "acme/web" }, ["second"]],
    ["all of some labels", { labels: { tier: "1", team: "b" } }, ["running"]],
    ["a label", { labels: { tier: "1" } }, ["running", "parent"]],
    ["a label with quotes", { labels: { 'a"b': "c'd" } }, []],
    ["a worker", { workerId: "worker" }, ["running"]],
    ["a parent", { parentJobId: "parent" }, ["child"]],
    ["all conditions together", { states: [JobState.ready], batchId, queue: "slow" }, ["first"]],
    ["conditions that exclude each other", { states: [JobState.dead], workerId: "worker" }, []],
  ])("by %s", async (_, filter, expected) => {
    const named: Partial<JobFilter> = {
      ...filter,
      ...("workerId" in filter ? { workerId } : {}),
      ...("parentJobId" in filter ? { parentJobId: ids["parent"] ?? null } : {}),
    };
    expect((await list(named)).names).toEqual(expected);
  });

  test.each([1, 2, 3, 8, 9, 10])("comes in pages of %i without loss or repetition", async (pageSize) => {
    for (const filter of [{}, { states: [JobState.ready] }, { states: [JobState.ready, JobState.dead] }]) {
      const names: string[] = [];
      let pageToken = "";
      do {
        const page = await list(filter, { pageSize, pageToken });
        expect(page.names.length).toBeLessThanOrEqual(pageSize);
        names.push(...page.names);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(names).toEqual((await list(filter)).names);
    }
  });

  test("goes on with the same filter alone, however its labels are ordered", async () => {
    const states = [JobState.ready, JobState.running];
    const labels = { a: "1", b: "2" };
    const { nextPageToken: pageToken } = await list({ states }, { pageSize: 1, pageToken: "" });
    const page = { pageSize: 1, pageToken };
    await expect(list({ states: [JobState.ready] }, page)).rejects.toMatchObject({
      reason: "PAGE_TOKEN_INVALID",
    });
    await expect(list({ states, labels }, page)).rejects.toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
    await expect(list({ states: states.toReversed() }, page)).resolves.toMatchObject({ names: ["running"] });
  });

  test("does not show payloads", async () => {
    const { items } = await list({});
    expect(items.every((job) => job.spec.payload === null && job.result === null)).toBe(true);
  });

  test.each([
    [{ kind: "a\0" }, "filter.kind"],
    [{ labels: { a: "\0" } }, "filter.labels"],
  ])("refuses NUL in %j", async (filter, field) => {
    await expect(list(filter)).rejects.toMatchObject({ code: "invalid_argument", violations: [{ field }] });
  });
});
