import { connect, createServer, type Socket } from "node:net";

/** A TCP proxy before a Postgres that counts what it is asked. */
export interface CountingProxy {
  /** The given URL, by way of the proxy. */
  url(url: string): string;
  /** Statements so far: each one of a query of several too. */
  statements(): number;
  close(): Promise<void>;
}

/** Opens one before the Postgres of a URL, on a free loopback port. */
export async function openCountingProxy(target: string): Promise<CountingProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let statements = 0;
  const server = createServer((inner) => {
    const outer = connect(Number(port), hostname);
    const read = statementReader((count) => {
      statements += count;
    });
    inner.on("data", read);
    inner.pipe(outer).pipe(inner);
    for (const socket of [inner, outer]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        for (const one of [inner, outer]) one.destroy();
        sockets.delete(socket);
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const own = typeof address === "object" && address ? address.port : 0;
  return {
    url(url) {
      const result = new URL(url);
      result.host = `127.0.0.1:${own}`;
      return result.href;
    },
    statements: () => statements,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const queryType = "Q".charCodeAt(0);
const executeType = "E".charCodeAt(0);

// Messages of a client: the first is a length and its body, each other one a type before that.
function statementReader(count: (statements: number) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let header = 0;
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= header + 4) {
      const end = header + rest.readUInt32BE(header);
      if (rest.length < end) return;
      const type = header === 0 ? 0 : rest[0];
      if (type === executeType) count(1);
      if (type === queryType) {
        const text = rest.toString("utf8", header + 4, end - 1);
        count(text.split(";").filter((one) => one.trim() !== "").length);
      }
      rest = rest.subarray(end);
      header = 1;
    }
  };
}
