import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Caller } from "../../server/domain/context.ts";
import { triggerSchedule } from "../../server/domain/fires.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { createResultBatcher, type LeaseResult } from "../../server/domain/leases.ts";
import { bucketOf, type Histogram, histogramOf } from "../../server/domain/rules/histograms.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import type { ScheduleSpec } from "../../server/domain/rules/schedules.ts";
import { type StatsCounts, StatsDimension, statsCounts } from "../../server/domain/rules/stats.ts";
import { putSchedule } from "../../server/domain/schedules.ts";
import { foldFlushes, keepStats } from "../../server/maintain/stats.ts";
import { call, runInOrg } from "../../server/store/statement.ts";
import { readStats } from "../../server/store/stats.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest, testDispatcher } from "../support/fleet.ts";

let db: TestDatabase;
let coordinators: TestCoordinator[];
beforeEach(async () => {
  db = await createTestDatabase();
  coordinators = [testCoordinator(db), testCoordinator(db)];
});
afterEach(() => db.close());

const signal = () => AbortSignal.timeout(20_000);
type Counted = StatsCounts & { readonly waits: Histogram; readonly runs: Histogram };

/** What is counted of everything there ever was, by value and project of a dimension. */
async function counted(orgId: string, dimension: keyof typeof StatsDimension): Promise<Map<string, Counted>> {
  const [rows = []] = await runInOrg(db.database.hot, orgId, [
    call(readStats, {
      org: orgId,
      dimensions: [StatsDimension[dimension]],
      values: null,
      project: null,
      from: 0,
      until: 4e9,
      step: 4e9,
    }),
  ]);
  return new Map(
    rows.map((row) => [
      [row["value"], row["project"]].join("|"),
      {
        ...countsOf((name) => Number(row[name.toLowerCase()])),
        waits: histogramOf(numbers(row["waits"])),
        runs: histogramOf(numbers(row["runs"])),
      },
    ]),
  );
}

/** The same by counting the history itself. `waited` has the seconds of each lease. */
async function recounted(
  orgId: string,
  keyOf: (row: Record<string, unknown>) => string | null,
  waited: ReadonlyMap<string, number>,
): Promise<Map<string, Counted>> {
  const rows = await db.admin`
    select a.outcome, a.state, a.lease_id, j.kind, j.queue, j.project, j.submitted_by as submitter, a.worker_id as worker, w.owner,
      date_part('epoch', a.ended_at - a.granted_at)::real as ran
    from muster.attempts a join muster.jobs j on j.org_id = a.org_id and j.job_id = a.job_id
    left join muster.workers w on w.org_id = a.org_id and w.worker_id = a.worker_id where a.org_id = ${orgId}`;
  const of = new Map<string, { -readonly [K in keyof Counted]: Counted[K] }>();
  for (const row of rows) {
    const key = keyOf(row);
    if (key === null) continue;
    const sum = of.get(key) ?? { ...countsOf(() => 0), waits: new Map(), runs: new Map() };
    of.set(key, sum);
    sum[outcomes[Number(row["outcome"]) - 1] ?? "dead"] += 1;
    if (row["state"] === 9) sum.dead += 1;
    const wait = waited.get(String(row["lease_id"]));
    if (wait !== undefined && row["outcome"] !== 8) sum.waits = plus(sum.waits, bucketOf(wait));
    const isRun = row["ran"] !== null && [1, 2, 7].includes(Number(row["outcome"]));
    if (isRun) sum.runs = plus(sum.runs, bucketOf(Number(row["ran"])));
  }
  return of;
}

const outcomes = [
  ...["succeeded", "failed", "released", "parked", "lost", "cancelled", "timedOut", "unanswered"],
] as (keyof StatsCounts)[];
const numbers = (text: unknown) => String(text).replace(/[{}]/g, "").split(",").filter(Boolean).map(Number);
const plus = (histogram: Histogram, bucket: number) =>
  new Map([...histogram, [bucket, (histogram.get(bucket) ?? 0) + 1]]);
