import { Code } from "@connectrpc/connect";
import { ArtifactService } from "@muster/client/v1/artifact_service";
import { JobState as State } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { ProjectService } from "@muster/client/v1/project_service";
import { SettingsService } from "@muster/client/v1/settings_service";
import { StatusService } from "@muster/client/v1/status_service";
import { WatchService } from "@muster/client/v1/watch_service";
import { WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import type { ArtifactStore } from "../../server/outbound/artifact-store.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertJob, insertWorkerRow } from "../support/rows.ts";
import { failure, openApi, type TestApi, violationsOf } from "./api.ts";

let db: TestDatabase;
let api: TestApi;
const uploads = new Map<string, number>();

/** Signs by name, and has what `uploads` says. */
const artifacts: ArtifactStore = {
  put: () => Promise.reject(new TypeError("nothing is put here")),
  get: async () => null,
  stat: async ({ artifactId }) => {
    const sizeBytes = uploads.get(artifactId);
    return sizeBytes === undefined ? null : { sizeBytes };
  },
  delete: async () => {},
  signedUrl: async ({ method, key }) => {
    if (method === "PUT") uploads.set(key.artifactId, 5);
    return `http://files/${method}/${key.artifactId}`;
  },
};

beforeAll(async () => {
  db = await createTestDatabase();
  api = await openApi(db, artifacts);
});
afterAll(async () => {
  await api?.stop();
  await db?.close();
});

describe("workers", () => {
  test("are registered with a key that is shown once, and read by id and name", async () => {
    const client = (await api.client()).of(WorkerAdminService);
    const { worker, key } = await client.createWorker({ name: "Mac 7" });
    expect(key).toMatch(/^mk_worker_/);
    expect(worker).toMatchObject({ name: "Mac 7", state: WorkerState.OFFLINE, linkEpoch: 0n });
    const workerId = worker?.workerId ?? "";
    expect((await client.getWorker({ workerId })).worker?.name).toBe("Mac 7");
    expect((await client.getWorker({ name: "Mac 7" })).worker?.workerId).toBe(workerId);
    expect((await client.listWorkers({})).workers).toHaveLength(1);
    expect((await client.listWorkers({ online: true })).workers).toEqual([]);
    expect((await failure(client.createWorker({ name: "Mac 7" }))).detail?.reason).toBe("NAME_TAKEN");
  });

  test("without a proper name, id or page are refused", async () => {
    const client = (await api.client()).of(WorkerAdminService);
    for (const name of ["", "a\0", "x".repeat(101)]) {
      expect(violationsOf(await failure(client.createWorker({ name })))[0]).toMatch(/^name /);
    }
    expect(violationsOf(await failure(client.getWorker({})))).toEqual([
      "workerId or name must be given, and not both",
    ]);
    expect(violationsOf(await failure(client.getWorker({ workerId: "x", name: "y" })))).toHaveLength(2);
    expect((await failure(client.getWorker({ name: "nobody" }))).detail?.reason).toBe("WORKER_NOT_FOUND");
    expect((await failure(client.listWorkers({ pageToken: "x" }))).detail?.reason).toBe("PAGE_TOKEN_INVALID");
  });
});

describe("projects", () => {
  test("are created, changed and listed", async () => {
    const client = (await api.client()).of(ProjectService);
    const put = await client.putProject({ project: { name: "acme/web", maxOpenPrs: 5 } });
    expect(put.project).toMatchObject({ name: "acme/web", maxOpenPrs: 5, openPrs: 0 });
    expect((await client.putProject({ project: { name: "acme/web" } })).project?.maxOpenPrs).toBeUndefined();
    expect((await client.listProjects({})).projects.map((one) => one.name)).toEqual(["acme/web"]);
  });

  test("that are wrong are refused by field", async () => {
    const client = (await api.client()).of(ProjectService);
    expect(violationsOf(await failure(client.putProject({})))).toEqual(["project is required"]);
    const error = await failure(client.putProject({ project: { name: "a b", maxOpenPrs: -1 } }));
    expect(error.detail?.violations.map((one) => one.field)).toEqual(["project.name", "project.maxOpenPrs"]);
  });
});

describe("settings", () => {
  const queue = { scope: { case: "queue" as const, value: "slow" } };

  test("of a queue are what its new jobs get", async () => {
    const client = await api.client();
    const service = client.of(SettingsService);
    expect((await service.getSettings({ scope: queue })).settings).toEqual(
      expect.not.objectContaining({ retry: expect.anything() }),
    );
    const settings = { leaseTtl: { seconds: 60n }, retry: { maxAttempts: 9 } };
    await service.putSettings({ scope: queue, settings });
    const { settings: kept } = await service.getSettings({ scope: queue });
    expect(kept).toMatchObject({ leaseTtl: { seconds: 60n }, retry: { maxAttempts: 9 } });
    expect(kept?.reclaimAfter).toBeUndefined();
    const jobs = client.of(JobService);
    const { jobId } = await jobs.submitJob({ job: { kind: "a", queue: "slow" } });
    expect((await jobs.getJob({ jobId })).job?.spec?.retry?.maxAttempts).toBe(9);
  });

  test("without a scope, without settings or out of bounds are refused by field", async () => {
    const client = (await api.client()).of(SettingsService);
    expect(violationsOf(await failure(client.putSettings({})))).toEqual([
      "scope must have one of org, queue and kind",
      "settings is required",
    ]);
    const off = { scope: { case: "org" as const, value: false } };
    expect(violationsOf(await failure(client.getSettings({ scope: off })))).toEqual([
      "scope.org must be true, or left out",
    ]);
    const settings = { leaseTtl: { nanos: 1 }, retry: { maxAttempts: 0 } };
    const error = await failure(client.putSettings({ scope: queue, settings }));
    expect(error.detail?.violations.map((one) => one.field).toSorted()).toEqual([
      "settings.leaseTtl",
      "settings.retry.maxAttempts",
    ]);
    const bad = { scope: { case: "kind" as const, value: "A B" } };
    expect(violationsOf(await failure(client.getSettings({ scope: bad })))[0]).toMatch(/^scope\.kind /);
  });
});

describe("the status", () => {
  test("is read at once and streamed at an interval", async () => {
    const client = await api.client();
    const workerId = await insertWorkerRow(db, client.orgId, { name: "box", link: {} });
    await insertJob(db, client.orgId, { state: JobState.running, worker: { workerId } });
    await client.of(ProjectService).putProject({ project: { name: "acme/web", maxOpenPrs: 2 } });
    const service = client.of(StatusService);
    const { status } = await service.getStatus({ detail: true });
    expect(status).toMatchObject({
      orgId: encodeId("org", client.orgId),
      workers: { online: 1, busy: 1, slots: 4n, slotsUsed: 1n },
      projects: [{ project: "acme/web", openPrs: 0, maxOpenPrs: 2 }],
      workerList: [{ name: "box", state: WorkerState.BUSY }],
      running: [{ state: State.RUNNING }],
    });
    expect(status?.jobs.map(({ state, count }) => [state, count])).toEqual([[State.RUNNING, 1n]]);
    const seen: number[] = [];
    for await (const message of service.watchStatus({ interval: { nanos: 200_000_000 } })) {
      seen.push(message.status?.workers?.online ?? 0);
      expect(message.status?.workerList).toEqual([]);
      if (seen.length === 2) break;
    }
    expect(seen).toEqual([1, 1]);
  });

  test("is not streamed faster than every 200 ms", async () => {
    const service = (await api.client()).of(StatusService);
    const watch = service.watchStatus({ interval: { nanos: 100_000_000 } })[Symbol.asyncIterator]();
    expect(violationsOf(await failure(watch.next()))).toEqual(["interval must be from 200ms to 1m"]);
  });
});

describe("changes", () => {
  test("are streamed from a place on, and read from there", async () => {
    const client = await api.client();
    const service = client.of(WatchService);
    const jobs = client.of(JobService);
    const watch = service.watchChanges({})[Symbol.asyncIterator]();
    const start = await watch.next();
    expect(start.value).toMatchObject({ reset: false, changes: [] });
    const { jobId } = await jobs.submitJob({ job: { kind: "a" } });
    await jobs.cancelJob({ jobId });
    const states: State[] = [];
    while (!states.includes(State.CANCELLED)) {
      const { value } = await watch.next();
      for (const change of value?.changes ?? []) if (change.jobId === jobId) states.push(change.state);
    }
    await watch.return?.();
    const page = await service.listChanges({ revision: start.value?.revision ?? "", wait: { seconds: 30n } });
    expect(page.changes.map((one) => one.state)).toContain(State.CANCELLED);
    expect((await service.listChanges({ revision: page.revision })).changes).toEqual([]);
  });

  test("of an unknown revision are a reset, of a malformed one refused", async () => {
    const service = (await api.client()).of(WatchService);
    const { reset, revision } = await service.listChanges({ revision: "999.1.0" });
    expect([reset, revision === ""]).toEqual([true, false]);
    expect(violationsOf(await failure(service.listChanges({ revision: "a b" })))).toEqual([
      "revision is not one that was answered",
    ]);
    expect(violationsOf(await failure(service.listChanges({ wait: { seconds: 31n } })))).toEqual([
      "wait must be from 0s to 30s",
    ]);
  });

  test("show that they live when nothing happens for 15 s", async () => {
    const { orgId, of } = await api.client();
    const watch = of(WatchService).watchChanges({})[Symbol.asyncIterator]();
    await watch.next();
    api.advance(15_000);
    api.feed.nudge(orgId, []);
    expect((await watch.next()).value).toMatchObject({ reset: false, changes: [] });
    await watch.return?.();
  });
});

describe("artifacts", () => {
  const file = { name: "out.txt", contentType: "text/plain", sizeBytes: 5n, sha256: "a".repeat(64) };

  test("are opened, committed, listed and served under the lease", async () => {
    const { orgId } = await api.client();
    const workerId = await insertWorkerRow(db, orgId, { name: "box" });
    const { jobId, leaseId } = await insertJob(db, orgId, { state: JobState.running, worker: { workerId } });
    const lease = { jobId: encodeId("job", jobId), attempt: 1, leaseId: encodeId("lease", leaseId ?? "") };
    const service = (await api.client({ orgId, workerId })).of(ArtifactService);
    const { artifactId, uploadUrl } = await service.createArtifact({ lease, ...file });
    expect(uploadUrl).toMatch(/^http:\/\/files\/PUT\//);
    const { artifact } = await service.commitArtifact({ lease, artifactId, ...file });
    expect(artifact).toMatchObject({
      artifactId,
      jobId: lease.jobId,
      attempt: 1,
      name: "out.txt",
      sizeBytes: 5n,
    });
    expect((await service.listArtifacts({ jobId: lease.jobId })).artifacts).toEqual([artifact]);
    expect((await service.getArtifactUrl({ artifactId })).url).toMatch(/^http:\/\/files\/GET\//);
  });

  test("without a lease, with a wrong id or too large are refused", async () => {
    const service = (await api.client({ workerId: db.newId() })).of(ArtifactService);
    expect(violationsOf(await failure(service.createArtifact(file)))).toEqual(["lease is required"]);
    const lease = { jobId: encodeId("job", db.newId()), attempt: 1, leaseId: encodeId("lease", db.newId()) };
    const large = await failure(service.createArtifact({ lease, ...file, sizeBytes: 2n ** 31n }));
    expect([large.code, large.detail?.reason]).toEqual([Code.ResourceExhausted, "ARTIFACT_TOO_LARGE"]);
    expect((await failure(service.createArtifact({ lease, ...file }))).detail?.reason).toBe("SUPERSEDED");
    const error = await failure(service.commitArtifact({ artifactId: "x" }));
    expect(error.detail?.violations.map((one) => one.field)).toEqual(["artifactId", "lease"]);
    const artifactId = encodeId("artifact", db.newId());
    expect((await failure(service.getArtifactUrl({ artifactId }))).detail?.reason).toBe("ARTIFACT_NOT_FOUND");
    expect((await failure(service.listArtifacts({ jobId: lease.jobId }))).detail?.reason).toBe(
      "JOB_NOT_FOUND",
    );
  });
});
