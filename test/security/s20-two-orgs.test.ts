import { randomUUID } from "node:crypto";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { type ApiError, readError } from "@muster/client/errors";
import { createMusterTransport } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { LeaseService } from "@muster/client/v1/lease_service";
import { OrgService } from "@muster/client/v1/org_service";
import { PersonService, Role } from "@muster/client/v1/person_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { WorkerService } from "@muster/client/v1/worker_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeId, encodeId } from "../../server/domain/ids.ts";
import { insertAnything } from "../support/any-row.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { apiServices } from "../support/services.ts";

/** One org, with its admin's clients and something of everything that has an id. */
interface Tenant {
  readonly orgId: string;
  readonly name: string;
  of<T extends DescService>(service: T): Client<T>;
  call(method: DescMethod, request: object): Promise<unknown>;
  readonly workerKey: string;
  /** Ids by the name of the field that takes them. */
  readonly ids: Readonly<Record<string, string>>;
  readonly lease: { readonly jobId: string; readonly attempt: number; readonly leaseId: string };
}

let muster: TestServer;
let ours: Tenant;
let theirs: Tenant;
let release: () => void = () => {};
const methods = (await apiServices()).flatMap((service) => service.methods);

beforeAll(async () => {
  muster = await startTestServer();
  [ours, theirs] = [await tenant("ours"), await tenant("theirs")];
}, 120_000);
afterAll(async () => {
  release();
  await muster?.close();
});

async function tenant(name: string): Promise<Tenant> {
  const made = await muster.client(OrgService).createOrg({ name });
  const transport = createMusterTransport({
    address: muster.server.apiAddress,
    key: made.text,
    httpVersion: "2",
  });
  const of = <T extends DescService>(service: T): Client<T> => createClient(service, transport);
  const orgId = decodeId("org", made.org?.orgId ?? "");
  const { key: workerKey, worker } = await of(WorkerAdminService).createWorker({ name: "gpu-1" });
  const held = new Promise<void>((resolve) => {
    const before = release;
    release = () => {
      before();
      resolve();
    };
  });
  await muster.startWorker({
    key: workerKey,
    slots: 8,
    handlers: {
      hold: () => held,
      echo: () => ({ of: name }),
    },
  });
  const { jobId: holdId } = await of(JobService).submitJob({ job: { kind: "hold" } });
  for (;;) {
    const { job } = await of(JobService).getJob({ jobId: holdId });
    if (job?.state === JobState.RUNNING) break;
  }
  const { lease } = await of(LeaseService).getLease({ jobId: holdId });
  const { batchId } = await of(BatchService).submitBatch({ jobs: [{ kind: "nobody" }] });
  const { jobId } = await of(JobService).submitJob({ job: { kind: "nobody", externalId: "order-1" } });
  const { keys } = await of(KeyService).listKeys({});
  const people = of(PersonService);
  await people.createInvitation({ role: Role.VIEWER });
  const { invitations } = await people.listInvitations({});
  const [artifactId, sessionId] = [muster.database.newId(), `session-${randomUUID()}`];
  await insertAnything(muster.database, "artifacts", orgId, {
    artifact_id: `'${artifactId}'`,
    job_id: `'${decodeId("job", jobId)}'`,
  });
  await insertAnything(muster.database, "sessions", orgId, { session_id: `'${sessionId}'` });
  const [webhookId, deliveryId] = [muster.database.newId(), muster.database.newId()];
  await insertAnything(muster.database, "webhooks", orgId, {
    ...{ webhook_id: `'${webhookId}'`, name: "'hook'", is_disabled: "true" },
  });
  await insertAnything(muster.database, "webhook_deliveries", orgId, {
    ...{ webhook_id: `'${webhookId}'`, delivery_id: `'${deliveryId}'`, state: "'sent'" },
  });
  const ids = {
    jobId,
    batchId,
    workerId: worker?.workerId ?? "",
    leaseId: lease?.leaseId ?? "",
    artifactId: encodeId("artifact", artifactId),
    deliveryId: encodeId("delivery", deliveryId),
    sessionId,
    invitationId: invitations[0]?.invitationId ?? "",
    keyId: keys.find(({ type }) => type === "api")?.keyId ?? "",
  };
  return {
    orgId,
    name,
    of,
    workerKey,
    ids,
    lease: { jobId: holdId, attempt: lease?.attempt ?? 1, leaseId: ids.leaseId },
    async call(method, request) {
      const call: unknown = Reflect.get(of(method.parent), method.localName);
      if (typeof call !== "function") throw new TypeError(`no client for ${method.name}`);
      if (method.methodKind === "unary") return call(request, { timeoutMs: 20_000 });
      for await (const message of call(request, { timeoutMs: 20_000 })) return message;
      return undefined;
    },
  };
}

