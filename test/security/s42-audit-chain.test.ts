import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { audit } from "../../server/domain/audit.ts";
import { type ChainProblem, sealAudit, shownHead, verifyAudit } from "../../server/domain/audit-seals.ts";
import type { Coordinator } from "../../server/domain/context.ts";
import { entryHash } from "../../server/domain/rules/audit-chain.ts";
import { firstPlace, readHashedEntries, readSealable } from "../../server/store/audit-seals.ts";
import { inOrg } from "../../server/store/database.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";

let db: TestDatabase;
let c: Coordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

const never = new AbortController().signal;
const nasty = 'ä\\ "q" \u{1F600}\n\t; 3:abc';

function write(orgId: string, target: string, details: Record<string, unknown> = {}): Promise<void> {
  return inOrg(db.database.app, orgId, (tx) =>
    audit(tx, c, testCaller(orgId), { action: "test.act", target, reason: nasty, details }),
  );
}

/** An org with so many entries, sealed. Other tests' transactions may hold it up: it is waited for. */
async function sealedOrg(entries: number): Promise<string> {
  const orgId = await db.orgId();
  for (let n = 0; n < entries; n++) await write(orgId, `t${n}`, { n, text: nasty, huge: 1e300, half: 0.5 });
  await sealAll(orgId, entries);
  return orgId;
}

async function sealAll(orgId: string, entries: number): Promise<void> {
  for (let sealed = 0; sealed < entries; ) sealed += await sealAudit(c, orgId, never);
}

async function problems(orgId: string, head = ""): Promise<ChainProblem[]> {
  const found: ChainProblem[] = [];
  for (let after: number | null = 0; after !== null; ) {
    const check = await verifyAudit(c, testCaller(orgId), { after, head });
    found.push(...check.problems);
    after = check.next;
  }
  return found;
}

async function headOf(orgId: string): Promise<string> {
  return shownHead((await verifyAudit(c, testCaller(orgId), { after: 0, head: "" })).head);
}

/** What only the owner of the server can do: change the log behind everybody's back. */
async function tamper(statement: string): Promise<void> {
  await db.admin.begin(async (tx) => {
    await tx.unsafe("set local session_replication_role = replica");
    await tx.unsafe(statement);
  });
}

