import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { Code, type ConnectError, createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { readError } from "@muster/client/errors";
import { Health, HealthCheckResponse_ServingStatus as Serving } from "@muster/client/grpc/health";
import { StatusService } from "@muster/client/v1/status_service";
import { afterEach, describe, expect, test } from "vitest";
import type { ApiListener } from "../../server/rpc/listener.ts";
import { ListenError } from "../../server/rpc/listener.ts";
import { listening as open, type Stubs, send, statusAnswer } from "./listening.ts";

const opened: ApiListener[] = [];
const sockets: Socket[] = [];

async function listening(stubs?: Stubs) {
  const listener = await open(stubs);
  opened.push(listener);
  return listener;
}

async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1" });
  sockets.push(socket);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

async function textOf(socket: Socket): Promise<string> {
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  if (!socket.closed) await once(socket, "close");
  return text;
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(opened.splice(0).map((listener) => listener.stop({ graceMs: 0 })));
});

const auth = { headers: { authorization: "Bearer good" } };

describe("one port", () => {
  const transports = {
    "gRPC over h2c": (baseUrl: string) => createGrpcTransport({ baseUrl }),
    "Connect over HTTP/1.1": (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
    "Connect over h2c": (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "2" }),
    "gRPC-Web over HTTP/1.1": (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
    "gRPC-Web over h2c": (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  };
  test.each(Object.entries(transports))("answers %s", async (_name, transport) => {
    const { address } = await listening();
    const client = createClient(StatusService, transport(address));
    expect((await client.getStatus({}, auth)).status?.org).toBe("acme");
  });

  test("answers curl", async () => {
    const { address } = await listening();
    const answer = await send(address, { path: "/muster.v1.StatusService/GetStatus", body: "{}" });
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ status: { org: "acme" } });
  });

  test("answers a Connect GET", async () => {
    const { address } = await listening();
    const path = "/muster.v1.StatusService/GetStatus?connect=v1&encoding=json&message=%7B%7D";
    const answer = await send(address, { path, method: "GET", headers: { authorization: "Bearer good" } });
    expect(answer.json).toEqual({ status: { org: "acme" } });
  });

  test("knows HTTP/2 when its first bytes come one by one", async () => {
    const { port } = await listening();
    const socket = await dial(port);
    socket.setNoDelay(true);
    const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for (const byte of preface.subarray(0, 4)) {
      socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.write(Buffer.concat([preface.subarray(4), settings]));
    const [first] = (await once(socket, "data")) as [Buffer];
    // The frame that a server must send first is SETTINGS, type 4.
    expect(first[3]).toBe(4);
  });

  test("knows HTTP/1.1 when its first bytes come one by one, also those that look like HTTP/2", async () => {
    const { port } = await listening();
    for (const method of ["GET", "PROPFIND", "PRX"]) {
      const socket = await dial(port);
      socket.setNoDelay(true);
      for (const letter of method) {
        socket.write(letter);
        await new Promise((resolve) => setImmediate(resolve));
      }
      socket.write(" /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
      expect(await textOf(socket)).toMatch(/^HTTP\/1\.1 (200|405|400)/);
    }
  });

  test("answers a client of HTTP/1.1 that ends its side after the request", async () => {
    const { port } = await listening();
    const socket = await dial(port);
    socket.end("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
    expect(await textOf(socket)).toMatch(/^HTTP\/1\.1 200[\s\S]*ok\n/);
  });

  test("closes a connection that stays silent", async () => {
    const { port } = await listening({ options: { firstBytesMs: 50 } });
    const socket = await dial(port);
    expect(await textOf(socket)).toBe("");
  });

  test("closes a connection that never ends its headers", async () => {
    const { port } = await listening({ options: { firstBytesMs: 100 } });
    const socket = await dial(port);
    socket.write("GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: ");
    expect(await textOf(socket)).toMatch(/^(HTTP\/1\.1 408|$)/);
  });

  test("lives on when connections send nonsense, break off or ask for TLS", async () => {
    const { port, address } = await listening();
    const nonsense = [
      "\x16\x03\x01\x02\x00",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame at all",
      "P",
      "\0\0\0",
    ];
    for (const text of nonsense) {
      const socket = await dial(port);
      await new Promise((resolve) => socket.write(Buffer.from(text, "latin1"), resolve));
      socket.resetAndDestroy();
    }
    // HTTP/1.0 may leave out the host, and a host may be no host at all.
    for (const head of ["HTTP/1.0\r\n", "HTTP/1.1\r\nhost: [\r\n"]) {
      const socket = await dial(port);
      socket.write(
        `POST /muster.v1.StatusService/GetStatus ${head}content-length: 0\r\nconnection: close\r\n\r\n`,
      );
      expect(await textOf(socket)).toMatch(/^HTTP\/1\.1 400[\s\S]*suggestion/);
    }
    expect((await send(address, { path: "/healthz", method: "GET" })).status).toBe(200);
  });
});

describe("plain routes", () => {
  test("tell that the process lives and whether it is ready", async () => {
    const { address, health } = await listening({ options: { ready: async () => null } });
    const healthz = await send(address, { path: "/healthz", method: "GET" });
    expect([healthz.status, healthz.body.toString()]).toEqual([200, "ok\n"]);
    expect((await send(address, { path: "/readyz", method: "GET" })).json).toEqual({ status: "ready" });
    health.setServing(false);
    expect((await send(address, { path: "/readyz", method: "GET" })).status).toBe(503);
    expect((await send(address, { path: "/healthz", method: "GET" })).status).toBe(200);
  });

  test("give the reason why it is not ready, and no text of an error", async () => {
    const reasons: (string | Error)[] = ["The database is out of reach.", new Error("password secret1")];
    const ready = async () => {
      const reason = reasons.shift();
      if (reason instanceof Error) throw reason;
      return reason ?? null;
    };
    const { address } = await listening({ options: { ready } });
    const first = await send(address, { path: "/readyz", method: "GET" });
    expect([first.status, first.json]).toEqual([
      503,
      { status: "not ready", reason: "The database is out of reach." },
    ]);
    const second = await send(address, { path: "/readyz", method: "GET" });
    expect(second.status).toBe(503);
    expect(second.body.toString()).not.toContain("secret1");
  });

  test("that are handed in come before the RPCs", async () => {
    const { address } = await listening({
      options: {
        extraRoutes: [
          (request, response) => {
            if (request.url !== "/artifacts/1") return false;
            response.end("bytes");
            return true;
          },
        ],
      },
    });
    expect((await send(address, { path: "/artifacts/1", method: "GET" })).body.toString()).toBe("bytes");
  });

  test("that do not exist are answered with a suggestion", async () => {
    const { address } = await listening();
    const answer = await send(address, { path: "/nothing", method: "GET" });
    expect(answer.status).toBe(404);
    expect(answer.json).toMatchObject({
      code: "unimplemented",
      details: [{ debug: { suggestion: expect.stringContaining("/muster.v1.<Service>/<Method>") } }],
    });
  });
});

describe("browsers", () => {
  const preflight = {
    origin: "https://app.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
  };
  const path = "/muster.v1.StatusService/GetStatus";

  test("of a listed origin may call", async () => {
    const { address } = await listening({ options: { corsOrigins: ["https://app.example"] } });
    const answer = await send(address, { path, method: "OPTIONS", headers: preflight });
    expect(answer.status).toBe(204);
    expect(answer.headers["access-control-allow-origin"]).toBe("https://app.example");
    expect(answer.headers["access-control-allow-methods"]).toContain("POST");
    const allowed = answer.headers["access-control-allow-headers"]?.toLowerCase();
    for (const name of ["authorization", "content-type", "x-request-id", "connect-protocol-version"]) {
      expect(allowed).toContain(name);
    }
    const call = await send(address, {
      path,
      headers: {
        origin: "https://app.example",
        "content-type": "application/json",
        authorization: "Bearer good",
      },
      body: "{}",
    });
    expect(call.status).toBe(200);
    expect(call.headers["access-control-allow-origin"]).toBe("https://app.example");
    expect(call.headers["access-control-expose-headers"]?.toLowerCase()).toContain("grpc-status-details-bin");
    expect(call.headers["vary"]).toContain("origin");
  });

  test("of no other origin may", async () => {
    for (const corsOrigins of [[], ["https://other.example"]]) {
      const { address } = await listening({ options: { corsOrigins } });
      const answer = await send(address, { path, method: "OPTIONS", headers: preflight });
      expect(answer.status).toBe(403);
      expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
    }
  });
});

describe("opening", () => {
  test("fails with a suggestion when the port is in use", async () => {
    const { port } = await listening();
    const error: unknown = await open({ options: { port } }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ListenError);
    expect(error).toMatchObject({
      code: "PORT_IN_USE",
      message: `The port is in use: 127.0.0.1:${port}`,
      suggestion: expect.stringContaining("--api-port"),
      cause: { code: "EADDRINUSE" },
    });
  });

  test("fails with a suggestion when the address is not one of this machine", async () => {
    const error: unknown = await open({ options: { host: "192.0.2.1" } }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "ADDRESS_UNAVAILABLE" });
  });
});

describe("stopping", () => {
  test("tells health watchers first, ends streams with SHUTTING_DOWN, and lets a call end", async () => {
    const entered = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const listener = await listening({
      status: {
        async getStatus() {
          entered.resolve();
          await release.promise;
          return statusAnswer();
        },
        async *watchStatus(_request, { signal }) {
          yield { status: { org: "acme" } };
          await new Promise((_resolve, reject) =>
            signal.addEventListener("abort", () => reject(signal.reason)),
          );
        },
      },
    });
    const transport = createGrpcTransport({ baseUrl: listener.address });
    const health = createClient(Health, transport).watch({})[Symbol.asyncIterator]();
    expect((await health.next()).value?.status).toBe(Serving.SERVING);
    const watch = createClient(StatusService, transport).watchStatus({}, auth)[Symbol.asyncIterator]();
    await watch.next();
    const http1 = createConnectTransport({ baseUrl: listener.address, httpVersion: "1.1" });
    const call = createClient(StatusService, http1).getStatus({}, auth);
    await entered.promise;

    const stopped = listener.stop({ graceMs: 10_000 });
    expect((await health.next()).value?.status).toBe(Serving.NOT_SERVING);
    expect((await health.next()).done).toBe(true);
    const error = readError(await watch.next().catch((reason: unknown) => reason));
    expect(error.code).toBe(Code.Unavailable);
    expect(error.detail?.reason).toBe("SHUTTING_DOWN");
    expect(error.detail?.requestId).not.toBe("");
    expect(error.detail?.retryAfter?.seconds).toBe(1n);
    release.resolve();
    expect((await call).status?.org).toBe("acme");
    await stopped;
  });

  test("does not wait for connections that are idle or silent", async () => {
    const listener = await listening();
    const silent = await dial(listener.port);
    const idle = await dial(listener.port);
    idle.write("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
    await once(idle, "data");
    const session = connectHttp2(listener.address);
    await once(session, "remoteSettings");
    const closed = [once(silent, "close"), once(idle, "close"), once(session, "close")];
    for (const socket of [silent, idle]) socket.resume();
    await listener.stop({ graceMs: 60_000 });
    await Promise.all(closed);
  });

  test("closes what does not end within the grace", async () => {
    const entered = Promise.withResolvers<void>();
    const listener = await listening({
      status: {
        async getStatus() {
          entered.resolve();
          return new Promise(() => {});
        },
      },
    });
    const client = createClient(StatusService, createGrpcTransport({ baseUrl: listener.address }));
    const call = client.getStatus({}, auth).catch((reason: ConnectError) => reason);
    await entered.promise;
    await listener.stop({ graceMs: 20 });
    expect(await call).toBeInstanceOf(Error);
  });

  test("by the signal is at once", async () => {
    const stop = new AbortController();
    const listener = await listening({ options: { signal: stop.signal } });
    const socket = await dial(listener.port);
    socket.resume();
    stop.abort();
    await once(socket, "close");
    await listener.stop({ graceMs: 60_000 });
  });
});
