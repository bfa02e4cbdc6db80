import { once } from "node:events";
import { connect as connectHttp2, constants } from "node:http2";
import { connect } from "node:net";
import { brotliCompressSync, gzipSync, constants as zlib } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import type { EdgeOptions, Turned } from "../../server/rpc/listener.ts";
import { listening, send, statusAnswer } from "../rpc/listening.ts";
import { collectGarbage } from "./support/memory.ts";
import { workerListening } from "./support/worker-listening.ts";

const opened: { stop(options: { graceMs: number }): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((listener) => listener.stop({ graceMs: 0 })));
});

async function api(stubs: Parameters<typeof listening>[0] = {}) {
  const listener = await listening(stubs);
  opened.push(listener);
  return listener;
}

const getStatus = "/muster.v1.StatusService/GetStatus";
const auth = { authorization: "Bearer good" };

describe("S22 messages are limited in both directions", () => {
  test("one of 4 MiB and a byte is refused, one of 4 MiB is read", async () => {
    const { address } = await api();
    const body = (bytes: number) => `{"a":"${"x".repeat(bytes - 8)}"}`;
    const headers = { ...auth, "content-type": "application/json" };
    const tooLarge = await send(address, { path: getStatus, headers, body: body(4 * 1024 * 1024 + 1) });
    expect(tooLarge.json).toMatchObject({ code: "resource_exhausted" });
    const read = await send(address, { path: getStatus, headers, body: body(4 * 1024 * 1024) });
    expect(read.json).toMatchObject({ code: "invalid_argument" });
  });

  test("an answer above the limit is an error that says so", async () => {
    const status = () => {
      const answer = statusAnswer();
      if (answer.status !== undefined) answer.status.org = "x".repeat(4 * 1024 * 1024 + 1);
      return answer;
    };
    const { address } = await api({ status: { getStatus: status } });
    const answer = await send(address, { path: getStatus, body: "{}" });
    expect(answer.json).toMatchObject({ code: "resource_exhausted" });
  });
});

describe("S23 a decompression bomb ends at the limit", () => {
  const bombs = {
    gzip: () => gzipSync(Buffer.alloc(256 * 1024 * 1024)),
    br: () =>
      brotliCompressSync(Buffer.alloc(256 * 1024 * 1024), { params: { [zlib.BROTLI_PARAM_QUALITY]: 1 } }),
  };
  test.each(Object.entries(bombs))("%s", async (encoding, bomb) => {
    const { address } = await api();
    const body = bomb();
    collectGarbage();
    const [baseRss, baseCpu] = [process.memoryUsage.rss(), process.cpuUsage()];
    const headers = { ...auth, "content-type": "application/proto", "content-encoding": encoding };
    const answer = await send(address, { path: getStatus, headers, body });
    expect(answer.json).toMatchObject({ code: "resource_exhausted" });
    const { user, system } = process.cpuUsage(baseCpu);
    expect((user + system) / 1_000).toBeLessThan(500);
    expect(process.memoryUsage.rss() - baseRss).toBeLessThan(64 * 1024 * 1024);
  });
});

const listeners = {
  "the API port": (edge: EdgeOptions) => listening({ options: edge }),
  "the worker port": (edge: EdgeOptions) => workerListening(edge),
};

describe.each(Object.entries(listeners))(
  "S24 streams, headers and connections are limited: %s",
  (_name, open) => {
    async function session(edge: EdgeOptions = {}) {
      const listener = await open(edge);
      opened.push(listener);
      const client = connectHttp2(`http://127.0.0.1:${listener.port}`);
      client.on("error", () => {});
      const [settings] = await once(client, "remoteSettings");
      return { client, settings, port: listener.port };
    }
    const call = {
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
    };

    test("says how many streams and how many headers it takes", async () => {
      const { client, settings } = await session();
      expect(settings).toMatchObject({ maxConcurrentStreams: 100, maxHeaderListSize: 16 * 1024 });
      client.destroy();
    });

    test.each([
      ["pairs", Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`x-${n}`, "a"]))],
      ["bytes", { "x-large": "a".repeat(20 * 1024) }],
    ])("too many %s of headers refuse the stream", async (_what, headers) => {
      const { client } = await session();
      const stream = client.request({ ...call, ...headers });
      const ended = new Promise((resolve) => {
        stream.once("error", resolve);
        stream.once("response", ({ ":status": status }) => resolve(status));
        stream.once("close", () => resolve(stream.rstCode));
      });
      stream.end();
      expect(await ended).not.toBe(200);
      expect([constants.NGHTTP2_ENHANCE_YOUR_CALM, constants.NGHTTP2_REFUSED_STREAM, 0, 2]).toContain(
        stream.rstCode,
      );
      client.destroy();
    });

    test("an address has so many connections, and again when it has closed one", async () => {
      const why: Turned[] = [];
      const { client, port } = await session({
        connectionsPerAddress: 2,
        isUncounted: () => false,
        turnedAway: (one) => why.push(one),
      });
      const second = connect(port, "127.0.0.1");
      await once(second, "connect");
      const third = connect(port, "127.0.0.1");
      third.on("error", () => {});
      await new Promise((resolve) => third.once("close", resolve));
      expect(why).toEqual(["address-limit"]);
      client.destroy();
      await once(client, "close");
      for (let isServed = false; !isServed; ) {
        const next = connectHttp2(`http://127.0.0.1:${port}`);
        next.on("error", () => {});
        isServed = await new Promise<boolean>((resolve) => {
          next.once("remoteSettings", () => resolve(true));
          next.once("close", () => resolve(false));
        });
        next.destroy();
      }
      second.destroy();
    });
  },
);
