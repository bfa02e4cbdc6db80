import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type ArtifactContext,
  type ArtifactFile,
  commitArtifact,
  createArtifact,
  getArtifactUrl,
  type HeldLease,
  listArtifacts,
} from "../../server/domain/artifacts.ts";
import type { Caller } from "../../server/domain/context.ts";
import { encodeId } from "../../server/domain/ids.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import type { SignedRequest } from "../../server/outbound/artifact-store.ts";
import { deriveUrlKey, readSignedUrl, type UrlSigner } from "../../server/outbound/artifact-urls.ts";
import { openFileArtifacts } from "../../server/outbound/file-artifacts.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { insertJob, insertWorkerRow } from "../support/rows.ts";

const bytes = Buffer.from("report");
const file: ArtifactFile = {
  name: "report.txt",
  contentType: "text/plain",
  sizeBytes: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
};
const superseded = { code: "failed_precondition", reason: "SUPERSEDED" };
const firstPage = { pageSize: 0, pageToken: "" };

let db: TestDatabase;
let folder: string;
let signer: UrlSigner;
let c: ArtifactContext;
beforeAll(async () => {
  db = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "muster-artifacts-"));
  signer = { key: deriveUrlKey("test-secret"), baseUrl: () => "http://127.0.0.1:1", nowMs: () => 0 };
  c = { ...testCoordinator(db), artifacts: await openFileArtifacts({ directory: folder, signer }) };
});
afterAll(async () => {
  await db.close();
  await rm(folder, { recursive: true, force: true });
});

interface Running {
  readonly orgId: string;
  readonly caller: Caller;
  readonly lease: HeldLease;
}

async function runningJob(state: JobState = JobState.running): Promise<Running> {
  const orgId = await db.orgId();
  const workerId = await insertWorkerRow(db, orgId, { name: "box" });
  const { jobId, leaseId } = await insertJob(db, orgId, { state, worker: { workerId }, attempt: 2 });
  const caller = testCaller(orgId, { type: "worker", workerId, actor: "worker:box", scopes: ["work"] });
  return { orgId, caller, lease: { jobId, attempt: 2, leaseId: leaseId ?? "" } };
}

function allowedBy(method: string, url: string): SignedRequest | "expired" | "forged" {
  return readSignedUrl(signer, method, url.slice("http://127.0.0.1:1".length));
}

/** Opens an upload and puts the bytes where its URL says. */
async function upload({ caller, lease }: Running, of: ArtifactFile = file): Promise<string> {
  const { artifactId, uploadUrl } = await createArtifact(c, caller, { lease, file: of });
  const allowed = allowedBy("PUT", uploadUrl);
  if (typeof allowed === "string" || allowed.method !== "PUT") throw new Error("the URL allows no upload");
  const { key, sizeBytes } = allowed;
  await c.artifacts.put(
    key,
    (async function* () {
      yield bytes;
    })(),
    { sizeBytes },
    new AbortController().signal,
  );
  return artifactId;
}

/** Leases that are not the current one of the caller: each differs in one thing. */
async function staleLeases({ lease, orgId, caller }: Running): Promise<[Caller, HeldLease][]> {
  const other = await insertWorkerRow(db, orgId, { name: "other" });
  return [
    [caller, { ...lease, attempt: 1 }],
    [caller, { ...lease, leaseId: db.newId() }],
    [caller, { ...lease, jobId: db.newId() }],
    [{ ...caller, workerId: other }, lease],
    [{ ...caller, orgId: await db.orgId() }, lease],
  ];
}

