import { type ClientHttp2Stream, connect } from "node:http2";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { StatusService } from "@muster/client/v1/status_service";
import { afterEach, describe, expect, test } from "vitest";
import { createCallGate } from "../../server/rpc/gate.ts";
import { addGrpcJsService } from "../../server/rpc/grpc-js-adapter.ts";
import { watchUnread } from "../../server/rpc/unread.ts";
import { callerWith, keepingLog, listening } from "./listening.ts";

const closing: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const messageBytes = 256 * 1024;
const unreadMs = 1_000;

/** A watch without end, of large messages: how many were made, and when it was ended. */
function endless() {
  const ended = Promise.withResolvers<void>();
  const made = { count: 0 };
  return {
    made,
    ended: ended.promise,
    async *watchStatus() {
      try {
        for (;;) {
          made.count++;
          yield { status: { org: "x".repeat(messageBytes) } };
        }
      } finally {
        ended.resolve();
      }
    },
  };
}

type Watch = ReturnType<typeof endless>;

async function onConnectNode({ watchStatus }: Watch, cutOff: () => void): Promise<number> {
  const listener = await listening({ status: { watchStatus }, options: { unreadMs, cutOff } });
  closing.push(() => listener.stop({ graceMs: 0 }));
  return listener.port;
}

async function onGrpcJs({ watchStatus }: Watch, cutOff: () => void): Promise<number> {
  const log = keepingLog();
  const gate = createCallGate({ log, reflection: "on", authenticate: async () => callerWith(["read"]) });
  const server = new Server({ "grpc-node.max_session_memory": 16 });
  const parts = { gate, log, shutdownSignal: new AbortController().signal, unreadMs, cutOff };
  addGrpcJsService(server, StatusService, { getStatus: () => ({}), watchStatus }, parts);
  closing.push(() => server.forceShutdown());
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
}

/** Watches with a client of HTTP/2 that reads what it is told to: stock clients read ahead without end. */
function watch(port: number): ClientHttp2Stream {
  const session = connect(`http://127.0.0.1:${port}`);
  closing.push(() => session.destroy());
  session.on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": `/${StatusService.typeName}/WatchStatus`,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: "Bearer good",
  });
  stream.on("error", () => {});
  // An empty message in its envelope.
  stream.end(Buffer.alloc(5));
  return stream;
}

describe.each([
  ["connect-node", onConnectNode],
  ["grpc-js", onGrpcJs],
])("a watch over %s", (_, open) => {
  test("is cut off when its watcher never reads, and has cost bounded memory", async () => {
    const cutOff = Promise.withResolvers<void>();
    const endlessWatch = endless();
    watch(await open(endlessWatch, cutOff.resolve));
    await cutOff.promise;
    await endlessWatch.ended;
    expect(endlessWatch.made.count * messageBytes).toBeLessThan(32 * 1024 * 1024);
  });

  test("goes on while its watcher reads", async () => {
    const cutOffs: string[] = [];
    const endlessWatch = endless();
    const stream = watch(await open(endlessWatch, () => cutOffs.push("cut")));
    let bytes = 0;
    for await (const chunk of stream) {
      bytes += Buffer.from(chunk).length;
      if (bytes > 100 * messageBytes) break;
    }
    expect(cutOffs).toEqual([]);
    await endlessWatch.ended;
  });
});

test("what is read in time is passed on whole, and leaves no timer behind", async () => {
  const seen: number[] = [];
  const parts = (async function* () {
    yield* [1, 2, 3];
  })();
  const watched = watchUnread(parts, { maxMs: 1, cutOff: () => expect.unreachable("it is read") });
  for await (const part of watched) seen.push(part);
  expect(seen).toEqual([1, 2, 3]);
});
