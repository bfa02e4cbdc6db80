import { Code } from "@connectrpc/connect";
import { BatchService } from "@muster/client/v1/batch_service";
import type { Event } from "@muster/client/v1/event_service";
import { EventService } from "@muster/client/v1/event_service";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { ProjectService } from "@muster/client/v1/project_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeId } from "../../server/domain/ids.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { feedSettled } from "../support/feed.ts";
import { insertAttempt } from "../support/rows.ts";
import { runCli, startCli } from "../tui/run-cli.ts";
import { failure, openApi, type TestApi, type TestClient, violationsOf } from "./api.ts";

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

/** Every transition that is committed, from the table itself: what is to be told, in order. */
async function committed(orgId: string): Promise<string[]> {
  const rows = await db.admin<{ xid: string; n: number; jobs: string[] }[]>`
    select xid::text as xid, n, job_ids as jobs from muster.changes where org_id = ${orgId} order by changes.xid, n`;
  return rows.flatMap(({ xid, n, jobs }) => jobs.map((_, element) => `1.${xid}.${n}.${element}`));
}

async function readAll(client: TestClient, revision: string, pageSize = 500): Promise<Event[]> {
  const found: Event[] = [];
  let at = revision;
  await feedSettled(db);
  for (;;) {
    const page = await client.of(EventService).readEvents({ revision: at, pageSize });
    expect(page.resetCause).toBe("");
    found.push(...page.events);
    at = page.revision;
    if (!page.hasMore) return found;
  }
}

async function beginning(client: TestClient): Promise<string> {
  return (await client.of(EventService).readEvents({})).revision;
}

/** A lease that ends, as flushes write it. */
async function ran(orgId: string, jobId: string, state: 7 | 9): Promise<void> {
  const [job, worker] = [decodeId("job", jobId), db.newId()];
  for (const [number, at] of [
    [4, 1],
    [5, 1],
  ] as const) {
    await db.admin`insert into muster.changes (org_id, n, job_ids, states, attempts, worker_ids)
      values (${orgId}, 1, ${[job]}, ${[number]}, ${[at]}, ${[worker]})`;
  }
  await insertAttempt(db, orgId, job, {
    ...{ workerId: worker, outcome: state === 7 ? 1 : 2, state },
    ...(state === 7 ? {} : { error: { code: "EXIT_1", message: "exit 1" } }),
  });
  await db.admin`insert into muster.changes (org_id, n, job_ids, states, attempts, worker_ids)
    values (${orgId}, 1, ${[job]}, ${[state]}, ${[1]}, ${[worker]})`;
}

const step = fc.oneof(
  fc.record({ do: fc.constant("submit" as const), count: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ do: fc.constantFrom("cancel" as const, "park" as const, "run" as const), at: fc.nat() }),
  fc.record({
    do: fc.constantFrom("read" as const, "elsewhere" as const),
    size: fc.integer({ min: 1, max: 7 }),
  }),
);

