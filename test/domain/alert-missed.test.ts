import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deleteAlertRule, setAlertRuleEnabled } from "../../server/domain/alert-rules.ts";
import { fireDueSchedules } from "../../server/domain/fire-schedules.ts";
import { listFires } from "../../server/domain/fires.ts";
import { encodeId } from "../../server/domain/ids.ts";
import type { AlertRuleDefinition } from "../../server/domain/rules/alert-rules.ts";
import { putSchedule } from "../../server/domain/schedules.ts";
import { readMissedFires } from "../../server/store/alert-facts.ts";
import { inOrg } from "../../server/store/database.ts";
import { sql } from "../../server/store/drizzle.ts";
import { lookAtRules, putRule, ruleOf } from "../support/alert-rules.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { jobRequest } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

const minuteMs = 60_000;
const signal = () => AbortSignal.timeout(20_000);

/** An org with a rule on missed fire times, and what is done with it. */
async function org(rule: Partial<AlertRuleDefinition> = {}) {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const put = (changed: Partial<AlertRuleDefinition> = {}) =>
    putRule(c, orgId, ruleOf("schedule-missed", { ...rule, ...changed }));
  await put();
  const look = () => lookAtRules(db, c, orgId);
  const schedule = (name: string, project: string | null = null) =>
    putSchedule(c, caller, {
      spec: {
        ...{ name, cron: "* * * * *", zone: "UTC", jitterMs: 0, startAt: null, endAt: null },
        ...{ overlap: "allow", catchUp: "none", catchUpLimit: 10, isPaused: false, labels: {} },
        job: jobRequest({ project }),
      },
      ...{ etag: "", mayCreate: true, isOnlyNew: false, isDryRun: false, reason: "", requestId: "" },
    });
  const fire = () => fireDueSchedules(c, orgId, signal());
  const fires = async (name: string, outcome: "missed" | "failed") => {
    const page = { name, outcome, pageSize: 1_000, pageToken: "" };
    return (await listFires(c, caller, page)).items;
  };
  /** So many entries of a schedule that were missed, written one after the other from so long ago on. */
  const insertMissed = async (name: string, entries: number, { agoMs = 60_000, outcome = "missed" } = {}) => {
    await db.admin`
      insert into muster.schedule_fires (org_id, schedule_id, fire_at, outcome, cause, recorded_at, last_at)
      select ${orgId}, s.schedule_id, t.at - n * interval '1 day', ${outcome}, 'due', t.at, t.at - n * interval '1 day'
      from muster.schedules s, generate_series(1, ${entries}::int) n,
        lateral (select muster.muster_clock() - ${agoMs}::float8 * interval '1 millisecond' + n * interval '1 millisecond' as at) t
      where s.org_id = ${orgId} and s.name = ${name}`;
  };
  return { orgId, put, look, schedule, fire, fires, insertMissed };
}

test.each([
  [
    "is changed to look at something else",
    (c: TestCoordinator, orgId: string) =>
      putRule(c, orgId, ruleOf("schedule-missed", { windowMs: 120_000 })),
  ],
  [
    "is disabled",
    async (c: TestCoordinator, orgId: string) => {
      await setAlertRuleEnabled(c, testCaller(orgId), { name: "rule", isEnabled: false, reason: "" });
    },
  ],
  [
    "is deleted",
    (c: TestCoordinator, orgId: string) =>
      deleteAlertRule(c, testCaller(orgId), { name: "rule", reason: "" }),
  ],
])("the event feed tells that alerts end when their rule %s", async (_, change) => {
  const { orgId, look, schedule, insertMissed } = await org();
  await schedule("one");
  await insertMissed("one", 2);
  const [alert] = await look();
  await look();
  const told = () =>
    db.admin`select type, data from muster.events where org_id = ${orgId} order by xid, event_id`;
  const alertId = encodeId("alert", alert?.alertId ?? "");
  const data = {
    ...{ alertId, rule: "rule", group: "one", condition: "schedule-missed", severity: "warning" },
    ...{ summary: alert?.summary, since: alert?.startedAt.toISOString(), silenced: false },
  };
  expect([...(await told())]).toEqual([{ type: "alert.fired", data }]);
  await change(c, orgId);
  expect([...(await told())]).toEqual([
    { type: "alert.fired", data },
    { type: "alert.resolved", data },
  ]);
});

