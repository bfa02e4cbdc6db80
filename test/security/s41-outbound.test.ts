import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type OutboundOptions,
  type OutboundRequest,
  outboundHttp,
  type ResolvedAddress,
} from "../../server/outbound/outbound-http.ts";

const signal = new AbortController().signal;
const call = (url: string): OutboundRequest => ({
  url,
  method: "POST",
  headers: { "content-type": "text/plain" },
  body: "hello",
  timeoutMs: 5_000,
  maxBytes: 1_000,
  signal,
});
const nowhere: OutboundOptions = { allow: [], resolve: async () => [] };

async function failure(run: Promise<unknown>): Promise<unknown> {
  return run.then(
    () => "went through",
    (error: unknown) => error,
  );
}

describe("S41 no call goes to a private address", () => {
  test.each([
    "https://127.0.0.1/x",
    "https://10.1.2.3/x",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://168.63.129.16/",
    "https://0.0.0.0/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://134744072/",
    "https://0x08080808/",
    "https://①②⑦.⓪.⓪.①/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::7f00:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fd00::1]/",
    "https://[ff02::1]/",
    "https://localhost/",
    "https://app.localhost./",
    "http://hooks.example/",
    "https://user:password@hooks.example/",
    "ftp://hooks.example/",
    "file:///etc/passwd",
    "not a url",
  ])("%s is refused by its form alone", async (url) => {
    let asked = 0;
    const resolve = async (): Promise<readonly ResolvedAddress[]> => {
      asked += 1;
      return [{ address: "127.0.0.1", family: 4 }];
    };
    const blocked: string[] = [];
    const http = outboundHttp({ allow: [], resolve, blocked: (_host, why) => void blocked.push(why) });
    expect(await failure(http.request(call(url)))).toMatchObject({ reason: "WEBHOOK_BLOCKED" });
    expect(await failure(http.check(url, signal))).toMatchObject({ reason: "WEBHOOK_BLOCKED" });
    expect(blocked).toHaveLength(2);
    if (url.startsWith("https://") && !url.includes("hooks.example")) expect(asked).toBe(0);
  });

  test("a URL of 3,000 characters is refused", async () => {
    const error = await failure(
      outboundHttp(nowhere).request(call(`https://hooks.example/${"x".repeat(3_000)}`)),
    );
    expect(error).toMatchObject({ reason: "WEBHOOK_BLOCKED" });
  });

  test.each([
    ["a private address", ["10.0.0.1"]],
    ["the metadata service", ["169.254.169.254"]],
    ["one public address and one private", ["93.184.216.34", "192.168.0.1"]],
    ["a mapped address", ["::ffff:10.0.0.1"]],
  ])("a name that stands for %s is refused", async (_name, addresses) => {
    const resolve = async () =>
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    const http = outboundHttp({ allow: [], resolve });
    const url = "https://hooks.example/";
    expect(await failure(http.request(call(url)))).toMatchObject({ reason: "WEBHOOK_BLOCKED" });
    expect(await failure(http.check(url, signal))).toMatchObject({ reason: "WEBHOOK_BLOCKED" });
  });

  test("a check lets a name pass that cannot be resolved now, and a call to it fails as an outage", async () => {
    const http = outboundHttp(nowhere);
    await http.check("https://hooks.example/", signal);
    expect(await failure(http.check("http://hooks.example/", signal))).toMatchObject({
      reason: "WEBHOOK_BLOCKED",
    });
    expect(await failure(http.request(call("https://hooks.example/")))).toMatchObject({
      reason: "OUTBOUND_FAILED",
    });
  });

  test("an operator's list is read whole, or not at all", () => {
    expect(() => outboundHttp({ allow: ["2130706433"] })).toThrow();
    expect(() => outboundHttp({ allow: ["10.0.0.0/40"] })).toThrow();
  });

  describe("a host that the operator allows", () => {
    let server: Server;
    let port: number;
    const seen: { method: string; url: string; host: string; body: string }[] = [];
    let answer = { status: 200, headers: {} as Record<string, string>, body: "ok" };
    beforeEach(async () => {
      seen.length = 0;
      answer = { status: 200, headers: {}, body: "ok" };
      server = createServer(async (request, response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk);
        const { method = "", url = "" } = request;
        seen.push({
          method,
          url,
          host: String(request.headers.host),
          body: Buffer.concat(chunks).toString(),
        });
        response.writeHead(answer.status, answer.headers).end(answer.body);
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      port = (server.address() as AddressInfo).port;
    });
    afterEach(() => {
      server.closeAllConnections();
      server.close();
    });

    test("is called at the address that was checked, though its name points elsewhere a moment later", async () => {
      let asked = 0;
      const resolve = async (): Promise<readonly ResolvedAddress[]> => {
        asked += 1;
        return [{ address: asked === 1 ? "127.0.0.1" : "127.0.0.2", family: 4 }];
      };
      const http = outboundHttp({ allow: ["127.0.0.1/32"], resolve });
      const { status, body } = await http.request(call(`http://rebinding.example:${port}/hook`));
      expect([status, body.toString(), asked]).toEqual([200, "ok", 1]);
      expect(seen).toEqual([
        { method: "POST", url: "/hook", host: `rebinding.example:${port}`, body: "hello" },
      ]);
      // The second time it stands for an address that is not allowed.
      const error = await failure(http.request(call(`http://rebinding.example:${port}/hook`)));
      expect(error).toMatchObject({ reason: "WEBHOOK_BLOCKED" });
      expect(seen).toHaveLength(1);
    });

    test("may send us nowhere else: a redirect is an answer", async () => {
      answer = { status: 302, headers: { location: "http://169.254.169.254/latest/" }, body: "" };
      const http = outboundHttp({ allow: ["127.0.0.1"] });
      const { status, headers } = await http.request(call(`http://127.0.0.1:${port}/`));
      expect([status, headers["location"]]).toEqual([302, "http://169.254.169.254/latest/"]);
      expect(seen).toHaveLength(1);
    });

    test("may be allowed by its name", async () => {
      const resolve = async () => [{ address: "127.0.0.1", family: 4 }];
      const http = outboundHttp({ allow: ["Hooks.Internal"], resolve });
      expect((await http.request(call(`http://hooks.internal:${port}/`))).status).toBe(200);
      expect(await failure(http.request(call(`http://other.internal:${port}/`)))).toMatchObject({
        reason: "WEBHOOK_BLOCKED",
      });
    });

    test("cannot fill our memory, nor put its words into an error", async () => {
      answer = { status: 500, headers: {}, body: "secret ".repeat(1_000) };
      const http = outboundHttp({ allow: ["127.0.0.1"] });
      const error = await failure(http.request(call(`http://127.0.0.1:${port}/`)));
      expect(error).toMatchObject({ reason: "OUTBOUND_FAILED" });
      expect(String(error)).not.toContain("secret");
    });

    test("that never answers is given up", async () => {
      server.removeAllListeners("request");
      const http = outboundHttp({ allow: ["127.0.0.1"] });
      const error = await failure(http.request({ ...call(`http://127.0.0.1:${port}/`), timeoutMs: 50 }));
      expect(error).toMatchObject({ reason: "OUTBOUND_FAILED", message: "the host gave no answer in time" });
    });

    test("stops being called when the caller stops", async () => {
      server.removeAllListeners("request");
      const stop = new AbortController();
      const asked = once(server, "request");
      const http = outboundHttp({ allow: ["127.0.0.1"] });
      const running = failure(http.request({ ...call(`http://127.0.0.1:${port}/`), signal: stop.signal }));
      await asked;
      stop.abort(new Error("the coordinator stops"));
      expect(await running).toMatchObject({ message: "the coordinator stops" });
    });

    test("hears no header that a user smuggles in", async () => {
      const http = outboundHttp({ allow: ["127.0.0.1"] });
      const smuggled = { ...call(`http://127.0.0.1:${port}/`), headers: { "x-note": "a\r\nhost: b" } };
      expect(await failure(http.request(smuggled))).toMatchObject({ reason: "OUTBOUND_FAILED" });
      expect(seen).toEqual([]);
    });
  });
});
