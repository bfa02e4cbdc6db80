import { Code } from "@connectrpc/connect";
import { AuditService } from "@muster/client/v1/audit_service";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { CheckLevel, LookupType, SystemService } from "@muster/client/v1/system_service";
import { WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { failure, openApi, type TestApi, violationsOf } from "./api.ts";

let db: TestDatabase;
let api: TestApi;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await openApi(db);
});
afterAll(async () => {
  await api?.stop();
  await db?.close();
});

describe("keys", () => {
  test("are made, listed and revoked", async () => {
    const service = (await api.client()).of(KeyService);
    const expireTime = { seconds: BigInt(Math.floor(db.nowMs() / 1_000) + 60) };
    const { key, text } = await service.createKey({ name: "ci", scopes: ["read"], expireTime });
    expect(text).toMatch(/^mk_api_/);
    expect(key).toMatchObject({ name: "ci", type: "api", scopes: ["read"], expireTime });
    expect((await service.listKeys({})).keys).toEqual([key]);
    const keyId = key?.keyId ?? "";
    expect((await service.revokeKey({ keyId, reason: "leaked" })).key?.revokeTime).toBeDefined();
    expect((await service.listKeys({})).keys).toEqual([]);
    expect((await service.listKeys({ all: true })).keys).toHaveLength(1);
  });

  test("that are wrong are refused by field", async () => {
    const service = (await api.client()).of(KeyService);
    const wrong = service.createKey({ name: "x", scopes: ["read"], expireTime: { seconds: -1n } });
    expect(violationsOf(await failure(wrong))).toEqual(["expireTime must be a time from 1970 to 9999"]);
    expect(violationsOf(await failure(service.revokeKey({})))).toEqual(["keyId is required"]);
  });
});

describe("the audit log", () => {
  test("tells who changed what", async () => {
    const client = await api.client();
    await client.of(WorkerAdminService).createWorker({ name: "box" });
    await client.of(JobService).submitJob({ job: { kind: "a" } });
    const service = client.of(AuditService);
    const { entries } = await service.listAuditEntries({ actor: "me" });
    expect(entries.map(({ action }) => action)).toEqual(["job.submit", "worker.create"]);
    expect(entries[1]).toMatchObject({ actor: "key:test", details: { name: "box" } });
    expect(entries[1]?.auditId).toMatch(/^aud_/);
    const { entries: workers } = await service.listAuditEntries({ action: "worker." });
    expect(workers).toHaveLength(1);
    const since = { seconds: -1n };
    expect(violationsOf(await failure(service.listAuditEntries({ since })))).toEqual([
      "since must be a time from 1970 to 9999",
    ]);
  });
});

describe("workers", () => {
  test("are disabled, enabled and removed", async () => {
    const service = (await api.client()).of(WorkerAdminService);
    await service.createWorker({ name: "box" });
    expect((await service.disableWorker({ name: "box" })).worker?.state).toBe(WorkerState.DISABLED);
    expect((await service.enableWorker({ name: "box" })).worker?.state).toBe(WorkerState.OFFLINE);
    await service.removeWorker({ name: "box" });
    expect((await failure(service.removeWorker({ name: "box" }))).code).toBe(Code.NotFound);
    expect(violationsOf(await failure(service.disableWorker({ reason: "x".repeat(501) })))).toHaveLength(2);
  });
});

describe("the system", () => {
  test("is read and checked", async () => {
    const service = (await api.client()).of(SystemService);
    const system = await service.getSystem({});
    expect(system).toMatchObject({ watches: 2, rssBytes: 100n, database: { embedded: true } });
    const { checks } = await service.checkServer({});
    expect(checks.find(({ id }) => id === "database.reachable")?.level).toBe(CheckLevel.OK);
    // No artifacts can be kept here.
    expect(checks.find(({ id }) => id === "artifacts.store")).toMatchObject({ level: CheckLevel.FAIL });
  });

  test("tells what a part of an id may mean", async () => {
    const client = await api.client();
    const { jobId } = await client.of(JobService).submitJob({ job: { kind: "a" } });
    const service = client.of(SystemService);
    const found = await service.lookup({ text: jobId.slice(-6), types: [LookupType.JOB] });
    expect(found.candidates).toMatchObject([{ type: LookupType.JOB, id: jobId, label: "a" }]);
    expect(found.truncated).toBe(false);
    expect(violationsOf(await failure(service.lookup({ types: [Number("99")] })))).toEqual([
      "types[0] is not a known type",
    ]);
    expect(violationsOf(await failure(service.lookup({ limit: 101 })))).toEqual([
      "limit must be from 0 to 100",
    ]);
  });
});
