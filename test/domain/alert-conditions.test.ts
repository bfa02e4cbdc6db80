import { statfs } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import type { AlertCondition, AlertRuleDefinition } from "../../server/domain/rules/alert-rules.ts";
import { bucketOf, quantileMs } from "../../server/domain/rules/histograms.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { StatsDimension } from "../../server/domain/rules/stats.ts";
import { inOrg } from "../../server/store/database.ts";
import { sql } from "../../server/store/drizzle.ts";
import { lookAtRules, putRule, ruleOf } from "../support/alert-rules.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCoordinator,
} from "../support/database.ts";
import { insertAble, insertGate, insertShaped } from "../support/routed-rows.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db, { config: { artifactsDir: tmpdir(), databaseUrl: db.url } });
});
afterAll(() => db.close());

/** An org with a rule, and what is done with it. */
async function org(condition: AlertCondition, rule: Partial<AlertRuleDefinition> = {}) {
  const orgId = await db.orgId();
  const put = (changed: Partial<AlertRuleDefinition> = {}) =>
    putRule(c, orgId, ruleOf(condition, { ...rule, ...changed }));
  await put();
  const look = () => lookAtRules(db, c, orgId);
  const groups = async () => (await look()).map(({ groupKey }) => groupKey);
  /** The ends of alerts that have ended. */
  const ended = async () => {
    const rows =
      await db.admin`select group_key from muster.alerts where org_id = ${orgId} and ended_at is not null`;
    return rows.map((row) => String(row["group_key"])).sort();
  };
  return { orgId, put, look, groups, ended };
}

const minute = { readyForMs: 61_000 };

describe("job-slow", () => {
  const p95Ms = quantileMs(new Map([[bucketOf(10), 20]]), 0.95) ?? 0;

  /** Runs of a kind that took 10 s each, within the last day unless told otherwise. */
  async function insertRuns(orgId: string, kind: string, runs: number, agoMs = 3_600_000): Promise<void> {
    await db.admin`
      insert into muster.stats (org_id, grain, dimension, at, value, project, succeeded, failed, timed_out, lost, cancelled,
        released, parked, unanswered, dead, run_seconds, waits, runs)
      values (${orgId}, 1, ${StatsDimension.kind}, muster.muster_clock() - ${agoMs}::float8 * interval '1 millisecond',
        ${kind}, '', ${runs}, 0, 0, 0, 0, 0, 0, 0, 0, ${runs * 10}, '{}', ${[bucketOf(10), runs]}::bigint[])`;
  }

  /** A job that runs for so long. */
  async function insertRunning(
    orgId: string,
    ranMs: number,
    rows: { readonly kind?: string; readonly queue?: string; readonly project?: string } = {},
  ): Promise<string> {
    const { project, ...shape } = { kind: "render.frame", ...rows };
    const jobId = await insertShaped(db, orgId, {
      ...shape,
      ...(project === undefined ? {} : { shape: { project } }),
      state: JobState.running,
      worker: { workerId: db.newId() },
    });
    await db.admin`update muster.job_queue
      set granted_at = muster.muster_clock() - ${ranMs}::float8 * interval '1 millisecond' where job_id = ${jobId}`;
    return jobId;
  }

  test("fires for a job that runs longer than its kind's p95 times the factor, and ends with it", async () => {
    const { orgId, look, ended } = await org("job-slow", { threshold: 3 });
    await insertRuns(orgId, "render.frame", 20);
    await insertRunning(orgId, 2.9 * p95Ms);
    const jobId = await insertRunning(orgId, 4 * p95Ms);
    const [alert, ...others] = await look();
    expect(others).toEqual([]);
    const group = encodeId("job", jobId);
    expect(alert).toMatchObject({
      groupKey: group,
      jobIds: [jobId],
      summary: "A job of kind render.frame runs for 40s; the p95 of its kind is 10s",
    });
    expect(alert?.value).toBeCloseTo(4, 0);
    await db.admin`delete from muster.job_queue where job_id = ${jobId}`;
    expect(await look()).toEqual([]);
    expect(await ended()).toEqual([group]);
  });

  test("waits until enough of its kind ended within a day", async () => {
    const { orgId, groups } = await org("job-slow", { threshold: 3, least: 20 });
    await insertRuns(orgId, "render.frame", 19);
    await insertRuns(orgId, "render.frame", 100, 25 * 3_600_000);
    const jobId = await insertRunning(orgId, 10 * p95Ms);
    await insertRunning(orgId, 10 * p95Ms, { kind: "unknown" });
    expect(await groups()).toEqual([]);
    await insertRuns(orgId, "render.frame", 1, 60_000);
    expect(await groups()).toEqual([encodeId("job", jobId)]);
  });

  test("looks at the jobs alone that pass its filter", async () => {
    const filter = { queue: "night*", kind: "render.*", project: "web" };
    const { orgId, groups } = await org("job-slow", { filter });
    await insertRuns(orgId, "render.frame", 20);
    await insertRuns(orgId, "mail.send", 20);
    const passing = { kind: "render.frame", queue: "night-1", project: "web" };
    const jobId = await insertRunning(orgId, 10 * p95Ms, passing);
    await insertRunning(orgId, 10 * p95Ms, { ...passing, kind: "mail.send" });
    await insertRunning(orgId, 10 * p95Ms, { ...passing, queue: "day" });
    await insertRunning(orgId, 10 * p95Ms, { ...passing, project: "web2" });
    await insertRunning(orgId, 10 * p95Ms, { kind: "render.frame", queue: "night-1" });
    expect(await groups()).toEqual([encodeId("job", jobId)]);
  });

  test("counts all that are slow as one where the rule wants that", async () => {
    const { orgId, look } = await org("job-slow", { groupBy: "none" });
    await insertRuns(orgId, "render.frame", 20);
    const jobs = [await insertRunning(orgId, 9 * p95Ms), await insertRunning(orgId, 8 * p95Ms)];
    expect(await look()).toMatchObject([
      {
        groupKey: "",
        value: 2,
        jobIds: jobs,
        summary: expect.stringMatching(/^2 jobs are slow; the first: A job/),
      },
    ]);
  });
});

