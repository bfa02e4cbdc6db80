import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { JobState } from "@muster/client/v1/job";
import { JobOrder, JobService, type ListJobsRequestSchema } from "@muster/client/v1/job_service";
import { WatchService } from "@muster/client/v1/watch_service";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeId } from "../../server/domain/ids.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { ListWatcher } from "../support/list-watcher.ts";
import { insertJob } from "../support/rows.ts";
import { failure, openApi, type TestApi, type TestClient, violationsOf } from "./api.ts";

type ListInit = MessageInitShape<typeof ListJobsRequestSchema>;

let db: TestDatabase;

let api: TestApi;

let other: TestApi;

beforeAll(async () => {
  db = await createTestDatabase();
  // Two coordinators that hear nothing of each other: each finds by its poll what the other did.
  api = await openApi(db);
  other = await openApi(db);
});

afterAll(async () => {
  await api.stop();
  await other.stop();
  await db.close();
});

/** A transition as a flush writes it, with its row of the feed. */
async function move(orgId: string, jobId: string, state: number): Promise<void> {
  const worker = state === JobState.RUNNING ? db.newId() : null;
  await db.admin.begin(async (tx) => {
    await tx`update muster.job_queue set state = ${state}, worker_id = ${worker},
      lease_id = ${worker}, attempt = attempt + 1, ready_at = case when ${state} = 3 then muster.muster_clock() end
      where org_id = ${orgId} and job_id = ${jobId}`;
    await tx`insert into muster.changes (org_id, n, job_ids, states, attempts, worker_ids)
      values (${orgId}, 1, ${[jobId]}, ${[state]}, ${[1]}, ${["00000000-0000-0000-0000-000000000000"]})`;
  });
}

async function submitted(client: TestClient, count: number, kind = "shell.run"): Promise<string[]> {
  const jobs = client.of(JobService);
  const ids: string[] = [];
  for (let n = 0; n < count; n++)
    ids.push((await jobs.submitJob({ job: { kind, title: `job ${n}` } })).jobId);
  return ids;
}

/** What a fresh list says, as text; without what moves by itself. */
async function fresh(client: TestClient, list: ListInit): Promise<string> {
  const { jobs } = await client.of(JobService).listJobs(list);
  return shown(jobs);
}

function shown(jobs: readonly { jobId: string; state: JobState; attempt: number; reason: string }[]): string {
  return jobs
    .map(({ jobId, state, attempt, reason }) => `${jobId} ${state} ${attempt} ${reason}`)
    .sort()
    .join("\n");
}

const isLike = (expected: string) => (watcher: ListWatcher) => shown([...watcher.jobs.values()]) === expected;

/** What may happen to the jobs of a test. */
const step = fc.oneof(
  fc.record({ do: fc.constant("submit" as const), kind: fc.constantFrom("a", "b") }),
  fc.record({ do: fc.constantFrom("cancel" as const, "park" as const, "unpark" as const), at: fc.nat() }),
  fc.record({ do: fc.constantFrom("run" as const, "ready" as const, "retry" as const), at: fc.nat() }),
  fc.record({ do: fc.constantFrom("leave" as const, "elsewhere" as const) }),
);

const watchedLists: readonly (readonly [string, ListInit])[] = [
  ["the first page", { pageSize: 5 }],
  ["the first page, oldest first", { pageSize: 5, order: JobOrder.OLDEST_FIRST }],
  ["the last page", { pageSize: 5, lastPage: true }],
  ["jobs that run", { pageSize: 5, filterText: "state:running" }],
  ["jobs that wait, of one kind", { pageSize: 5, filterText: "state:ready,parked kind:a" }],
  [
    "live jobs by a field",
    { pageSize: 5, filter: { kind: "b", states: [JobState.READY, JobState.RUNNING] } },
  ],
  ["all", { pageSize: 100 }],
];

