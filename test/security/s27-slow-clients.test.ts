import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { EdgeOptions, Turned } from "../../server/rpc/listener.ts";
import { listening } from "../rpc/listening.ts";
import { changingTls, testCert, testKey } from "../rpc/tls-fixture.ts";
import { rawPeer } from "./support/frames.ts";
import { backTo, held } from "./support/memory.ts";
import { otherClient } from "./support/other-client.ts";
import { workerListening } from "./support/worker-listening.ts";

const opened: { stop(options: { graceMs: number }): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((listener) => listener.stop({ graceMs: 0 })));
});

const pace = { messageMs: 150, silentMs: 150 };
const listeners = {
  "the API port": (edge: EdgeOptions) =>
    listening({ options: { ...edge, pace, halfSent: () => edge.turnedAway?.("half-sent") } }),
  "the worker port": (edge: EdgeOptions) => workerListening({ ...edge, pace }),
};

describe.each(Object.entries(listeners))("S27 slow clients are closed in time: %s", (_name, open) => {
  async function opening(edge: EdgeOptions = {}) {
    const why: Turned[] = [];
    const listener = await open({ ...edge, turnedAway: (one) => why.push(one) });
    opened.push(listener);
    return { port: listener.port, why };
  }

  test("one that does not shake hands", async () => {
    const tls = changingTls({ cert: testCert, key: testKey });
    const { port, why } = await opening({ tls, handshakeMs: 100 });
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.resume();
    await new Promise((resolve) => socket.once("close", resolve));
    expect(why).toEqual(["handshake"]);
  });

  test("one that makes no request", async () => {
    const { port, why } = await opening({ firstBytesMs: 150 });
    const peer = await rawPeer(port);
    await peer.closed;
    expect(why).toEqual(["silent"]);
  });

  test.each([
    ["a unary call that stops in its message", "/grpc.health.v1.Health/Check", Buffer.from([0, 0, 0])],
    [
      "a stream that stops in a message",
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      Buffer.from([0, 0, 0, 1, 0, 1]),
    ],
    [
      "a stranger's stream that says nothing",
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      null,
    ],
  ])("%s", async (_what, path, bytes) => {
    const { port, why } = await opening();
    const client = connectHttp2(`http://127.0.0.1:${port}`);
    client.on("error", () => {});
    const stream = client.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      authorization: "Bearer good",
    });
    stream.on("error", () => {});
    stream.resume();
    if (bytes !== null) stream.write(bytes);
    await new Promise((resolve) => stream.once("close", resolve));
    expect(why).toEqual(["half-sent"]);
    client.destroy();
  });

  test("a thousand that drip bytes do not hurt another client", async () => {
    const { port } = await opening({ firstBytesMs: 60_000 });
    const other = otherClient(`http://127.0.0.1:${port}`);
    const before = await other.p99Ms();
    const drip = async (): Promise<number> => {
      const sockets = Array.from({ length: 1_000 }, () => connect(port, "127.0.0.1"));
      for (const socket of sockets) socket.on("error", () => {});
      await Promise.all(sockets.map((socket) => once(socket, "connect")));
      for (const byte of "PRI") for (const socket of sockets) socket.write(byte);
      const p99Ms = await other.p99Ms();
      for (const socket of sockets) socket.destroy();
      return p99Ms;
    };
    // The first thousand bring in what so many sockets need at both of their ends, which are this process.
    await drip();
    const base = held();
    const during = await drip();
    expect(during).toBeLessThan(Math.max(2 * before, 50));
    await backTo(base);
  }, 120_000);
});
