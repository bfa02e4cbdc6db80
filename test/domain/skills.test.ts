import { createHash } from "node:crypto";
import { readError } from "@muster/client/errors";
import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobService } from "@muster/client/v1/job_service";
import { OrgService } from "@muster/client/v1/org_service";
import { ScheduleService } from "@muster/client/v1/schedule_service";
import { SkillService } from "@muster/client/v1/skill_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createSkillDocuments } from "../../server/domain/skill-documents.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(() => muster?.close());

const skills = () => muster.client(SkillService);
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const refused = (call: Promise<unknown>) =>
  call.then(
    () => [],
    (error: unknown) => {
      const { reason, violations = [] } = readError(error).detail ?? {};
      return violations.length === 0
        ? [reason]
        : violations.map(({ field, message }) => `${field} ${message}`);
    },
  );

describe("a document of a skill", () => {
  test("is made, left alone when it is said again, replaced, and deleted; each with its audit row", async () => {
    const skill = { name: "life", description: "How to live", body: "# Life\n" };
    const made = await skills().putSkill({ skill });
    expect([made.created, made.changed, made.skill?.digest]).toEqual([true, true, sha256(skill.body)]);
    const again = await skills().putSkill({ skill });
    expect([again.created, again.changed, again.skill]).toEqual([false, false, made.skill]);
    const other = { ...skill, body: "# Another life\n" };
    const dry = await skills().putSkill({ skill: other, validateOnly: true });
    expect([dry.created, dry.changed, dry.skill?.digest]).toEqual([false, true, sha256(other.body)]);
    expect((await skills().getSkill({ name: "life" })).skill).toMatchObject({ ...skill, sizeBytes: 7 });
    expect((await skills().putSkill({ skill: other })).changed).toBe(true);
    expect(await refused(skills().putSkill({ skill, createOnly: true }))).toEqual(["NAME_TAKEN"]);
    await skills().deleteSkill({ name: "life" });
    expect(await refused(skills().getSkill({ name: "life" }))).toEqual(["SKILL_NOT_FOUND"]);
    expect(await refused(skills().deleteSkill({ name: "life" }))).toEqual(["SKILL_NOT_FOUND"]);
    await skills().deleteSkill({ name: "life", allowMissing: true });
    const rows = await muster.database.admin<{ action: string }[]>`
      select action from muster.audit_log where target = 'life' order by audit_id`;
    expect(rows.map(({ action }) => action)).toEqual([
      ...["skill.put", "skill.put", "skill.put", "skill.delete", "skill.delete"],
    ]);
  });

  test("has a version for each body that it had, and the same body is no new one", async () => {
    const put = (body: string, description = "") =>
      skills().putSkill({ skill: { name: "versions", description, body } });
    await put("one");
    await put("two");
    await put("two", "only the description");
    const digestsOf = async () => {
      const { versions } = await skills().listSkillVersions({ name: "versions" });
      return versions.map(({ digest, replaceTime }) => [digest, replaceTime === undefined]);
    };
    expect(await digestsOf()).toEqual([
      [sha256("two"), true],
      [sha256("one"), false],
    ]);
    const old = await skills().getSkill({ name: "versions", digest: sha256("one").slice(0, 8) });
    expect(old.skill).toMatchObject({ body: "one", digest: sha256("one"), sizeBytes: 3 });
    await put("one");
    expect(await digestsOf()).toEqual([
      [sha256("one"), true],
      [sha256("two"), false],
    ]);
    expect(await refused(skills().getSkill({ name: "versions", digest: "0".repeat(64) }))).toEqual([
      "SKILL_NOT_FOUND",
    ]);
  });

  test("keeps old versions within bounds: all of a day, then the last twenty", async () => {
    const put = (n: number) => skills().putSkill({ skill: { name: "many", body: `version ${n}` } });
    const count = async () => (await skills().listSkillVersions({ name: "many" })).versions.length;
    for (let n = 0; n < 30; n++) await put(n);
    expect(await count()).toBe(30);
    await muster.database
      .admin`update muster.skill_versions set replaced_at = replaced_at - interval '2 days'`;
    await put(30);
    // The one before it has just been replaced; of the others the last ones stay.
    expect(await count()).toBe(21);
    const left = (await skills().listSkillVersions({ name: "many" })).versions.map(({ digest }) => digest);
    expect(left).toEqual(Array.from({ length: 21 }, (_, n) => sha256(`version ${30 - n}`)));
    await skills().deleteSkill({ name: "many" });
    const kept = () => muster.database.admin`select 1 from muster.skill_versions where name = 'many'`;
    expect(await kept()).toHaveLength(2);
    await muster.database
      .admin`update muster.skill_versions set replaced_at = replaced_at - interval '2 days'`;
    await skills().putSkill({ skill: { name: "another", body: "x" } });
    expect(await kept()).toHaveLength(0);
  });

  test("is changed by none who has not seen what it says", async () => {
    const skill = { name: "etag", body: "one" };
    const { skill: first } = await skills().putSkill({ skill });
    const etag = first?.etag ?? "";
    await skills().putSkill({ skill: { ...skill, body: "two", etag } });
    expect(await refused(skills().putSkill({ skill: { ...skill, body: "three", etag } }))).toEqual([
      "ETAG_MISMATCH",
    ]);
    expect(await refused(skills().deleteSkill({ name: "etag", etag }))).toEqual(["ETAG_MISMATCH"]);
    expect((await skills().getSkill({ name: "etag" })).skill?.body).toBe("two");
    // Of many that make it at once none is an error that nobody expects.
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        refused(skills().putSkill({ skill: { name: "race", body: `${n}` } })),
      ),
    );
    for (const answer of answers) expect(answer.filter((one) => one !== "ETAG_MISMATCH")).toEqual([]);
    expect(answers).toContainEqual([]);
  });

  test("is text within its limits; all that is wrong is told at once", async () => {
    const skill = { name: "No Slug", description: "d".repeat(1_025), body: "a\0b" };
    expect(await refused(skills().putSkill({ skill, reason: "r".repeat(501) }))).toEqual([
      "skill.name must have 1 to 100 characters of a-z 0-9 . _ -",
      "skill.description must have at most 1024 characters",
      "skill.body must not have control characters",
      "reason must have at most 500 characters",
    ]);
    const put = (body: string) => refused(skills().putSkill({ skill: { name: "large", body } }));
    expect(await put("ä".repeat(128 * 1024))).toEqual([]);
    expect(await put(`${"ä".repeat(128 * 1024)}a`)).toEqual(["skill.body must have at most 256 KiB"]);
    expect(await put(" \n")).toEqual(["skill.body must not be empty"]);
    expect(await refused(skills().getSkill({ name: "large", digest: "xyz" }))).toEqual([
      "digest must be 8 to 64 characters of 0-9 a-f",
    ]);
  });

  test("is listed by name, page by page, by what it says of itself; and is its org's alone", async () => {
    const { text: key } = await muster.client(OrgService).createOrg({ name: "neighbours" });
    const theirs = createMusterClient(SkillService, { address: muster.server.apiAddress, key });
    for (const name of ["c", "a", "b"]) {
      await theirs.putSkill({ skill: { name, description: `The letter ${name.toUpperCase()}`, body: name } });
    }
    const first = await theirs.listSkills({ pageSize: 2 });
    expect(first.skills.map(({ name, body }) => [name, body])).toEqual([
      ["a", ""],
      ["b", ""],
    ]);
    const second = await theirs.listSkills({ pageSize: 2, pageToken: first.nextPageToken });
    expect([second.skills.map(({ name }) => name), second.nextPageToken]).toEqual([["c"], ""]);
    expect((await theirs.listSkills({ text: "letter b" })).skills.map(({ name }) => name)).toEqual(["b"]);
    for (const call of [
      () => skills().getSkill({ name: "a" }),
      () => skills().listSkillVersions({ name: "a" }),
      () => skills().deleteSkill({ name: "a" }),
    ]) {
      expect(await refused(call())).toEqual(["SKILL_NOT_FOUND"]);
    }
    await skills().putSkill({ skill: { name: "a", body: "ours" } });
    expect((await theirs.getSkill({ name: "a" })).skill?.body).toBe("a");
  });

  test("that another coordinator changed is known after 5 s to offers, and at once to who submits", async () => {
    let nowMs = 0;
    await skills().putSkill({ skill: { name: "first-of-all", body: "x" } });
    const [{ orgId = "" } = {}] = await muster.database.admin<{ orgId: string }[]>`
      select org_id as "orgId" from muster.skills where name = 'first-of-all'`;
    const other = createSkillDocuments({ db: muster.database.database }, () => nowMs);
    expect((await other.digests(orgId)).has("elsewhere")).toBe(false);
    await skills().putSkill({ skill: { name: "elsewhere", body: "one" } });
    nowMs = 4_999;
    expect((await other.digests(orgId)).has("elsewhere")).toBe(false);
    expect(await other.unknown(orgId, new Set(["elsewhere", "elsewher"]))).toEqual(
      new Map([["elsewher", undefined]]),
    );
    expect((await other.digests(orgId)).get("elsewhere")).toBe(sha256("one"));
    await skills().putSkill({ skill: { name: "elsewhere", body: "two" } });
    nowMs = 9_999;
    expect((await other.digests(orgId)).get("elsewhere")).toBe(sha256("two"));
  });

  test("must be there when a job names it", async () => {
    await skills().putSkill({ skill: { name: "deploying", body: "x" } });
    const job = { kind: "nobody", instructions: ["deploying", "deploing"] };
    const message = "names a skill without a document: deploing; did you mean deploying?";
    expect(await refused(muster.client(JobService).submitJob({ job }))).toEqual([
      `job.instructions[1] ${message}`,
    ]);
    expect(
      await refused(muster.client(BatchService).submitBatch({ jobs: [{ kind: "nobody" }, job] })),
    ).toEqual([`jobs[1].instructions[1] ${message}`]);
    const schedule = { name: "s", cron: "@daily", job };
    expect(
      await refused(muster.client(ScheduleService).putSchedule({ schedule, allowMissing: true })),
    ).toEqual([`schedule.job.instructions[1] ${message}`]);
    // What was made a moment ago counts.
    await skills().putSkill({ skill: { name: "deploing", body: "x" } });
    await muster.client(JobService).submitJob({ job, idempotencyKey: "k" });
    await skills().deleteSkill({ name: "deploing" });
    expect((await muster.client(JobService).submitJob({ job, idempotencyKey: "k" })).replayed).toBe(true);
  });
});