describe("a watched list", () => {
  test.each(watchedLists)(
    "is what a fresh list is, whatever happens: %s",
    async (_name, list) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
          const client = await api.client();
          const elsewhere = await other.client({ orgId: client.orgId });
          const jobs = client.of(JobService);
          const ids = await submitted(client, 7, "a");
          const watcher = new ListWatcher(client.of(WatchService), list);
          watcher.open();
          await watcher.until(({ came }) => came.includes("snapshot"));
          for (const one of steps) {
            const jobId = "at" in one ? (ids[one.at % ids.length] ?? "") : "";
            const uuid = jobId === "" ? "" : decodeId("job", jobId);
            switch (one.do) {
              case "submit":
                ids.push(...(await submitted(client, 1, one.kind)));
                break;
              case "cancel":
                await jobs.cancelJob({ jobId, force: true });
                break;
              case "park":
                await jobs.parkJob({ jobId, reason: "held" }).catch(() => undefined);
                break;
              case "unpark":
                await jobs.unparkJob({ jobId }).catch(() => undefined);
                break;
              case "retry":
                await jobs.retryJob({ jobId }).catch(() => undefined);
                break;
              case "run":
                await move(client.orgId, uuid, JobState.RUNNING);
                break;
              case "ready":
                await move(client.orgId, uuid, JobState.READY);
                break;
              case "leave":
                watcher.close();
                watcher.open();
                break;
              case "elsewhere":
                ids.push(...(await submitted(elsewhere, 1, "b")));
            }
          }
          await watcher.until(isLike(await fresh(client, list)));
          // A resume goes on without a snapshot.
          watcher.close();
          const last = ids[0] ?? "";
          await jobs.cancelJob({ jobId: last, force: true });
          ids.push(...(await submitted(client, 2, "a")));
          const seen = watcher.came.length;
          watcher.open();
          const expected = await fresh(client, list);
          await watcher.until(({ came }) => came.length > seen);
          await watcher.until(isLike(expected));
          expect(watcher.came.slice(1)).not.toContain("snapshot");
          const { nextPageToken, previousPageToken } = await jobs.listJobs(list);
          expect(watcher.tokens.nextPageToken).toBe(nextPageToken);
          expect(watcher.tokens.previousPageToken).toBe(previousPageToken);
          watcher.close();
        }),
        { numRuns: 8 },
      );
    },
    120_000,
  );

  test("goes on at another coordinator, and finds out by its poll what it was not told", async () => {
    const client = await api.client();
    const elsewhere = await other.client({ orgId: client.orgId });
    const list = { pageSize: 10, counted: true };
    await submitted(client, 3);
    const watcher = new ListWatcher(elsewhere.of(WatchService), list);
    watcher.open();
    await watcher.until(({ came }) => came.includes("snapshot"));
    expect(watcher.counts).toEqual({ [JobState.READY]: 3 });
    await submitted(client, 2);
    await watcher.until(isLike(await fresh(client, list)));
    await watcher.until(({ counts }) => counts[JobState.READY] === 5);
    const { revision } = watcher;
    watcher.close();
    await submitted(client, 1);
    const here = new ListWatcher(client.of(WatchService), list);
    here.revision = revision;
    here.open();
    await here.until(({ came }) => came.length > 0);
    expect(here.came).toEqual(["delta"]);
    // What did not change is not told again.
    expect(here.jobs.size).toBe(1);
    here.close();
  });

  test("starts anew when the revision is of another list, another epoch, or too old", async () => {
    const client = await api.client();
    await submitted(client, 1);
    const { revision } = await client.of(JobService).listJobs({ pageSize: 50 });
    const causes = async (list: ListInit, resumeRevision: string) => {
      const watcher = new ListWatcher(client.of(WatchService), list);
      watcher.open({ resumeRevision });
      await watcher.until(({ came }) => came.length > 0 && came.at(-1) !== "reset");
      if (watcher.came.length === 1 && watcher.came[0] !== "delta") {
        await watcher.until(({ came }) => came.includes("snapshot"));
      }
      watcher.close();
      return watcher.came;
    };
    expect(await causes({ pageSize: 50 }, revision)).toEqual(["delta"]);
    expect(await causes({ pageSize: 51 }, revision)).toEqual(["reset:other-list", "snapshot"]);
    expect(await causes({ pageSize: 50 }, revision.replace(/^\d+/, "999"))).toEqual([
      "reset:other-epoch",
      "snapshot",
    ]);
    expect(await causes({ pageSize: 50, filterText: "age<1h" }, "")).toEqual(["snapshot"]);
    // What came after the revision was dropped, all but the newest.
    await submitted(client, 2);
    await db.admin`update muster.changes set at = at - interval '2 hours' where org_id = ${client.orgId}`;
    await db.admin`delete from muster.changes c where org_id = ${client.orgId}
      and exists (select 1 from muster.changes d where d.org_id = c.org_id and d.xid > c.xid)`;
    expect(await causes({ pageSize: 50 }, revision)).toEqual(["reset:too-old", "snapshot"]);
  });

  test("tells how far running jobs are, without a transition", async () => {
    const client = await api.client();
    const [jobId = ""] = await submitted(client, 1);
    await move(client.orgId, decodeId("job", jobId), JobState.RUNNING);
    const watcher = new ListWatcher(client.of(WatchService), {});
    watcher.open();
    await watcher.until(({ came }) => came.includes("snapshot"));
    await db.admin`insert into muster.progress (org_id, job_id, attempt, fraction, message, updated_at)
      values (${client.orgId}, ${decodeId("job", jobId)}, 1, 0.5, 'half', muster.muster_clock())`;
    await watcher.until(({ jobs }) => jobs.get(jobId)?.progress?.fraction === 0.5);
    watcher.close();
  });

  test("is left by jobs that time alone takes out of it", async () => {
    const client = await api.client();
    const { jobId } = await insertJob(db, client.orgId);
    const watcher = new ListWatcher(client.of(WatchService), { filterText: "age<1h" });
    watcher.open();
    await watcher.until(({ ids }) => ids.length === 1);
    await db.admin`update muster.jobs set created_at = created_at - interval '2 hours' where job_id = ${jobId}`;
    await watcher.until(({ ids }) => ids.length === 0);
    watcher.close();
  });

  test("is refused beyond its bounds, all that is wrong at once", async () => {
    const client = await api.client();
    const watch = (list: ListInit, more = {}) =>
      failure(
        client
          .of(WatchService)
          .watchJobs({ list, ...more })
          [Symbol.asyncIterator]()
          .next(),
      );
    const error = await watch(
      { pageSize: 251, filter: { runnableBy: "gpu-1" }, order: 9 as JobOrder },
      { interval: { nanos: 1_000_000 } },
    );
    expect(error.code).toBe(Code.InvalidArgument);
    expect(violationsOf(error)).toEqual([
      "interval must be from 50ms to 1m",
      "list.pageSize must be at most 250",
      "list.filter.runnableBy cannot be watched",
      "list.order is not an order",
    ]);
    const wrong = await watch({ filterText: "kind:a sate:x" });
    expect([wrong.detail?.reason, wrong.detail?.metadata["column"]]).toEqual(["FILTER_INVALID", "8"]);
    expect(wrong.detail?.suggestion).toContain("Did you mean state?");
    expect(violationsOf(wrong)).toEqual(["list.filterText column 8: sate is not a term"]);
  });
});

