import { randomUUID } from "node:crypto";
import postgres, { type Sql } from "postgres";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { builtInKindNames } from "../../server/domain/rules/built-in-kinds.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { type LookOptions, look, type OrgWork } from "../../server/store/look.ts";
import { insertAnything } from "../support/any-row.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertJob, type JobRows } from "../support/rows.ts";

let db: TestDatabase;
let org: string;
const coordinatorId = randomUUID();

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());
beforeEach(async () => {
  org = await db.orgId();
});

const seen = (options: Partial<LookOptions> = {}) =>
  look(db.database.sweep, {
    ...{ coordinatorId, youngMs: 600_000, oldMs: 300_000, aheadMs: 2_000, staleMs: 15_000 },
    ...options,
  });
/** What is said of the org that is not said of every org. */
const work = async (options?: Partial<LookOptions>) => {
  const found = (await seen(options)).orgs.get(org);
  return found && Object.entries(found).flatMap(([name, is]) => (is === true || is.length > 0 ? [name] : []));
};
const job = (rows: JobRows) => insertJob(db, org, rows);

/** A worker and its link, to this coordinator unless told otherwise. */
async function linked(link: { readonly coordinatorId?: string; readonly isAttached?: boolean } = {}) {
  const workerId = db.newId();
  await db.admin`insert into muster.workers (org_id, worker_id, name) values (${org}, ${workerId}, ${workerId})`;
  await db.admin`
    insert into muster.links (org_id, worker_id, boot_id, host_boot_id, link_epoch, coordinator_id, seen_at,
      connected_at, transport, is_attached, is_draining)
    values (${org}, ${workerId}, ${randomUUID()}, 'host', 1, ${link.coordinatorId ?? coordinatorId}, now(), now(),
      'stream', ${link.isAttached ?? true}, false)`;
  return workerId;
}

