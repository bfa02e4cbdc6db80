import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createMusterClient, createMusterTransport } from "@muster/client/node";
import { AuditService } from "@muster/client/v1/audit_service";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { OrgService } from "@muster/client/v1/org_service";
import { WatchService } from "@muster/client/v1/watch_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeId } from "../../server/domain/ids.ts";
import { orgTableNames } from "../../server/store/org-removals.ts";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(() => muster?.close());

/** A client of a key, for an org where one is named. */
function clientOf<T extends DescService>(service: T, key: string, org = ""): Client<T> {
  const transport = createMusterTransport({
    address: muster.server.apiAddress,
    key,
    interceptors: [
      (next) => (request) => {
        if (org !== "") request.header.set("muster-org", org);
        return next(request);
      },
    ],
  });
  return createClient(service, transport);
}

async function reasonOf(call: Promise<unknown>): Promise<string | undefined> {
  return (await failure(call)).detail?.reason;
}

test("a platform key acts for an org that it names, under its own name in that org's log", async () => {
  const { org, text } = await muster.client(OrgService).createOrg({ name: "acme" });
  const own = await clientOf(KeyService, text).whoAmI({});
  expect(own).toMatchObject({ org: "acme", key: { scopes: ["read", "submit", "work", "operate", "admin"] } });
  for (const named of ["acme", org?.orgId ?? ""]) {
    const who = await clientOf(KeyService, muster.key, named).whoAmI({});
    expect(who).toMatchObject({ org: "acme", actor: expect.stringMatching(/^platform:/) });
  }
  await clientOf(JobService, muster.key, "acme").submitJob({ job: { kind: "nobody" } });
  const { entries } = await clientOf(AuditService, text).listAuditEntries({});
  expect(entries.map(({ action, actor }) => [action, actor.split(":")[0]])).toEqual([
    ["job.submit", "platform"],
    ["org.create", "platform"],
  ]);
  expect(await reasonOf(clientOf(KeyService, muster.key, "nobody").whoAmI({}))).toBe("ORG_NOT_FOUND");
  expect(await reasonOf(clientOf(OrgService, text).listOrgs({}))).toBe("SCOPE_MISSING");
  expect(await reasonOf(clientOf(KeyService, text).createKey({ name: "p", scopes: ["platform"] }))).toBe(
    "SCOPE_MISSING",
  );
  const foreign = clientOf(KeyService, muster.key, "acme").createKey({ name: "p", scopes: ["platform"] });
  expect(await reasonOf(foreign)).toBe("SCOPE_MISSING");
  const second = await muster.client(KeyService).createKey({ name: "p", scopes: ["platform", "read"] });
  expect((await clientOf(OrgService, second.text).listOrgs({})).orgs.map(({ name }) => name)).toEqual([
    "default",
    "acme",
  ]);
}, 60_000);

test("the org of a key that asks is not suspended by it", async () => {
  const suspended = muster.client(OrgService).suspendOrg({ org: "default", reason: "oops" });
  expect(await reasonOf(suspended)).toBe("OWN_ORG");
});

test("a suspended org is refused, its watches end, its work ends, and it goes on when it is resumed", async () => {
  const orgs = muster.client(OrgService);
  const { text } = await orgs.createOrg({ name: "halted" });
  const jobs = clientOf(JobService, text);
  const { key } = await clientOf(WorkerAdminService, text).createWorker({ name: "w" });
  const [finish, begun] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const slow = async () => {
    begun.resolve();
    await finish.promise;
    return { is: "done" };
  };
  await muster.startWorker({ key, slots: 2, handlers: { slow, quick: async () => ({}) } } as never);
  const running = await jobs.submitJob({ job: { kind: "slow" } });
  await begun.promise;
  const peer = await muster.startPeer();
  const watch = createMusterClient(WatchService, { address: peer.apiAddress, key: text });
  const messages = watch.watchJobs({}, { signal: AbortSignal.timeout(60_000) })[Symbol.asyncIterator]();
  for (let seen: string | undefined; seen !== "snapshotEnd"; )
    seen = (await messages.next()).value?.body.case;

  await orgs.suspendOrg({ org: "halted", reason: "unpaid" });
  const refused = await failure(jobs.listJobs({}));
  expect(refused.detail?.reason).toBe("ORG_SUSPENDED");
  expect(refused.message).toContain("unpaid");
  const ended = await messages.next().then(
    () => "",
    (error: unknown) => String(error),
  );
  expect(ended).toMatch(/suspended/);
  const orgId = decodeId("org", (await orgs.getOrg({ org: "halted" })).org?.orgId ?? "");
  // What came in before is not offered either.
  const states = async () =>
    Object.fromEntries(
      (
        await muster.database.admin`select d.kind, coalesce(q.state, -1) as state from muster.jobs d
          left join muster.job_queue q on q.org_id = d.org_id and q.job_id = d.job_id where d.org_id = ${orgId}`
      ).map((row) => [row["kind"], Number(row["state"])]),
    );
  finish.resolve();
  while ((await states())["slow"] !== -1) await new Promise(setImmediate);

  await orgs.resumeOrg({ org: "halted" });
  expect((await jobs.getJob({ jobId: running.jobId } as never)).job?.state).toBe(JobState.SUCCEEDED);
  const { jobId } = await jobs.submitJob({ job: { kind: "quick" } });
  const { job } = await jobs.waitJob({ jobId, timeout: { seconds: 30n, nanos: 0 } });
  expect(job?.state).toBe(JobState.SUCCEEDED);
}, 120_000);

test("a deleted org is gone with all that it had; an audit row of the installation remains", async () => {
  const orgs = muster.client(OrgService);
  const { org, text } = await orgs.createOrg({ name: "gone" });
  const orgId = decodeId("org", org?.orgId ?? "");
  const jobs = clientOf(JobService, text);
  for (let n = 0; n < 5; n++) await jobs.submitJob({ job: { kind: "nobody", externalId: `e${n}` } });
  await clientOf(WorkerAdminService, text).createWorker({ name: "w" });
  const reason = "they left";
  const remove = (confirmName: string) => orgs.deleteOrg({ org: "gone", confirmName, reason });
  expect(await reasonOf(remove("gone"))).toBe("ORG_NOT_SUSPENDED");
  await orgs.suspendOrg({ org: "gone", reason });
  expect(await reasonOf(remove("other"))).toBe("VALIDATION_FAILED");
  await remove("gone");
  expect(await reasonOf(jobs.listJobs({}))).toBe("KEY_INVALID");
  await muster.database.advanceClock(20_000);
  await expect
    .poll(() => muster.database.admin`select 1 from muster.orgs where org_id = ${orgId}`, {
      ...{ timeout: 60_000, interval: 200 },
    })
    .toHaveLength(0);
  for (const table of orgTableNames) {
    const rows = await muster.database.admin.unsafe(
      `select 1 from muster.${table} where org_id = '${orgId}'`,
    );
    expect([table, rows.length]).toEqual([table, 0]);
  }
  const tables = await muster.database.admin`
    select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id'
    where c.relnamespace = 'muster'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition`;
  expect([...orgTableNames, "orgs"].sort()).toEqual(tables.map((row) => row["name"]).sort());
  const { entries } = await muster.client(AuditService).listAuditEntries({ target: org?.orgId ?? "" });
  expect(entries.map(({ action, reason: why }) => [action, why])).toEqual([
    ["org.remove", ""],
    ["org.delete", reason],
  ]);
}, 120_000);
