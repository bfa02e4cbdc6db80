import { connect, createServer, type Socket } from "node:net";

/** A TCP proxy whose target can be changed, and whose connections can be cut: what a load balancer does. */
export interface Switch {
  readonly address: string;
  /** New connections go there: `host:port`. Null refuses them. */
  pointTo(target: string | null): void;
  /** Resets every open connection. */
  cut(): void;
  close(): Promise<void>;
}

/** Opens one on a free loopback port. */
export async function openSwitch(target: string): Promise<Switch> {
  let current: string | null = target;
  const sockets = new Set<Socket>();
  const server = createServer((inner) => {
    if (current === null) return void inner.destroy();
    const [host = "", port = ""] = current.split(":");
    const outer = connect(Number(port), host);
    for (const [one, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    address: `127.0.0.1:${typeof bound === "object" && bound ? bound.port : 0}`,
    pointTo(next) {
      current = next;
    },
    cut,
    close() {
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