describe("the unary twin", () => {
  test("tells what matches, what does not, and where to go on", async () => {
    const client = await api.client();
    const watch = client.of(WatchService);
    const jobs = client.of(JobService);
    const [first = "", second = ""] = await submitted(client, 2);
    const { revision } = await jobs.listJobs({ filterText: "state:ready" });
    await jobs.cancelJob({ jobId: first });
    const [third = ""] = await submitted(client, 1);
    const page = await watch.listEvents({
      sinceRevision: revision,
      filter: "state:ready",
      wait: { seconds: 5n },
    });
    let { jobs: told, leftJobIds, revision: since } = page;
    while (!told.some(({ jobId }) => jobId === third)) {
      const next = await watch.listEvents({
        sinceRevision: since,
        filter: "state:ready",
        wait: { seconds: 5n },
      });
      told = [...told, ...next.jobs];
      leftJobIds = [...leftJobIds, ...next.leftJobIds];
      since = next.revision;
    }
    expect(leftJobIds).toEqual([first]);
    // What is older than the revision may come again while other transactions run; what came is right.
    expect(told.every(({ jobId }) => jobId === third || jobId === second)).toBe(true);
    const quiet = await watch.listEvents({ sinceRevision: since, filter: "state:ready" });
    expect([quiet.reset, quiet.jobs.length, quiet.leftJobIds.length]).toEqual([false, 0, 0]);
  });

  test("says that more changed at once than an answer holds", async () => {
    const client = await api.client();
    const { revision } = await client.of(JobService).listJobs({});
    const ids = Array.from({ length: 1_001 }, () => db.newId());
    await db.admin`insert into muster.changes (org_id, n, job_ids, states, attempts, worker_ids)
      values (${client.orgId}, 1, ${ids}, ${ids.map(() => 3)}, ${ids.map(() => 1)}, ${ids})`;
    const watch = client.of(WatchService);
    const page = await watch.listEvents({ sinceRevision: revision, wait: { seconds: 5n } });
    expect(page.reset).toBe(true);
    expect((await watch.listEvents({ sinceRevision: page.revision })).reset).toBe(false);
    const error = await failure(watch.listEvents({ sinceRevision: "x", wait: { seconds: 31n } }));
    expect(violationsOf(error)).toEqual([
      "wait must be from 0s to 30s",
      "sinceRevision is not one that was answered",
    ]);
  });
});