describe("a look", () => {
  test("has nothing to say of an org where nothing is to be done", async () => {
    await job({ state: JobState.blocked });
    await job({ state: JobState.scheduled, wakeInMs: 60_000 });
    await job({ state: JobState.parked });
    await linked({ isAttached: false });
    expect(await work()).toBeUndefined();
  });

  test.each([
    ["scheduled", JobState.scheduled],
    ["parked", JobState.parked],
  ] as const)("sees a %s job whose time has come, and when one will be due", async (_, state) => {
    await job({ state, wakeInMs: 1_500 });
    expect(await work()).toEqual([]);
    const { wakesInMs } = await seen();
    expect(wakesInMs).toBeGreaterThan(0);
    expect(wakesInMs).toBeLessThanOrEqual(1_500);
    await db.advanceClock(2_000);
    expect(await work()).toEqual(["isDue"]);
  });

  test("sees a schedule whose time has come, and when one will come; of an org that may do something", async () => {
    const dueAt = new Date(db.nowMs() + 1_500);
    await db.admin`insert into muster.schedules ${db.admin({
      ...{ org_id: org, schedule_id: db.newId(), name: "s", cron: "@daily", zone: "UTC", jitter_ms: 0 },
      ...{
        overlap: "skip",
        catch_up: "one",
        catch_up_limit: 1,
        kind: "k",
        job: "{}",
        labels: db.admin.json({}),
      },
      ...{ next_fire_at: dueAt, due_at: dueAt },
    })}`;
    expect(await work()).toEqual([]);
    expect((await seen()).wakesInMs).toBeLessThanOrEqual(1_500);
    await db.advanceClock(2_000);
    expect(await work()).toEqual(["hasDueSchedules"]);
    await db.admin`update muster.orgs set suspended_at = now() where org_id = ${org}`;
    expect(await work()).toBeUndefined();
  });

  test("sees gates: a pause that is over, one that holds nothing, and what is to be counted", async () => {
    const gate = (columns: Record<string, unknown>) => db.admin`
      insert into muster.gates ${db.admin({ org_id: org, key: randomUUID(), used: 0, ...columns })}`;
    const old = { created_at: new Date(db.nowMs() - 3_600_000) };
    await gate({ ...old, max_used: 1 });
    expect(await work()).toBeUndefined();
    expect(await work({ oldMs: -1_000 })).toEqual(["hasUncountedGates"]);
    await gate({ ...old, paused_at: new Date(db.nowMs()), resume_at: new Date(db.nowMs() + 1_000) });
    expect((await seen()).wakesInMs).toBeLessThanOrEqual(1_000);
    await db.advanceClock(1_500);
    expect(await work()).toEqual(["hasOpenGates"]);
    await db.admin`delete from muster.gates where org_id = ${org}`;
    await gate({});
    expect(await work()).toEqual(["hasOpenGates", "hasUncountedGates"]);
  });

  test("sees ends that are yet to be released", async () => {
    await db.admin`insert into muster.releases (org_id, parent_id, state) values (${org}, ${db.newId()}, 7)`;
    expect(await work()).toEqual(["hasReleases"]);
  });

  test("sees ends of attempts that are yet to be folded", async () => {
    await db.admin`insert into muster.stat_deltas (org_id, delta_id, shape_ids, worker_ids, waits, runs)
      values (${org}, ${db.newId()}, '{1}', '{null}', '{0}', '{0}')`;
    expect(await work()).toEqual(["hasStats"]);
  });

  test("sees ready jobs, and those that may avoid workers", async () => {
    const { jobId } = await job({});
    expect(await work()).toEqual(["isReady"]);
    await db.admin`update muster.job_queue set losses = 1 where job_id = ${jobId}`;
    expect(await work()).toEqual(["hasAvoids", "isReady"]);
    await db.admin`update muster.job_queue set losses = 0, wake_at = now() + interval '1 hour' where job_id = ${jobId}`;
    expect(await work()).toEqual(["hasAvoids", "isReady"]);
  });

  test.each(builtInKindNames)(
    "sees ready jobs of %s that nobody serves, where an org may do something",
    async (kind) => {
      const { jobId } = await job({ kind });
      const shape = async (columns: Record<string, unknown>) => {
        const shapeId = Math.floor(Math.random() * 2 ** 40);
        await insertAnything(db, "shapes", org, { shape_id: String(shapeId), points: "1", alone: "false" });
        await db.admin`update muster.shapes set ${db.admin(columns)} where org_id = ${org} and shape_id = ${shapeId}`;
        await db.admin`update muster.job_queue set shape_id = ${shapeId} where job_id = ${jobId}`;
      };
      await shape({ kind: `${kind}.other` });
      expect(await work()).toEqual(["isReady"]);
      await shape({ kind, skills: ["gpu"] });
      expect(await work()).toEqual(["isReady"]);
      await shape({ kind, skills: [] });
      expect(await work()).toEqual(["isReady", "wantsOwnWorker"]);
      const workerId = await linked({ coordinatorId: randomUUID() });
      expect(await work()).toEqual(["isLinked", "isReady", "wantsOwnWorker"]);
      await db.admin`update muster.workers set kinds = ${[kind]} where worker_id = ${workerId}`;
      await db.admin`update muster.links set seen_at = muster.muster_clock() where worker_id = ${workerId}`;
      expect(await work()).toEqual(["isLinked", "isReady"]);
      await db.admin`update muster.links set seen_at = muster.muster_clock() - interval '1 minute'
      where worker_id = ${workerId}`;
      expect(await work()).toContain("wantsOwnWorker");
      await db.admin`update muster.orgs set suspended_at = now() where org_id = ${org}`;
      expect(await work()).not.toContain("wantsOwnWorker");
      await db.admin`delete from muster.job_queue where org_id = ${org}`;
    },
  );

  test("sees deadlines that have passed, but for jobs whose cancel was asked for", async () => {
    const { jobId } = await job({ state: JobState.blocked });
    await db.admin`update muster.job_queue set deadline = muster.muster_clock() where job_id = ${jobId}`;
    expect(await work()).toEqual(["isOverdue"]);
    await db.admin`update muster.job_queue set cancel_requested_at = now() where job_id = ${jobId}`;
    expect(await work()).toBeUndefined();
  });

  test("sees leases, and cancels for the links of the coordinator that looks", async () => {
    const ours = await linked();
    expect(await work()).toEqual(["isLinked"]);
    await job({ state: JobState.running, worker: { workerId: ours } });
    expect(await work()).toEqual(["isLeased", "isLinked"]);
    const theirs = await linked({ coordinatorId: randomUUID() });
    await job({ state: JobState.running, worker: { workerId: theirs }, isCancelRequested: true });
    expect(await work()).toEqual(["isLeased", "isLinked"]);
    await job({ state: JobState.running, worker: { workerId: ours }, isCancelRequested: true });
    expect(await work()).toEqual(["isLeased", "isLinked", "hasCancels"]);
  });

  test("sees commands and the standing of workers whose links are the coordinator's", async () => {
    const change = async (workerId: string) => {
      await db.admin`insert into muster.commands (org_id, worker_id, command_id, action)
        values (${org}, ${workerId}, ${db.newId()}, 'drain')`;
      await db.admin`update muster.workers set disabled_at = now(), quarantined_at = now()
        where worker_id = ${workerId}`;
    };
    await change(await linked({ coordinatorId: randomUUID() }));
    expect(await work()).toEqual(["isLinked"]);
    const ours = await linked();
    await change(ours);
    expect(await work()).toEqual(["isLinked", "hasCommands", "disabled", "heldBack"]);
    expect((await seen()).orgs.get(org)).toMatchObject({ disabled: [ours], heldBack: [ours] });
  });

  test("sees an org from the look on that follows it", async () => {
    const late = await db.orgId();
    await insertJob(db, late, {});
    expect((await seen()).orgs.get(late)).toMatchObject({ isReady: true } satisfies Partial<OrgWork>);
  });

  test("sees workers that fell silent, or are heard again, until that is told", async () => {
    const workerId = await linked();
    expect(await work()).toEqual(["isLinked"]);
    await db.advanceClock(16_000);
    expect(await work({ staleMs: 60_000 })).toEqual(["isLinked"]);
    expect(await work({ staleMs: null })).toEqual(["isLinked"]);
    expect(await work()).toEqual(["isLinked", "hasSilence"]);
    const tell = (what: string) =>
      db.admin.unsafe(`update muster.links set ${what} where worker_id = '${workerId}'`);
    await tell("stale_at = muster.muster_clock()");
    expect(await work()).toEqual(["isLinked"]);
    await tell("seen_at = muster.muster_clock()");
    expect(await work()).toEqual(["isLinked", "hasSilence"]);
    await tell("stale_at = null, lost_at = muster.muster_clock()");
    expect(await work()).toEqual(["isLinked", "hasSilence"]);
    await tell("lost_at = null, is_attached = false");
    await db.advanceClock(16_000);
    expect(await work()).toEqual(["hasSilence"]);
    await tell("is_draining = true");
    expect(await work()).toBeUndefined();
  });

  test("is for sweeps alone", async () => {
    for (const role of ["muster_app", "muster_hot"] as const) {
      const client = postgres(db.urls[role], { max: 1, onnotice: () => {} });
      await expect(client`select muster.look(${coordinatorId}, 1, 1, 1)`).rejects.toMatchObject({
        code: "42501",
      });
      await client.end();
    }
  });
});