describe("events", () => {
  test("are told once each and in order, whoever reads where, however the reading is cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const client = await api.client();
        const elsewhere = await other.client({ orgId: client.orgId });
        const ids: string[] = [];
        const told: Event[] = [];
        let revision = await beginning(client);
        const isFollowed = new Set<string>();
        for (const one of steps) {
          if (one.do === "submit") {
            const jobs = Array.from({ length: one.count }, () => ({ kind: "a" }));
            const { batchId } = await client.of(BatchService).submitBatch({ jobs });
            const list = await client
              .of(JobService)
              .listJobs({ filterText: `batch:${batchId}`, pageSize: 50 });
            ids.push(...list.jobs.map(({ jobId }) => jobId));
          } else if ("size" in one) {
            const from = one.do === "read" ? client : elsewhere;
            const page = await from.of(EventService).readEvents({ revision, pageSize: one.size });
            told.push(...page.events);
            // Whoever kept the id of the last event alone goes on from there.
            revision = page.hasMore ? (page.events.at(-1)?.eventId ?? page.revision) : page.revision;
          } else {
            const jobId = ids[one.at % Math.max(1, ids.length)];
            if (jobId === undefined || isFollowed.has(jobId)) continue;
            if (one.do === "run") {
              isFollowed.add(jobId);
              await ran(client.orgId, jobId, 7);
            } else if (one.do === "cancel") {
              isFollowed.add(jobId);
              await client.of(JobService).cancelJob({ jobId });
            } else
              await client
                .of(JobService)
                .parkJob({ jobId })
                .catch(() => undefined);
          }
        }
        told.push(...(await readAll(elsewhere, revision, 5)));
        expect(told.map(({ eventId }) => eventId)).toEqual(await committed(client.orgId));
        const first = new Map(told.toReversed().map((event) => [event.jobId, event.type]));
        expect([...first.values()].every((type) => type === "job.submitted")).toBe(true);
        expect(told.filter(({ type }) => type === "job.submitted").length).toBe(first.size);
      }),
      { numRuns: 12 },
    );
  }, 120_000);

  test("come by a stream as they are committed, and again from the id of any of them", async () => {
    const client = await api.client();
    const stop = new AbortController();
    const seen: Event[] = [];
    const stream = client.of(EventService).watchEvents({}, { signal: stop.signal });
    let submitted = "";
    for await (const message of stream) {
      seen.push(...message.events);
      if (submitted === "") {
        submitted = (await client.of(JobService).submitJob({ job: { kind: "a", title: "one" } })).jobId;
        await ran(client.orgId, submitted, 9);
      }
      if (seen.length === 4) break;
    }
    stop.abort();
    expect(seen.map(({ type }) => type)).toEqual(["job.submitted", "job.offered", "job.started", "job.dead"]);
    expect(seen.map(({ jobId }) => jobId)).toEqual(Array(4).fill(submitted));
    expect(seen[3]?.data).toEqual({
      title: "one",
      outcome: "FAILED",
      errorCode: "EXIT_1",
      errorMessage: "exit 1",
    });
    expect(seen[2]?.data).toEqual({ title: "one" });
    expect(seen[3]?.state).toBe(JobState.DEAD);
    expect(seen[3]?.workerId).toMatch(/^wrk_/);
    const again = await readAll(client, seen[1]?.eventId ?? "");
    expect(again).toEqual(seen.slice(2));
  });

  test("are those that the filter means", async () => {
    const client = await api.client();
    await client.of(ProjectService).putProject({ project: { name: "acme/web" } });
    await feedSettled(db);
    const revision = await beginning(client);
    const jobs = client.of(JobService);
    const { jobId: a } = await jobs.submitJob({
      job: { kind: "a", queue: "q1", labels: { team: "x", tier: "1" } },
    });
    const { jobId: b } = await jobs.submitJob({ job: { kind: "b", queue: "q2", project: "acme/web" } });
    const { batchId } = await client.of(BatchService).submitBatch({ jobs: [{ kind: "a" }] });
    await jobs.cancelJob({ jobId: b });
    await feedSettled(db);
    const told = async (filter: object) => {
      const { events } = await client.of(EventService).readEvents({ revision, filter });
      return events.map(({ type, jobId }) => `${type} ${jobId === a ? "a" : jobId === b ? "b" : "c"}`);
    };
    expect(await told({})).toEqual([
      "job.submitted a",
      "job.submitted b",
      "job.submitted c",
      "job.cancelled b",
    ]);
    expect(await told({ types: ["job.cancelled", "job.dead"] })).toEqual(["job.cancelled b"]);
    expect(await told({ types: ["job.*"], kind: "a" })).toEqual(["job.submitted a", "job.submitted c"]);
    expect(await told({ queue: "q2" })).toEqual(["job.submitted b", "job.cancelled b"]);
    expect(await told({ project: "acme/web", types: ["job.submitted"] })).toEqual(["job.submitted b"]);
    expect(await told({ labels: { team: "x" } })).toEqual(["job.submitted a"]);
    expect(await told({ labels: { team: "y" } })).toEqual([]);
    expect(await told({ jobId: b, types: ["job.submitted"] })).toEqual(["job.submitted b"]);
    expect(await told({ batchId })).toEqual(["job.submitted c"]);
  });

  test("tell what becomes of workers and projects, in order with the jobs", async () => {
    const client = await api.client();
    const revision = await beginning(client);
    const workers = client.of(WorkerAdminService);
    const { worker } = await workers.createWorker({ name: "gpu-1" });
    const { workerId = "" } = worker ?? {};
    await workers.drainWorker({ workerId });
    await client.of(JobService).submitJob({ job: { kind: "a" } });
    await workers.resumeWorker({ workerId });
    await client.of(ProjectService).putProject({ project: { name: "acme/app" } });
    await client.of(ProjectService).deleteProject({ name: "acme/app" });
    for (const pageSize of [500, 1]) {
      const told = await readAll(client, revision, pageSize);
      expect(told.map(({ type }) => type)).toEqual([
        "worker.draining",
        "job.submitted",
        "worker.resumed",
        "project.changed",
        "project.deleted",
      ]);
      expect(told[0]).toMatchObject({ workerId, data: { name: "gpu-1" } });
      expect(told[3]?.project).toBe("acme/app");
    }
    const { events } = await client
      .of(EventService)
      .readEvents({ revision, filter: { types: ["worker.*"], workerId } });
    expect(events.map(({ type }) => type)).toEqual(["worker.draining", "worker.resumed"]);
  });

  test("tell an edit, a cancel that is asked for and a removal as what they are", async () => {
    const client = await api.client();
    const jobs = client.of(JobService);
    const { jobId } = await jobs.submitJob({ job: { kind: "a" } });
    const revision = await beginning(client);
    await jobs.updateJob({ jobId, title: "better" });
    await db.admin`update muster.job_queue set state = 5, attempt = 1, lease_id = ${db.newId()}, worker_id = ${db.newId()}
      where org_id = ${client.orgId}`;
    await jobs.cancelJob({ jobId });
    await ran(client.orgId, jobId, 7);
    await jobs.deleteJob({ jobId });
    const types = (await readAll(client, revision)).map(({ type }) => type);
    expect(types).toEqual([
      "job.edited",
      "job.cancel-requested",
      "job.offered",
      "job.started",
      "job.succeeded",
      "job.deleted",
    ]);
  });

  test("begin at a time, and say when some were missed", async () => {
    const client = await api.client();
    const { orgId } = client;
    const old = (await client.of(JobService).submitJob({ job: { kind: "a" } })).jobId;
    const [{ eventId = "" } = {}] = await readAll(client, "1.1.0.0");
    await db.advanceClock(1_800_000);
    const since = { seconds: BigInt(Math.floor(db.nowMs() / 1000) - 60), nanos: 0 };
    const { jobId } = await client.of(JobService).submitJob({ job: { kind: "b" } });
    const events = client.of(EventService);
    await feedSettled(db);
    const young = await events.readEvents({ since });
    expect(young.events.map((event) => event.jobId)).toEqual([jobId]);
    expect(old).not.toBe(jobId);
    // What retention leaves: the newest of what was dropped.
    await db.advanceClock(3_600_000);
    const late = await events.readEvents({ revision: "1.1.0.0" });
    expect(late.resetCause).toBe("too-old");
    expect(late.events).toEqual([]);
    const foreign = await events.readEvents({ revision: eventId.replace(/^1/, "2") });
    expect(foreign.resetCause).toBe("other-epoch");
    const { jobId: next } = await client.of(JobService).submitJob({ job: { kind: "c" } });
    await feedSettled(db);
    const on = await events.readEvents({ revision: late.revision });
    expect(on.events.map((event) => event.jobId)).toEqual([next]);
    expect(orgId).toBe(client.orgId);
  });

  test("are refused where the request is wrong, with everything that is", async () => {
    const client = await api.client();
    const filter = {
      types: ["job.sucseeded", "job.*.x", "job.*", "handler.a.b", "handler.a.*", "handler.*", "handler.A"],
      jobId: "nobody",
    };
    const error = await failure(
      client.of(EventService).readEvents({ revision: "x", filter, pageSize: 501, wait: { seconds: 31n } }),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    const violations = violationsOf(error).toSorted();
    expect(violations.map((one) => one.split(" ")[0])).toEqual([
      "filter.jobId",
      "filter.types[0]",
      "filter.types[1]",
      "filter.types[6]",
      "pageSize",
      "revision",
      "wait",
    ]);
    expect(violations[1]).toContain("did you mean job.succeeded?");
  });

  test("of one org are not another's", async () => {
    const [ours, theirs] = [await api.client(), await api.client()];
    const revision = await beginning(theirs);
    const { jobId } = await ours.of(JobService).submitJob({ job: { kind: "a" } });
    await feedSettled(db);
    const { events } = await theirs.of(EventService).readEvents({ revision });
    expect(events).toEqual([]);
    const { events: asked } = await theirs.of(EventService).readEvents({ revision, filter: { jobId } });
    expect(asked).toEqual([]);
  });
});