describe("a rule on missed fire times", () => {
  test("fires for the schedule that missed enough of them, and ends when they are old", async () => {
    const { look, schedule, fire, fires } = await org({ threshold: 3, windowMs: 10 * minuteMs });
    await schedule("often");
    await db.advanceClock(3 * minuteMs);
    await fire();
    const early = await fires("often", "missed");
    expect(early.length).toBeGreaterThan(0);
    expect(early.length).toBeLessThan(3);
    expect(await look()).toEqual([]);
    await db.advanceClock(4 * minuteMs);
    await fire();
    const missed = await fires("often", "missed");
    const [alert, ...others] = await look();
    expect(others).toEqual([]);
    const last = missed[0]?.fireAt.toISOString();
    expect(alert).toMatchObject({
      ...{ groupKey: "often", value: missed.length, jobIds: [] },
      summary: `Schedule often missed its fire of ${last} (and ${missed.length - 1} more)`,
    });
    await db.advanceClock(11 * minuteMs);
    expect(await look()).toEqual([]);
  });

  test("counts fires whose job could not be submitted, with why", async () => {
    const { orgId, look, schedule, fire } = await org();
    await db.admin`insert into muster.projects (org_id, name) values (${orgId}, 'web')`;
    await schedule("broken", "web");
    await schedule("fine");
    await db.admin`delete from muster.projects where org_id = ${orgId}`;
    await db.advanceClock(minuteMs);
    // What is known of projects is kept for a while.
    c = testCoordinator(db);
    await fire();
    expect(await look()).toMatchObject([
      {
        ...{ groupKey: "broken", value: 1 },
        summary: expect.stringMatching(/^Schedule broken failed its fire of .+Z: PROJECT_NOT_FOUND$/),
      },
    ]);
  });

  test("counts all of a schedule, however many another one missed after it", async () => {
    const { look, schedule, insertMissed } = await org({ threshold: 3 });
    await schedule("few");
    await schedule("many");
    await insertMissed("few", 3, { agoMs: 120_000 });
    await insertMissed("many", 1_200);
    const alerts = await look();
    expect(alerts.map(({ groupKey, value }) => [groupKey, value])).toEqual([
      ["few", 3],
      ["many", 1_200],
    ]);
  });

  test("counts each once, by schedule and all together", async () => {
    const { orgId, put, look, schedule, insertMissed } = await org();
    await schedule("one");
    await schedule("other");
    await insertMissed("one", 700, { agoMs: 60_000 });
    await insertMissed("other", 2, { agoMs: 60_000 });
    const counted = async () => (await look()).map(({ groupKey, occurrences }) => [groupKey, occurrences]);
    expect(await counted()).toEqual([
      ["one", 700],
      ["other", 2],
    ]);
    expect(await counted()).toEqual([
      ["one", 700],
      ["other", 2],
    ]);
    await db.admin`update muster.schedule_fires set fire_at = fire_at - interval '3 years' where org_id = ${orgId}`;
    await insertMissed("one", 5, { agoMs: 10_000 });
    expect(await counted()).toEqual([
      ["one", 705],
      ["other", 2],
    ]);
    await put({ groupBy: "none" });
    const [alert] = await look();
    expect(alert).toMatchObject({ groupKey: "", value: 707, occurrences: 707 });
    await db.admin`update muster.schedule_fires set fire_at = fire_at - interval '3 years' where org_id = ${orgId}`;
    // Of another schedule, and written before what was seen last.
    await insertMissed("other", 3, { agoMs: 30_000 });
    expect(await counted()).toEqual([["", 710]]);
  });

  test("reads the missed ones alone, whatever number of fires there are", async () => {
    const { orgId, schedule, insertMissed } = await org();
    await schedule("busy");
    await insertMissed("busy", 20_000, { outcome: "submitted" });
    await db.admin`update muster.schedule_fires set fire_at = fire_at - interval '100 years' where org_id = ${orgId}`;
    await insertMissed("busy", 20);
    await db.admin`analyze muster.schedule_fires`;
    const [before, after] = await inOrg(db.database.sweep, orgId, async (tx) => {
      const options = { windowMs: 300_000, seen: new Map(), least: 1, most: 10 };
      const counts = async () => {
        const [row] =
          await tx.execute(sql`select seq_scan::int as scans, coalesce(idx_tup_fetch, 0)::int as fetched
          from pg_stat_xact_user_tables where relname = 'schedule_fires'`);
        return { scans: Number(row?.["scans"]), fetched: Number(row?.["fetched"]) };
      };
      const first = await counts();
      expect(await readMissedFires(tx, orgId, options)).toMatchObject([
        { name: "busy", times: 20, fresh: 20 },
      ]);
      return [first, await counts()];
    });
    expect(after.scans).toBe(before.scans);
    expect(after.fetched - before.fetched).toBeGreaterThan(0);
    expect(after.fetched - before.fetched).toBeLessThan(100);
  });
});
