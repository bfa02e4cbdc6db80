import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { submitJob } from "../../server/domain/jobs.ts";
import { createResultBatcher, type LeaseResult } from "../../server/domain/leases.ts";
import { getProject, putProject } from "../../server/domain/projects.ts";
import { listPullRequests, setPullRequestState } from "../../server/domain/pull-requests.ts";
import type { PullRequestState } from "../../server/domain/rules/pull-requests.ts";
import { inOrg, orgTxOf } from "../../server/store/database.ts";
import { countGates } from "../../server/store/gates.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest, testDispatcher } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

const page: Parameters<typeof listPullRequests>[2] = {
  pageSize: 0,
  pageToken: "",
  project: null,
  state: null,
};
const urlOf = (number: number) => `https://github.com/acme/web/pull/${number}`;

/** An org with the project `web` of this cap, and a worker. */
async function oneProject(maxOpenPrs: number | null = 5) {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  await putProject(c, caller, { name: "web", maxOpenPrs, repository: "acme/web" });
  const dispatcher = testDispatcher(c);
  const declared = { ...hello().declared, slots: 50, points: 50 };
  const worker = await attachWorker(c, orgId, { name: "one", dispatcher, hello: hello({ declared }) });
  const results = createResultBatcher(c);
  /** Runs a job of the project to its end; its result names this URL. */
  const run = async (prUrl: string | null, overrides: object = {}, result: Partial<LeaseResult> = {}) => {
    const job = jobRequest({ project: "web", ...overrides });
    const { jobId } = await submitJob(c, caller, { job, idempotencyKey: null, parent: null });
    await dispatcher.refresh(orgId);
    const grants = await worker.offers(worker.offered.length + 1);
    const grant = grants.find((one) => one.fence.jobId === jobId);
    if (!grant) throw new Error("offered");
    const answer = await results.add(orgId, {
      fence: grant.fence,
      resultId: randomUUID(),
      event: { type: "succeeded" },
      result: "null",
      error: null,
      prUrl,
      lastSequence: 0,
      reason: null,
      hasProgress: false,
      ...result,
    });
    return { jobId, answer };
  };
  const say = (url: string, state: PullRequestState, saidAt: Date | null = null) =>
    setPullRequestState(c, caller, { url, state, saidAt, reason: "" });
  const list = async () => (await listPullRequests(c, caller, page)).items;
  const account = async () => {
    const { openPrs, leased } = await getProject(c, caller, { name: "web" });
    return { openPrs, leased };
  };
  /** What the gate says, and what is counted anew. */
  const used = () =>
    inOrg(db.database.app, orgId, async (tx) => {
      const counted = (await countGates(orgTxOf(tx, orgId), ["project:web"])).get("project:web") ?? 0;
      const [gate] = await db.admin<{ used: number }[]>`
        select used from muster.gates where org_id = ${orgId} and key = 'project:web'`;
      return { gate: gate?.used ?? null, counted };
    });
  return { orgId, caller, dispatcher, worker, results, run, say, list, account, used };
}