/** An id that nobody has, of the same form. */
function nobodys(field: string): string {
  if (field === "keyId") return "zzzzzzzzzzzz";
  if (field === "sessionId") return `session-${randomUUID()}`;
  const noun = field.slice(0, -2);
  return encodeId(noun as "job", muster.database.newId());
}

/** What besides the id a request needs, so that the id is what decides. */
function besides({ name }: DescMethod): object {
  if (name === "ReplayWebhookDeliveries") return { name: "hook" };
  return name === "UpdateJob" ? { title: "x" } : {};
}

/** What is answered of nobody's id; a lease that nobody holds is one that has ended. */
const unknown = /_NOT_FOUND$|(^|^RevokeLease )SUPERSEDED$/;

/** Every method with a field that takes an id, with the field. */
function idFields(): { readonly method: DescMethod; readonly field: string }[] {
  return (
    methods
      // Those that go by a lease are tried with S15; CommitArtifact's id is one that its lease was given.
      .filter(({ parent, name }) => parent.name !== "WorkerService" && name !== "CommitArtifact")
      .flatMap((method) =>
        method.input.fields
          .filter(({ localName }) => localName in ours.ids)
          .map(({ localName }) => ({ method, field: localName })),
      )
  );
}

function requestOf(method: DescMethod, field: string, id: string): object {
  const found = method.input.fields.find(({ localName }) => localName === field);
  const oneof = found?.oneof?.localName;
  return { ...besides(method), ...(oneof ? { [oneof]: { case: field, value: id } } : { [field]: id }) };
}

async function failureOf(call: Promise<unknown>): Promise<ApiError | null> {
  return call.then(
    () => null,
    (error: unknown) => readError(error),
  );
}

/** An error without what is of the call alone. */
function shape(error: ApiError | null, id: string): string {
  const { code, message, detail } = error ?? {};
  const { requestId: _, ...rest } = detail ?? {};
  return JSON.stringify({ code, message, rest }, (key, value: unknown) =>
    key.startsWith("$") ? undefined : typeof value === "bigint" ? String(value) : value,
  ).replaceAll(id, "<id>");
}

describe("S21 what another org has cannot be told from what nobody has", () => {
  test("every method that takes an id has one answer for another org's and for nobody's", async () => {
    const fields = idFields();
    expect(fields.length).toBeGreaterThan(25);
    for (const { method, field } of fields) {
      const foreignId = theirs.ids[field] ?? "";
      const randomId = nobodys(field);
      const foreign = await failureOf(ours.call(method, requestOf(method, field, foreignId)));
      const random = await failureOf(ours.call(method, requestOf(method, field, randomId)));
      const where = `${method.name}.${field}`;
      expect([where, shape(foreign, foreignId)]).toEqual([where, shape(random, randomId)]);
      expect([where, foreign?.detail?.reason]).toEqual([where, expect.stringMatching(unknown)]);
    }
    // And nothing happened to what they named.
    const { job } = await theirs.of(JobService).getJob({ jobId: theirs.ids["jobId"] ?? "" });
    expect(job?.state).toBe(JobState.READY);
  }, 120_000);

  test("and takes as long for the one as for the other", async () => {
    const jobs = ours.of(JobService);
    const times: Record<"foreign" | "random", number[]> = { foreign: [], random: [] };
    const foreignId = theirs.ids["jobId"] ?? "";
    for (let round = 0; round < 80; round++) {
      for (const name of ["foreign", "random"] as const) {
        const startedMs = performance.now();
        await failureOf(jobs.cancelJob({ jobId: name === "foreign" ? foreignId : nobodys("jobId") }));
        times[name].push(performance.now() - startedMs);
      }
    }
    const median = (of: number[]) => of.toSorted((a, b) => a - b)[of.length >> 1] ?? 0;
    const [foreign, random] = [median(times.foreign), median(times.random)];
    expect(Math.max(foreign, random) / Math.min(foreign, random)).toBeLessThan(1.5);
  }, 120_000);

  test("an org that is named by the header has one answer, whether it is there or not, for whoever is no platform key", async () => {
    const reason = async (org: string) => {
      const transport = createMusterTransport({
        address: muster.server.apiAddress,
        key: ours.workerKey,
        interceptors: [
          (next) => (request) => {
            request.header.set("muster-org", org);
            return next(request);
          },
        ],
      });
      const error = await failureOf(createClient(KeyService, transport).whoAmI({}));
      return shape(error, org);
    };
    expect(await reason("theirs")).toBe(await reason("nobody"));
    expect(await reason("theirs")).toContain("SCOPE_MISSING");
    expect(await reason("ours")).toBe(shape(null, "-"));
  });
});

