import { sql } from "drizzle-orm";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { inOrg, type Role } from "../../server/store/database.ts";
import { readOrg } from "../../server/store/snapshot.ts";
import { setOrg } from "../../server/store/statement.ts";
import { insertAnything } from "../support/any-row.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertAttempt, insertJob } from "../support/rows.ts";

const roles: readonly Role[] = ["muster_app", "muster_hot", "muster_sweep"];

let db: TestDatabase;
/** Every table of tenants, by the catalogue. */
let tables: string[];
let ours: string;
let theirs: string;

beforeAll(async () => {
  db = await createTestDatabase();
  const rows = await db.admin<{ name: string }[]>`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
    where n.nspname = 'muster' and c.relkind in ('r', 'p') and not c.relispartition order by 1`;
  tables = rows.map((row) => row.name);
  ours = db.newId();
  theirs = db.newId();
  for (const table of tables) for (const org of [ours, theirs]) await insertAnything(db, table, org);
});
afterAll(() => db.close());

describe("S17 row-level security is forced on every table", () => {
  test("has every table of tenants", () => {
    expect(tables).toEqual(
      expect.arrayContaining([
        "api_keys",
        "artifacts",
        "attempts",
        "audit_log",
        "changes",
        "job_queue",
        "jobs",
      ]),
    );
    expect(tables.length).toBeGreaterThanOrEqual(21);
  });

  test("forces row-level security on each of them, with USING and WITH CHECK", async () => {
    const offenders = await db.admin`
      select c.relname as name from pg_class c
      where c.relnamespace = 'muster'::regnamespace and c.relname = any(${tables}) and not (
        c.relrowsecurity and c.relforcerowsecurity
        and exists (select from pg_policy p where p.polrelid = c.oid and p.polcmd = '*')
        and not exists (select from pg_policy p where p.polrelid = c.oid and p.polqual is null)
        and not exists (select from pg_policy p where p.polrelid = c.oid and p.polcmd not in ('r', 'd') and p.polwithcheck is null))`;
    expect(offenders.map((row) => row["name"])).toEqual([]);
  });

  test("has no other policies than those that are meant", async () => {
    const rows = await db.admin`
      select distinct polname as name from pg_policy where polname not in ('one_org', 'named_orgs')`;
    expect(rows.map((row) => row["name"]).sort()).toEqual([
      "after_its_job",
      // People, before any org of theirs is known: each by what the caller has shown.
      "by_email",
      "by_key_hash",
      "by_key_id",
      "by_person",
      "by_subject",
      "sweep_lists",
      "with_its_org",
    ]);
  });

  test("lets the login roles own nothing, bypass nothing, and become nobody else", async () => {
    const owned = await db.admin`
      select relname::text as name from pg_class where relowner::regrole::text = any(${[...roles]})
      union all select proname::text from pg_proc where proowner::regrole::text = any(${[...roles]})
      union all select nspname::text from pg_namespace where nspowner::regrole::text = any(${[...roles]})
      union all select datname::text from pg_database where datdba::regrole::text = any(${[...roles]})`;
    expect(owned).toHaveLength(0);
    const mighty = await db.admin`
      select rolname from pg_roles r where rolname = any(${[...roles]}) and (rolsuper or rolbypassrls or rolcreaterole
        or rolcreatedb or exists (select from pg_auth_members m where m.member = r.oid))`;
    expect(mighty).toHaveLength(0);
  });

  test("closes the partitions to them: rows are reached through the tables that have the policies", async () => {
    const open = await db.admin`
      select c.relname from pg_class c cross join unnest(${[...roles]}::text[]) role
      where c.relnamespace = 'muster'::regnamespace and c.relispartition
        and has_table_privilege(role, c.oid, 'select, insert, update, delete')`;
    expect(open).toHaveLength(0);
  });

  test("lets nobody but the owner rewrite history or the audit log, and requests remove history", async () => {
    const rows = await db.admin`
      select role, relname, privilege from pg_class cross join unnest(${[...roles]}::text[]) role
        cross join unnest(array['update', 'delete', 'truncate']) privilege
      where relnamespace = 'muster'::regnamespace and relname in ('attempts', 'audit_log', 'audit_seals')
        and has_table_privilege(role, pg_class.oid, privilege)`;
    const found = rows.map(({ role, relname, privilege }) => `${role} ${relname} ${privilege}`);
    // With their job, and with their org: policies see to it that it is gone, or going.
    expect(found.sort()).toEqual([
      "muster_app attempts delete",
      "muster_sweep attempts delete",
      "muster_sweep audit_log delete",
      "muster_sweep audit_seals delete",
    ]);
  });

  test("lets no more tables than these be without an org", async () => {
    const rows = await db.admin`
      select c.relname as name from pg_class c where c.relnamespace = 'muster'::regnamespace and c.relkind in ('r', 'p')
        and not c.relispartition and c.relname <> all(${tables}) order by 1`;
    // The last is of these tests alone: it moves the clock.
    const known = ["cluster", "coordinators", "migrations", "clock_offset"].sort();
    expect(rows.map((row) => row["name"])).toEqual(known);
  });

  test("lets sweeps remove history and audit with a deleted org alone", async () => {
    const org = await db.orgId();
    await insertAnything(db, "audit_log", org);
    await insertAnything(db, "attempts", org);
    const remove = () =>
      inOrg(db.database.sweep, org, async (tx) => [
        (await tx.execute(sql`delete from muster.audit_log where org_id = ${org} returning 1`)).length,
        (await tx.execute(sql`delete from muster.attempts where org_id = ${org} returning 1`)).length,
        (await tx.execute(sql`delete from muster.orgs where org_id = ${org} returning 1`)).length,
      ]);
    expect(await remove()).toEqual([0, 0, 0]);
    await db.admin`update muster.orgs set deleted_at = now() where org_id = ${org}`;
    expect(await remove()).toEqual([1, 1, 1]);
  });

  test("keeps history from requests as long as its job is there", async () => {
    const org = await db.orgId();
    const { jobId } = await insertJob(db, org, { state: JobState.succeeded });
    await insertAttempt(db, org, jobId, { outcome: Outcome.succeeded, state: JobState.succeeded });
    const remove = (isJobGone: boolean) =>
      inOrg(db.database.app, org, async (tx) => {
        if (isJobGone)
          await tx.execute(sql`delete from muster.jobs where org_id = ${org} and job_id = ${jobId}`);
        return (await tx.execute(sql`delete from muster.attempts where job_id = ${jobId} returning 1`))
          .length;
      });
    expect(await remove(false)).toBe(0);
    expect(await remove(true)).toBe(1);
  });
});

