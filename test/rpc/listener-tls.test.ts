import { once } from "node:events";
import { request } from "node:https";
import { connect as dial } from "node:net";
import { connect as dialTls } from "node:tls";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { StatusService } from "@muster/client/v1/status_service";
import { afterEach, expect, test } from "vitest";
import type { ApiListener } from "../../server/rpc/listener.ts";
import { listening as open, type Stubs } from "./listening.ts";
import { changingTls, testCert, testKey } from "./tls-fixture.ts";

const opened: ApiListener[] = [];
async function listening(options: Stubs["options"] = {}) {
  const listener = await open({
    options: { tls: changingTls({ cert: testCert, key: testKey }), ...options },
  });
  opened.push(listener);
  return listener;
}
afterEach(async () => {
  await Promise.all(opened.splice(0).map((listener) => listener.stop({ graceMs: 0 })));
});

const auth = { headers: { authorization: "Bearer good" } };

test("ALPN decides between HTTP/2 and HTTP/1.1", async () => {
  const { address } = await listening();
  expect(address).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  const nodeOptions = { ca: testCert };
  for (const transport of [
    createGrpcTransport({ baseUrl: address, nodeOptions }),
    createConnectTransport({ baseUrl: address, httpVersion: "2", nodeOptions }),
    createConnectTransport({ baseUrl: address, httpVersion: "1.1", nodeOptions }),
  ]) {
    const answer = await createClient(StatusService, transport).getStatus({}, auth);
    expect(answer.status?.org).toBe("acme");
  }
});

test("probes answer over HTTP/1.1", async () => {
  const { address } = await listening();
  const status = await new Promise((resolve, reject) => {
    request(`${address}/healthz`, { ca: testCert, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });
  expect(status).toBe(200);
});

test("clients without a certificate are turned away when an authority is given", async () => {
  const { address, port } = await listening({
    tls: changingTls({ cert: testCert, key: testKey, ca: testCert }),
  });
  const stranger = createGrpcTransport({ baseUrl: address, nodeOptions: { ca: testCert } });
  await expect(createClient(StatusService, stranger).getStatus({}, auth)).rejects.toThrow();
  const nodeOptions = { ca: testCert, cert: testCert, key: testKey };
  const known = createGrpcTransport({ baseUrl: `https://127.0.0.1:${port}`, nodeOptions });
  expect((await createClient(StatusService, known).getStatus({}, auth)).status?.org).toBe("acme");
});

test("a connection that does not shake hands, and one that does not end its headers, are closed", async () => {
  const { port } = await listening({ firstBytesMs: 100, handshakeMs: 1_000 });
  const silent = dial(port, "127.0.0.1");
  silent.on("error", () => {});
  const slow = dialTls({ port, host: "127.0.0.1", ca: testCert });
  slow.on("error", () => {});
  await once(slow, "secureConnect");
  slow.write("GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: ");
  const closed = [once(silent, "close"), once(slow, "close")];
  slow.resume();
  silent.resume();
  await Promise.all(closed);
});

test("nonsense instead of a handshake hurts nobody else", async () => {
  const { port, address } = await listening();
  const socket = dial(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.end("GET / HTTP/1.1\r\n\r\n");
  socket.resume();
  await once(socket, "close");
  const transport = createGrpcTransport({ baseUrl: address, nodeOptions: { ca: testCert } });
  expect((await createClient(StatusService, transport).getStatus({}, auth)).status?.org).toBe("acme");
});

test("stopping does not wait for connections without a request", async () => {
  const { port, stop } = await listening();
  const idle = dialTls({ port, host: "127.0.0.1", ca: testCert });
  idle.on("error", () => {});
  await once(idle, "secureConnect");
  idle.resume();
  const closed = once(idle, "close");
  await stop({ graceMs: 60_000 });
  await closed;
});
