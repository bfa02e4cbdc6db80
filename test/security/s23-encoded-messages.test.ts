import { once } from "node:events";
import { connect as connectHttp2, type OutgoingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import { listening } from "../rpc/listening.ts";
import { headersFrame, rawPeer } from "./support/frames.ts";
import { collectGarbage } from "./support/memory.ts";
import { workerListening } from "./support/worker-listening.ts";

const opened: { stop(options: { graceMs: number }): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((listener) => listener.stop({ graceMs: 0 })));
});

const listeners = {
  "the API port": () => listening({ options: { firstBytesMs: 150 } }),
  "the worker port": () => workerListening(),
};

/** A message as gRPC writes it. */
function enveloped(body: Uint8Array, { isCompressed = false } = {}): Buffer {
  const head = Buffer.alloc(5);
  head[0] = isCompressed ? 1 : 0;
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

/** HealthCheckRequest with a name of so many bytes. */
function named(bytes: number): Buffer {
  const length: number[] = [];
  for (let left = bytes; ; left >>>= 7) {
    length.push(left > 127 ? (left & 127) | 128 : left);
    if (left <= 127) return Buffer.concat([Buffer.from([0x0a, ...length]), Buffer.alloc(bytes, "x")]);
  }
}

/** The status of gRPC that a health check ends with. */
async function statusOf(port: number, body: Uint8Array, headers: OutgoingHttpHeaders = {}): Promise<number> {
  const client = connectHttp2(`http://127.0.0.1:${port}`);
  client.on("error", () => {});
  const stream = client.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Check",
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  let status = -1;
  const read = (answer: OutgoingHttpHeaders) => {
    status = Number(answer["grpc-status"] ?? status);
  };
  stream
    .on("response", read)
    .on("trailers", read)
    .on("error", () => {});
  stream.resume();
  stream.end(body);
  await once(stream, "close");
  client.destroy();
  return status;
}

const [ok, invalidArgument, notFound, resourceExhausted, unimplemented] = [0, 3, 5, 8, 12];
const gzip = { "grpc-encoding": "gzip" };

describe.each(Object.entries(listeners))("%s", (_name, open) => {
  async function opening(): Promise<number> {
    const listener = await open();
    opened.push(listener);
    return listener.port;
  }

  describe("S22 messages are limited in both directions: gRPC", () => {
    test("one of 4 MiB and a byte is refused, one of 4 MiB is read", async () => {
      const port = await opening();
      const most = 4 * 1024 * 1024;
      expect(await statusOf(port, enveloped(named(most - 4)))).toBe(resourceExhausted);
      expect(await statusOf(port, enveloped(named(most - 5)))).toBe(notFound);
      // The size that it says is believed before a byte of it has come.
      expect(await statusOf(port, Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1]))).toBe(resourceExhausted);
    });
  });

  describe("S23 a decompression bomb ends at the limit: gRPC", () => {
    test("one of 256 MiB costs neither memory nor time", async () => {
      const port = await opening();
      const bomb = enveloped(gzipSync(Buffer.alloc(256 * 1024 * 1024)), { isCompressed: true });
      collectGarbage();
      const [baseRss, baseCpu] = [process.memoryUsage.rss(), process.cpuUsage()];
      expect(await statusOf(port, bomb, gzip)).toBe(resourceExhausted);
      const { user, system } = process.cpuUsage(baseCpu);
      expect((user + system) / 1_000).toBeLessThan(500);
      expect(process.memoryUsage.rss() - baseRss).toBeLessThan(64 * 1024 * 1024);
    });

    test("what is not of its encoding is its sender's fault", async () => {
      const port = await opening();
      const compressed = (body: Uint8Array) => enveloped(body, { isCompressed: true });
      expect(await statusOf(port, compressed(gzipSync(Buffer.alloc(0))), gzip)).toBe(ok);
      expect(await statusOf(port, compressed(Buffer.alloc(30)), gzip)).toBe(invalidArgument);
      expect(await statusOf(port, compressed(gzipSync(named(90)).subarray(0, 20)), gzip)).toBe(
        invalidArgument,
      );
      expect(await statusOf(port, compressed(Buffer.alloc(3)), { "grpc-encoding": "zstd" })).toBe(
        unimplemented,
      );
      expect(await statusOf(port, compressed(gzipSync(named(9))))).toBe(invalidArgument);
    });
  });

  describe("S28 timeouts and nesting are bounded: gRPC", () => {
    test.each(["25H", "31536000S", "99999999H", "100000000H", "-1S", "abc"])(
      "a timeout of %s is refused, and the process is not warned of a timer",
      async (timeout) => {
        const port = await opening();
        const warned: Error[] = [];
        const warn = (warning: Error) => void warned.push(warning);
        process.on("warning", warn);
        expect(await statusOf(port, enveloped(Buffer.alloc(0)), { "grpc-timeout": timeout })).toBe(
          invalidArgument,
        );
        process.off("warning", warn);
        expect(warned).toEqual([]);
      },
    );

    test("one of 24 hours is taken; groups a million deep are refused", async () => {
      const port = await opening();
      expect(await statusOf(port, enveloped(Buffer.alloc(0)), { "grpc-timeout": "24H" })).toBe(ok);
      expect(await statusOf(port, enveloped(Buffer.alloc(1_000_000, 0x7b)))).toBe(invalidArgument);
    });
  });

  describe("S24 streams, headers and connections are limited: more streams than are allowed", () => {
    test("end their connection or are refused, and no more than those are served", async () => {
      const port = await opening();
      const peer = await rawPeer(port);
      const refused = new Set<number>();
      let rest = Buffer.alloc(0);
      peer.socket.on("data", (chunk: Buffer) => {
        rest = Buffer.concat([rest, chunk]);
        while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
          if (rest[3] === 3) refused.add(rest.readUInt32BE(5));
          rest = rest.subarray(9 + rest.readUIntBE(0, 3));
        }
      });
      for (let n = 0; n < 150; n++) {
        peer.socket.write(headersFrame(2 * n + 1, "/grpc.health.v1.Health/Watch", { isOpen: true }));
      }
      await expect.poll(() => peer.socket.destroyed || refused.size >= 50, { timeout: 10_000 }).toBe(true);
      peer.socket.destroy();
    });
  });
});

describe("S27 slow clients are closed in time: HTTP/1.1", () => {
  test.each([
    ["of a path that does not exist", "POST /nothing"],
    ["of a method that is not allowed", "POST /healthz"],
    ["of a caller whose key is wrong", "POST /muster.v1.StatusService/GetStatus"],
  ])("the rest of a request %s does not drip for ever, once it is answered", async (_what, line) => {
    const listener = await listening({ options: { firstBytesMs: 150 } });
    opened.push(listener);
    const socket = connect(listener.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.resume();
    socket.write(
      `${line} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{`,
    );
    const drip = setInterval(() => socket.write("."), 20);
    await new Promise((resolve) => socket.once("close", resolve));
    clearInterval(drip);
  });

  test("a connection whose requests end is kept", async () => {
    const listener = await listening({ options: { firstBytesMs: 150 } });
    opened.push(listener);
    const socket = connect(listener.port, "127.0.0.1");
    let said = "";
    socket.on("data", (chunk) => {
      said += chunk;
    });
    const ask = () => socket.write("POST /nothing HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n{");
    ask();
    await expect.poll(() => said.match(/404/g)?.length).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 400));
    ask();
    await expect.poll(() => said.match(/404/g)?.length).toBe(2);
    socket.destroy();
  });
});
