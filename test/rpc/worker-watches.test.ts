import { WatchService, type WatchWorkersResponse } from "@muster/client/v1/watch_service";
import { WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertWorkerRow } from "../support/rows.ts";
import { failure, openApi, type TestApi } from "./api.ts";

let db: TestDatabase;

let api: TestApi;

let other: TestApi;

beforeAll(async () => {
  db = await createTestDatabase();
  // Two coordinators that hear nothing of each other: each finds by its poll what the other did.
  api = await openApi(db);
  other = await openApi(db);
});

afterAll(async () => {
  await api.stop();
  await other.stop();
  await db.close();
});

describe("watched workers", () => {
  test("are told as they are, and as they change", async () => {
    const client = await api.client();
    // Heard of last in a while: no time that passes makes them stale.
    const link = { silentMs: -600_000 };
    for (const name of ["a-1", "a-2", "b-1"]) await insertWorkerRow(db, client.orgId, { name, link });
    const stop = new AbortController();
    const request = { filter: "name:a-*", interval: { nanos: 200_000_000 } };
    const watch = client.of(WatchService);
    const messages = watch.watchWorkers(request, { signal: stop.signal })[Symbol.asyncIterator]();
    const next = async (): Promise<WatchWorkersResponse["body"]> => {
      const { value, done } = await messages.next();
      if (done === true) throw new TypeError("the watch ended");
      return value.body;
    };
    expect((await next()).case).toBe("snapshotBegin");
    const rows = await next();
    expect(rows.case === "rows" ? rows.value.workers.map(({ name }) => name) : rows).toEqual(["a-1", "a-2"]);
    const end = await next();
    if (end.case !== "snapshotEnd") throw new TypeError("no end");
    expect(end.value.counts).toMatchObject([{ state: WorkerState.IDLE, count: 2n }]);
    await db.admin`update muster.workers set disabled_at = muster.muster_clock()
      where org_id = ${client.orgId} and name = 'a-2'`;
    let delta = await next();
    while (delta.case === "alive") delta = await next();
    if (delta.case !== "delta") throw new TypeError("no delta");
    expect(delta.value.workers).toMatchObject([{ name: "a-2", state: WorkerState.DISABLED }]);
    expect(delta.value.counts).toHaveLength(2);
    stop.abort();
    // Resumed here it goes on; elsewhere it starts anew.
    const firstOf = async (service: typeof watch) => {
      const again = service.watchWorkers({ ...request, resumeRevision: end.value.revision });
      for await (const message of again) return message;
      return undefined;
    };
    const resumed = await firstOf(watch);
    expect(resumed?.body).toMatchObject({ case: "delta", value: { workers: [{ name: "a-2" }] } });
    const there = (await other.client({ orgId: client.orgId })).of(WatchService);
    expect((await firstOf(there))?.body).toMatchObject({ case: "reset", value: { cause: "other-epoch" } });
  });

  test("are listed by a filter, and refused with the column", async () => {
    const client = await api.client();
    const admin = client.of(WorkerAdminService);
    for (const name of ["gpu-1", "gpu-2", "mac-1"])
      await insertWorkerRow(db, client.orgId, { name, link: {} });
    await db.admin`update muster.workers set skills = '[{"name": "gpu", "digest": ""}]', labels = '{"zone": "eu"}'
      where org_id = ${client.orgId} and name like 'gpu%'`;
    const names = async (filterText: string) =>
      (await admin.listWorkers({ filterText })).workers.map(({ name }) => name);
    expect(await names("skill:gpu")).toEqual(["gpu-1", "gpu-2"]);
    expect(await names("-label:zone=eu")).toEqual(["mac-1"]);
    expect(await names("state:idle MAC")).toEqual(["mac-1"]);
    expect(await names("leases>0")).toEqual([]);
    const page = await admin.listWorkers({ filterText: "skill:gpu", pageSize: 1 });
    const rest = await admin.listWorkers({
      filterText: "skill:gpu",
      pageSize: 1,
      pageToken: page.nextPageToken,
    });
    expect(rest.workers.map(({ name }) => name)).toEqual(["gpu-2"]);
    expect((await failure(admin.listWorkers({ filterText: "state:idel" }))).detail?.suggestion).toContain(
      "idle",
    );
  });
});