describe("opening an upload", () => {
  test("gives a URL for exactly the bytes, below org, job and attempt", async () => {
    const running = await runningJob();
    const { artifactId, uploadUrl } = await createArtifact(c, running.caller, { lease: running.lease, file });
    expect(allowedBy("PUT", uploadUrl)).toEqual({
      method: "PUT",
      key: { orgId: running.orgId, jobId: running.lease.jobId, attempt: 2, artifactId, sha256: file.sha256 },
      sizeBytes: 6,
      contentType: "text/plain",
    });
  });

  test("is allowed while the lease is offered, and takes defaults", async () => {
    const { caller, lease } = await runningJob(JobState.offered);
    const bare = { ...file, contentType: "", sha256: file.sha256.toUpperCase() };
    const { uploadUrl } = await createArtifact(c, caller, { lease, file: bare });
    expect(allowedBy("PUT", uploadUrl)).toMatchObject({
      contentType: "application/octet-stream",
      key: { sha256: file.sha256 },
    });
  });

  test("is refused under any other lease", async () => {
    for (const [caller, lease] of await staleLeases(await runningJob())) {
      await expect(createArtifact(c, caller, { lease, file })).rejects.toMatchObject(superseded);
    }
  });

  test("is refused to who is no worker", async () => {
    const { orgId, lease } = await runningJob();
    const answer = createArtifact(c, testCaller(orgId), { lease, file });
    await expect(answer).rejects.toMatchObject({ code: "permission_denied", details: { scope: "work" } });
  });

  test.each([
    [{ name: "" }, "name"],
    [{ name: "a/b" }, "name"],
    [{ name: "a\\b" }, "name"],
    [{ name: ".." }, "name"],
    [{ name: "." }, "name"],
    [{ name: "a\0" }, "name"],
    [{ name: "x".repeat(256) }, "name"],
    [{ sizeBytes: -1 }, "sizeBytes"],
    [{ sizeBytes: 0.5 }, "sizeBytes"],
    [{ sha256: "ab" }, "sha256"],
    [{ sha256: `${file.sha256}\n` }, "sha256"],
    [{ contentType: "text" }, "contentType"],
    [{ contentType: "text/plain\r\nx: y" }, "contentType"],
    [{ contentType: `a/${"b".repeat(300)}` }, "contentType"],
  ])("refuses %j", async (wrong, field) => {
    const { caller, lease } = await runningJob();
    const answer = createArtifact(c, caller, { lease, file: { ...file, ...wrong } });
    await expect(answer).rejects.toMatchObject({ code: "invalid_argument", violations: [{ field }] });
  });

  test("refuses more than 1 GiB", async () => {
    const { caller, lease } = await runningJob();
    const answer = createArtifact(c, caller, { lease, file: { ...file, sizeBytes: 2 ** 30 + 1 } });
    await expect(answer).rejects.toMatchObject({ reason: "ARTIFACT_TOO_LARGE" });
    await expect(
      createArtifact(c, caller, { lease, file: { ...file, sizeBytes: 2 ** 30 } }),
    ).resolves.toBeDefined();
  });
});