describe("pages of a list", () => {
  test("lead both ways, and to the end at once", async () => {
    const client = await api.client();
    const jobs = client.of(JobService);
    const ids = (await submitted(client, 7)).reverse();
    const idsOf = (page: { readonly jobs: readonly { readonly jobId: string }[] }) =>
      page.jobs.map((job) => job.jobId);
    const first = await jobs.listJobs({ pageSize: 3 });
    expect([idsOf(first), first.previousPageToken]).toEqual([ids.slice(0, 3), ""]);
    const second = await jobs.listJobs({ pageSize: 3, pageToken: first.nextPageToken });
    expect(idsOf(second)).toEqual(ids.slice(3, 6));
    const back = await jobs.listJobs({ pageSize: 3, pageToken: second.previousPageToken });
    expect([idsOf(back), back.previousPageToken]).toEqual([ids.slice(0, 3), ""]);
    expect(idsOf(await jobs.listJobs({ pageSize: 3, pageToken: back.nextPageToken }))).toEqual(
      ids.slice(3, 6),
    );
    const last = await jobs.listJobs({ pageSize: 3, lastPage: true });
    expect([idsOf(last), last.nextPageToken]).toEqual([ids.slice(4), ""]);
    const before = await jobs.listJobs({ pageSize: 3, pageToken: last.previousPageToken });
    expect(idsOf(before)).toEqual(ids.slice(1, 4));
    // A page that has run empty leads back.
    const third = await jobs.listJobs({ pageSize: 6, pageToken: "" });
    await jobs.cancelJob({ jobId: ids[6] ?? "" });
    const live = { pageSize: 6, filterText: "state:ready" };
    const cut = await jobs.listJobs({ ...live, pageSize: 5 });
    await jobs.cancelJob({ jobId: ids[5] ?? "" });
    const empty = await jobs.listJobs({ ...live, pageSize: 5, pageToken: cut.nextPageToken });
    expect([idsOf(empty), empty.nextPageToken]).toEqual([[], ""]);
    const again = await jobs.listJobs({ ...live, pageSize: 5, pageToken: empty.previousPageToken });
    expect(idsOf(again)).toEqual(ids.slice(0, 5));
    expect(idsOf(third)).toEqual(ids.slice(0, 6));
    const error = await failure(jobs.listJobs({ lastPage: true, pageToken: first.nextPageToken }));
    expect(violationsOf(error)).toEqual(["lastPage must be false together with pageToken"]);
  });

  test("begin with the oldest when asked", async () => {
    const client = await api.client();
    const ids = await submitted(client, 4);
    const list = { pageSize: 3, order: JobOrder.OLDEST_FIRST };
    const jobs = client.of(JobService);
    const first = await jobs.listJobs(list);
    expect(first.jobs.map((job) => job.jobId)).toEqual(ids.slice(0, 3));
    const next = await jobs.listJobs({ ...list, pageToken: first.nextPageToken });
    expect(next.jobs.map((job) => job.jobId)).toEqual(ids.slice(3));
    const error = await failure(jobs.listJobs({ pageSize: 3, pageToken: first.nextPageToken }));
    expect(error.detail?.reason).toBe("PAGE_TOKEN_INVALID");
  });
});
