import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeDigest, sendDigest } from "../../server/domain/digests.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { digest } from "../../server/kinds/digest.ts";
import { type Mail, MailError } from "../../server/outbound/mail.ts";
import { readDigestWindow } from "../../server/store/digests.ts";
import { readOrg } from "../../server/store/snapshot.ts";
import { insertAnything } from "../support/any-row.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { kindContext, kindFailure } from "../support/kind-context.ts";
import { insertAttempt, insertJob } from "../support/rows.ts";

let db: TestDatabase;
let org: string;
const zone = "Pacific/Auckland";

beforeAll(async () => {
  db = await createTestDatabase();
  org = await db.orgId();
  await db.admin`update muster.orgs set name = 'acme' where org_id = ${org}`;
  const other = await db.orgId();
  const { from } = await windowOf("day");
  const inside = `'${new Date(from.getTime() + 3_600_000).toISOString()}'`;
  const worker = db.newId();
  await insertAnything(db, "workers", org, { worker_id: `'${worker}'`, name: "'box-1'", owner: "'ada'" });
  const end = async (kind: string, state: JobState, of: string, endedAt: string) => {
    const { jobId } = await insertJob(db, of, { kind, state });
    const outcome = state === JobState.dead ? Outcome.failed : Outcome.succeeded;
    await insertAttempt(db, of, jobId, { outcome, state, workerId: worker });
    await db.admin.unsafe(`update muster.attempts set ended_at = ${endedAt} where job_id = '${jobId}'`);
  };
  await end("render.frame", JobState.succeeded, org, inside);
  await end("render.frame", JobState.succeeded, org, inside);
  await end("<b>bold", JobState.dead, org, inside);
  // Not of this window, and not of this org.
  await end("later", JobState.succeeded, org, "now() + interval '1 hour'");
  await end("foreign", JobState.succeeded, other, inside);
  const dead = { kind: "'<b>bold'", cause: "'failures'", dead_at: inside };
  await insertAnything(db, "dead_letters", org, dead);
  const pull = { project: "'acme/web'", author: "'grace\n\u202e'", created_at: inside, changed_at: inside };
  await insertAnything(db, "pull_requests", org, { ...pull, is_merged: "true", is_open: "false" });
  await insertAnything(db, "pull_requests", other, { ...pull, project: "'foreign/web'" });
});
afterAll(() => db.close());

const windowOf = (period: "day" | "week") =>
  readOrg(db.database.sweep, org, (tx) => readDigestWindow(tx, { period, zone }));