const countsOf = (of: (name: keyof StatsCounts) => number) =>
  Object.fromEntries(statsCounts.map((name) => [name, of(name)])) as unknown as StatsCounts;
const inOrder = (map: ReadonlyMap<string, Counted>) =>
  [...map]
    .map(([key, { waits, runs, ...counts }]) => ({
      ...{ key, ...counts },
      ...{ waits: [...waits].sort(([a], [b]) => a - b), runs: [...runs].sort(([a], [b]) => a - b) },
    }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));

/**
 * Holds counts against others. A run that ended otherwise than by success is measured by a statement of its own, some of a
 * millisecond after its row of the history: beside the edge of a bucket it may be in the next one.
 */
function expectAlike(
  actual: ReadonlyMap<string, Counted>,
  expected: ReadonlyMap<string, Counted>,
  of: string,
): void {
  const [have, want] = [inOrder(actual), inOrder(expected)];
  const others = (rows: typeof have) => rows.map(({ runs: _runs, ...row }) => row);
  expect([of, others(have)]).toEqual([of, others(want)]);
  const buckets = (rows: typeof have) =>
    rows.flatMap(({ runs }) => runs.flatMap(([bucket, n]) => Array.from({ length: n }, () => bucket)));
  expect(have.map(({ runs }) => runs.reduce((sum, [, n]) => sum + n, 0))).toEqual(
    want.map(({ runs }) => runs.reduce((sum, [, n]) => sum + n, 0)),
  );
  const expectedBuckets = buckets(want);
  for (const [index, bucket] of buckets(have).entries()) {
    expect(Math.abs(bucket - (expectedBuckets[index] ?? Number.NaN)), of).toBeLessThanOrEqual(1);
  }
}

/** Makes a job by a schedule of its own name. */
async function fire(c: TestCoordinator, caller: Caller, name: string, job: JobRequest): Promise<void> {
  const said = { reason: "", requestId: "" };
  const spec: ScheduleSpec = {
    ...{ name, cron: "0 0 1 1 *", zone: "UTC", jitterMs: 0, startAt: null, endAt: null },
    ...{ overlap: "allow", catchUp: "none", catchUpLimit: 1, isPaused: true, labels: {}, job },
  };
  await putSchedule(c, caller, {
    spec,
    etag: "",
    mayCreate: true,
    isOnlyNew: false,
    isDryRun: false,
    ...said,
  });
  await triggerSchedule(c, caller, { name, overlap: null, ...said });
}