describe("S15 a lease is bound to its worker and its org", () => {
  test("a lease of another org is superseded or not found, whatever is done with it", async () => {
    const { lease } = theirs;
    const transport = createMusterTransport({ address: muster.server.apiAddress, key: ours.workerKey });
    const worker = createClient(WorkerService, transport);
    const result = { resultId: encodeId("result", muster.database.newId()), lease };
    const calls: readonly (() => Promise<unknown>)[] = [
      () => worker.createJobToken({ lease }),
      () => worker.listParentResults({ lease }),
      () => ours.of(LeaseService).revokeLease({ leaseId: lease.leaseId }),
    ];
    for (const call of calls) {
      expect((await failureOf(call()))?.detail?.reason).toMatch(/^(SUPERSEDED|[A-Z]+_NOT_FOUND)$/);
    }
    const answer = await worker.submitResults({ results: { results: [result] } }).catch(String);
    expect(
      JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? String(value) : value)),
    ).not.toMatch(/COMMITTED/);
    expect((await theirs.of(JobService).getJob({ jobId: lease.jobId })).job?.state).toBe(JobState.RUNNING);
  });
});

describe("S20 keys of requests and external ids are an org's own", () => {
  test("the same in two orgs are two jobs", async () => {
    const job = { kind: "nobody", externalId: "same" };
    const ids = await Promise.all(
      [ours, theirs].map(
        async (one) => (await one.of(JobService).submitJob({ job, idempotencyKey: "same" })).jobId,
      ),
    );
    expect(new Set(ids).size).toBe(2);
    const again = await ours.of(JobService).submitJob({ job, idempotencyKey: "same" });
    expect(again.jobId).toBe(ids[0]);
  });

  test("two orgs under load, each asking all it can with the other's ids, mix nothing", async () => {
    const jobsEach = 60;
    const run = async (own: Tenant, other: Tenant) => {
      const submitted: string[] = [];
      const work = async () => {
        for (let n = 0; n < jobsEach; n++) {
          const job = { kind: "echo", externalId: `load-${n}`, queue: "load" };
          const { jobId } = await own.of(JobService).submitJob({ job, idempotencyKey: `load-${n}` });
          submitted.push(jobId);
        }
      };
      let isOver = false;
      let asked = 0;
      const pry = async () => {
        while (!isOver || asked === 0) {
          for (const { method, field } of idFields()) {
            const error = await failureOf(own.call(method, requestOf(method, field, other.ids[field] ?? "")));
            expect(`${method.name} ${error?.detail?.reason}`).toMatch(unknown);
            asked++;
          }
        }
      };
      const workAndWait = async () => {
        await work();
        for (const jobId of submitted) {
          const { job } = await own.of(JobService).waitJob({ jobId, timeout: { seconds: 60n, nanos: 0 } });
          expect(job?.state).toBe(JobState.SUCCEEDED);
        }
        isOver = true;
      };
      await Promise.all([pry(), workAndWait()]);
      return { submitted, asked };
    };
    const [first, second] = await Promise.all([run(ours, theirs), run(theirs, ours)]);
    expect(new Set([...first.submitted, ...second.submitted]).size).toBe(2 * jobsEach);
    expect(Math.min(first.asked, second.asked)).toBeGreaterThan(25);
    const mixed = await muster.database.admin`
      select (select count(*)::int from muster.jobs where org_id = ${ours.orgId}::uuid and queue = 'load') as ours,
        (select count(*)::int from muster.jobs where org_id = ${theirs.orgId}::uuid and queue = 'load') as theirs,
        (select count(*)::int from muster.attempts a join muster.jobs j on j.job_id = a.job_id
          where a.org_id <> j.org_id) as mixed,
        (select count(*)::int from muster.audit_log a where a.org_id in (${ours.orgId}::uuid, ${theirs.orgId}::uuid)
          and a.action not in ('job.submit', 'batch.submit', 'org.create', 'worker.create', 'invitation.create')
        ) as acts`;
    expect(mixed[0]).toMatchObject({ ours: jobsEach, theirs: jobsEach, mixed: 0, acts: 0 });
  }, 240_000);
});
