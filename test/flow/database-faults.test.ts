import { Code, ConnectError } from "@connectrpc/connect";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { ProjectService } from "@muster/client/v1/project_service";
import { afterEach, expect, test } from "vitest";
import { openBlackhole } from "../support/blackhole.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { startOwnPostgres } from "../support/own-postgres.ts";

let muster: TestServer;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await muster.close();
  for (const close of closers.splice(0)) await close();
});

const quick = { heartbeatMs: 200, staleMs: 2_000, reclaimAfterMs: 20_000, outageGraceMs: 0 };

/** A worker with a kind that ends at once and one that waits; what started, and how often. */
async function startWorker() {
  const attempts = new Map<string, number>();
  const gate = Promise.withResolvers<void>();
  const seen = (job: { id: string }) => attempts.set(job.id, (attempts.get(job.id) ?? 0) + 1);
  await muster.startWorker({
    slots: 4,
    transport: "stream",
    handlers: {
      quick: ({ job }) => void seen(job),
      held: async ({ job }) => {
        seen(job);
        await gate.promise;
      },
    },
  });
  return { attempts, release: () => gate.resolve() };
}

const jobs = () => muster.client(JobService);

async function submit(kind: string, idempotencyKey = ""): Promise<string> {
  return (await jobs().submitJob({ job: { kind }, idempotencyKey })).jobId;
}

/** The code with which a call is refused, and how long that takes. */
async function refusal(call: Promise<unknown>): Promise<{ code: Code | null; tookMs: number }> {
  const startedMs = performance.now();
  const code = await call.then(
    () => null,
    (error: unknown) => ConnectError.from(error).code,
  );
  return { code, tookMs: performance.now() - startedMs };
}

/** Milliseconds until a job is taken and its handler has started. */
async function resumption(attempts: ReadonlyMap<string, number>, key: string): Promise<number> {
  const backMs = performance.now();
  const jobId = await expect
    .poll(() => submit("quick", key).catch(() => null), { timeout: 15_000, interval: 50 })
    .not.toBeNull()
    .then(() => submit("quick", key));
  await expect.poll(() => attempts.has(jobId), { timeout: 15_000, interval: 10 }).toBe(true);
  return performance.now() - backMs;
}

test("a Postgres that crashes and comes back costs seconds, and nothing that was acknowledged", async () => {
  const postgres = await startOwnPostgres();
  closers.push(() => postgres.close());
  muster = await startTestServer({ ...quick, databaseUrl: postgres.url });
  const worker = await startWorker();
  const held = await submit("held");
  await muster.reach(held, JobState.RUNNING);
  for (let round = 0; round < 2; round++) {
    const acknowledged = await Promise.all(Array.from({ length: 20 }, () => submit("quick")));
    await postgres.crash();
    const refused = await refusal(submit("quick"));
    expect(refused.code).toBe(Code.Unavailable);
    expect(refused.tookMs).toBeLessThan(10_000);
    await postgres.start();
    expect(await resumption(worker.attempts, `round ${round}`)).toBeLessThan(5_000);
    for (const jobId of acknowledged) {
      expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ failures: 0, losses: 0 });
    }
  }
  worker.release();
  expect(await muster.reach(held, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
  expect(worker.attempts.get(held)).toBe(1);
}, 60_000);

test("a database that falls silent is told as unavailable in time, and dispatch goes on when it answers", async () => {
  const postgres = await startOwnPostgres();
  closers.push(() => postgres.close());
  const hole = await openBlackhole(postgres.url);
  closers.unshift(() => hole.close());
  muster = await startTestServer({ ...quick, databaseUrl: hole.url, databaseTimeoutMs: 1_000 });
  const worker = await startWorker();
  const held = await submit("held");
  await muster.reach(held, JobState.RUNNING);
  hole.swallow();
  const calls = [submit("quick"), jobs().getJob({ jobId: held }), jobs().cancelJob({ jobId: held })];
  for (const { code, tookMs } of await Promise.all(calls.map(refusal))) {
    expect(code).toBe(Code.Unavailable);
    expect(tookMs).toBeLessThan(4_000);
  }
  hole.pass();
  expect(await resumption(worker.attempts, "after")).toBeLessThan(5_000);
  worker.release();
  expect(await muster.reach(held, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
}, 60_000);

test("heartbeats go on while every ordinary connection is held", async () => {
  const times = { heartbeatMs: 200, staleMs: 600, reclaimAfterMs: 1_200, outageGraceMs: 0 };
  muster = await startTestServer({ ...times, appConnections: 2, databaseTimeoutMs: 8_000 });
  const worker = await startWorker();
  const held = await submit("held");
  await muster.reach(held, JobState.RUNNING);
  const { admin } = muster.database;
  const projects = muster.client(ProjectService);
  const seen = new Set<number>();
  let calls: Promise<unknown>[] = [];
  await admin.begin(async (tx) => {
    await tx`lock table muster.projects in access exclusive mode`;
    calls = [1, 2].map(() => projects.listProjects({}).catch(() => {}));
    const waiting = async () =>
      (
        await admin`
          select pid from pg_stat_activity where application_name = 'muster app' and wait_event_type = 'Lock'
            and datname = current_database()`
      ).length;
    await expect.poll(waiting, { timeout: 5_000 }).toBe(2);
    // Twice the silence that would lose the job, in heartbeats.
    const renewals = async () => {
      const [link] = await admin`select extract(epoch from seen_at)::float8 as seen from muster.links`;
      return seen.add(Number(link?.["seen"])).size;
    };
    await expect.poll(renewals, { timeout: 7_000, interval: 20 }).toBeGreaterThan(12);
    expect(await waiting()).toBe(2);
  });
  await Promise.all(calls);
  worker.release();
  expect(await muster.reach(held, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
}, 30_000);
