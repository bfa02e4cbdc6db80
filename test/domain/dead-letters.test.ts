import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  discardDeadLetter,
  listDeadLetterGroups,
  listDeadLetters,
} from "../../server/domain/dead-letters.ts";
import { encodeId } from "../../server/domain/ids.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { insertAttempt, insertJob } from "../support/rows.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

async function insertDead(
  orgId: string,
  kind = "shell.run",
  deadAt = new Date().toISOString(),
): Promise<string> {
  const { jobId } = await insertJob(db, orgId, { kind });
  const error = { code: "EXIT", message: "exit 1" };
  await insertAttempt(db, orgId, jobId, {
    outcome: Outcome.failed,
    state: JobState.dead,
    failures: 3,
    error,
  });
  await db.admin`insert into muster.dead_letters (org_id, job_id, generation, cause, fingerprint, kind, dead_at)
    values (${orgId}, ${jobId}, 1, 'failures', 'f1', ${kind}, ${deadAt}::text::timestamptz)`;
  return jobId;
}

describe("listing dead letters", () => {
  test("shows the job, why and when it died, newest first", async () => {
    const orgId = await db.orgId();
    await insertDead(await db.orgId());
    const older = await insertDead(orgId, "a", "2026-01-01T00:00:00.000001Z");
    const newer = await insertDead(orgId, "a", "2026-01-01T00:00:00.000002Z");
    const { items } = await listDeadLetters(c, testCaller(orgId), { kind: null, pageSize: 0, pageToken: "" });
    expect(items.map((item) => item.job.jobId)).toEqual([newer, older]);
    expect(items[0]).toMatchObject({
      cause: "failures",
      fingerprint: "f1",
      deadAt: new Date("2026-01-01T00:00:00.000Z"),
      job: { state: JobState.dead, failures: 3, error: { code: "EXIT" }, result: null },
    });
  });

  test("comes in pages also where many died within a microsecond, and of one kind", async () => {
    const orgId = await db.orgId();
    const at = "2026-01-01T00:00:00.000009Z";
    const expected: string[] = [];
    for (let n = 0; n < 5; n++) expected.unshift(await insertDead(orgId, "a", at));
    await insertDead(orgId, "b", at);
    const found: string[] = [];
    let pageToken = "";
    do {
      const page = await listDeadLetters(c, testCaller(orgId), { kind: "a", pageSize: 2, pageToken });
      found.push(...page.items.map((item) => item.job.jobId));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(found).toEqual(expected);
  });

  test("refuses a kind that is none", async () => {
    const answer = listDeadLetters(c, testCaller(await db.orgId()), {
      kind: "A\0",
      pageSize: 0,
      pageToken: "",
    });
    await expect(answer).rejects.toMatchObject({ violations: [{ field: "kind" }] });
  });
});

describe("discarding a dead letter", () => {
  test("takes it off the list once, with an audit row; the job stays dead", async () => {
    const caller = testCaller(await db.orgId());
    const jobId = await insertDead(caller.orgId);
    await discardDeadLetter(c, caller, { jobId, reason: "known,\nnot worth it" });
    const page = await listDeadLetters(c, caller, { kind: null, pageSize: 0, pageToken: "" });
    expect(page.items).toEqual([]);
    expect(await getJob(c, caller, { jobId, externalId: null, isFull: false })).toMatchObject({
      state: JobState.dead,
    });
    const again = discardDeadLetter(c, caller, { jobId, reason: "" });
    await expect(again).rejects.toMatchObject({ reason: "DEAD_LETTER_NOT_FOUND" });
    const audit =
      await db.admin`select action, target, reason, details from muster.audit_log where org_id = ${caller.orgId}`;
    expect(audit).toEqual([
      {
        action: "dead_letter.discard",
        target: encodeId("job", jobId),
        reason: "known,\nnot worth it",
        details: { cause: "failures", generation: 1 },
      },
    ]);
  });

  test("does not reach another org", async () => {
    const jobId = await insertDead(await db.orgId());
    const answer = discardDeadLetter(c, testCaller(await db.orgId()), { jobId, reason: "" });
    await expect(answer).rejects.toMatchObject({ reason: "DEAD_LETTER_NOT_FOUND" });
    expect(await db.admin`select 1 from muster.dead_letters where job_id = ${jobId}`).toHaveLength(1);
  });

  test.each(["x".repeat(501), "a\0b"])("refuses the reason %.20j, and changes nothing", async (reason) => {
    const caller = testCaller(await db.orgId());
    const jobId = await insertDead(caller.orgId);
    await expect(discardDeadLetter(c, caller, { jobId, reason })).rejects.toMatchObject({
      violations: [{ field: "reason" }],
    });
    expect(await db.admin`select 1 from muster.dead_letters where job_id = ${jobId}`).toHaveLength(1);
  });
});

describe("dead letters by equal errors", () => {
  test("are counted, the largest group first, with the latest as the sample", async () => {
    const orgId = await db.orgId();
    const caller = testCaller(orgId);
    const die = async (fingerprint: string, kind: string, hoursAgo: number, message: string) => {
      const { jobId } = await insertJob(db, orgId, { state: JobState.dead, kind });
      const error = { code: "E", message };
      await insertAttempt(db, orgId, jobId, { outcome: Outcome.failed, state: JobState.dead, error });
      await db.admin`insert into muster.dead_letters (org_id, job_id, generation, cause, fingerprint, kind, dead_at)
        values (${orgId}, ${jobId}, 1, 'failures', ${fingerprint}, ${kind},
          muster.muster_clock() - ${hoursAgo} * interval '1 hour')`;
      return jobId;
    };
    await die("one", "index.repo", 30, "old");
    await die("one", "index.repo", 1.5, "middle");
    const latest = await die("one", "index.repo", 0, "new");
    await die("two", "render.frame", 2.5, "CUDA");
    const { groups, isTruncated } = await listDeadLetterGroups(c, caller, { kind: null, pageSize: 0 });
    expect(isTruncated).toBe(false);
    expect(groups.map(({ fingerprint, count }) => [fingerprint, count])).toEqual([
      ["one", 3],
      ["two", 1],
    ]);
    expect(groups[0]).toMatchObject({ kind: "index.repo", sampleJobId: latest, error: { message: "new" } });
    const [{ firstAt, lastAt, hourly } = { firstAt: new Date(), lastAt: new Date(), hourly: [] }] = groups;
    expect(Math.round((lastAt.getTime() - firstAt.getTime()) / 3_600_000)).toBe(30);
    expect([hourly.length, ...hourly.slice(-3)]).toEqual([24, 0, 1, 1]);
    const ofKind = await listDeadLetterGroups(c, caller, { kind: "render.frame", pageSize: 1 });
    expect(ofKind.groups.map((one) => one.fingerprint)).toEqual(["two"]);
    const none = await listDeadLetterGroups(c, testCaller(await db.orgId()), { kind: null, pageSize: 0 });
    expect(none).toEqual({ groups: [], isTruncated: false });
  });
});
