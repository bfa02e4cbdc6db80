import { randomUUID } from "node:crypto";
import type postgres from "postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Dispatcher } from "../../server/dispatch/dispatcher.ts";
import { drainReleases } from "../../server/domain/dependants.ts";
import { DomainError } from "../../server/domain/errors.ts";
import { cancelJob, cancelOverdueJob, retryJob, submitBatch } from "../../server/domain/jobs.ts";
import {
  createAcceptBatcher,
  createResultBatcher,
  endLeases,
  type Fence,
  type LeaseResult,
} from "../../server/domain/leases.ts";
import { parkJob, unparkJob } from "../../server/domain/parking.ts";
import { putProject } from "../../server/domain/projects.ts";
import { setPullRequestState } from "../../server/domain/pull-requests.ts";
import { setQueueLimits } from "../../server/domain/queues.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import type { LeaseEvent } from "../../server/domain/rules/transitions.ts";
import { lapseAvoids, promoteDueJobs } from "../../server/maintain/due.ts";
import { openGates } from "../../server/maintain/gates.ts";
import { call, runInOrg } from "../../server/store/statement.ts";
import { foldTallies } from "../../server/store/sweeps.ts";
import { tallyCounts, tallyOf } from "../../server/store/tallies.ts";
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
const dispatchers: Dispatcher[] = [];
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(async () => {
  await Promise.all(dispatchers.map((one) => one.stop()));
  await db.close();
});

/** Numbers from 0 to below 1, the same for the same seed. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

type Sql = postgres.TransactionSql;
type Counts = Record<string, Record<string, number>>;

/** What the rows say: live jobs by state, runs by how they ended, and what was submitted. */
async function counted(tx: Sql, orgId: string): Promise<Counts> {
  const rows = await tx`
    select j.queue, coalesce(x.state, (select a.state from muster.attempts a where a.org_id = j.org_id
      and a.job_id = j.job_id and a.final order by a.generation desc limit 1)) as state, count(*)::int as n
    from muster.jobs j left join muster.job_queue x on x.org_id = j.org_id and x.job_id = j.job_id
    where j.org_id = ${orgId} group by 1, 2`;
  const counts: Counts = {};
  for (const { queue, state, n } of rows) {
    counts[queue] ??= Object.fromEntries(tallyCounts.map((name) => [name, 0]));
    const own = counts[queue];
    own[tallyOf[Number(state) as JobState]] = n;
    own["submitted"] = (own["submitted"] ?? 0) + n;
  }
  return counts;
}

async function tallied(tx: Sql, orgId: string): Promise<Counts> {
  const rows = await tx`select queue, ${tx.unsafe(
    tallyCounts.map((name) => `sum(${name})::int as ${name}`).join(),
  )} from muster.tallies where org_id = ${orgId} group by queue`;
  return Object.fromEntries(rows.map(({ queue, ...counts }) => [queue, counts]));
}

/** Gates whose `used` is not what takes their places. */
async function wrongGates(tx: Sql, orgId: string) {
  const rows = await tx`
    select g.key, g.used, g.max_used, (select count(*)::int from muster.job_queue x join muster.shapes s
        on s.org_id = x.org_id and s.shape_id = x.shape_id where x.org_id = g.org_id and x.worker_id is not null
        and g.key in ('kind:' || s.kind, 'queue:' || s.queue, 'pool:' || s.pool, 'project:' || s.project))
      + (select count(*)::int from muster.pull_requests p where p.org_id = g.org_id and p.is_open and p.is_counted
        and g.key = 'project:' || p.project) as taken
    from muster.gates g where g.org_id = ${orgId}`;
  return rows.filter(({ used, taken }) => used !== taken);
}

/** All of it at one moment: claims go on meanwhile. */
function lookAt(orgId: string) {
  return db.admin.begin("isolation level repeatable read read only", async (tx) => ({
    counts: await counted(tx, orgId),
    tallies: await tallied(tx, orgId),
    wrong: await wrongGates(tx, orgId),
  }));
}

