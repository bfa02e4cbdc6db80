import { connect, createServer, type Socket } from "node:net";

/** A TCP proxy behind which the other side can fall silent without closing anything: a half-open connection. */
export interface Blackhole {
  /** The given URL, by way of the proxy. */
  readonly url: string;
  /** From now on nothing passes, either way, on any connection. */
  swallow(): void;
  /** What comes back after a connection has sent these bytes is lost, on that connection alone. */
  swallowAnswerTo(text: string): void;
  /** New connections pass again; swallowed ones stay so. */
  pass(): void;
  /** Resolves when so many connections have swallowed something. */
  swallowed(): number;
  close(): Promise<void>;
}

/** Opens one before a Postgres, on a free loopback port. */
export async function openBlackhole(url: string): Promise<Blackhole> {
  const target = new URL(url);
  const own = new URL(url);
  const sockets = new Set<Socket>();
  const silent = new Set<Socket>();
  let isSwallowing = false;
  let trigger: string | null = null;
  const server = createServer((inner) => {
    const outer = connect(Number(target.port), target.hostname);
    const isSilent = () => {
      if (isSwallowing) silent.add(inner);
      return silent.has(inner);
    };
    inner.on("data", (chunk) => {
      if (isSilent()) return;
      outer.write(chunk);
      if (trigger !== null && chunk.includes(trigger)) {
        trigger = null;
        silent.add(inner);
      }
    });
    outer.on("data", (chunk) => {
      if (!isSilent()) inner.write(chunk);
    });
    for (const [one, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        sockets.delete(one);
        if (!isSilent()) other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  own.host = `127.0.0.1:${typeof bound === "object" && bound ? bound.port : 0}`;
  return {
    url: own.href,
    swallow() {
      isSwallowing = true;
    },
    swallowAnswerTo(text) {
      trigger = text;
    },
    pass() {
      for (const socket of sockets) silent.add(socket);
      isSwallowing = false;
    },
    swallowed: () => silent.size,
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
