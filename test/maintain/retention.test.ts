import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { keepDeliveriesMs } from "../../server/domain/rules/event-webhooks.ts";
import { forgetEnded, keepToRetention } from "../../server/maintain/retention.ts";
import { noOrg } from "../../server/store/device-logins.ts";
import { insertAnything } from "../support/any-row.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testConfig,
  testCoordinator,
} from "../support/database.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db?.close());

const hour = 1;
const day = 24 * hour;

/** What tells how old a row is, and from when on it is dropped, in hours; `given`: what else it must be. */
interface Kept {
  readonly by: string;
  readonly hours: number;
  readonly given?: Readonly<Record<string, string>>;
}

/** Rows that the passes drop, once they are older. */
const dropped: Readonly<Record<string, Kept>> = {
  alert_deliveries: { by: "created_at", hours: 90 * day, given: { state: "'sent'" } },
  alert_silences: { by: "ends_at", hours: 90 * day },
  alerts: { by: "ended_at", hours: 90 * day },
  api_keys: {
    by: "expires_at",
    hours: 90 * day,
    given: { type: "'worker'", key_id: "left(md5(random()::text), 12)" },
  },
  device_logins: {
    by: "expires_at",
    hours: 0,
    given: { org_id: `'${noOrg}'`, device_hash: "gen_random_uuid()::text::bytea" },
  },
  enrolments: { by: "expires_at", hours: 90 * day },
  invitations: { by: "expires_at", hours: 30 * day },
  job_keys: { by: "expires_at", hours: 0, given: { type: "'idempotency'" } },
  key_counts: { by: "started_at", hours: 2 * day },
  late_results: { by: "received_at", hours: testConfig().lateResultTtlMs / 3_600_000 },
  logins: { by: "expires_at", hours: 7 * day },
  schedule_fires: { by: "recorded_at", hours: testConfig().scheduleHistoryMs / 3_600_000 },
  webhook_deliveries: { by: "created_at", hours: keepDeliveriesMs / 3_600_000 },
  worker_losses: { by: "lost_at", hours: 10 / 60 },
};

/** Why the rows of the other tables need no such pass. */
const kept: Readonly<Record<string, string>> = {
  alert_channels: "until somebody deletes it",
  alert_rules: "until somebody deletes it",
  alert_states: "with its rule",
  artifacts: "with the day of its job",
  attempts: "a partition a day",
  audit_log: "for ever: nobody may drop it",
  audit_seals: "for ever: nobody may drop it",
  batches: "with the day of its last job",
  changes: "all but the newest old one: see sweeps.test.ts",
  cluster: "one row",
  commands: "when it is acknowledged, and with its worker",
  coordinators: "after an hour without life",
  dead_letters: "when it is replayed or discarded, and with the day of its job",
  edges: "when its parent's end reached the child",
  enrolment_policies: "one an org",
  enrolment_uses: "with its enrolment",
  events: "all but the newest old one, as changes",
  gates: "when nothing is limited any more",
  identities: "with its person",
  job_queue: "when the run ends",
  jobs: "a partition a day",
  linked_projects: "when its worker publishes it no more",
  links: "with its worker",
  log_chunks: "a partition a day",
  members: "until an admin removes them",
  migrations: "one a migration",
  orgs: "when an admin deletes it",
  people: "with its org",
  progress: "when the run ends",
  projects: "until somebody deletes it",
  pull_requests: "for ever: a URL counts once",
  releases: "when the dependants were released",
  schedules: "until somebody deletes it",
  sessions: "with its worker, or when it is archived and gone there",
  settings: "until somebody deletes it",
  shapes: "one for each way to ask for a worker",
  skill_versions: "the oldest go at each put of the document: see skills.test.ts",
  skills: "until somebody deletes it",
  span_stats: "folded into hours and days: see stats.test.ts",
  stat_deltas: "when it was folded: see stats.test.ts",
  stats: "folded into hours and days: see stats.test.ts",
  tallies: "folded into a row a day: see sweeps.test.ts",
  template_ratings: "one a person and template",
  templates: "until somebody deletes it",
  webhooks: "until somebody deletes it",
  workers: "until somebody deletes it",
};

const passes = async () => {
  const signal = AbortSignal.timeout(60_000);
  await keepToRetention(c, signal);
  await forgetEnded(c, signal);
};

describe("every table", () => {
  test("has a way for its rows to go, or a reason why they stay", async () => {
    const tables = await db.admin`select relname::text as name from pg_class
      where relnamespace = 'muster'::regnamespace and relkind in ('r', 'p') and not relispartition
        and relname <> 'clock_offset' order by 1`;
    expect(Object.keys({ ...dropped, ...kept }).toSorted()).toEqual(tables.map(({ name }) => name));
  });

  test.each(Object.entries(dropped))(
    "%s: what is old goes, what is young stays",
    async (table, { by, hours, given }) => {
      const org = await db.orgId();
      const ended = (ago: number) => ({ [by]: `muster.muster_clock() - interval '${ago * 60} minutes'` });
      for (const ago of [hours + hour, hours - hour / 12])
        await insertAnything(db, table, org, { ...ended(ago), ...given });
      const left = async () =>
        (
          await db.admin.unsafe(
            `select round(extract(epoch from muster.muster_clock() - ${by}) / 300)::int as age from muster.${table}
           where org_id in ('${org}', '${noOrg}')`,
          )
        ).map(({ age }) => Number(age) / 12);
      expect(await left()).toHaveLength(2);
      await passes();
      expect(await left()).toEqual([expect.closeTo(hours - hour / 12, 1)]);
    },
  );
});

describe("what ended long ago", () => {
  test("an enrolment goes with its uses, and no other's", async () => {
    const org = await db.orgId();
    for (const [key, ago] of [
      ["old", 200],
      ["young", 5],
    ] as const) {
      const expires = `now() - interval '${ago} days'`;
      await insertAnything(db, "enrolments", org, { key_id: `'${key}'`, expires_at: expires });
      await insertAnything(db, "enrolment_uses", org, { key_id: `'${key}'` });
    }
    await passes();
    for (const table of ["enrolments", "enrolment_uses"]) {
      const rows = await db.admin.unsafe(`select key_id from muster.${table} where org_id = '${org}'`);
      expect([table, ...rows.map((row) => row["key_id"])]).toEqual([table, "young"]);
    }
  });

  test("a revoked key of a machine goes; an API key stays, or it could be given again", async () => {
    const org = await db.orgId();
    const revoked = { revoked_at: "now() - interval '91 days'" };
    for (const type of ["api", "worker", "enrol"]) {
      await insertAnything(db, "api_keys", org, {
        ...revoked,
        type: `'${type}'`,
        key_id: `'${type}${org.slice(-8)}'`,
      });
    }
    await insertAnything(db, "api_keys", org, { type: "'worker'", key_id: `'live${org.slice(-8)}'` });
    await passes();
    const rows =
      await db.admin`select type, revoked_at is null as live from muster.api_keys where org_id = ${org} order by 1`;
    expect(rows.map(({ type, live }) => [type, live])).toEqual([
      ["api", false],
      ["worker", true],
    ]);
  });
});
