import { createMusterClient } from "@muster/client/node";
import { AuditService } from "@muster/client/v1/audit_service";
import { EnrolmentService } from "@muster/client/v1/enrolment_service";
import { KeyService } from "@muster/client/v1/key_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(() => muster?.close());

const lab = { name: "lab", limits: { skills: { names: ["gpu"] }, labels: { pool: "lab" } } };

function enrolmentAs(key: string) {
  return createMusterClient(EnrolmentService, { address: muster.server.apiAddress, key });
}

const reasonOf = async (call: Promise<unknown>) => {
  const { code, detail } = await failure(call);
  return [code, detail?.reason];
};
const invalid = [16, "KEY_INVALID"];

describe("S9 an enrolment token: single use, an hour at most, hashed, bound to org, skills and labels", () => {
  test("makes one worker, and is refused then", async () => {
    const { token = "" } = await muster.client(EnrolmentService).createEnrolment(lab);
    expect(token).toMatch(/^mk_enrol_/);
    const machine = enrolmentAs(token);
    const first = { name: "box", machine: "m-1", requestId: "r-1" };
    const { worker, key } = await machine.enrol(first);
    expect(worker).toMatchObject({ limits: { skills: { names: ["gpu"] }, labels: { pool: "lab" } } });
    expect(await reasonOf(enrolmentAs(key).enrol(first))).toEqual([7, "SCOPE_MISSING"]);
    // A lost answer: the same machine asks again.
    expect((await machine.enrol(first)).worker?.workerId).toBe(worker?.workerId);
    expect(await reasonOf(machine.enrol({ name: "box-2", machine: "m-2", requestId: "r-2" }))).toEqual(
      invalid,
    );
    expect(await reasonOf(machine.enrol({ ...first, machine: "m-2" }))).toEqual(invalid);
    const hidden = token.split("_")[3] ?? "";
    const [row] = await muster.database
      .admin`select count(*)::int as n from muster.api_keys k, muster.enrolments e
      where k::text like ${`%${hidden}%`} or e::text like ${`%${hidden}%`}`;
    expect(row?.["n"]).toBe(0);
  }, 60_000);

  test("is refused after its time, which is an hour at most", async () => {
    const admin = muster.client(EnrolmentService);
    const long = admin.createEnrolment({ ...lab, ttl: { seconds: 3_601n, nanos: 0 } });
    expect((await failure(long)).detail?.violations).toMatchObject([{ field: "ttl" }]);
    const { token } = await admin.createEnrolment({ ...lab, ttl: { seconds: 60n, nanos: 0 } });
    await muster.database.advanceClock(60_001);
    const late = enrolmentAs(token).enrol({ name: "late", machine: "m", requestId: "late" });
    expect(await reasonOf(late)).toEqual(invalid);
  }, 60_000);

  test("is for its own org, and allows nothing else", async () => {
    const { token } = await muster.client(EnrolmentService).createEnrolment(lab);
    const other = await muster.database.orgId();
    await enrolmentAs(token).enrol({ name: "mine", machine: "m", requestId: "mine" });
    const [row] = await muster.database
      .admin`select count(*)::int as n from muster.workers where org_id = ${other}`;
    expect(row?.["n"]).toBe(0);
    const address = muster.server.apiAddress;
    const workers = createMusterClient(WorkerAdminService, { address, key: token });
    expect(await reasonOf(workers.listWorkers({}))).toEqual([7, "SCOPE_MISSING"]);
    // No other key enrols.
    const anyone = muster.client(EnrolmentService).enrol({ machine: "m", requestId: "r" });
    expect(await reasonOf(anyone)).toEqual([7, "SCOPE_MISSING"]);
  }, 60_000);

  test("is refused at once when it was revoked", async () => {
    const admin = muster.client(EnrolmentService);
    const { token, enrolment } = await admin.createEnrolment(lab);
    await createMusterClient(KeyService, { address: muster.server.apiAddress, key: token }).whoAmI({});
    await admin.revokeEnrolment({ enrolmentId: enrolment?.enrolmentId ?? "", reason: "leaked" });
    expect(await reasonOf(enrolmentAs(token).enrol({ machine: "m", requestId: "r" }))).toEqual(invalid);
  }, 60_000);

  test("leaves an audit row for each use, and for each refusal", async () => {
    const { entries } = await muster.client(AuditService).listAuditEntries({ pageSize: 1_000 });
    const actions = entries.map(({ action }) => action);
    expect(actions.filter((action) => action === "worker.enrol")).toHaveLength(3);
    expect(actions).toContain("enrolment.create");
    expect(actions).toContain("enrolment.revoke");
    const reasons = () =>
      muster.database.admin`select reason from muster.audit_log where action = 'key.refuse'`;
    // They are written behind the calls.
    await expect
      .poll(async () => (await reasons()).map((row) => row["reason"]), { timeout: 20_000 })
      .toEqual(expect.arrayContaining(["used up", "repeated by another machine", "expired", "revoked"]));
  }, 60_000);
});
