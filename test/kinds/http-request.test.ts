import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { httpRequest } from "../../server/kinds/http-request.ts";
import { outboundHttp } from "../../server/outbound/outbound-http.ts";
import { kindContext, kindFailure } from "../support/kind-context.ts";

let server: Server;
let url: string;
let answer: (request: IncomingMessage, body: string, response: ServerResponse) => void;
const seen: { method: string; path: string; headers: IncomingMessage["headers"]; body: string }[] = [];

beforeEach(async () => {
  seen.splice(0);
  answer = (_, __, response) => response.writeHead(204).end();
  server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => {
      body += chunk;
    });
    request.on("end", () => {
      seen.push({ method: request.method ?? "", path: request.url ?? "", headers: request.headers, body });
      answer(request, body, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/in`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const run = (payload: unknown, allow: readonly string[] = ["127.0.0.1"]) =>
  httpRequest({ http: outboundHttp({ allow }), failure: kindFailure })(kindContext({ payload }));

describe("http.request", () => {
  test("sends what is asked, and leaves the answer", async () => {
    answer = (_, __, response) =>
      response.writeHead(201, { "content-type": "application/json", "set-cookie": "a=b" }).end('{"id":7}');
    const result = await run({ url, method: "POST", json: { a: 1 }, headers: { Authorization: "Bearer x" } });
    expect(result).toEqual({ status: 201, headers: { "content-type": "application/json" }, json: { id: 7 } });
    expect(seen[0]).toMatchObject({
      method: "POST",
      path: "/in",
      body: '{"a":1}',
      headers: {
        authorization: "Bearer x",
        "content-type": "application/json",
        "idempotency-key": "job_1",
      },
    });
  });

  test("leaves text as text, and bytes as base64", async () => {
    answer = (_, __, response) => response.writeHead(200, { "content-type": "text/plain" }).end("hé");
    expect(await run({ url })).toMatchObject({ text: "hé" });
    answer = (_, __, response) => response.writeHead(200).end(Buffer.from([0xff, 0xfe]));
    expect(await run({ url })).toMatchObject({ base64: "//4=" });
  });

  test.each([500, 503, 429, 408])("may be tried again after %i", async (status) => {
    answer = (_, __, response) => response.writeHead(status).end("secret of the other side");
    const error: unknown = await run({ url }).catch((one: unknown) => one);
    expect(error).not.toHaveProperty("code");
    expect(String(error)).toMatch(new RegExp(`answered ${status}$`));
  });

  test("ends with a status that nobody expects, and says nothing of the answer", async () => {
    answer = (_, __, response) => response.writeHead(404).end("secret of the other side");
    await expect(run({ url })).rejects.toMatchObject({
      code: "HTTP_404",
      message: expect.not.stringMatching("secret"),
    });
    expect(await run({ url, expect: [404] })).toMatchObject({ status: 404 });
  });

  test("goes to no address that is not public, and follows no redirect", async () => {
    await expect(run({ url }, [])).rejects.toMatchObject({ code: "URL_BLOCKED" });
    await expect(run({ url: "https://169.254.169.254/latest" })).rejects.toMatchObject({
      code: "URL_BLOCKED",
    });
    expect(seen).toHaveLength(0);
    answer = (_, __, response) => response.writeHead(302, { location: "http://10.0.0.1/" }).end();
    expect(await run({ url, expect: [302] })).toMatchObject({ headers: { location: "http://10.0.0.1/" } });
    expect(seen).toHaveLength(1);
  });

  test("keeps no more of an answer than was allowed", async () => {
    answer = (_, __, response) => response.writeHead(200).end("x".repeat(2_000));
    await expect(run({ url, maxBytes: 1_000 })).rejects.toThrow();
  });

  test.each([
    [{}, /url/],
    [{ url: "ftp://x.example" }, /url: must be an http or https URL/],
    [{ url: "https://x.example", methd: "GET" }, /methd/],
    [{ url: "https://x.example", headers: { host: "y" } }, /headers/],
    [{ url: "https://x.example", headers: { a: "b\r\nc: d" } }, /headers\.a: must have no line breaks/],
    [{ url: "https://x.example", json: 1, body: "x" }, /body: cannot stand beside json/],
    [{ url: 1, timeoutMs: 0 }, /url: .*; timeoutMs: /],
    ["text", /expected object/],
  ])("refuses the payload %j with all that is wrong", async (payload, message) => {
    await expect(run(payload)).rejects.toMatchObject({
      code: "PAYLOAD_INVALID",
      message: expect.stringMatching(message),
    });
  });
});
