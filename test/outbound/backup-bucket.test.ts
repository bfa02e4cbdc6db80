import { createHash, randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openBackupPlace } from "../../server/outbound/backup-places.ts";
import { type BucketPeer, startBucketPeer } from "../support/bucket.ts";

let peer: BucketPeer;
beforeEach(async () => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "AKTEST");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "secret");
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
  peer = await startBucketPeer("backups");
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await peer.close();
});

const signal = new AbortController().signal;
const name = "muster-20260101T000000Z-all-0a1b2c";
const place = () =>
  openBackupPlace({ place: "s3://backups/muster", endpoint: peer.endpoint, region: "us-east-1" });

async function* chunks(bytes: Buffer, size = 1_000_003): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(file: string): Promise<Buffer | null> {
  const body = await place().read(name, file, signal);
  return body === null ? null : gather(body);
}

async function gather(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe("backups in S3", () => {
  test("are whole once their manifest is there, and are read as they were written", async () => {
    const bytes = randomBytes(300_000);
    expect(await place().write(name, "001-orgs.sql.gz", chunks(bytes), signal)).toEqual({
      sizeBytes: 300_000,
    });
    expect(await place().list(signal)).toEqual([]);
    await place().finish(name, Buffer.from("{}"), signal);
    expect(await place().list(signal)).toEqual([name]);
    expect(await read("001-orgs.sql.gz")).toEqual(bytes);
    expect(await read("002-none.sql.gz")).toBeNull();
    expect([...peer.objects.keys()]).toEqual([
      `muster/${name}/001-orgs.sql.gz`,
      `muster/${name}/manifest.json`,
    ]);
    expect(peer.calls.every((call) => call.isSigned)).toBe(true);
  });

  test("go in parts when they are large, in bounded memory", async () => {
    const bytes = randomBytes(40 * 1024 * 1024);
    await place().write(name, "001-jobs.sql.gz", chunks(bytes), signal);
    const parts = peer.calls.filter((call) => call.query.has("partNumber"));
    expect(parts.map((call) => call.query.get("partNumber"))).toEqual(["1", "2", "3"]);
    const digest = (all: Buffer) => createHash("sha256").update(all).digest("hex");
    expect(digest((await read("001-jobs.sql.gz")) ?? Buffer.of())).toBe(digest(bytes));
    expect(peer.uploads.size).toBe(0);
  });

  test("leave no parts when what they are made of fails", async () => {
    async function* failing() {
      yield* chunks(randomBytes(40 * 1024 * 1024));
      throw new Error("the database went away");
    }
    await expect(place().write(name, "001-jobs.sql.gz", failing(), signal)).rejects.toThrow("went away");
    expect(peer.uploads.size).toBe(0);
    expect(peer.objects.size).toBe(0);
  });

  test("are listed by page, and removed with all that they have", async () => {
    peer.pageSize = 2;
    for (const file of ["001-a.sql.gz", "002-b.sql.gz", "003-c.sql.gz"]) {
      await place().write(name, file, chunks(Buffer.from(file)), signal);
    }
    await place().finish(name, Buffer.from("{}"), signal);
    expect(await place().list(signal)).toEqual([name]);
    await place().remove(name, signal);
    expect(peer.objects.size).toBe(0);
    const deletes = peer.calls.filter((call) => call.method === "DELETE");
    expect(deletes[0]?.path).toMatch(/manifest\.json$/);
  });

  test("tell what S3 refuses", async () => {
    peer.refusal = { status: 403, code: "AccessDenied", message: "Access Denied" };
    await expect(place().list(signal)).rejects.toMatchObject({ name: "AccessDenied" });
  });
});
