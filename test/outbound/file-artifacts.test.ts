import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createArtifactRoute } from "../../server/outbound/artifact-route.ts";
import {
  type ArtifactKey,
  ArtifactMismatchError,
  type ArtifactStore,
} from "../../server/outbound/artifact-store.ts";
import { deriveUrlKey, type UrlSigner } from "../../server/outbound/artifact-urls.ts";
import { openFileArtifacts } from "../../server/outbound/file-artifacts.ts";

const bytes = Buffer.from("hello, artifact");
const { signal } = new AbortController();

let folder: string;
let store: ArtifactStore;
let signer: UrlSigner & { nowMs: () => number };
let server: Server;
let logged: object[];
/** What the route gave to the store. */
let puts: Promise<void>[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-artifacts-"));
  let base = "";
  signer = { key: deriveUrlKey("test-secret"), baseUrl: () => base, nowMs: () => Date.now() };
  store = await openFileArtifacts({ directory: folder, signer });
  logged = [];
  puts = [];
  const watched: ArtifactStore = {
    ...store,
    put(...given) {
      const put = store.put(...given);
      puts.push(put);
      return put;
    },
  };
  const route = createArtifactRoute({
    store: watched,
    signer,
    log: { error: (fields) => logged.push(fields) },
  });
  server = createServer((request, response) => {
    if (!route(request, response)) response.writeHead(418).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${portOf(server)}`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

function portOf(of: { address(): string | AddressInfo | null }): number {
  const address = of.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

function keyOf(content: Uint8Array): ArtifactKey {
  const sha256 = createHash("sha256").update(content).digest("hex");
  return { orgId: randomUUID(), jobId: randomUUID(), attempt: 1, artifactId: randomUUID(), sha256 };
}

async function* chunks(...parts: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part);
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts);
}

/** All files below the store's directory. */
async function files(): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

function putUrl(
  key: ArtifactKey,
  { sizeBytes = bytes.length, contentType = "text/plain" } = {},
): Promise<string> {
  return store.signedUrl({ method: "PUT", key, sizeBytes, contentType });
}

describe("the file store", () => {
  test("keeps bytes, tells their number, gives and removes them", async () => {
    const key = keyOf(bytes);
    expect(await store.stat(key)).toBeNull();
    expect(await store.get(key, signal)).toBeNull();
    await store.put(key, chunks("hello, ", "", "artifact"), { sizeBytes: bytes.length }, signal);
    expect(await store.stat(key)).toEqual({ sizeBytes: bytes.length });
    const body = await store.get(key, signal);
    expect(await collect(body ?? chunks())).toEqual(bytes);
    expect(await files()).toEqual([`${key.artifactId}-${key.sha256}`]);
    await store.delete(key);
    await store.delete(key);
    expect(await store.stat(key)).toBeNull();
  });

  test("keeps an empty file", async () => {
    const key = keyOf(Buffer.alloc(0));
    await store.put(key, chunks(), { sizeBytes: 0 }, signal);
    expect(await store.stat(key)).toEqual({ sizeBytes: 0 });
  });

  test.each([
    ["fewer bytes", "hello", /15 bytes were announced, and 5 came/],
    ["more bytes", "hello, artifact!", /15 bytes were announced, and more came/],
    ["other bytes", "HELLO, ARTIFACT", /SHA-256/],
  ])("refuses %s than were announced, and keeps nothing", async (_, sent, message) => {
    const key = keyOf(bytes);
    const put = store.put(key, chunks(sent), { sizeBytes: bytes.length }, signal);
    await expect(put).rejects.toThrow(ArtifactMismatchError);
    await expect(put).rejects.toThrow(message);
    expect(await files()).toEqual([]);
  });

  test("keeps nothing of an upload that breaks off or is given up", async () => {
    const key = keyOf(bytes);
    const broken = Readable.from(
      (async function* () {
        yield Buffer.from("hello");
        throw new Error("gone");
      })(),
    );
    await expect(store.put(key, broken, { sizeBytes: bytes.length }, signal)).rejects.toThrow("gone");
    const stop = AbortSignal.abort(new Error("enough"));
    await expect(store.put(key, chunks(bytes), { sizeBytes: bytes.length }, stop)).rejects.toThrow("enough");
    expect(await files()).toEqual([]);
  });

  test("reads as a whole file or none while it is written", async () => {
    const key = keyOf(bytes);
    const { promise, resolve } = Promise.withResolvers<void>();
    async function* slow() {
      yield bytes.subarray(0, 5);
      await promise;
      yield bytes.subarray(5);
    }
    const put = store.put(key, slow(), { sizeBytes: bytes.length }, signal);
    expect(await store.stat(key)).toBeNull();
    resolve();
    await put;
    expect(await store.stat(key)).toEqual({ sizeBytes: bytes.length });
  });

  test.each([
    [{ orgId: "../../x" }],
    [{ jobId: "" }],
    [{ artifactId: "a/b" }],
    [{ sha256: "../".repeat(22).slice(0, 64) }],
    [{ attempt: -1 }],
    [{ attempt: 0.5 }],
  ])("refuses the key %j, which could lead elsewhere", async (wrong) => {
    const key = { ...keyOf(bytes), ...wrong };
    await expect(store.stat(key)).rejects.toThrow("not the key of an artifact");
    await expect(store.put(key, chunks(bytes), { sizeBytes: bytes.length }, signal)).rejects.toThrow();
    expect(await files()).toEqual([]);
  });

  test("keeps its directories to itself, and removes old unfinished uploads when it opens", async () => {
    const uploads = join(folder, "uploads");
    expect((await stat(uploads)).mode & 0o777).toBe(0o700);
    await writeFile(join(uploads, "old"), "");
    await writeFile(join(uploads, "new"), "");
    const hourAgo = Date.now() / 1_000 - 3_601;
    await utimes(join(uploads, "old"), hourAgo, hourAgo);
    await openFileArtifacts({ directory: folder, signer });
    expect(await readdir(uploads)).toEqual(["new"]);
  });
});

describe("the route of signed URLs", () => {
  test("takes a PUT of the announced bytes, and serves them as a download", async () => {
    const key = keyOf(bytes);
    const url = await putUrl(key);
    const put = await fetch(url, { method: "PUT", body: bytes, headers: { "content-type": "text/plain" } });
    expect([put.status, await put.text()]).toEqual([201, ""]);
    expect((await fetch(url, { method: "PUT", body: bytes })).status).toBe(201);
    const name = 'report "ü".html';
    const getUrl = await store.signedUrl({ method: "GET", key, name, contentType: "text/html" });
    const got = await fetch(getUrl);
    expect(Buffer.from(await got.arrayBuffer())).toEqual(bytes);
    expect(Object.fromEntries(got.headers)).toMatchObject({
      "content-type": "text/html",
      "content-length": String(bytes.length),
      "content-disposition": `attachment; filename="report ___.html"; filename*=UTF-8''report%20%22%C3%BC%22.html`,
      "x-content-type-options": "nosniff",
      "content-security-policy": "sandbox; default-src 'none'",
      "cache-control": "private, no-store",
    });
    const head = await fetch(getUrl, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "15", ""]);
  });

  test("leaves every other path to others", async () => {
    expect((await fetch(`${signer.baseUrl()}/artifacts`)).status).toBe(418);
  });

  test("refuses other bytes, and says why", async () => {
    const key = keyOf(bytes);
    const url = await putUrl(key);
    for (const [body, message] of [
      ["hello", "15 bytes were announced"],
      ["HELLO, ARTIFACT", "The bytes do not have the SHA-256 that was announced"],
    ]) {
      const answer = await fetch(url, {
        method: "PUT",
        body: body ?? "",
        headers: { "content-type": "text/plain" },
      });
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({ code: "invalid_argument", message });
    }
    expect(await files()).toEqual([]);
    expect(logged).toEqual([]);
  });

  test("answers an upload without a length that is too long while it is still sent", async () => {
    const url = new URL(await putUrl(keyOf(bytes)));
    const socket = connect(portOf(server), "127.0.0.1");
    socket.write(
      `PUT ${url.pathname}${url.search} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    socket.write(`20\r\n${"x".repeat(32)}\r\n`);
    const answer = String(await collect(socket));
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(answer).toContain("15 bytes were announced, and more came");
    expect(await files()).toEqual([]);
  });

  test("keeps nothing of an upload whose sender goes away", async () => {
    const url = new URL(await putUrl(keyOf(bytes)));
    const socket = connect(portOf(server), "127.0.0.1");
    const begun = new Promise<void>((resolve) => {
      server.once("request", (request) => request.once("data", () => resolve()));
    });
    socket.write(`PUT ${url.pathname}${url.search} HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\n\r\nhello`);
    await begun;
    socket.destroy();
    await expect(puts[0]).rejects.toThrow();
    expect(await files()).toEqual([]);
  });

  test("refuses a URL that is forged, expired, or for another content type", async () => {
    const key = keyOf(bytes);
    const url = await putUrl(key);
    const forged = await fetch(url.replace("size=15", "size=16"), { method: "PUT", body: bytes });
    expect([forged.status, await forged.json()]).toMatchObject([
      403,
      { code: "permission_denied", message: "The URL is not valid" },
    ]);
    const wrongMethod = await fetch(url);
    expect(wrongMethod.status).toBe(403);
    const type = await fetch(url, { method: "PUT", body: bytes, headers: { "content-type": "text/html" } });
    expect([type.status, await type.json()]).toMatchObject([
      403,
      { message: "The URL is for another content type" },
    ]);
    signer.nowMs = () => Date.now() + 600_001;
    const expired = await fetch(url, { method: "PUT", body: bytes });
    expect([expired.status, await expired.json()]).toMatchObject([403, { message: "The URL has expired" }]);
    expect(await files()).toEqual([]);
  });

  test("answers 404 for bytes that are gone, and 405 for another method", async () => {
    const getUrl = await store.signedUrl({
      method: "GET",
      key: keyOf(bytes),
      name: "a",
      contentType: "text/plain",
    });
    const absent = await fetch(getUrl);
    expect([absent.status, await absent.json()]).toMatchObject([404, { code: "not_found" }]);
    const method = await fetch(getUrl, { method: "DELETE" });
    expect([method.status, method.headers.get("allow")]).toEqual([405, "GET, HEAD, PUT"]);
  });

  test("tells of its own failures without a word about the disk", async () => {
    await rm(folder, { recursive: true, force: true });
    await writeFile(folder, "");
    const answer = await fetch(await putUrl(keyOf(bytes)), { method: "PUT", body: bytes });
    const text = await answer.text();
    expect([answer.status, JSON.parse(text)]).toMatchObject([500, { code: "internal" }]);
    expect(text).not.toContain(folder);
    expect(logged).toHaveLength(1);
  });

  test("works over HTTP/2", async () => {
    const route = createArtifactRoute({ store, signer, log: { error: (fields) => logged.push(fields) } });
    const h2 = http2.createServer((request, response) => void route(request, response));
    await new Promise<void>((resolve) => h2.listen(0, "127.0.0.1", resolve));
    const client = http2.connect(`http://127.0.0.1:${portOf(h2)}`);
    const key = keyOf(bytes);
    const call = async (url: string, method: string, body?: Uint8Array) => {
      const { pathname, search } = new URL(url);
      const stream = client.request({ ":method": method, ":path": `${pathname}${search}` });
      stream.end(body);
      const status = new Promise((resolve) => {
        stream.once("response", (headers) => resolve(headers[":status"]));
      });
      const answer = String(await collect(stream));
      return [await status, answer];
    };
    expect(await call(await putUrl(key), "PUT", bytes)).toEqual([201, ""]);
    const getUrl = await store.signedUrl({ method: "GET", key, name: "a", contentType: "text/plain" });
    expect(await call(getUrl, "GET")).toEqual([200, String(bytes)]);
    const [status] = await call(getUrl.replace("signature=", "signature=x"), "GET");
    expect(status).toBe(403);
    client.close();
    await new Promise((resolve) => h2.close(resolve));
  });
});