describe("queue-age", () => {
  test("fires for the queue whose job waits too long, and ends when it is taken", async () => {
    const { orgId, look, ended } = await org("queue-age", { threshold: 60 });
    await insertShaped(db, orgId, { queue: "quick", readyForMs: 50_000 });
    const jobId = await insertShaped(db, orgId, { queue: "slow", readyForMs: 3_700_000 });
    await insertShaped(db, orgId, { queue: "slow", kind: "other", readyForMs: 1_000 });
    const alerts = await look();
    expect(alerts).toMatchObject([
      { groupKey: "slow", summary: expect.stringMatching(/^Queue slow has a job that waits for 1h01m$/) },
    ]);
    expect(alerts[0]?.value).toBeGreaterThanOrEqual(3_700);
    expect(alerts[0]?.value).toBeLessThan(3_760);
    await db.admin`delete from muster.job_queue where job_id = ${jobId}`;
    expect(await look()).toEqual([]);
    expect(await ended()).toEqual(["slow"]);
  });

  test("looks at the queues alone that pass its filter, and at all of them as one", async () => {
    const filter = { queue: "night*", kind: "", project: "" };
    const { orgId, put, groups, look } = await org("queue-age", { threshold: 60, filter });
    await insertShaped(db, orgId, { queue: "day", ...minute, readyForMs: 7_200_000 });
    await insertShaped(db, orgId, { queue: "night-1", ...minute });
    expect(await groups()).toEqual(["night-1"]);
    await put({ groupBy: "none" });
    const [alert, ...others] = await look();
    expect(others).toEqual([]);
    expect(alert).toMatchObject({ groupKey: "", summary: "The queues have a job that waits for 1m01s" });
  });
});

