import { createServer } from "node:net";
import { type Clock, systemClock } from "../../../worker/clock.ts";
import { type Random, seededRandom } from "../random.ts";
import { Counts, type FaultProxy, listenOnLoopback, parseTarget } from "./fault-proxy.ts";
import { type Filter, TcpConnection } from "./tcp-connection.ts";
import { concerns, effectOf, type TcpFault } from "./tcp-faults.ts";

/** What a proxy of bytes needs. */
export interface TcpProxyOptions {
  /** `host:port`. */
  readonly target: string;
  /** For jitter. */
  readonly random?: Random;
  /** What delays are measured by. Default: the process's. */
  readonly clock?: Clock;
  /** Looks at the bytes of each connection. */
  readonly filter?: (connection: TcpConnection) => Filter;
}

/** A proxy of bytes. */
export interface TcpProxy extends FaultProxy<TcpFault> {
  /** The open connections themselves, for who looks inside. */
  readonly open: Iterable<TcpConnection>;
}

/** Starts a proxy of bytes on a free port of the loopback address. */
export async function startTcpProxy(options: TcpProxyOptions): Promise<TcpProxy> {
  const { random = seededRandom(0), clock = systemClock() } = options;
  let target = parseTarget(options.target);
  let opened = 0;
  const faults = new Set<TcpFault>();
  const connections = new Map<number, TcpConnection>();
  const counts = new Counts();
  const update = () => {
    for (const connection of connections.values()) connection.update();
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    if ([...faults].some(({ kind }) => kind === "refuse")) {
      counts.add("refuse");
      client.on("error", () => {});
      client.resetAndDestroy();
      return;
    }
    opened += 1;
    const id = opened;
    const connection = new TcpConnection({
      id,
      client,
      target,
      clock,
      random: random.fork(`${id}`),
      effect: (direction) => effectOf(faults, id, direction),
      filter: options.filter,
      swallowed: (bytes) => counts.add("swallowed bytes", bytes),
      closed: () => connections.delete(id),
    });
    connections.set(id, connection);
  });
  const { address, port } = await listenOnLoopback(server);
  return {
    address,
    port,
    open: { [Symbol.iterator]: () => connections.values() },
    setTarget(next) {
      target = parseTarget(next);
    },
    fault(plan) {
      const concerned = [...connections.values()].filter(({ id }) => concerns(plan, id));
      // Of connections to come, none is half open.
      const fault =
        plan.kind === "half-open" ? { ...plan, connections: concerned.map(({ id }) => id) } : plan;
      if (fault.kind !== "refuse") counts.add(fault.kind, concerned.length);
      switch (fault.kind) {
        case "reset":
          for (const connection of concerned) connection.reset();
          return () => {};
        case "end":
          for (const connection of concerned) connection.end();
          return () => {};
        case "half-open":
          faults.add(fault);
          for (const connection of concerned) connection.lose(fault.lost);
          break;
        case "delay":
        case "bandwidth":
        case "slice":
        case "slow-close":
        case "hold":
        case "swallow":
        case "refuse":
          faults.add(fault);
          update();
      }
      return () => {
        if (faults.delete(fault)) update();
      };
    },
    counts: () => counts.read(),
    connections: () =>
      [...connections.values()].map(({ id, name, bytesUp, bytesDown }) => ({ id, name, bytesUp, bytesDown })),
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const connection of connections.values()) connection.reset();
      await closed;
    },
  };
}