/** A source of numbers from 0 to below `n`, the same for a seed. */
function dice(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

describe("statistics", () => {
  test.each([1, 2, 3])("count what the history holds, however they are folded (seed %i)", async (seed) => {
    const roll = dice(seed);
    const orgId = await db.orgId();
    const [c, peer] = coordinators;
    if (!c || !peer) throw new Error("two coordinators");
    const caller = testCaller(orgId);
    const dispatcher = testDispatcher(c);
    const results = [createResultBatcher(c), createResultBatcher(peer)];
    const said = hello();
    const declared = { ...said.declared, kinds: ["a.one", "b.two"], slots: 8, points: 8 };
    const workers = [];
    for (const name of ["one", "two"]) {
      workers.push(await attachWorker(c, orgId, { name, hello: { ...said, declared }, dispatcher }));
    }
    await db.admin`update muster.workers set owner = 'person:ann' where org_id = ${orgId} and name = 'one'`;
    for (const name of ["acme/web", "acme/app"]) {
      await db.admin`insert into muster.projects (org_id, name) values (${orgId}, ${name})`;
    }
    const waited = new Map<string, number>();
    let done = 0;
    for (let round = 0; round < 12; round++) {
      for (let n = roll(12); n >= 0; n--) {
        const project = [null, "acme/web", "acme/app"][roll(3)] ?? null;
        const job = jobRequest({
          ...{ kind: ["a.one", "b.two"][roll(2)] ?? "", queue: ["x", "y"][roll(2)] ?? "", project },
          ...{ opensPullRequest: roll(2) === 0, maxAttempts: 1 + roll(2), backoffInitialMs: 0 },
        });
        const name = ["early", "late", null, null][roll(4)] ?? null;
        if (name === null) await submitJob(c, caller, { job, idempotencyKey: null, parent: null });
        else await fire(c, caller, name, job);
      }
      await db.advanceClock(roll(5) === 0 ? roll(20_000_000) : roll(3_000));
      await db.admin`update muster.links set seen_at = muster.muster_clock() where org_id = ${orgId}`;
      await dispatcher.refresh(orgId);
      await db.advanceClock(roll(60_000));
      const grants = workers.flatMap((worker) =>
        worker.offered.splice(0).map((grant) => ({ worker, grant })),
      );
      for (const row of await db.admin`
        select lease_id, date_part('epoch', granted_at - ready_at)::real as waited from muster.job_queue
        where org_id = ${orgId} and lease_id is not null`) {
        waited.set(String(row["lease_id"]), Number(row["waited"]));
      }
      const folds = (round < 11 ? [0, 1, 2] : []).map(() =>
        foldFlushes(roll(2) === 0 ? c : peer, orgId, signal()),
      );
      await Promise.all(
        grants.map(async ({ worker, grant: { fence } }) => {
          const failed = { type: "failed", isRetryable: true, isTimedOut: false, retryAfterMs: 0 } as const;
          const events: readonly LeaseResult["event"][] = [
            ...[
              { type: "succeeded" } as const,
              { type: "succeeded" } as const,
              { type: "released" } as const,
            ],
            ...[failed, { ...failed, isRetryable: false }, { ...failed, isTimedOut: true }],
            { type: "parked", wakeAfterMs: null },
          ];
          const event = events[roll(events.length)] ?? failed;
          const result = { event, result: null, error: null, prUrl: null, lastSequence: 0, reason: null };
          const answer = await results[roll(2)]?.add(orgId, {
            ...{ ...result, fence, resultId: randomUUID(), hasProgress: false },
          });
          if (answer?.status === "committed") done++;
          worker.link.drop(fence.leaseId);
        }),
      );
      await Promise.all(folds);
      if (roll(3) === 0)
        await Promise.all([c, peer].map((one) => runInOrg(one.db.sweepClient, orgId, keepStats(one, orgId))));
    }
    expect(done).toBeGreaterThan(20);
    const text = (value: unknown) => (value === null ? null : `${value}|`);
    const keys: Readonly<Record<keyof typeof StatsDimension, Parameters<typeof recounted>[1]>> = {
      org: () => "|",
      kind: (row) => text(row["kind"]),
      queue: (row) => text(row["queue"]),
      project: (row) => text(row["project"]),
      worker: (row) => text(row["worker"]),
      schedule: (row) =>
        String(row["submitter"]).startsWith("schedule:") ? text(String(row["submitter"]).slice(9)) : null,
      owner: (row) => (row["worker"] === null ? null : `${row["owner"]}|${row["project"] ?? ""}`),
    };
    for (const dimension of Object.keys(StatsDimension) as (keyof typeof StatsDimension)[]) {
      const whole = await recounted(orgId, keys[dimension], waited);
      expectAlike(await counted(orgId, dimension), whole, dimension);
    }
    const [left] = await db.admin`select count(*)::int as n from muster.stat_deltas where org_id = ${orgId}`;
    expect(left?.["n"]).toBeGreaterThan(0);
    await foldFlushes(peer, orgId, signal());
    expectAlike(await counted(orgId, "kind"), await recounted(orgId, keys.kind, waited), "kind");
    await db.advanceClock(40 * 86_400_000);
    for (let n = 0; n < 2; n++) await runInOrg(c.db.sweepClient, orgId, keepStats(c, orgId));
    const grains = await db.admin`select distinct grain from muster.stats where org_id = ${orgId}`;
    expect(grains.map((row) => row["grain"])).toEqual([3]);
    expectAlike(await counted(orgId, "owner"), await recounted(orgId, keys.owner, waited), "owner");
  });
});
