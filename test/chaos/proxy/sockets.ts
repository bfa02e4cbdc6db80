import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { listenOnLoopback } from "./fault-proxy.ts";

/** A socket of a test: what it received, and waits for more. */
export interface TestSocket {
  readonly socket: Socket;
  /** All bytes so far. */
  received(): Buffer;
  /** Resolves when so many bytes came in all. */
  until(bytes: number): Promise<Buffer>;
  send(text: string | Buffer): void;
  /** How it was closed: `end`, or the code of the error. */
  readonly closed: Promise<string>;
  /** The other side sends no more. */
  readonly ended: Promise<unknown>;
}

/** A server whose connections a test takes one by one. */
export interface TestTarget extends AsyncDisposable {
  readonly address: string;
  /** The next connection. */
  accept(): Promise<TestSocket>;
}

/** Watches a socket. */
export function testSocket(socket: Socket): TestSocket {
  const chunks: Buffer[] = [];
  let length = 0;
  let error: NodeJS.ErrnoException | undefined;
  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
  });
  socket.on("error", (one) => {
    error = one;
  });
  const received = (): Buffer => Buffer.concat(chunks);
  return {
    socket,
    received,
    async until(bytes) {
      while (length < bytes) await once(socket, "data");
      return received();
    },
    send: (text) => socket.write(text),
    closed: new Promise((resolve) => socket.once("close", () => resolve(error?.code ?? "end"))),
    ended: new Promise((resolve) => socket.once("end", resolve)),
  };
}

/** Connects to an address. */
export function dial(address: string): TestSocket {
  const [host = "", port = ""] = address.split(":");
  return testSocket(connect({ host, port: Number(port), allowHalfOpen: true, noDelay: true }));
}

/** Listens. */
export async function openTarget(): Promise<TestTarget> {
  const accepted: TestSocket[] = [];
  const waiting: ((socket: TestSocket) => void)[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    const one = testSocket(socket);
    const next = waiting.shift();
    if (next) next(one);
    else accepted.push(one);
  });
  const { address } = await listenOnLoopback(server);
  return {
    address,
    async accept() {
      return accepted.shift() ?? new Promise((resolve) => waiting.push(resolve));
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