describe("a result that names a pull request", () => {
  test("counts it, under the one form of its URL, in the place of its lease", async () => {
    const { run, list, account, used } = await oneProject();
    const { jobId } = await run("http://GitHub.com/acme/web/pull/7/files?w=1");
    expect(await list()).toMatchObject([
      { url: urlOf(7), project: "web", jobId, state: "open", isCounted: true },
    ]);
    expect(await account()).toEqual({ openPrs: 1, leased: 0 });
    expect(await used()).toEqual({ gate: 1, counted: 1 });
  });

  test("counts a URL once, whatever result names it again", async () => {
    const { run, list, used } = await oneProject();
    const first = await run(urlOf(7));
    await run(`${urlOf(7)}/`);
    expect(await list()).toMatchObject([{ url: urlOf(7), jobId: first.jobId }]);
    expect(await used()).toEqual({ gate: 1, counted: 1 });
  });

  test("keeps it without counting when its job opens none", async () => {
    const { run, list, account, used } = await oneProject();
    await run(urlOf(7), { opensPullRequest: false });
    expect(await list()).toMatchObject([{ url: urlOf(7), state: "open", isCounted: false }]);
    expect(await account()).toEqual({ openPrs: 0, leased: 0 });
    expect(await used()).toEqual({ gate: 0, counted: 0 });
  });

  test("keeps what is no URL on the attempt alone", async () => {
    const { orgId, run, list, used } = await oneProject();
    const { jobId, answer } = await run("see the branch");
    expect(answer).toMatchObject({ status: "committed" });
    expect(await list()).toEqual([]);
    const [attempt] = await db.admin`
      select pr_url from muster.attempts where org_id = ${orgId} and job_id = ${jobId}`;
    expect(attempt?.["pr_url"]).toBe("see the branch");
    expect(await used()).toEqual({ gate: 0, counted: 0 });
  });

  test("counts without a cap too, so that a cap of later knows of it", async () => {
    const { caller, run, account, used } = await oneProject(null);
    await run(urlOf(7));
    expect(await account()).toEqual({ openPrs: 1, leased: 0 });
    await putProject(c, caller, { name: "web", maxOpenPrs: 1, repository: null });
    expect(await used()).toEqual({ gate: 1, counted: 1 });
  });

  test("of a job without a project counts for none", async () => {
    const { run, list } = await oneProject();
    await run(urlOf(7), { project: null });
    expect(await list()).toEqual([]);
  });

  test("in one flush with others of the same URL counts once", async () => {
    const { orgId, caller, dispatcher, worker, results, used } = await oneProject();
    const jobs = Array.from({ length: 5 }, () =>
      submitJob(c, caller, { job: jobRequest({ project: "web" }), idempotencyKey: null, parent: null }),
    );
    await Promise.all(jobs);
    await dispatcher.refresh(orgId);
    const grants = await worker.offers(5);
    expect(await used()).toEqual({ gate: 5, counted: 5 });
    const answers = await Promise.all(
      grants.map(({ fence }, index) =>
        results.add(orgId, {
          fence,
          resultId: randomUUID(),
          event: { type: "succeeded" },
          result: "null",
          error: null,
          prUrl: urlOf(index < 3 ? 1 : 2),
          lastSequence: 0,
          reason: null,
          hasProgress: false,
        }),
      ),
    );
    expect(answers.map((answer) => answer.status)).toEqual(Array(5).fill("committed"));
    expect(await used()).toEqual({ gate: 2, counted: 2 });
  });
});

