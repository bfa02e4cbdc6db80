import { describe, expect, test } from "vitest";
import type { SignedRequest } from "../../server/outbound/artifact-store.ts";
import { deriveUrlKey, readSignedUrl, signedUrl } from "../../server/outbound/artifact-urls.ts";

const key = {
  orgId: "0190d9c8-0000-7000-8000-000000000001",
  jobId: "0190d9c8-0000-7000-8000-000000000002",
  attempt: 3,
  artifactId: "0190d9c8-0000-7000-8000-000000000004",
  sha256: "ab".repeat(32),
};
const put: SignedRequest = { method: "PUT", key, sizeBytes: 12, contentType: "text/plain; charset=utf-8" };
const get: SignedRequest = { method: "GET", key, name: 'ü "x".txt', contentType: "text/plain" };

function signerAt(nowMs = 1_000_000, secret = "secret") {
  return { key: deriveUrlKey(secret), baseUrl: () => "https://muster.example:7070", nowMs: () => nowMs };
}

function pathOf(url: string): string {
  return url.slice("https://muster.example:7070".length);
}

describe("a signed URL", () => {
  test.each([put, get])("is on the API and says what it allows: $method", (request) => {
    const url = signedUrl(signerAt(), request);
    expect(url.startsWith(`https://muster.example:7070/artifacts/v1/${key.orgId}/${key.jobId}/3/`)).toBe(
      true,
    );
    expect(readSignedUrl(signerAt(), request.method, pathOf(url))).toEqual(request);
  });

  test("may be read by HEAD where GET is allowed", () => {
    expect(readSignedUrl(signerAt(), "HEAD", pathOf(signedUrl(signerAt(), get)))).toEqual(get);
  });

  test("is good for 10 minutes", () => {
    const path = pathOf(signedUrl(signerAt(0), put));
    expect(readSignedUrl(signerAt(599_999), "PUT", path)).toEqual(put);
    expect(readSignedUrl(signerAt(600_000), "PUT", path)).toBe("expired");
  });

  test("is good for its method alone, and under its own secret", () => {
    expect(readSignedUrl(signerAt(), "GET", pathOf(signedUrl(signerAt(), put)))).toBe("forged");
    expect(readSignedUrl(signerAt(), "PUT", pathOf(signedUrl(signerAt(), get)))).toBe("forged");
    expect(readSignedUrl(signerAt(0, "another"), "PUT", pathOf(signedUrl(signerAt(0), put)))).toBe("forged");
  });

  test("is forged when any part of it is changed", () => {
    for (const request of [put, get]) {
      const path = pathOf(signedUrl(signerAt(), request));
      for (let at = "/artifacts/v1/".length; at < path.length; at++) {
        const other = path[at] === "0" ? "1" : "0";
        const changed = path.slice(0, at) + other + path.slice(at + 1);
        const read = readSignedUrl(signerAt(), request.method, changed);
        // Changing the name of a parameter, or how a character is written, may leave the meaning as it was.
        if (typeof read === "object") expect(read).toEqual(request);
        else expect(read).toBe("forged");
      }
    }
  });

  test.each([
    "/artifacts/v1/",
    "/artifacts/v1/../../etc/passwd",
    "/artifacts/v1/%2e%2e/%2e%2e/etc/passwd?signature=x",
    `/artifacts/v1/${key.orgId}/${key.jobId}/3/${key.artifactId}/${"..".repeat(32)}`,
    `/artifacts/v1/${key.orgId}/${key.jobId}/-3/${key.artifactId}/${key.sha256}?expires=9e99&signature=`,
    "//evil",
    "",
  ])("is forged when it is %j", (path) => {
    expect(readSignedUrl(signerAt(), "GET", path)).toBe("forged");
  });
});
