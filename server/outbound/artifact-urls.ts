import { createHmac, timingSafeEqual } from "node:crypto";
import { type SignedRequest, signedUrlMs } from "./artifact-store.ts";

/** What signs URLs, and recognises its own. */
export interface UrlSigner {
  /** At least 32 bytes; all coordinators of a cluster have the same one. */
  readonly key: Uint8Array;
  /** Origin of the API as its clients reach it, e.g. `http://127.0.0.1:7070`. Asked at every URL. */
  readonly baseUrl: () => string;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
}

/** All URLs are below it. */
export const artifactPath = "/artifacts/v1/";

/** Makes the key of a signer from the coordinator's secret. */
export function deriveUrlKey(secret: string): Buffer {
  return createHmac("sha256", secret).update("muster artifact urls").digest();
}

/** The URL of a request: what it allows is in it, and a signature over all of that. */
export function signedUrl(signer: UrlSigner, request: SignedRequest): string {
  const expiresMs = signer.nowMs() + signedUrlMs;
  const { orgId, jobId, attempt, artifactId, sha256 } = request.key;
  const url = new URL(
    `${artifactPath}${orgId}/${jobId}/${attempt}/${artifactId}/${sha256}`,
    signer.baseUrl(),
  );
  url.searchParams.set("expires", String(expiresMs));
  url.searchParams.set("type", request.contentType);
  if (request.method === "PUT") url.searchParams.set("size", String(request.sizeBytes));
  else url.searchParams.set("name", request.name);
  url.searchParams.set("signature", signature(signer, request, expiresMs));
  return url.href;
}

/** What a URL allows; `expired` if it did, `forged` when it is none of ours or was made for something else. */
export function readSignedUrl(
  signer: UrlSigner,
  method: string,
  pathAndQuery: string,
): SignedRequest | "expired" | "forged" {
  const url = URL.parse(pathAndQuery, "http://muster.invalid");
  const [, orgId, jobId, attempt, artifactId, sha256] = pathForm.exec(url?.pathname ?? "") ?? [];
  const given = url?.searchParams;
  if (!orgId || !jobId || !attempt || !artifactId || !sha256 || !given) return "forged";
  const key = { orgId, jobId, attempt: Number(attempt), artifactId, sha256 };
  const contentType = given.get("type") ?? "";
  const request: SignedRequest =
    method === "PUT"
      ? { method: "PUT", key, contentType, sizeBytes: Number(given.get("size") ?? Number.NaN) }
      : { method: "GET", key, contentType, name: given.get("name") ?? "" };
  const expiresMs = Number(given.get("expires") ?? Number.NaN);
  if (!isEqual(given.get("signature") ?? "", signature(signer, request, expiresMs))) return "forged";
  return signer.nowMs() < expiresMs ? request : "expired";
}

const id = "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})";
const pathForm = new RegExp(`^${artifactPath}${id}/${id}/(\\d{1,9})/${id}/([0-9a-f]{64})$`);

function signature(signer: UrlSigner, request: SignedRequest, expiresMs: number): string {
  const { method, contentType } = request;
  const { orgId, jobId, attempt, artifactId, sha256 } = request.key;
  const bound = method === "PUT" ? request.sizeBytes : request.name;
  const text = JSON.stringify([
    method,
    orgId,
    jobId,
    attempt,
    artifactId,
    sha256,
    contentType,
    bound,
    expiresMs,
  ]);
  return createHmac("sha256", signer.key).update(text).digest("base64url");
}

function isEqual(given: string, right: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}