/** An org with limits on everything, two workers, and verbs that pick what they act on. */
async function world(random: () => number) {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const dispatcher = testDispatcher(c);
  dispatchers.push(dispatcher);
  const results = createResultBatcher(c);
  const accepts = createAcceptBatcher(c);
  const below = (limit: number) => Math.floor(random() * limit);
  const pick = <T>(items: readonly T[]): T | undefined => items[below(items.length)];
  await putProject(c, caller, { name: "web", maxOpenPrs: 6, repository: null });
  const limits = { running: 8, startRate: null };
  for (const name of ["q0", "q1"]) {
    await setQueueLimits(c, caller, { type: "queue", name, limits, reason: "" });
  }
  await setQueueLimits(c, caller, { type: "pool", name: "quota", limits, reason: "" });
  const declared = { ...hello().declared, slots: 8, points: 8 };
  const attach = (name: string) => attachWorker(c, orgId, { name, dispatcher, hello: hello({ declared }) });
  const workers = [await attach("one"), await attach("two")];
  const jobIds: string[] = [];
  const urls: string[] = [];
  const leased = async (state: JobState): Promise<Fence | undefined> =>
    pick(
      await db.admin<
        Fence[]
      >`select job_id as "jobId", attempt, lease_id as "leaseId", worker_id as "workerId"
        from muster.job_queue where org_id = ${orgId} and state = ${state} order by job_id`,
    );
  const job = () => pick(jobIds) ?? db.newId();
  const submit = async () => {
    const later = new Date(db.nowMs() + 60_000);
    const parents = random() < 0.5 || jobIds.length === 0 ? [] : [...new Set([job(), job()])];
    const jobs = Array.from({ length: 1 + below(4) }, () =>
      jobRequest({
        queue: `q${below(3)}`,
        priority: below(3),
        runAt: random() < 0.2 ? later : null,
        deadline: random() < 0.1 ? later : null,
        project: random() < 0.5 ? "web" : null,
        opensPullRequest: random() < 0.8,
        pool: random() < 0.3 ? "quota" : null,
        dependencyPolicy: random() < 0.5 ? "cancel" : "release",
        dependsOn: parents.map((jobId) => ({ type: "job", jobId })),
        maxAttempts: 2,
      }),
    );
    const answer = await submitBatch(c, caller, { jobs, title: "", idempotencyKey: null, parent: null });
    jobIds.push(...answer.jobIds);
  };
  const result = async (event: LeaseResult["event"]) => {
    const fence = await leased(random() < 0.7 ? JobState.running : JobState.offered);
    if (!fence) return;
    const prUrl = random() < 0.3 ? `https://github.com/acme/web/pull/${1 + below(30)}` : null;
    if (prUrl !== null) urls.push(prUrl);
    await results.add(orgId, {
      ...{ fence, event, prUrl, resultId: randomUUID(), result: "null", error: null },
      ...{ lastSequence: 0, reason: null, hasProgress: false },
    });
  };
  const end = async (state: JobState, event: LeaseEvent) => {
    const fence = await leased(state);
    if (fence) await endLeases(c, orgId, [{ fence, event, reason: "why" }]);
  };
  const failed = { type: "failed", isTimedOut: false, retryAfterMs: null } as const;
  const named = () => ({ jobId: job(), reason: "why", requestId: "" });
  const { signal } = new AbortController();
  const verbs: readonly (() => Promise<unknown>)[] = [
    submit,
    submit,
    // What has ended makes room, and what is ready is offered.
    async () => {
      const rows = await db.admin`select lease_id from muster.job_queue where org_id = ${orgId}`;
      const current = new Set(rows.map((row) => row["lease_id"]));
      for (const { link } of workers) {
        for (const leaseId of link.held.keys()) if (!current.has(leaseId)) link.drop(leaseId);
      }
      await dispatcher.refresh(orgId);
    },
    ...[1, 2, 3].map(() => async () => {
      const fence = await leased(JobState.offered);
      if (fence) await accepts.add(orgId, { ...fence, isDone: () => false });
    }),
    () => result({ type: "succeeded" }),
    () => result({ type: "succeeded" }),
    () => result({ type: "succeeded" }),
    () => result({ ...failed, isRetryable: true }),
    () => result({ ...failed, isRetryable: false }),
    () => result({ type: "released" }),
    () => result({ type: "cancelled" }),
    () => result({ type: "parked", wakeAfterMs: random() < 0.5 ? null : 1_000 }),
    () => result({ type: "parked", wakeAfterMs: 1_000, isPool: true }),
    () => end(JobState.offered, { type: "declined", coolDownMs: 1_000 }),
    () => end(JobState.offered, { type: "offer-timed-out" }),
    () => end(JobState.offered, { type: "withdrawn" }),
    () => end(JobState.running, { type: "lost", isFleetEvent: random() < 0.5 }),
    () => cancelJob(c, caller, { ...named(), isForced: random() < 0.5 }),
    () => retryJob(c, caller, named()),
    () => parkJob(c, caller, { ...named(), until: random() < 0.5 ? null : new Date(db.nowMs() + 30_000) }),
    () => unparkJob(c, caller, named()),
    () => cancelOverdueJob(c, caller, job()),
    () => promoteDueJobs(c, orgId, signal),
    () => lapseAvoids(c, orgId),
    () => openGates(c, orgId),
    () => drainReleases(c, orgId, null),
    () => runInOrg(c.db.sweepClient, orgId, [call(foldTallies, { org: orgId, tally: c.newId() })]),
    async () => {
      const url = pick(urls);
      const state = pick(["open", "closed", "merged"] as const) ?? "open";
      if (url !== undefined) await setPullRequestState(c, caller, { url, state, reason: "" });
    },
  ];
  // What is refused changed nothing: that is part of what is looked at.
  const doOne = async () => {
    const verb = pick(verbs);
    try {
      await verb?.();
      return `${verb}`;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      return `${verb}: ${error.reason}`;
    }
  };
  return { orgId, below, doOne };
}

const seed = process.env["MUSTER_TEST_SEED"];
const seeds = seed === undefined ? [1, 2, 3] : [Number(seed)];

test.each(seeds)(
  "counts and gates equal the rows, whatever is done at once, seed %i",
  async (seed) => {
    const { orgId, below, doOne } = await world(numbers(seed));
    const reached = new Set<string>();
    for (let round = 0; round < 150; round++) {
      const done = await Promise.all(Array.from({ length: 1 + below(5) }, doOne));
      if (below(10) === 0) await db.advanceClock(below(70_000));
      await Promise.all(dispatchers.map((one) => one.refresh(orgId)));
      const { counts, tallies, wrong } = await lookAt(orgId);
      expect({ round, done, tallies }).toEqual({ round, done, tallies: counts });
      expect({ round, done, wrong }).toEqual({ round, done, wrong: [] });
      for (const own of Object.values(counts)) {
        for (const [name, count] of Object.entries(own)) if (count > 0) reached.add(name);
      }
    }
    expect([...reached].sort()).toEqual([...tallyCounts].sort());
  },
  120_000,
);