describe.each(roles)("S18 the org is set inside the transaction; unset is an error: as %s", (role) => {
  let client: postgres.Sql;
  beforeAll(() => {
    client = postgres(db.urls[role], { max: 1, onnotice: () => {} });
  });
  afterAll(() => client.end());

  test("a statement without an org is an error, also on a connection that had one", async () => {
    for (const table of tables.filter((name) => !isForAll(role, name) && isReadable(role, name))) {
      await client.begin(async (tx) => {
        await tx.unsafe(setOrg(ours));
        await tx.unsafe(`select 1 from muster.${table}`);
      });
      await expect(client.unsafe(`select * from muster.${table}`), table).rejects.toMatchObject({
        code: expect.stringMatching(/^(22P02|42704)$/),
      });
    }
  });

  test("what it has no business with it may not read at all", async () => {
    const closed = tables.filter((name) => !isReadable(role, name));
    expect(closed.length).toBe(role === "muster_hot" ? peopleTables.length : 0);
    for (const table of closed) {
      const read = client.begin(async (tx) => {
        await tx.unsafe(setOrg(ours));
        await tx.unsafe(`select * from muster.${table}`);
      });
      await expect(read, table).rejects.toMatchObject({ code: "42501" });
    }
  });

  test("a statement on a fresh connection without an org is an error", async () => {
    const fresh = postgres(db.urls[role], { max: 1, onnotice: () => {} });
    await expect(fresh`select * from muster.jobs`).rejects.toMatchObject({ code: "42704" });
    await fresh.end();
  });

  test("a query whose WHERE is gone sees one org", async () => {
    for (const table of tables.filter((name) => !isForAll(role, name) && isReadable(role, name))) {
      const seen = await client.begin(async (tx) => {
        await tx.unsafe(setOrg(ours));
        return tx.unsafe(`select distinct org_id from muster.${table}`);
      });
      expect([table, ...seen.map((row) => row["org_id"])]).toEqual([table, ours]);
    }
  });

  test("an UPDATE or DELETE whose WHERE is gone reaches one org", async () => {
    for (const table of ["job_queue", "workers", "settings", "links", "changes"]) {
      const changed = await client
        .begin(async (tx) => {
          await tx.unsafe(setOrg(ours));
          const updated = await tx.unsafe(`update muster.${table} set org_id = org_id returning org_id`);
          const deleted = await tx.unsafe(`delete from muster.${table} returning org_id`);
          throw Object.assign(new Error("undone"), {
            orgs: [...updated, ...deleted].map((row) => row["org_id"]),
          });
        })
        .catch((error: { orgs?: string[] }) => error.orgs);
      expect([table, ...new Set(changed)]).toEqual([table, ours]);
    }
  });

  test("one connection serves orgs in turn, as a pooler in transaction mode does, and mixes none", async () => {
    for (const org of [ours, theirs, ours]) {
      const seen = await client.begin(async (tx) => {
        await tx.unsafe(setOrg(org));
        return tx.unsafe("select distinct org_id from muster.workers");
      });
      expect(seen.map((row) => row["org_id"])).toEqual([org]);
      const failed = client.begin(async (tx) => {
        await tx.unsafe(setOrg(org));
        await tx.unsafe("select 1 / 0");
      });
      await expect(failed).rejects.toMatchObject({ code: "22012" });
      await expect(client.unsafe("select * from muster.workers")).rejects.toMatchObject({ code: "22P02" });
    }
  });

  test("a row cannot be put into another org", async () => {
    const insert = client.begin(async (tx) => {
      await tx.unsafe(setOrg(ours));
      await tx`insert into muster.tallies (org_id, tally_id, submitted, succeeded, cancelled, dead)
        values (${theirs}, ${db.newId()}, 1, 1, 1, 1)`;
    });
    await expect(insert).rejects.toMatchObject({ code: "42501" });
  });
});