describe("committing an upload", () => {
  test("makes the artifact, with an audit row, once", async () => {
    const running = await runningJob();
    const { caller, lease, orgId } = running;
    const artifactId = await upload(running);
    const artifact = await commitArtifact(c, caller, { lease, artifactId, file });
    expect(artifact).toEqual({
      artifactId,
      jobId: lease.jobId,
      attempt: 2,
      ...file,
      createdAt: expect.any(Date),
    });
    expect(await commitArtifact(c, caller, { lease, artifactId, file })).toEqual(artifact);
    const audit = await db.admin`select actor, action, target from muster.audit_log where org_id = ${orgId}`;
    expect(audit).toEqual([
      { actor: "worker:box", action: "artifact.commit", target: encodeId("artifact", artifactId) },
    ]);
  });

  test("has the same answer when two do it at once, and after the lease has ended", async () => {
    const running = await runningJob();
    const { caller, lease, orgId } = running;
    const artifactId = await upload(running);
    const [one, two] = await Promise.all(
      [1, 2].map(() => commitArtifact(c, caller, { lease, artifactId, file })),
    );
    expect(one).toEqual(two);
    await db.admin`delete from muster.job_queue where org_id = ${orgId}`;
    expect(await commitArtifact(c, caller, { lease, artifactId, file })).toEqual(one);
    expect(await db.admin`select 1 from muster.audit_log where org_id = ${orgId}`).toHaveLength(1);
  });

  test("is refused under any other lease, and keeps nothing", async () => {
    const running = await runningJob();
    const artifactId = await upload(running);
    for (const [caller, lease] of await staleLeases(running)) {
      await expect(commitArtifact(c, caller, { lease, artifactId, file })).rejects.toMatchObject(superseded);
    }
    expect(await db.admin`select 1 from muster.artifacts where org_id = ${running.orgId}`).toHaveLength(0);
  });

  test("waits for who is ending the lease, and loses", async () => {
    const running = await runningJob();
    const { caller, lease, orgId } = running;
    const artifactId = await upload(running);
    const { promise: end, resolve } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const ending = db.admin.begin(async (tx) => {
      await tx`delete from muster.job_queue where org_id = ${orgId} and job_id = ${lease.jobId}`;
      begin();
      await end;
    });
    await begun;
    const answer = commitArtifact(c, caller, { lease, artifactId, file }).catch((error: unknown) => error);
    await waitingForLock();
    resolve();
    await ending;
    expect(await answer).toMatchObject(superseded);
  });

  test("is refused when the bytes are not there, or are others", async () => {
    const running = await runningJob();
    const { caller, lease } = running;
    const { artifactId: empty } = await createArtifact(c, caller, { lease, file });
    const absent = commitArtifact(c, caller, { lease, artifactId: empty, file });
    await expect(absent).rejects.toMatchObject({ reason: "ARTIFACT_NOT_FOUND" });
    const artifactId = await upload(running);
    const size = commitArtifact(c, caller, { lease, artifactId, file: { ...file, sizeBytes: 7 } });
    await expect(size).rejects.toMatchObject({ violations: [{ field: "sizeBytes" }] });
    const digest = commitArtifact(c, caller, {
      lease,
      artifactId,
      file: { ...file, sha256: "0".repeat(64) },
    });
    await expect(digest).rejects.toMatchObject({ reason: "ARTIFACT_NOT_FOUND" });
  });

  test("is refused when it differs from what was committed", async () => {
    const running = await runningJob();
    const { caller, lease } = running;
    const artifactId = await upload(running);
    await commitArtifact(c, caller, { lease, artifactId, file });
    const renamed = commitArtifact(c, caller, { lease, artifactId, file: { ...file, name: "other.txt" } });
    await expect(renamed).rejects.toMatchObject({
      code: "invalid_argument",
      violations: [{ field: "name" }],
    });
  });
});

describe("the artifacts of a job", () => {
  test("are listed oldest first, page by page, and have URLs to read them", async () => {
    const running = await runningJob();
    const { caller, lease, orgId } = running;
    const ids: string[] = [];
    for (const name of ["a", "b", "c"]) {
      const named = { ...file, name };
      const artifactId = await upload(running, named);
      await commitArtifact(c, caller, { lease, artifactId, file: named });
      ids.push(artifactId);
    }
    const first = await listArtifacts(c, testCaller(orgId), {
      jobId: lease.jobId,
      pageSize: 2,
      pageToken: "",
    });
    const page = { jobId: lease.jobId, pageSize: 2, pageToken: first.nextPageToken };
    const second = await listArtifacts(c, testCaller(orgId), page);
    expect([...first.items, ...second.items].map((item) => item.artifactId)).toEqual(ids);
    expect(second.nextPageToken).toBe("");
    const { url, artifact } = await getArtifactUrl(c, testCaller(orgId), ids[1] ?? "");
    expect(artifact).toMatchObject({ name: "b", sizeBytes: 6 });
    expect(allowedBy("GET", url)).toMatchObject({ method: "GET", name: "b", contentType: "text/plain" });
  });

  test("are not found by another org", async () => {
    const running = await runningJob();
    const { caller, lease } = running;
    const artifactId = await upload(running);
    await commitArtifact(c, caller, { lease, artifactId, file });
    const other = testCaller(await db.orgId());
    const list = listArtifacts(c, other, { jobId: lease.jobId, ...firstPage });
    await expect(list).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    for (const id of [artifactId, db.newId()]) {
      await expect(getArtifactUrl(c, other, id)).rejects.toMatchObject({ reason: "ARTIFACT_NOT_FOUND" });
    }
  });
});

/** Waits until somebody waits for a lock in this database. */
async function waitingForLock(): Promise<void> {
  for (;;) {
    const rows = await db.admin`select 1 from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    if (rows.length > 0) return;
  }
}
