import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type Client, Code } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import { createMusterClient } from "@muster/client/node";
import { ArtifactService } from "@muster/client/v1/artifact_service";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { LeaseService } from "@muster/client/v1/lease_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeId } from "../../server/domain/ids.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

const bytes = Buffer.from("what the job made");
const file = {
  name: "report.txt",
  contentType: "text/plain",
  sizeBytes: BigInt(bytes.length),
  sha256: createHash("sha256").update(bytes).digest("hex"),
};

let muster: TestServer;
let artifacts: Client<typeof ArtifactService>;
let orgId = "";
let release: () => void = () => {};
beforeAll(async () => {
  muster = await startTestServer();
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const key = await muster.workerKey();
  await muster.startWorker({ key, slots: 100, handlers: { hold: () => held } });
  artifacts = createMusterClient(ArtifactService, { address: muster.server.apiAddress, key });
  orgId = decodeId("org", (await muster.client(KeyService).whoAmI({})).orgId);
});
afterAll(async () => {
  release();
  await muster?.close();
});

/** A lease that is current, as its holder names it. */
async function currentLease() {
  const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "hold" } });
  await muster.reach(jobId, JobState.RUNNING);
  const { lease } = await muster.client(LeaseService).getLease({ jobId });
  return { jobId, attempt: lease?.attempt ?? 0, leaseId: lease?.leaseId ?? "" };
}

async function put(url: string, body: Uint8Array, headers: Record<string, string> = {}): Promise<number> {
  const answer = await fetch(url, { method: "PUT", body, headers, redirect: "manual" });
  await answer.arrayBuffer();
  return answer.status;
}

describe("S39 artifacts are written to their own place alone", () => {
  test("a URL is good for at most 10 minutes, below its org, job and attempt", async () => {
    const lease = await currentLease();
    const askedMs = Date.now();
    const { artifactId, uploadUrl } = await artifacts.createArtifact({ lease, ...file });
    const { pathname, searchParams } = new URL(uploadUrl);
    const place = [orgId, decodeId("job", lease.jobId), lease.attempt, decodeId("artifact", artifactId)];
    expect(pathname).toBe(`/artifacts/v1/${place.join("/")}/${file.sha256}`);
    expect(await put(uploadUrl, bytes)).toBe(201);
    // Signed, and by whichever clock: what is left of it is no more than that.
    const expiresMs = Number(searchParams.get("expires"));
    const leftMs = expiresMs > 1e12 ? expiresMs - askedMs : expiresMs - performance.now();
    expect(leftMs).toBeLessThanOrEqual(600_000 + 1_000);
  });

  test.each([
    ["another org", (url: string) => url.replace(orgId, "0198a000-0000-7000-8000-000000000001")],
    ["another attempt", (url: string) => url.replace(/\/1\//, "/2/")],
    ["a path upwards", (url: string) => url.replace(orgId, `${orgId}%2f..%2f${orgId}`)],
    ["another digest", (url: string) => url.replace(file.sha256, "0".repeat(64))],
    ["more bytes", (url: string) => url.replace(/size=\d+/, "size=1000000")],
    ["a later end", (url: string) => url.replace(/expires=\d+/, "expires=99999999999999")],
    ["another type", (url: string) => url.replace("type=text%2Fplain", "type=text%2Fhtml")],
    ["no signature", (url: string) => url.replace(/signature=[^&]*/, "signature=")],
  ])("%s in the URL is 403", async (_what, change) => {
    const { uploadUrl } = await artifacts.createArtifact({ lease: await currentLease(), ...file });
    const changed = change(uploadUrl);
    expect(changed).not.toBe(uploadUrl);
    expect(await put(changed, bytes)).toBe(403);
  });

  test("fewer bytes, more bytes, other bytes and another type are refused, and nothing is kept", async () => {
    const lease = await currentLease();
    const { uploadUrl } = await artifacts.createArtifact({ lease, ...file });
    expect(await put(uploadUrl, bytes.subarray(1))).toBe(400);
    expect(await put(uploadUrl, Buffer.concat([bytes, bytes]))).toBe(400);
    expect(await put(uploadUrl, Buffer.from(bytes.toString().toUpperCase()))).toBe(400);
    expect(await put(uploadUrl, bytes, { "content-type": "text/html" })).toBe(403);
    const place = join(muster.folder, "data", "artifacts", orgId, decodeId("job", lease.jobId));
    expect(await readdir(place).catch(() => "nothing")).toBe("nothing");
  });

  test("a lease that is not current opens no upload, and ends none", async () => {
    const lease = await currentLease();
    const { artifactId, uploadUrl } = await artifacts.createArtifact({ lease, ...file });
    expect(await put(uploadUrl, bytes)).toBe(201);
    await muster.client(LeaseService).revokeLease({ leaseId: lease.leaseId, reason: "test" });
    const refusals = await Promise.all(
      [
        artifacts.createArtifact({ lease, ...file }),
        artifacts.commitArtifact({ lease, artifactId, ...file }),
      ].map((call) => call.then(() => "passed", readError)),
    );
    const superseded = { code: Code.FailedPrecondition, detail: { reason: "SUPERSEDED" } };
    expect(refusals).toEqual([expect.objectContaining({}), expect.objectContaining({})]);
    for (const refusal of refusals) expect(refusal).toMatchObject(superseded);
  });
});
