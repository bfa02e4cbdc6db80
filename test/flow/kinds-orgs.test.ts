import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { createMusterClient } from "@muster/client/node";
import { type Job, JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { OrgService } from "@muster/client/v1/org_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { decodeId } from "../../server/domain/ids.ts";
import { Outcome, JobState as States } from "../../server/domain/rules/states.ts";
import { dayLabel, lowestUuid, partitionOf } from "../../server/store/partitions.ts";
import { type OwnWorker, startOwnWorker } from "../../tui/commands/own-worker.ts";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { insertAttempt, insertJob } from "../support/rows.ts";
import { type SmtpServer, startSmtpServer } from "../support/smtp.ts";

let muster: TestServer;
let smtp: SmtpServer;
let place: string;
const own: OwnWorker[] = [];

beforeEach(async () => {
  smtp = await startSmtpServer();
  place = await mkdtemp(join(tmpdir(), "muster-backups-"));
  muster = await startTestServer({
    smtpUrl: smtp.url,
    mailFrom: "Muster <muster@example.com>",
    backupPlace: place,
  });
});
afterEach(async () => {
  for (const one of own.splice(0)) await one.stop();
  await muster.close();
  await smtp.stop();
  await rm(place, { recursive: true, force: true });
});

/** The coordinator's own workers; by default they stay for the rest of a test. */
function startOwn(lingerMs = 600_000): OwnWorker {
  const config = {
    ...{ kinds: true, githubApiUrl: "http://127.0.0.1:1", githubToken: undefined },
    ...{ githubTokenOrgs: [], outboundAllow: [] },
  };
  const one = startOwnWorker(
    muster.server,
    config,
    { now: Date.now, stderr: new PassThrough() },
    { lingerMs },
  );
  own.push(one);
  return one;
}

interface Tenant {
  readonly orgId: string;
  submit(kind: string, payload: unknown): Promise<string>;
  /** The job once it has ended. */
  end(jobId: string): Promise<Job>;
  readonly key: string;
}

async function tenant(name: string): Promise<Tenant> {
  const { org, text } = await muster.client(OrgService).createOrg({ name });
  const jobs = createMusterClient(JobService, { address: muster.server.apiAddress, key: text });
  return {
    orgId: decodeId("org", org?.orgId ?? "", "org"),
    key: text,
    async submit(kind, payload) {
      const job = {
        kind,
        payload: { content: { case: "data" as const, value: Buffer.from(JSON.stringify(payload)) } },
      };
      return (await jobs.submitJob({ job })).jobId;
    },
    async end(jobId) {
      const { job } = await waited(
        () => jobs.getJob({ jobId }),
        (answer) => (answer.job?.state ?? 0) >= JobState.SUCCEEDED,
      );
      if (job === undefined) throw new Error("there is no such job");
      return job;
    },
  };
}

/** Asks until the answer is as it should be. */
async function waited<T>(ask: () => Promise<T>, isRight: (answer: T) => boolean): Promise<T> {
  for (const until = Date.now() + 30_000; ; ) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    if (Date.now() > until)
      throw new Error(
        `it stays ${JSON.stringify(answer, (_, v) => (typeof v === "bigint" ? String(v) : v))}`,
      );
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const resultOf = (job: Job): unknown =>
  job.result?.content.case === "data"
    ? JSON.parse(Buffer.from(job.result.content.value).toString())
    : undefined;
const workersOf = async (orgId: string) =>
  (
    await muster.database.admin`select w.name, k.is_attached as attached from muster.workers w
      left join muster.links k on k.org_id = w.org_id and k.worker_id = w.worker_id where w.org_id = ${orgId}`
  ).map((row) => ({ name: String(row["name"]), attached: row["attached"] === true }));

describe("built-in kinds of several orgs", () => {
  test("each org has its own digest, and an org that uses none has no worker", async () => {
    startOwn();
    const [acme, globex, idle] = [await tenant("acme"), await tenant("globex"), await tenant("idle")];
    const jobs = await Promise.all(
      [acme, globex].map(async (one) => ({
        one,
        id: await one.submit("report.digest", { to: ["ada@example.com"] }),
      })),
    );
    for (const { one, id } of jobs) expect((await one.end(id)).state).toBe(JobState.SUCCEEDED);
    await smtp.came(2);
    const subjects = smtp.mails.map(({ headers }) => headers.get("subject")).sort();
    expect(subjects).toEqual([
      expect.stringMatching(/^Muster acme, /),
      expect.stringMatching(/^Muster globex, /),
    ]);
    for (const { orgId } of [acme, globex]) {
      expect(await workersOf(orgId)).toEqual([{ name: "coordinator", attached: true }]);
    }
    expect(await workersOf(idle.orgId)).toEqual([]);
  }, 60_000);

  test("retention of an org removes its own jobs, and only an admin of it may ask for it", async () => {
    startOwn();
    const [acme, globex] = [await tenant("acme"), await tenant("globex")];
    const db = muster.database;
    const at = new Date(db.nowMs() - 100 * 86_400_000);
    for (const table of ["jobs", "attempts", "log_chunks"]) {
      await db.admin.unsafe(`set role muster_owner; ${partitionOf(table, dayLabel(at))}; reset role`);
    }
    const idOf = (n: number) => `${lowestUuid(at).slice(0, 14)}7000-8000-00000000000${n}`;
    for (const [n, { orgId }] of [acme, globex].entries()) {
      await insertJob(db, orgId, { jobId: idOf(n), state: JobState.SUCCEEDED });
      const end = { outcome: Outcome.succeeded, state: States.succeeded };
      await insertAttempt(db, orgId, idOf(n), end);
    }
    const keys = createMusterClient(KeyService, { address: muster.server.apiAddress, key: acme.key });
    const { text } = await keys.createKey({ name: "operator", scopes: ["submit", "operate"] });
    const operator = createMusterClient(JobService, { address: muster.server.apiAddress, key: text });
    const refused = await failure(operator.submitJob({ job: { kind: "maintenance.retention" } }));
    expect(refused.detail?.reason).toBe("SCOPE_MISSING");
    const job = await acme.end(await acme.submit("maintenance.retention", {}));
    expect(resultOf(job)).toMatchObject({ dropped: [{ table: "jobs", rows: 1 }], kept: [] });
    const left =
      await db.admin`select job_id from muster.jobs where job_id = any(${[idOf(0), idOf(1)]}::uuid[])`;
    expect(left.map((row) => row["job_id"])).toEqual([idOf(1)]);
  }, 60_000);

  test("a backup of an org holds that org alone, and never another one", async () => {
    startOwn();
    const [acme] = [await tenant("acme"), await tenant("globex")];
    const foreign = await acme.end(await acme.submit("maintenance.backup", { org: "globex" }));
    expect([foreign.state, foreign.error?.code]).toEqual([JobState.DEAD, "PAYLOAD_INVALID"]);
    expect(foreign.error?.message).toContain("must be the org itself: acme");
    for (const payload of [{}, { org: "acme" }]) {
      const made = resultOf(await acme.end(await acme.submit("maintenance.backup", payload)));
      expect(made).toMatchObject({ org: "acme", orgs: 1, place: "", removed: [] });
    }
    const names = await readdir(place);
    expect(names.filter((name) => name.includes("-org-acme-"))).toHaveLength(2);
    expect(names.filter((name) => !name.includes("-org-acme-"))).toEqual([]);
  }, 60_000);

  test("nothing of a suspended org runs, and goes on when it is resumed", async () => {
    const [acme, globex] = [await tenant("acme"), await tenant("globex")];
    const waiting = await globex.submit("report.digest", { to: ["ada@example.com"] });
    await muster.client(OrgService).suspendOrg({ org: "globex", reason: "unpaid" });
    startOwn();
    const other = await acme.submit("report.digest", { to: ["grace@example.com"] });
    expect((await acme.end(other)).state).toBe(JobState.SUCCEEDED);
    expect(await workersOf(globex.orgId)).toEqual([]);
    expect(smtp.mails.map(({ to }) => to)).toEqual([["grace@example.com"]]);
    await muster.client(OrgService).resumeOrg({ org: "globex" });
    expect((await globex.end(waiting)).state).toBe(JobState.SUCCEEDED);
  }, 60_000);

  test("a worker that has nothing to do ends, and starts again under the same key", async () => {
    startOwn(500);
    const acme = await tenant("acme");
    for (const n of [1, 2]) {
      const id = await acme.submit("report.digest", { to: [`ada${n}@example.com`] });
      expect((await acme.end(id)).state).toBe(JobState.SUCCEEDED);
      await waited(
        () => workersOf(acme.orgId),
        (all) => all.every(({ attached }) => !attached),
      );
    }
    const entries = await muster.database.admin`select action from muster.audit_log
      where org_id = ${acme.orgId} and actor = 'system'`;
    expect(entries.map((row) => row["action"])).toEqual(["worker.create"]);
  }, 60_000);

  test("two coordinators do what is to be done once", async () => {
    const peer = await muster.startPeer();
    startOwn();
    own.push(
      startOwnWorker(
        peer,
        {
          ...{ kinds: true, githubApiUrl: "http://127.0.0.1:1", githubToken: undefined },
          ...{ githubTokenOrgs: [], outboundAllow: [] },
        },
        { now: Date.now, stderr: new PassThrough() },
      ),
    );
    const acme = await tenant("acme");
    const ids = await Promise.all(
      Array.from({ length: 6 }, (_, n) => acme.submit("report.digest", { to: [`ada${n}@example.com`] })),
    );
    for (const id of ids) expect(await acme.end(id)).toMatchObject({ state: JobState.SUCCEEDED, attempt: 1 });
    expect(smtp.mails).toHaveLength(6);
  }, 60_000);
});
