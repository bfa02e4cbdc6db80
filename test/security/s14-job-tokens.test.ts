import { Code } from "@connectrpc/connect";
import { createMusterClient } from "@muster/client/node";
import { ArtifactService } from "@muster/client/v1/artifact_service";
import { JobState } from "@muster/client/v1/job";
import { JobService, JobView } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseKey, writeKey } from "../../server/domain/rules/keys.ts";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(() => muster?.close());

/** A job that runs until it is stopped, with its token. */
async function running(kind: string) {
  const given = Promise.withResolvers<{ address: string; key: string }>();
  await muster.startWorker({
    handlers: {
      [kind]: async (ctx) => {
        given.resolve(await ctx.token());
        await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve, { once: true }));
      },
    },
  });
  const { jobId } = await muster.client(JobService).submitJob({ job: { kind } });
  const options = await given.promise;
  return {
    jobId,
    options,
    jobs: createMusterClient(JobService, options),
    artifacts: createMusterClient(ArtifactService, options),
    keys: createMusterClient(KeyService, options),
  };
}

describe("S14 a job's token is for its own job, while its lease is current", () => {
  test("it reads its job, keeps artifacts and submits child jobs; nothing else", async () => {
    const { jobId, options, jobs, artifacts, keys } = await running("has.token");
    expect(options.key).toMatch(/^mk_job_/);
    expect((await jobs.getJob({ jobId })).job?.spec?.kind).toBe("has.token");
    const file = { name: "a.txt", sizeBytes: 2n, sha256: "ab".repeat(32) };
    expect((await artifacts.createArtifact(file)).uploadUrl).toContain("/artifacts/");
    const child = await jobs.submitJob({ job: { kind: "child" } });
    const seen = await muster.client(JobService).getJob({ jobId: child.jobId });
    expect(seen.job?.parentJobId).toBe(jobId);

    const other = await muster.client(JobService).submitJob({ job: { kind: "other" } });
    const nobodys = other.jobId.replace(/.{4}$/, "zzzz");
    for (const id of [other.jobId, child.jobId, nobodys]) {
      const refusal = await failure(jobs.getJob({ jobId: id }));
      expect([refusal.code, refusal.detail?.reason]).toEqual([Code.PermissionDenied, "NOT_OWN_JOB"]);
    }
    const lease = { jobId: other.jobId, attempt: 1, leaseId: "lse_01h455vb4pex5vsknk084sn02q" };
    expect((await failure(artifacts.createArtifact({ ...file, lease }))).detail?.reason).toBe("NOT_OWN_JOB");
    expect((await failure(jobs.submitJob({ job: { kind: "x" }, parent: lease }))).detail?.reason).toBe(
      "NOT_OWN_JOB",
    );
    const others = [
      () => keys.listKeys({}),
      () => keys.createKey({}),
      () => jobs.cancelJob({ jobId }),
      () => jobs.listJobs({}),
    ];
    for (const call of others) expect((await failure(call())).detail?.reason).toBe("SCOPE_MISSING");
    const rows = await muster.database.admin`select 1 from muster.api_keys where type = 'job'`;
    expect(rows).toHaveLength(0);
    await muster.client(JobService).cancelJob({ jobId, force: true });
  }, 60_000);

  test("it is SUPERSEDED once the lease has ended, and a forged one is refused", async () => {
    const { jobId, options, jobs } = await running("loses.lease");
    await muster.client(JobService).cancelJob({ jobId, force: true });
    await muster.reach(jobId, JobState.CANCELLED);
    const late = await failure(jobs.getJob({ jobId }));
    expect([late.code, late.detail?.reason]).toEqual([Code.FailedPrecondition, "SUPERSEDED"]);
    const parts = parseKey(options.key);
    if (parts === null) throw new Error("a token is of the form of a key");
    for (const secret of ["0".repeat(43), parts.secret.replace(/.$/, (last) => (last === "x" ? "y" : "x"))]) {
      const forged = createMusterClient(JobService, { ...options, key: writeKey({ ...parts, secret }) });
      expect((await failure(forged.getJob({ jobId }))).code).toBe(Code.Unauthenticated);
    }
  }, 60_000);
});

describe("S37 secrets are redacted in logs: the token of a job", () => {
  test("is a secret of its attempt as soon as its handler has it", async () => {
    const given = Promise.withResolvers<string>();
    await muster.startWorker({
      handlers: {
        "tells.token": async (ctx) => {
          const { key } = await ctx.token();
          given.resolve(key);
          ctx.log(`calling with ${key}`);
          return { key, encoded: Buffer.from(key).toString("base64") };
        },
      },
    });
    const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "tells.token" } });
    const key = await given.promise;
    await muster.reach(jobId, JobState.SUCCEEDED);
    const { job } = await muster.client(JobService).getJob({ jobId, view: JobView.FULL });
    const { events } = await muster.client(JobService).listJobEvents({ jobId });
    const result = job?.result?.content.value;
    const said = Buffer.from(result instanceof Uint8Array ? result : []).toString();
    expect(said).toBe('{"key":"***","encoded":"***"}');
    const told = JSON.stringify(events, (_, value) => (typeof value === "bigint" ? String(value) : value));
    expect(told).toContain("calling with ***");
    expect(told).not.toContain(key);
  }, 60_000);
});