describe("saying where a pull request stands", () => {
  test("frees its place when it is closed or merged, and takes one when it is open again", async () => {
    const { orgId, run, say, used, account } = await oneProject();
    await run(urlOf(1));
    await run(urlOf(2));
    c.woken.length = 0;
    expect((await say(`${urlOf(1)}/files`, "closed")).pullRequest).toMatchObject({
      url: urlOf(1),
      state: "closed",
    });
    expect(c.woken).toContainEqual(["ready", orgId]);
    expect((await say(urlOf(2), "merged")).pullRequest.state).toBe("merged");
    expect(await used()).toEqual({ gate: 0, counted: 0 });
    expect((await say(urlOf(1), "open")).isChanged).toBe(true);
    expect(await used()).toEqual({ gate: 1, counted: 1 });
    expect(await account()).toEqual({ openPrs: 1, leased: 0 });
  });

  test("changes nothing the second time, and audits the first alone", async () => {
    const { orgId, run, say, used } = await oneProject();
    await run(urlOf(1));
    expect([(await say(urlOf(1), "closed")).isChanged, (await say(urlOf(1), "closed")).isChanged]).toEqual([
      true,
      false,
    ]);
    await say(urlOf(1), "merged");
    expect(await used()).toEqual({ gate: 0, counted: 0 });
    const audit = await db.admin`select target, details from muster.audit_log
      where org_id = ${orgId} and action = 'pull_request.set_state' order by audit_id`;
    expect(audit).toEqual([
      { target: urlOf(1), details: { project: "web", before: "open", after: "closed" } },
      { target: urlOf(1), details: { project: "web", before: "closed", after: "merged" } },
    ]);
  });

  test("lets the world go above the cap; claims then stop", async () => {
    const { orgId, caller, dispatcher, worker, run, say, used } = await oneProject(1);
    await run(urlOf(1));
    await say(urlOf(1), "closed");
    await run(urlOf(2));
    await say(urlOf(1), "open");
    expect(await used()).toEqual({ gate: 2, counted: 2 });
    await submitJob(c, caller, { job: jobRequest({ project: "web" }), idempotencyKey: null, parent: null });
    await submitJob(c, caller, { job: jobRequest({ title: "free" }), idempotencyKey: null, parent: null });
    await dispatcher.refresh(orgId);
    const offered = await worker.offers(3);
    expect(offered.at(-1)?.title).toBe("free");
    expect(await used()).toEqual({ gate: 2, counted: 2 });
    await say(urlOf(1), "closed");
    await say(urlOf(2), "merged");
    await dispatcher.refresh(orgId);
    await worker.offers(4);
    expect(await used()).toEqual({ gate: 1, counted: 1 });
  });

  test("by many at once counts each change once", async () => {
    const { run, say, used } = await oneProject();
    for (const number of [1, 2, 3]) await run(urlOf(number));
    const words: PullRequestState[] = ["closed", "merged", "open"];
    const calls = Array.from({ length: 60 }, (_, n) => say(urlOf((n % 3) + 1), words[(n % 7) % 3] ?? "open"));
    await Promise.all(calls);
    const { gate, counted } = await used();
    expect(gate).toBe(counted);
    await Promise.all([1, 2, 3].map((number) => say(urlOf(number), "merged")));
    expect(await used()).toEqual({ gate: 0, counted: 0 });
  });

  test("while the cap is put, counts neither too few nor too many", async () => {
    for (const cap of [1, 2, 3]) {
      const { caller, run, say, used } = await oneProject(null);
      await run(urlOf(1));
      await run(urlOf(2));
      await say(urlOf(2), "closed");
      await Promise.all([
        say(urlOf(1), "closed"),
        putProject(c, caller, { name: "web", maxOpenPrs: cap, repository: null }),
        say(urlOf(2), "open"),
      ]);
      expect(await used()).toEqual({ gate: 1, counted: 1 });
    }
  });

  test("ignores an event that is older than the last one that counted", async () => {
    const { run, say, used } = await oneProject();
    await run(urlOf(1));
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    await say(urlOf(1), "closed", at(1));
    await say(urlOf(1), "open", at(2));
    expect((await say(urlOf(1), "closed", at(1))).isChanged).toBe(false);
    expect(await used()).toEqual({ gate: 1, counted: 1 });
    expect((await say(urlOf(1), "merged", at(3))).isChanged).toBe(true);
  });

  test("ignores an event that is older than one that said nothing new", async () => {
    const { run, say, used } = await oneProject();
    await run(urlOf(1));
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    // Closed, then reopened: the two come the other way round.
    expect((await say(urlOf(1), "open", at(2))).isChanged).toBe(false);
    expect((await say(urlOf(1), "closed", at(1))).isChanged).toBe(false);
    expect(await used()).toEqual({ gate: 1, counted: 1 });
  });

  test("moves no place for one that does not count", async () => {
    const { run, say, used } = await oneProject();
    await run(urlOf(1), { opensPullRequest: false });
    await say(urlOf(1), "closed");
    await say(urlOf(1), "open");
    expect(await used()).toEqual({ gate: 0, counted: 0 });
  });

  test("refuses what is no URL, and does not find what no result of the org has named", async () => {
    const { run, say } = await oneProject();
    await run(urlOf(1));
    await expect(say("acme/web#1", "closed")).rejects.toMatchObject({ violations: [{ field: "url" }] });
    await expect(say(urlOf(9), "closed")).rejects.toMatchObject({ reason: "PULL_REQUEST_NOT_FOUND" });
    const other = testCaller(await db.orgId());
    await expect(
      setPullRequestState(c, other, { url: urlOf(1), state: "closed", reason: "" }),
    ).rejects.toMatchObject({ reason: "PULL_REQUEST_NOT_FOUND" });
  });
});

describe("listing pull requests", () => {
  test("goes newest first, page by page, of a project and in a state", async () => {
    const { caller, run, say } = await oneProject(null);
    await putProject(c, caller, { name: "docs", maxOpenPrs: null, repository: null });
    for (const number of [1, 2, 3]) await run(urlOf(number));
    await run("https://github.com/acme/docs/pull/1", { project: "docs" });
    await say(urlOf(2), "merged");
    const urls = async (selection: Partial<typeof page>) =>
      (await listPullRequests(c, caller, { ...page, ...selection })).items.map((one) => one.url);
    expect(await urls({ project: "web" })).toEqual([urlOf(3), urlOf(2), urlOf(1)]);
    expect(await urls({ state: "merged" })).toEqual([urlOf(2)]);
    expect(await urls({ state: "closed" })).toEqual([]);
    expect(await urls({ state: "open", project: "web" })).toEqual([urlOf(3), urlOf(1)]);
    const first = await listPullRequests(c, caller, { ...page, project: "web", pageSize: 2 });
    const rest = { ...page, project: "web", pageSize: 2, pageToken: first.nextPageToken };
    expect((await listPullRequests(c, caller, rest)).items.map((one) => one.url)).toEqual([urlOf(1)]);
    await expect(listPullRequests(c, caller, { ...rest, project: "docs" })).rejects.toMatchObject({
      reason: "PAGE_TOKEN_INVALID",
    });
  });
});