describe("with 300 orgs, one of them large", () => {
  let sweep: Sql;
  beforeAll(async () => {
    sweep = postgres(db.urls.muster_sweep, { max: 1, onnotice: () => {} });
    const large = await db.orgId();
    await db.admin`insert into muster.orgs (org_id, name)
      select gen_random_uuid(), 'org ' || n from generate_series(1, 300) n`;
    const fill = (orgs: string, each: number) =>
      db.admin.unsafe(`
        insert into muster.job_queue (org_id, job_id, shape_id, ready_at, wake_at, deadline, worker_id, lease_id,
          points, reclaim_after_ms, lease_ttl_ms, state, priority)
        select org_id, gen_random_uuid(), 1, now(), case when n % 4 = 1 then now() + interval '1 hour' end,
          now() + interval '1 hour', case when n % 4 = 2 then gen_random_uuid() end, gen_random_uuid(), 1, 1, 1,
          case n % 4 when 0 then 3 when 1 then 2 when 2 then 5 else 1 end, 128
        from muster.orgs, generate_series(1, ${each}) n where ${orgs}`);
    await fill("true", 4);
    await fill(`org_id = '${large}'`, 20_000);
    await db.admin`insert into muster.workers (org_id, worker_id, name)
      select ${large}, gen_random_uuid(), 'w' || n from generate_series(1, 5000) n`;
  });
  afterAll(() => sweep.end());

  test.each(["stale", "full"])(
    "a look with %s statistics reads few rows, and no table from its start to its end",
    async (state) => {
      await db.admin.unsafe(state === "full" ? "vacuum analyze" : "select 1");
      const counts = async () => {
        await sweep`select pg_stat_force_next_flush()`;
        const [row] = await db.admin`
        select sum(seq_scan)::int as scans, sum(coalesce(idx_tup_fetch, 0))::int as fetched
        from pg_stat_user_tables where schemaname = 'muster' and relname = any('{job_queue,links,workers,gates,releases,commands}')`;
        return { scans: Number(row?.["scans"]), fetched: Number(row?.["fetched"]) };
      };
      await counts();
      const before = await counts();
      const rows = await sweep`select * from muster.look(${coordinatorId}, 600000, 300000, 2000)`;
      const after = await counts();
      expect(rows.length).toBeGreaterThanOrEqual(300);
      expect(after.scans).toBe(before.scans);
      // A few probes an org, whatever it has.
      expect(after.fetched - before.fetched).toBeLessThan(rows.length * 12);
    },
  );
});