describe("no-route", () => {
  test("fires when enough jobs wait that nobody can run, and ends when a worker comes", async () => {
    const { orgId, look, ended } = await org("no-route", { threshold: 2 });
    await insertAble(db, orgId, { name: "cpu-1" });
    const first = await insertShaped(db, orgId, { kind: "render.frame", ...minute });
    await insertShaped(db, orgId, { kind: "mail.send", ...minute });
    expect(await look()).toEqual([]);
    const second = await insertShaped(db, orgId, { kind: "render.frame", ...minute });
    const [alert, ...others] = await look();
    expect(others).toEqual([]);
    expect(alert).toMatchObject({
      value: 2,
      summary: expect.stringMatching(/^No connected worker can run jobs of kind render\.frame/),
    });
    expect([...(alert?.jobIds ?? [])].sort()).toEqual([first, second].sort());
    await insertAble(db, orgId, { name: "gpu-1", kinds: ["render.frame"] });
    expect(await look()).toEqual([]);
    expect(await ended()).toEqual([alert?.groupKey]);
  });

  test("counts the jobs of all shapes where the rule takes them together", async () => {
    const { orgId, look } = await org("no-route", { threshold: 3, groupBy: "none" });
    await insertShaped(db, orgId, { kind: "render.frame", ...minute });
    await insertShaped(db, orgId, { kind: "mail.send", ...minute });
    expect(await look()).toEqual([]);
    await insertShaped(db, orgId, { kind: "mail.send", ...minute });
    expect(await look()).toMatchObject([
      {
        groupKey: "",
        value: 3,
        summary: expect.stringMatching(/^2 problems; the first: No connected worker/),
      },
    ]);
  });
});

test("project-cap fires while enough jobs wait for a project at its cap", async () => {
  const { orgId, look, ended } = await org("project-cap", { threshold: 2 });
  await insertAble(db, orgId, { name: "w1" });
  await db.admin`insert into muster.projects (org_id, name) values (${orgId}, 'my/web'), (${orgId}, 'free')`;
  await insertGate(db, orgId, "project:my/web", { used: 2, maxUsed: 2 });
  await insertGate(db, orgId, "project:free", { used: 1, maxUsed: 2 });
  for (const project of ["my/web", "free", "free"]) await insertShaped(db, orgId, { shape: { project } });
  expect(await look()).toEqual([]);
  await insertShaped(db, orgId, { shape: { project: "my/web" } });
  const [alert, ...others] = await look();
  expect(others).toEqual([]);
  expect(alert).toMatchObject({
    groupKey: "project:my/web",
    value: 2,
    summary: "Project my/web is at its cap: 2 of 2 taken (0 open pull requests, 2 running)",
  });
  expect(alert?.jobIds).toHaveLength(2);
  await db.admin`update muster.gates set used = 1 where org_id = ${orgId}`;
  expect(await look()).toEqual([]);
  expect(await ended()).toEqual(["project:my/web"]);
});

describe("silent workers", () => {
  test("worker-stale fires for each that is attached and silent, until it is heard", async () => {
    const { orgId, look, groups, ended } = await org("worker-stale");
    const silentMs = c.config.staleMs + 5_000;
    await insertAble(db, orgId, { name: "well", link: { silentMs: c.config.staleMs - 5_000 } });
    await insertAble(db, orgId, { name: "gone", link: { silentMs, isAttached: false } });
    await insertAble(db, orgId, { name: "off", link: { silentMs }, isDisabled: true });
    expect(await look()).toEqual([]);
    const one = await insertAble(db, orgId, { name: "one", link: { silentMs } });
    const other = await insertAble(db, orgId, { name: "other", link: { silentMs } });
    const [first] = await look();
    expect(await groups()).toEqual([encodeId("worker", one), encodeId("worker", other)].sort());
    expect(first).toMatchObject({
      value: 1,
      summary: expect.stringMatching(/^Worker one is silent for 20s/),
    });
    await db.admin`update muster.links set seen_at = muster.muster_clock() where worker_id = ${one}`;
    expect(await groups()).toEqual([encodeId("worker", other)]);
    expect(await ended()).toEqual([encodeId("worker", one)]);
  });

  test("lease-stale fires for silent workers that hold enough jobs", async () => {
    const { orgId, look, ended } = await org("lease-stale", { threshold: 2 });
    const link = { silentMs: 20_000 };
    const workerId = await insertAble(db, orgId, { name: "one", link });
    const well = await insertAble(db, orgId, { name: "well" });
    const hold = (of: string) =>
      insertShaped(db, orgId, { state: JobState.running, worker: { workerId: of } });
    await hold(well);
    await hold(well);
    const first = await hold(workerId);
    expect(await look()).toEqual([]);
    const second = await hold(workerId);
    const [alert, ...others] = await look();
    expect(others).toEqual([]);
    expect(alert).toMatchObject({
      groupKey: encodeId("worker", workerId),
      value: 2,
      summary: expect.stringMatching(/^Worker one holds 2 jobs and is silent for 20s/),
    });
    expect([...(alert?.jobIds ?? [])].sort()).toEqual([first, second].sort());
    await db.admin`delete from muster.job_queue where job_id = ${second}`;
    expect(await look()).toEqual([]);
    expect(await ended()).toEqual([encodeId("worker", workerId)]);
  });
});

