import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Dispatcher } from "../../server/dispatch/dispatcher.ts";
import type { Grant } from "../../server/dispatch/link.ts";
import { submitBatch } from "../../server/domain/jobs.ts";
import { createResultBatcher } from "../../server/domain/leases.ts";
import { putProject } from "../../server/domain/projects.ts";
import { listPullRequests, setPullRequestState } from "../../server/domain/pull-requests.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest, type TestWorker, testDispatcher } from "../support/fleet.ts";

let db: TestDatabase;
const dispatchers: Dispatcher[] = [];
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await Promise.all(dispatchers.map((one) => one.stop()));
  await db.close();
});

/** A coordinator with a dispatcher of its own and a worker that takes everything. */
async function oneCoordinator(orgId: string, name: string) {
  const c = testCoordinator(db);
  const dispatcher = testDispatcher(c);
  dispatchers.push(dispatcher);
  const declared = { ...hello().declared, slots: 200, points: 200 };
  const worker = await attachWorker(c, orgId, { name, dispatcher, hello: hello({ declared }) });
  return { c, dispatcher, worker, results: createResultBatcher(c) };
}

/** At this moment: open pull requests that count, leases of the project, and what its gate says of both. */
async function placesNow(orgId: string) {
  const [row] = await db.admin<{ taken: number; used: number }[]>`
    select (select count(*)::int from muster.pull_requests where org_id = ${orgId} and is_open and is_counted)
      + (select count(*)::int from muster.job_queue x join muster.shapes s
          on s.org_id = x.org_id and s.shape_id = x.shape_id
          where x.org_id = ${orgId} and x.worker_id is not null and s.project = 'web') as taken,
      (select used from muster.gates where org_id = ${orgId} and key = 'project:web') as used`;
  return row ?? { taken: -1, used: -1 };
}

/** Looks at every moment that it can, until it is stopped; answers with the most places that were taken. */
function watchPlaces(orgId: string) {
  let isOver = false;
  let most = 0;
  let looks = 0;
  const differing: unknown[] = [];
  const done = (async () => {
    while (!isOver) {
      const now = await placesNow(orgId);
      looks++;
      most = Math.max(most, now.taken);
      if (now.taken !== now.used) differing.push(now);
    }
  })();
  const stop = async () => {
    isOver = true;
    await done;
    return { most, looks, differing };
  };
  return { stop, [Symbol.asyncDispose]: async () => void (await stop()) };
}

const cap = 7;

test("a cap of 7 holds while four coordinators claim 200 jobs, and what ends opens pull requests", async () => {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const four = await Promise.all(["a", "b", "c", "d"].map((name) => oneCoordinator(orgId, name)));
  const [first] = four;
  if (!first) throw new Error("four");
  const c: TestCoordinator = first.c;
  await putProject(c, caller, { name: "web", maxOpenPrs: cap, repository: null });
  // Two shapes: the cap is of both together.
  const jobs = Array.from({ length: 200 }, (_, n) =>
    jobRequest({ project: "web", priority: n % 2 === 0 ? 128 : 64, points: 1 + (n % 2) }),
  );
  await submitBatch(c, caller, { jobs, title: "", idempotencyKey: null, parent: null });
  await using watch = watchPlaces(orgId);
  const refreshAll = () => Promise.all(four.map(({ dispatcher }) => dispatcher.refresh(orgId)));
  const seen = new Set<string>();
  const news = (worker: TestWorker): Grant[] => {
    const fresh = worker.offered.filter((grant) => !seen.has(grant.fence.leaseId));
    for (const grant of fresh) seen.add(grant.fence.leaseId);
    return fresh;
  };
  let ended = 0;
  let opened = 0;
  const deadline = AbortSignal.timeout(50_000);
  while (ended < 200) {
    deadline.throwIfAborted();
    await refreshAll();
    // What one coordinator granted ends at another one, with a pull request, without one, or by failing.
    const granted = four.flatMap(({ worker }) => news(worker));
    expect(granted.length).toBeLessThanOrEqual(cap);
    const answers = await Promise.all(
      granted.map(({ fence }, index) => {
        const prUrl = (ended + index) % 3 === 0 ? `https://github.com/acme/web/pull/${++opened}` : null;
        return four[index % 4]?.results.add(orgId, {
          fence,
          resultId: randomUUID(),
          event: { type: "succeeded" },
          result: "null",
          error: null,
          prUrl,
          lastSequence: 0,
          reason: null,
          hasProgress: false,
        });
      }),
    );
    for (const answer of answers) expect(answer).toMatchObject({ status: "committed" });
    ended += answers.length;
    // Who merges does so while others claim.
    const open = await listPullRequests(c, caller, {
      pageSize: 0,
      pageToken: "",
      project: null,
      state: "open",
    });
    await Promise.all([
      refreshAll(),
      ...open.items.map(({ url }) => setPullRequestState(c, caller, { url, state: "merged", reason: "" })),
    ]);
  }
  const { most, looks, differing } = await watch.stop();
  expect(looks).toBeGreaterThan(20);
  expect(most).toBeLessThanOrEqual(cap);
  expect(most).toBe(cap);
  expect(differing).toEqual([]);
  expect(await placesNow(orgId)).toEqual({ taken: 0, used: 0 });
  expect(opened).toBeGreaterThan(60);
}, 60_000);

test("200 claims at one moment over four coordinators take no more than the cap", async () => {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const four = await Promise.all(["a", "b", "c", "d"].map((name) => oneCoordinator(orgId, name)));
  const c = testCoordinator(db);
  await putProject(c, caller, { name: "web", maxOpenPrs: cap, repository: null });
  const jobs = Array.from({ length: 200 }, () => jobRequest({ project: "web" }));
  await submitBatch(c, caller, { jobs, title: "", idempotencyKey: null, parent: null });
  await using watch = watchPlaces(orgId);
  // Fifty looks each, all under way at once, every one of which may end in a claim.
  await Promise.all(
    four.flatMap(({ dispatcher }) =>
      Array.from({ length: 50 }, async () => {
        await dispatcher.refresh(orgId);
        dispatcher.wake(orgId);
      }),
    ),
  );
  await expect.poll(() => four.reduce((sum, { worker }) => sum + worker.offered.length, 0)).toBe(cap);
  await Promise.all(four.map(({ dispatcher }) => dispatcher.stop()));
  const { most, differing } = await watch.stop();
  expect(most).toBe(cap);
  expect(differing).toEqual([]);
  expect(four.reduce((sum, { worker }) => sum + worker.offered.length, 0)).toBe(cap);
});