describe("muster events", () => {
  const env = (client: TestClient) => ({ MUSTER_ADDRESS: api.address, MUSTER_API_KEY: client.orgId });

  test("prints what happened, a line of JSON an event, safe for a terminal", async () => {
    const client = await api.client();
    const title = "a\u001b[2Jb";
    const title2 = "fine";
    await client.of(JobService).submitJob({ job: { kind: "a", title: title2 } });
    await db.admin`update muster.jobs set title = ${title} where org_id = ${client.orgId}`;
    await feedSettled(db);
    const lines = await runCli(["events", "--since", "5m", "-o", "jsonl"], {
      env: env(client),
      nowMs: db.nowMs(),
    });
    expect([lines.exitCode, lines.stderr]).toEqual([0, ""]);
    const [one, ...more] = lines.stdout.trim().split("\n");
    expect(more).toEqual([]);
    expect(JSON.parse(one ?? "")).toMatchObject({ type: "job.submitted", kind: "a", data: { title } });
    expect(lines.stdout).not.toContain("\u001b");
    const text = await runCli(["events", "--type", "job.*"], { env: env(client), nowMs: db.nowMs() });
    expect(text.stdout).toContain("job.submitted");
    expect(text.stdout).not.toContain("\u001b");
    const none = await runCli(["events", "--type", "job.dead"], { env: env(client), nowMs: db.nowMs() });
    expect([none.exitCode, none.stdout]).toEqual([0, ""]);
  });

  test("follows until it is ended", async () => {
    const client = await api.client();
    const revision = await beginning(client);
    const running = startCli(["events", "--follow", "--revision", revision, "-o", "name"], {
      env: env(client),
    });
    const { jobId } = await client.of(JobService).submitJob({ job: { kind: "a" } });
    const [{ eventId = "" } = {}] = await readAll(client, revision);
    await running.printed(eventId);
    await client.of(JobService).cancelJob({ jobId });
    const [, cancelled] = await readAll(client, revision);
    await running.printed(cancelled?.eventId ?? "?");
    running.interrupt();
    expect(await running.exit).toBe(130);
  });
});
