import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Caller, Coordinator } from "../../server/domain/context.ts";
import { enrol } from "../../server/domain/enrol.ts";
import { createEnrolment, listEnrolments, revokeEnrolment } from "../../server/domain/enrolments.ts";
import { authenticate, createKeyContext, derivePepper, type KeyContext } from "../../server/domain/keys.ts";
import { attachLink } from "../../server/domain/links.ts";
import { noLimits } from "../../server/domain/rules/worker-limits.ts";
import { createWorker, getWorker } from "../../server/domain/workers.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { hello } from "../support/fleet.ts";

let db: TestDatabase;
let c: Coordinator & KeyContext;
beforeAll(async () => {
  db = await createTestDatabase();
  const base = testCoordinator(db);
  c = { ...base, ...createKeyContext(base, { pepper: derivePepper("test") }) };
});
afterAll(() => db.close());

const asked = {
  name: "lab",
  limits: { ...noLimits, skills: ["gpu"] },
  namePattern: "",
  uses: 1,
  ttlMs: 900_000,
};
const machine = (overrides: object = {}) => ({
  name: "box",
  machine: "m-1",
  host: "box.lan",
  requestId: "r-1",
  ...overrides,
});

async function org(overrides: Partial<typeof asked> = {}) {
  const caller = testCaller(await db.orgId());
  const { enrolment, token } = await createEnrolment(c, caller, { ...asked, ...overrides });
  // As the gate finds out who calls, with each call anew.
  const holder = async (): Promise<Caller> => {
    c.verifiedKeys.forgetAll("");
    return authenticate(c, token, "req_enrol");
  };
  const enrolAs = async (overrides: object = {}) => enrol(c, await holder(), machine(overrides));
  const audited = async (action: string) => {
    await c.keyNotes.write();
    return db.admin`select reason, details from muster.audit_log
      where org_id = ${caller.orgId} and action = ${action} order by audit_id`;
  };
  return { caller, enrolment, token, holder, enrolAs, audited };
}

const invalid = { reason: "KEY_INVALID", code: "unauthenticated" };

describe("enrolling a machine", () => {
  test("makes a worker of it whose skills are the server's, and its key", async () => {
    const { caller, enrolAs, audited, enrolment } = await org({
      limits: { ...noLimits, skills: ["gpu"], slots: 2, labels: { zone: "eu" } },
    });
    const { worker, key } = await enrolAs();
    expect(worker).toMatchObject({ name: "box", host: "box.lan", owner: "key:test", approval: null });
    const own = await authenticate(c, key, "req_1");
    expect(own).toMatchObject({ type: "worker", workerId: worker.workerId, scopes: ["work"] });
    const attached = await attachLink(
      c,
      own,
      hello({
        declared: {
          ...hello().declared,
          skills: [
            { name: "gpu", digest: "" },
            { name: "prod", digest: "" },
          ],
          slots: 8,
          points: 8,
          labels: { zone: "us", rack: "3" },
        },
      }),
    );
    expect(attached.declared).toMatchObject({
      skills: [{ name: "gpu" }],
      slots: 2,
      points: 8,
      labels: { zone: "eu", rack: "3" },
    });
    const refusals = [
      "may not have the skill prod",
      "may have 2 of its 8 slots",
      "may not choose the label zone",
    ];
    expect(attached.refusals).toEqual(refusals);
    expect(await getWorker(c, caller, { workerId: null, name: "box" })).toMatchObject({
      skills: [{ name: "gpu" }],
      slots: 2,
      refusals,
    });
    const [row] = await audited("worker.enrol");
    expect(row?.["details"]).toMatchObject({ name: "box", machine: "m-1", enrolment: enrolment.keyId });
    expect(JSON.stringify(row)).not.toContain(key.split("_")[3]);
  });

  test("that asks again within a minute gets the same worker and a new key", async () => {
    const { enrolAs, audited } = await org();
    const first = await enrolAs();
    const second = await enrolAs();
    expect(second.worker.workerId).toBe(first.worker.workerId);
    expect(second.key).not.toBe(first.key);
    await expect(authenticate(c, first.key, "req")).rejects.toMatchObject(invalid);
    await expect(authenticate(c, second.key, "req")).resolves.toMatchObject({ actor: "worker:box" });
    expect(await audited("worker.enrol")).toHaveLength(2);
    await expect(enrolAs({ machine: "m-2" })).rejects.toMatchObject(invalid);
    await db.advanceClock(61_000);
    await expect(enrolAs()).rejects.toMatchObject(invalid);
    expect((await audited("key.refuse")).map((row) => row["reason"])).toEqual([
      "revoked",
      "repeated by another machine",
      "expired",
    ]);
  });

  test("leaves the token unused when its name is taken or not like the pattern", async () => {
    const { caller, enrolAs } = await org({ namePattern: "lab-*" });
    await expect(enrolAs()).rejects.toMatchObject({
      reason: "VALIDATION_FAILED",
      violations: [{ field: "name", message: "must be like lab-*" }],
    });
    await createWorker(c, caller, { name: "lab-1" });
    await expect(enrolAs({ name: "lab-1" })).rejects.toMatchObject({ reason: "NAME_TAKEN" });
    expect((await enrolAs({ name: "" })).worker.name).toBe("lab-box.lan");
  });

  test("of a fleet takes as many as its token has uses, however many come at once", async () => {
    const { caller, enrolAs } = await org({ uses: 3, namePattern: "w-*" });
    const all = await Promise.allSettled(
      Array.from({ length: 6 }, (_, n) =>
        enrolAs({ name: `w-${n}`, requestId: `r-${n}`, machine: `m-${n}` }),
      ),
    );
    expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    const { items } = await listEnrolments(c, caller, { pageSize: 0, pageToken: "", isWithEnded: true });
    expect(items).toMatchObject([{ state: "used", used: 3, uses: 3 }]);
  });

  test("with another key is refused", async () => {
    const { caller } = await org();
    await expect(enrol(c, caller, machine())).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
  });
});

describe("enrolments", () => {
  test("are listed without those that have ended, and revoked", async () => {
    const { caller, enrolment, enrolAs, audited } = await org();
    const page = { pageSize: 0, pageToken: "", isWithEnded: false };
    expect((await listEnrolments(c, caller, page)).items).toEqual([enrolment]);
    const revoked = await revokeEnrolment(c, caller, { keyId: enrolment.keyId, reason: "leaked" });
    expect(revoked.state).toBe("revoked");
    await expect(enrolAs()).rejects.toMatchObject(invalid);
    expect((await listEnrolments(c, caller, page)).items).toEqual([]);
    expect(await audited("enrolment.revoke")).toMatchObject([{ reason: "leaked" }]);
    const other = testCaller(await db.orgId());
    await expect(revokeEnrolment(c, other, { keyId: enrolment.keyId, reason: "" })).rejects.toMatchObject({
      reason: "ENROLMENT_NOT_FOUND",
    });
  });

  test("are refused with all that is wrong", async () => {
    const caller = testCaller(await db.orgId());
    const wrong = {
      name: "",
      limits: { ...noLimits, skills: ["A"], slots: -1 },
      namePattern: "",
      uses: 101,
      ttlMs: 1,
    };
    await expect(createEnrolment(c, caller, wrong)).rejects.toMatchObject({
      violations: [
        { field: "name" },
        { field: "limits.skills.names[0]" },
        { field: "limits.slots" },
        { field: "ttl" },
        { field: "uses" },
      ],
    });
  });
});