describe("S42 an edit, a deletion and a reorder of the audit log are found", () => {
  test("the log is append-only, also for the owner of the database", async () => {
    const orgId = await sealedOrg(1);
    for (const table of ["audit_log", "audit_seals"]) {
      for (const statement of [
        `update muster.${table} set org_id = org_id where org_id = '${orgId}'`,
        `delete from muster.${table} where org_id = '${orgId}'`,
        `truncate muster.${table}`,
      ]) {
        await expect(db.admin.unsafe(statement), statement).rejects.toMatchObject({ code: "42501" });
      }
    }
  });

  test("an entry's hash is made by the database, of a canonical form that anybody can make again", async () => {
    const orgId = await db.orgId();
    await write(orgId, "it", { b: 1, a: [nasty, null, { x: 1e21 }] });
    const [kept, entry] = await inOrg(db.database.sweep, orgId, async (tx) => {
      const sealable = await readSealable(tx, orgId, firstPlace, 1);
      const upTo = { xid: "18446744073709551615", auditId: "ffffffff-ffff-ffff-ffff-ffffffffffff" };
      return [sealable[0], (await readHashedEntries(tx, orgId, { after: firstPlace, upTo }))[0]] as const;
    });
    if (entry === undefined) throw new TypeError("no entry was written");
    expect(entry.atMicros).toMatch(/^\d{16}$/);
    if (kept !== undefined) expect(Buffer.from(kept.hash)).toEqual(entryHash(entry));
    const [row] = await db.admin`select content_hash as hash from muster.audit_log where org_id = ${orgId}`;
    expect(row?.["hash"]).toEqual(entryHash(entry));
    const forged = db.admin`insert into muster.audit_log
      (org_id, audit_id, actor, action, target, reason, request_id, details, content_hash)
      values (${orgId}, ${db.newId()}, 'a', 'b', 'c', 'd', 'e', '{}', '')`;
    await expect(forged).rejects.toMatchObject({ code: "428C9" });
  });

  test("a log that nobody touched is as it was sealed", async () => {
    expect(await problems(await sealedOrg(12))).toEqual([]);
  });

  test.each([
    ["an edit of who", "actor = 'key:somebody'"],
    ["an edit of what", "action = 'other.act'"],
    ["an edit of the details", `details = '{"n":1}'`],
    ["an edit of the time, by a microsecond", "at = at + interval '1 microsecond'"],
    ["a text that moves from one field to the next", "actor = '', action = actor || action"],
  ])("finds %s", async (_, change) => {
    const orgId = await sealedOrg(3);
    await tamper(`update muster.audit_log set ${change} where org_id = '${orgId}' and target = 't1'`);
    const [row] =
      await db.admin`select audit_id from muster.audit_log where org_id = ${orgId} and target = 't1'`;
    expect(await problems(orgId)).toEqual([
      { type: "edited", seal: expect.any(Number), auditId: row?.["audit_id"] },
    ]);
  });

  test("finds a deletion", async () => {
    const orgId = await sealedOrg(3);
    await tamper(`delete from muster.audit_log where org_id = '${orgId}' and target = 't0'`);
    expect((await problems(orgId)).map(({ type }) => type)).toEqual(["deleted"]);
  });

  test("finds an entry that was put among sealed ones", async () => {
    const orgId = await sealedOrg(3);
    await tamper(`insert into muster.audit_log (org_id, audit_id, actor, action, target, reason, request_id, details, xid)
      select org_id, '${db.newId()}', actor, action, 'new', reason, request_id, details, xid
      from muster.audit_log where org_id = '${orgId}' and target = 't1'`);
    // Behind the last entry of its transaction it is a new one; among others it is not.
    const found = (await problems(orgId)).map(({ type }) => type);
    expect(found.length === 0 || found[0] === "added").toBe(true);
    await tamper(`update muster.audit_log set xid = '1' where org_id = '${orgId}' and target = 'new'`);
    expect((await problems(orgId)).map(({ type }) => type)).toEqual(["added"]);
  });

  test("finds a reorder: of entries, of a seal's list, and of seals", async () => {
    const swapped = await sealedOrg(2);
    await tamper(`update muster.audit_log set xid = ((xid::text)::bigint + case target when 't0' then 1 else -1 end)::text::xid8
      where org_id = '${swapped}'`);
    expect((await problems(swapped)).map(({ type }) => type)).not.toEqual([]);

    const listed = await sealedOrg(0);
    await inOrg(db.database.app, listed, async (tx) => {
      for (const target of ["a", "b"]) {
        await audit(tx, c, testCaller(listed), { action: "test.act", target });
      }
    });
    await sealAll(listed, 2);
    await tamper(`update muster.audit_seals set entries = array[entries[2], entries[1]],
      hashes = substr(hashes, 33, 32) || substr(hashes, 1, 32) where org_id = '${listed}'`);
    expect((await problems(listed)).map(({ type }) => type)).toContain("broken");

    const seals = await sealedOrg(1);
    await write(seals, "later");
    await sealAll(seals, 1);
    await tamper(`update muster.audit_seals set seal = -seal where org_id = '${seals}'`);
    await tamper(`update muster.audit_seals set seal = 3 + seal where org_id = '${seals}'`);
    expect(await problems(seals)).not.toEqual([]);
  });

  test("finds an edit whose seal was made to fit, by the seal after it", async () => {
    const orgId = await sealedOrg(1);
    await write(orgId, "later");
    await sealAll(orgId, 1);
    await tamper(`update muster.audit_log set actor = 'x' where org_id = '${orgId}' and target = 't0'`);
    await tamper(`update muster.audit_seals s set hashes = a.content_hash from muster.audit_log a
      where s.org_id = '${orgId}' and s.seal = 1 and a.org_id = s.org_id and a.target = 't0'`);
    expect((await problems(orgId)).map(({ type }) => type)).toEqual(["broken"]);
  });

  test("finds that the newest entries are gone with their seals, by a head that was kept", async () => {
    const orgId = await sealedOrg(2);
    await write(orgId, "newest");
    await sealAll(orgId, 1);
    const head = await headOf(orgId);
    expect(await problems(orgId, head)).toEqual([]);
    await tamper(`delete from muster.audit_log where org_id = '${orgId}' and target = 'newest'`);
    await tamper(`delete from muster.audit_seals where org_id = '${orgId}' and seal = ${head.split(":")[0]}`);
    expect(await problems(orgId)).toEqual([]);
    expect((await problems(orgId, head)).map(({ type }) => type)).toEqual(["head"]);
    await write(orgId, "instead");
    await sealAll(orgId, 1);
    expect((await problems(orgId, head)).map(({ type }) => type)).toEqual(["head"]);
  });

  test("50 writers and two sealers at once leave one chain without a gap, and no false alarm", async () => {
    const orgId = await db.orgId();
    const stop = new AbortController();
    const sealer = async () => {
      while (!stop.signal.aborted) await sealAudit(c, orgId, never);
    };
    const sealers = [sealer(), sealer()];
    const writer = async (n: number) => {
      for (let at = 0; at < 8; at++) await write(orgId, `w${n}-${at}`, { at });
    };
    await Promise.all(Array.from({ length: 50 }, (_, n) => writer(n)));
    stop.abort();
    await Promise.all(sealers);
    for (let unsealed = 1; unsealed > 0; ) {
      await sealAudit(c, orgId, never);
      unsealed = (await verifyAll(orgId)).unsealed;
    }
    expect(await problems(orgId)).toEqual([]);
    expect((await verifyAll(orgId)).entries).toBe(400);
  }, 120_000);

  test("an entry whose commit is late is in a later seal", async () => {
    const orgId = await db.orgId();
    let commit: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      commit = resolve;
    });
    let begun: () => void = () => {};
    const isBegun = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const late = inOrg(db.database.app, orgId, async (tx) => {
      await audit(tx, c, testCaller(orgId), { action: "test.act", target: "late" });
      begun();
      await held;
    });
    await isBegun;
    await write(orgId, "early");
    // Nothing behind an open transaction is sealed: what it will have written stands before.
    expect(await sealAudit(c, orgId, never)).toBe(0);
    commit();
    await late;
    await sealAll(orgId, 2);
    expect(await problems(orgId)).toEqual([]);
    expect((await verifyAll(orgId)).entries).toBe(2);
  });
});

/** All parts of a check, summed. */
async function verifyAll(orgId: string) {
  let entries = 0;
  for (let after = 0; ; ) {
    const check = await verifyAudit(c, testCaller(orgId), { after, head: "" });
    entries += check.entries;
    if (check.next === null) return { entries, unsealed: check.unsealed };
    after = check.next;
  }
}