describe("S18 the org is set inside the transaction; unset is an error: pools", () => {
  test("uses of a small pool at the same time see their own org each", async () => {
    const read = async (org: string) => {
      const rows = await inOrg(db.database.app, org, (tx) =>
        tx.execute(sql`select org_id, pg_sleep(0.002) from muster.workers`),
      );
      return rows.every((row) => row["org_id"] === org) && rows.length === 1;
    };
    const reads = Array.from({ length: 60 }, (_, index) => read(index % 2 === 0 ? ours : theirs));
    expect((await Promise.all(reads)).every(Boolean)).toBe(true);
  });

  test("a statement outside of a transaction is an error", async () => {
    await expect(db.database.app.execute(sql`select * from muster.workers`)).rejects.toThrow();
  });
});

describe("S19 work over all orgs has its own role", () => {
  test("functions are those that are listed, each for whom it is meant, and none for everybody", async () => {
    const rows = await db.admin`
      select p.proname as name, p.prosecdef as definer, has_function_privilege('public', p.oid, 'execute') as everybody,
        array_to_string(array(select role from unnest(${[...roles]}::text[]) role
          where has_function_privilege(role, p.oid, 'execute') order by 1), ' ') as roles
      from pg_proc p where p.pronamespace = 'muster'::regnamespace order by 1`;
    const all = "muster_app muster_hot muster_sweep";
    expect(rows.map(({ name, roles: of }) => [name, of])).toEqual([
      ["append_only", ""],
      ["audit_hash", all],
      ["ended_keys", "muster_sweep"],
      ["ended_logins", "muster_sweep"],
      ["gets_nothing", all],
      ["histogram_bucket", all],
      ["histogram_sum", all],
      ["is_off_hours", all],
      ["look", "muster_sweep"],
      ["muster_clock", all],
      ["open_prs", all],
      ["possible_prs", all],
      ["registered_prefixes", "muster_sweep"],
      ["renew_links", "muster_app"],
      ["unsealed_orgs", "muster_sweep"],
    ]);
    expect(rows.filter((row) => row["definer"] === true || row["everybody"] === true)).toEqual([]);
  });

  test("requests may not call what is for sweeps", async () => {
    const calls = [
      "look(null, 1, 1, 1)",
      "ended_keys(array[]::uuid[], 1)",
      "registered_prefixes()",
      "unsealed_orgs()",
    ];
    for (const one of calls) {
      const call = inOrg(db.database.app, ours, (tx) => tx.execute(sql.raw(`select * from muster.${one}`)));
      await expect(call).rejects.toMatchObject({ cause: { code: "42501" } });
    }
  });

  test("is closed to requests: they cannot list orgs", async () => {
    const rows = await inOrg(db.database.app, ours, (tx) => tx.execute(sql`select org_id from muster.orgs`));
    expect(rows.map((row) => row["org_id"])).toEqual([ours]);
  });

  test("lets a key be seen by whoever names its id, and no other key", async () => {
    const [key] = await db.admin`select key_id from muster.api_keys where org_id = ${theirs}`;
    const rows = await inOrg(db.database.app, ours, async (tx) => {
      await tx.execute(sql.raw(`set local muster.key = '${key?.["key_id"]}'`));
      return tx.execute(sql`select org_id from muster.api_keys order by org_id`);
    });
    expect(rows.map((row) => row["org_id"])).toEqual([ours, theirs]);
  });
});

describe("a read of one moment", () => {
  test("does not see what is committed meanwhile", async () => {
    const org = await db.orgId();
    const counts = await readOrg(db.database.app, org, async (tx) => {
      const count = async () => (await tx.execute(sql`select 1 from muster.workers`)).length;
      const before = await count();
      await db.admin`insert into muster.workers (org_id, worker_id, name) values (${org}, ${db.newId()}, 'late')`;
      return [before, await count()];
    });
    expect(counts).toEqual([0, 0]);
  });

  test("cannot write", async () => {
    const write = readOrg(db.database.app, ours, (tx) => tx.execute(sql`delete from muster.workers`));
    await expect(write).rejects.toMatchObject({ cause: { code: "25006" } });
  });
});

const peopleTables = ["device_logins", "identities", "invitations", "logins", "members", "people"];

// What deals with jobs has no business with people.
function isReadable(role: Role, table: string): boolean {
  return role !== "muster_hot" || !peopleTables.includes(table);
}

/** A policy of its own lets sweeps see all orgs; and flushes have nothing to do with seals. */
function isForAll(role: Role, table: string): boolean {
  return (role === "muster_sweep" && table === "orgs") || (role === "muster_hot" && table === "audit_seals");
}