describe("report.digest", () => {
  test("is of the day, or the week from Monday, that ended last in the zone", async () => {
    const parts = (time: Date) =>
      new Intl.DateTimeFormat("en-GB", {
        timeZone: zone,
        weekday: "short",
        hour: "2-digit",
        minute: "2-digit",
      }).format(time);
    const [day, week] = [await windowOf("day"), await windowOf("week")];
    for (const time of [day.from, day.to, week.from, week.to]) expect(parts(time)).toMatch(/00:00$|24:00$/);
    expect([week.from, week.to].map((time) => parts(time).slice(0, 3))).toEqual(["Mon", "Mon"]);
    expect(day.to.getTime()).toBeLessThanOrEqual(db.nowMs());
    expect(db.nowMs() - day.to.getTime()).toBeLessThan(25 * 3_600_000);
  });

  test("says what ended, what died, who did it and which pull requests there were, of this org alone", async () => {
    const { subject, text } = await makeDigest({ db: db.database }, { orgId: org, period: "day", zone });
    expect(subject).toMatch(/^Muster acme, \d{4}-\d\d-\d\d: 2 finished, 1 dead, 1 pull requests$/);
    expect(text).toContain("render.frame  2 finished  0 dead");
    expect(text).toContain("<b>bold  failures  1");
    expect(text).toContain("box-1 (ada)  2 finished  1 dead");
    expect(text).toContain("acme/web  grace   1 opened  1 merged");
    expect(text).not.toMatch(/later|foreign/);
  });

  test("sums all of them, and says how many of a list are left out", async () => {
    const many = await db.orgId();
    const { from } = await windowOf("day");
    const at = new Date(from.getTime() + 3_600_000);
    const worker = db.newId();
    await insertAnything(db, "workers", many, { worker_id: `'${worker}'`, name: "'box-1'" });
    for (let index = 0; index < 60; index++) {
      const { jobId } = await insertJob(db, many, { kind: `kind-${index}`, state: JobState.succeeded });
      await insertAttempt(db, many, jobId, {
        ...{ outcome: Outcome.succeeded, state: JobState.succeeded, workerId: worker },
      });
      const [time, is] = [`'${at.toISOString()}'`, String(index < 55)];
      const pull = { url: `'https://x.example/${index}'`, project: `'acme/p${index}'`, created_at: time };
      await insertAnything(db, "pull_requests", many, { ...pull, changed_at: time, is_merged: is });
      const letter = { kind: `'kind-${index}'`, cause: "'failures'", dead_at: time };
      if (index < 51) await insertAnything(db, "dead_letters", many, letter);
    }
    await db.admin`update muster.attempts set ended_at = ${at} where org_id = ${many}`;
    const { subject, text, html } = await makeDigest(
      { db: db.database },
      { orgId: many, period: "day", zone },
    );
    expect(subject).toMatch(/: 60 finished, 0 dead, 60 pull requests$/);
    expect(text).toContain(
      "60 jobs finished, 0 died, 0 were cancelled; 60 pull requests were opened, 55 merged.",
    );
    expect(text).toContain("box-1  60 finished");
    expect(text.match(/^ {2}kind-\d+ {2}1 finished/gm)).toHaveLength(50);
    expect(text.match(/^ {2}and .*/gm)).toEqual(["  and 10 more", "  and 1 more", "  and 10 more"]);
    expect(html.match(/<td>and \d+ more<\/td>/g)).toHaveLength(3);
  });

  test("takes nothing that others wrote for HTML", async () => {
    const { html } = await makeDigest({ db: db.database }, { orgId: org, period: "day", zone });
    expect(html).toContain("<td>&lt;b&gt;bold</td>");
    expect(html).not.toContain("<b>");
    expect(html).not.toContain("\u202e");
  });

  test("goes to whom it is for, a repetition under the same id", async () => {
    const sent: Mail[] = [];
    const maintenance = {
      digest: (request: Omit<Parameters<typeof sendDigest>[1], "orgId">) =>
        sendDigest(
          { db: db.database, mailer: { send: async (mail) => void sent.push(mail) } },
          { ...request, orgId: org },
        ),
    };
    const run = (payload: unknown) => digest({ maintenance, failure: kindFailure })(kindContext({ payload }));
    const payload = { to: ["ada@example.com", "grace@example.com"], zone };
    expect(await run(payload)).toMatchObject({ to: 2 });
    await run({ ...payload, period: "week" });
    expect(sent.map((mail) => mail.to)).toEqual([payload.to, payload.to]);
    expect(new Set(sent.map((mail) => mail.messageId))).toEqual(new Set(["digest-job_1"]));
  });

  test("ends when the server refuses the mail for good, and is tried again when it only does not answer", async () => {
    const run = (isFinal: boolean) => {
      const maintenance = {
        digest: () => Promise.reject(new MailError("the mail server answered", isFinal)),
      };
      const ctx = kindContext({ payload: { to: ["ada@example.com"] } });
      return digest({ maintenance, failure: kindFailure })(ctx);
    };
    await expect(run(true)).rejects.toMatchObject({ code: "MAIL_REFUSED" });
    await expect(run(false)).rejects.toBeInstanceOf(MailError);
  });

  test.each([
    [{}, /to: /],
    [
      { to: ["nobody"], period: "month", zone: "Mars/Base" },
      /to\[0\]: .*; period: .*; zone: must be a time zone/,
    ],
    [{ to: ["a@b.example"], perod: "day" }, /perod/],
  ])("refuses the payload %j", async (payload, message) => {
    const maintenance = { digest: () => Promise.resolve({ subject: "" }) };
    const running = digest({ maintenance, failure: kindFailure })(kindContext({ payload }));
    await expect(running).rejects.toMatchObject({
      code: "PAYLOAD_INVALID",
      message: expect.stringMatching(message),
    });
  });
});
