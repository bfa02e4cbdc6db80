import { getEventListeners } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Feed } from "../../server/dispatch/feed.ts";
import { listEvents } from "../../server/dispatch/job-events.ts";
import { type JobWatchEvent, watchJobs } from "../../server/dispatch/job-watch.ts";
import { createWatches, type Watches } from "../../server/dispatch/watches.ts";
import { listingOf } from "../../server/domain/job-lists.ts";
import type { Database } from "../../server/store/database.ts";
import { anyJob, type JobFilter } from "../../server/store/job-lists.ts";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../support/database.ts";
import { insertJob } from "../support/rows.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

/** Watches over a feed whose reading can be followed, and a clock that moves by hand. */
function open() {
  let atMs = 0;
  const feed = new Feed(db.database);
  const watches = createWatches(testCoordinator(db), feed, () => atMs);
  const advance = (ms: number) => {
    atMs += ms;
  };
  return { feed, watches, advance };
}

/** The same database, telling when a transaction begins. */
function counted(app: Database["app"], began: () => void): Database["app"] {
  return new Proxy(app, {
    get(target, name) {
      if (name === "transaction") began();
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function start(
  watches: Watches,
  orgId: string,
  pageSize: number,
  {
    filter = anyJob,
    intervalMs = 50,
    resumeRevision = "",
  }: { readonly filter?: JobFilter; readonly intervalMs?: number; readonly resumeRevision?: string } = {},
) {
  const stop = new AbortController();
  const list = { filter, order: "newest-first", isLastPage: false, pageToken: "", pageSize } as const;
  const listing = listingOf(orgId, list);
  const request = { listing, isCounted: false, resumeRevision, intervalMs };
  const events = watchJobs(watches, request, stop.signal);
  const next = async (): Promise<JobWatchEvent> => {
    const { value, done } = await events.next();
    if (done === true) throw new TypeError("the watch ended");
    return value;
  };
  return { next, stop: () => stop.abort(), signal: stop.signal };
}

/** Inserts ready jobs, tells the feed of them, and resolves when it has told its followers. */
async function submit(feed: Feed, orgId: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++) ids.push((await insertJob(db, orgId)).jobId);
  const { promise, resolve } = Promise.withResolvers<void>();
  const told = new Set<string>();
  const following = await feed.follow(orgId, {
    changed: ({ changes }) => {
      for (const { jobId } of changes) told.add(jobId);
      if (ids.every((id) => told.has(id))) resolve();
    },
    failed: () => resolve(),
  });
  await db.admin`insert into muster.changes (org_id, n, job_ids, states, attempts, worker_ids)
    values (${orgId}, 1, ${ids}, ${ids.map(() => 3)}, ${ids.map(() => 0)}, ${ids})`;
  feed.nudge(orgId, []);
  await promise;
  following.leave();
  return ids;
}

describe("a watcher that does not read", () => {
  test("is told in one message what its page has become, however much happened", async () => {
    const { feed, watches } = open();
    const orgId = await db.orgId();
    const { next, stop } = start(watches, orgId, 5);
    expect((await next()).type).toBe("snapshot");
    const ids = await submit(feed, orgId, 300);
    const delta = await next();
    if (delta.type !== "delta") throw new TypeError(delta.type);
    expect(delta.jobs.map((job) => job.jobId)).toEqual(ids.slice(-5).reverse());
    expect(delta.leftIds).toEqual([]);
    stop();
  });

  test("starts anew when it missed more than is kept and took too long", async () => {
    const { feed, watches, advance } = open();
    const orgId = await db.orgId();
    const { next, stop } = start(watches, orgId, 5);
    expect((await next()).type).toBe("snapshot");
    const ids = await submit(feed, orgId, 300);
    advance(6_000);
    expect(await next()).toEqual({ type: "reset", cause: "behind" });
    const snapshot = await next();
    if (snapshot.type !== "snapshot") throw new TypeError(snapshot.type);
    expect(snapshot.page.items.map((job) => job.jobId)).toEqual(ids.slice(-5).reverse());
    stop();
  });
});

test("an org has so many places for watchers, and one that is left is free", async () => {
  const { feed } = open();
  const [orgId, otherOrgId] = [await db.orgId(), await db.orgId()];
  const watches = createWatches(testCoordinator(db, { config: { watchesPerOrg: 2 } }), feed);
  const first = start(watches, orgId, 5);
  const second = start(watches, orgId, 5);
  expect([(await first.next()).type, (await second.next()).type]).toEqual(["snapshot", "snapshot"]);
  const refused = { code: "resource_exhausted", reason: "WATCHES_EXHAUSTED", retryAfterMs: 5_000 };
  await expect(start(watches, orgId, 5).next()).rejects.toMatchObject(refused);
  const stranger = start(watches, otherOrgId, 5);
  expect((await stranger.next()).type).toBe("snapshot");
  first.stop();
  await expect(first.next()).rejects.toThrow("the watch ended");
  const third = start(watches, orgId, 5);
  expect((await third.next()).type).toBe("snapshot");
  // Who waits for events takes one, too; a mere look does not.
  const events = (waitMs: number) =>
    listEvents(watches, { orgId, filter: anyJob, since: "", waitMs }, AbortSignal.timeout(10_000));
  await expect(events(1)).rejects.toMatchObject(refused);
  expect(await events(0)).toMatchObject({ isReset: false, jobs: [] });
  for (const { stop } of [second, stranger, third]) stop();
});

test("what changes and says nothing to the watcher is looked at once an interval", async () => {
  const feed = new Feed(db.database);
  const orgId = await db.orgId();
  // The snapshot is none.
  let looks = -1;
  const { promise: looked, resolve } = Promise.withResolvers<void>();
  const app = counted(db.database.app, () => {
    if (++looks === 1) resolve();
  });
  // The interval has passed by the time that the watcher begins to wait.
  let atMs = 0;
  let isJumping = false;
  const nowMs = () => {
    const now = atMs;
    if (isJumping) atMs += 12_000;
    isJumping = false;
    return now;
  };
  const watches = createWatches({ ...testCoordinator(db), db: { ...db.database, app } }, feed, nowMs);
  const filter = { ...anyJob, kind: "none.such" };
  const { next, stop } = start(watches, orgId, 5, { filter, intervalMs: 10_000 });
  expect((await next()).type).toBe("snapshot");
  isJumping = true;
  const coming = next().catch(() => undefined);
  await submit(feed, orgId, 1);
  await looked;
  for (let n = 0; n < 5; n++) await submit(feed, orgId, 1);
  expect(looks).toBe(1);
  stop();
  await coming;
});

test("the feed of an org is read once, however many watch", async () => {
  const { watches } = open();
  const orgId = await db.orgId();
  let readings = 0;
  // Each reading of the feed begins a transaction.
  const app = counted(db.database.app, () => {
    readings++;
  });
  const counting: Database = { ...db.database, app };
  const feed = new Feed(counting);
  const many = Array.from({ length: 30 }, () => start({ ...watches, feed }, orgId, 5));
  await Promise.all(many.map(({ next }) => next()));
  readings = 0;
  await submit(feed, orgId, 3);
  const deltas = await Promise.all(many.map(({ next }) => next()));
  expect(deltas.every((one) => one.type === "delta" && one.jobs.length === 3)).toBe(true);
  // One for what came, and those that look whether there is more; not one a watcher.
  expect(readings).toBeLessThan(15);
  for (const { stop } of many) stop();
});

test("nothing is told of jobs beyond the page, and they are not read", async () => {
  const { feed, watches, advance } = open();
  const orgId = await db.orgId();
  const old = await submit(feed, orgId, 3);
  await submit(feed, orgId, 5);
  const { next, stop } = start(watches, orgId, 5);
  expect((await next()).type).toBe("snapshot");
  await db.admin`insert into muster.changes (org_id, n, job_ids, states, attempts, worker_ids)
    values (${orgId}, 1, ${old}, ${old.map(() => 3)}, ${old.map(() => 0)}, ${old})`;
  const coming = next();
  advance(15_000);
  expect((await coming).type).toBe("alive");
  stop();
});

test("a watcher that stays leaves nothing behind at each wait", async () => {
  const { feed, watches } = open();
  const orgId = await db.orgId();
  const { next, stop, signal } = start(watches, orgId, 5);
  expect((await next()).type).toBe("snapshot");
  for (let n = 0; n < 5; n++) {
    const told = next();
    await submit(feed, orgId, 1);
    expect((await told).type).toBe("delta");
  }
  expect(getEventListeners(signal, "abort")).toEqual([]);
  stop();
});

test("a watcher that comes back after very many changes, even of one job, starts anew", async () => {
  const { feed, watches } = open();
  const orgId = await db.orgId();
  const [jobId = ""] = await submit(feed, orgId, 1);
  const first = start(watches, orgId, 5);
  const snapshot = await first.next();
  if (snapshot.type !== "snapshot") throw new TypeError(snapshot.type);
  first.stop();
  const { revision: resumeRevision } = snapshot.page;
  const change = (times: number) => db.admin`
    insert into muster.changes (org_id, n, job_ids, states, attempts, worker_ids)
    select ${orgId}, 1, array_fill(${jobId}::uuid, array[${times}::int]), array_fill(3::smallint, array[${times}::int]),
      array_fill(0, array[${times}::int]), array_fill(${jobId}::uuid, array[${times}::int])`;
  await change(100);
  const second = start(watches, orgId, 5, { resumeRevision });
  expect((await second.next()).type).toBe("delta");
  second.stop();
  await change(20_000);
  const third = start(watches, orgId, 5, { resumeRevision });
  expect(await third.next()).toEqual({ type: "reset", cause: "behind" });
  third.stop();
});
