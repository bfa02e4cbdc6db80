import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A call that came. */
export interface BucketCall {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  /** By AWS Signature Version 4. */
  readonly isSigned: boolean;
}

/** One bucket of S3 over a state in memory, on a real listener, in the shapes of its REST API. */
export interface BucketPeer {
  readonly endpoint: string;
  readonly objects: Map<string, Buffer>;
  /** Uploads in parts that have not ended, by their id. */
  readonly uploads: Map<string, Map<number, Buffer>>;
  readonly calls: BucketCall[];
  /** Keys of a page of a list. */
  pageSize: number;
  /** What every call is answered with instead. */
  refusal: { readonly status: number; readonly code: string; readonly message: string } | undefined;
  close(): Promise<void>;
}

/** Starts it on a free port of this machine. */
export async function startBucketPeer(bucket: string): Promise<BucketPeer> {
  const server = createServer((request, response) => {
    answer(peer, bucket, request, response).catch((error: unknown) =>
      response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const peer: BucketPeer = {
    endpoint: `http://127.0.0.1:${port}`,
    objects: new Map(),
    uploads: new Map(),
    calls: [],
    pageSize: 1_000,
    refusal: undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return peer;
}

async function answer(
  peer: BucketPeer,
  bucket: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? "/", peer.endpoint);
  const path = decodeURIComponent(url.pathname);
  const query = url.searchParams;
  const method = request.method ?? "";
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  const body = Buffer.concat(chunks);
  const isSigned = (request.headers.authorization ?? "").startsWith("AWS4-HMAC-SHA256 Credential=");
  peer.calls.push({ method, path, query, isSigned });
  const xml = (status: number, text: string) => {
    response.writeHead(status, { "content-type": "application/xml" });
    response.end(`<?xml version="1.0" encoding="UTF-8"?>\n${text}`);
  };
  const fail = (status: number, code: string, message: string) =>
    xml(status, `<Error><Code>${code}</Code><Message>${message}</Message></Error>`);
  if (peer.refusal !== undefined) {
    fail(peer.refusal.status, peer.refusal.code, peer.refusal.message);
    return;
  }
  const [, named, key = ""] = /^\/([^/]+)\/?(.*)$/.exec(path) ?? [];
  if (named !== bucket) return void fail(404, "NoSuchBucket", "The specified bucket does not exist");
  const etag = `"${createHash("md5").update(body).digest("hex")}"`;
  const uploadId = query.get("uploadId");
  const parts = uploadId === null ? undefined : peer.uploads.get(uploadId);
  if (uploadId !== null && parts === undefined) {
    return void fail(404, "NoSuchUpload", "The specified upload does not exist");
  }
  if (method === "GET" && key === "") return list(peer, bucket, query, xml);
  if (method === "POST" && query.has("uploads")) {
    const id = `upload-${peer.calls.length}`;
    peer.uploads.set(id, new Map());
    xml(
      200,
      `<InitiateMultipartUploadResult><Bucket>${bucket}</Bucket><Key>${key}</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
    );
  } else if (method === "PUT" && parts !== undefined) {
    parts.set(Number(query.get("partNumber")), body);
    response.writeHead(200, { etag }).end();
  } else if (method === "POST" && parts !== undefined) {
    const numbers = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber>/g)].map((one) =>
      Number(one[1]),
    );
    const chosen = numbers.map((number) => parts.get(number) ?? Buffer.of());
    if (chosen.slice(0, -1).some((part) => part.length < 5 * 1024 * 1024)) {
      return void fail(
        400,
        "EntityTooSmall",
        "Your proposed upload is smaller than the minimum allowed size",
      );
    }
    peer.objects.set(key, Buffer.concat(chosen));
    peer.uploads.delete(uploadId ?? "");
    xml(
      200,
      `<CompleteMultipartUploadResult><Bucket>${bucket}</Bucket><Key>${key}</Key></CompleteMultipartUploadResult>`,
    );
  } else if (method === "DELETE") {
    if (uploadId === null) peer.objects.delete(key);
    else peer.uploads.delete(uploadId);
    response.writeHead(204).end();
  } else if (method === "PUT") {
    peer.objects.set(key, body);
    response.writeHead(200, { etag }).end();
  } else {
    const found = peer.objects.get(key);
    if (found === undefined) fail(404, "NoSuchKey", "The specified key does not exist.");
    else response.writeHead(200, { "content-length": found.length }).end(found);
  }
}

function list(
  peer: BucketPeer,
  bucket: string,
  query: URLSearchParams,
  xml: (status: number, text: string) => void,
): void {
  const prefix = query.get("prefix") ?? "";
  const after = query.get("continuation-token") ?? "";
  const keys = [...peer.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
  const page = keys.slice(0, peer.pageSize);
  const isMore = keys.length > page.length;
  const shown = page.map((key) => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`).join("");
  const next = isMore ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : "";
  xml(
    200,
    `<ListBucketResult><Name>${bucket}</Name><Prefix>${prefix}</Prefix><KeyCount>${page.length}</KeyCount><IsTruncated>${isMore}</IsTruncated>${next}${shown}</ListBucketResult>`,
  );
}