test("job-retried fires for live jobs that failed or were lost often enough, until they end", async () => {
  const { orgId, look, ended } = await org("job-retried", { threshold: 4 });
  await insertShaped(db, orgId, { failures: 3, losses: 3 });
  expect(await look()).toEqual([]);
  const failed = await insertShaped(db, orgId, { kind: "render.frame", failures: 4 });
  const lost = await insertShaped(db, orgId, { kind: "mail.send", failures: 1, losses: 5 });
  const alerts = await look();
  const byGroup = new Map(alerts.map((one) => [one.groupKey, one]));
  expect(byGroup.size).toBe(2);
  expect(byGroup.get(encodeId("job", failed))).toMatchObject({
    ...{ value: 4, jobIds: [failed], summary: "A job of kind render.frame failed 4 times" },
  });
  expect(byGroup.get(encodeId("job", lost))).toMatchObject({
    ...{ value: 5, jobIds: [lost], summary: "A job of kind mail.send was lost 5 times" },
  });
  await db.admin`delete from muster.job_queue where job_id = ${failed}`;
  expect((await look()).map(({ groupKey }) => groupKey)).toEqual([encodeId("job", lost)]);
  expect(await ended()).toEqual([encodeId("job", failed)]);
});

describe("the host", () => {
  test("disk fires while less is free than the threshold says", async () => {
    const { bavail, blocks } = await statfs(tmpdir());
    const free = (100 * bavail) / blocks;
    // Others write to the disk meanwhile.
    const [below, above] = [free / 2, (free + 99) / 2];
    expect(above).toBeGreaterThan(free);
    const { put, look, ended } = await org("disk", { threshold: below });
    expect(await look()).toEqual([]);
    await put({ threshold: above });
    const [alert, ...others] = await look();
    expect(others).toEqual([]);
    expect(alert).toMatchObject({
      groupKey: hostname(),
      summary: expect.stringMatching(/^The disk of .+ has \d+\.\d % free$/),
    });
    expect(alert?.value).toBeLessThan(above);
    expect(alert?.value).toBeGreaterThan(below);
    await put({ threshold: below });
    expect(await look()).toEqual([]);
    expect(await ended()).toEqual([hostname()]);
  });

  test("database fires while it answers slower than the threshold says", async () => {
    const { orgId, look, ended } = await org("database", { threshold: 500 });
    expect(await look()).toEqual([]);
    // Whoever asks waits for a connection until the database is through with these.
    const busy = Array.from({ length: 6 }, () =>
      inOrg(db.database.app, orgId, (tx) => tx.execute(sql`select pg_sleep(1.5)`)),
    );
    const [alert, ...others] = await look();
    await Promise.all(busy);
    expect(others).toEqual([]);
    expect(alert).toMatchObject({
      groupKey: hostname(),
      summary: expect.stringMatching(/^The database answers .+ in \d/),
    });
    expect(alert?.value).toBeGreaterThanOrEqual(500);
    expect(await look()).toEqual([]);
    expect(await ended()).toEqual([hostname()]);
  });

  test("the word of another coordinator's host holds for five minutes", async () => {
    const { orgId, look, groups, ended } = await org("disk", { threshold: 0.1 });
    const alertId = db.newId();
    await db.admin`insert into muster.alerts (org_id, alert_id, rule, condition, group_key, severity, summary, value, occurrences,
      job_ids) values (${orgId}, ${alertId}, 'rule', 'disk', 'elsewhere', 'warning', 'The disk is full', 1, 1, '{}')`;
    await db.admin`insert into muster.alert_states (org_id, rule, group_key, alert_id)
      values (${orgId}, 'rule', 'elsewhere', ${alertId})`;
    await db.advanceClock(290_000);
    expect(await groups()).toEqual(["elsewhere"]);
    await db.advanceClock(11_000);
    expect(await look()).toEqual([]);
    expect(await ended()).toEqual(["elsewhere"]);
  });
});
