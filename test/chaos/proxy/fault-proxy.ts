import { type AddressInfo, isIPv6, type Server } from "node:net";

/**
 * Something that stands between processes of a run and does harm on demand. What it is told is plain data, so that
 * it may live in another process.
 */
export interface FaultProxy<Plan> {
  /** `127.0.0.1:port`: what stands in for the target. */
  readonly address: string;
  readonly port: number;
  /** Where connections go that are opened from now on: `host:port`. */
  setTarget(target: string): void;
  /** Does harm until the answer is called. What happens at once, as a reset, has nothing to heal. */
  fault(plan: Plan): () => void;
  /** What it did so far, by kind of harm. */
  counts(): Readonly<Record<string, number>>;
  /** What is open. */
  connections(): readonly ProxiedConnection[];
  /** Cuts all connections and listens no more. */
  close(): Promise<void>;
}

/** A connection through a proxy. */
export interface ProxiedConnection {
  /** Rises by one with each connection of a proxy. */
  readonly id: number;
  /** Bytes handed on from who connected to the target, and back. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Who it is, where the proxy can tell: a role of Postgres, the mark of a worker. */
  readonly name: string;
}

/** Reads `host:port`, an IPv6 host in brackets. Throws a TypeError. */
export function parseTarget(target: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:/]+)):(\d+)$/.exec(target) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || !(Number(port) > 0 && Number(port) <= 65_535)) {
    throw new TypeError(`a target is host:port, not ${JSON.stringify(target)}`);
  }
  return { host, port: Number(port) };
}

/** Listens on a free port of the loopback address. */
export async function listenOnLoopback(server: Server): Promise<{ address: string; port: number }> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      server.off("error", reject);
      resolve();
    });
  });
  const { address, port } = boundTo(server);
  return { address: `${isIPv6(address) ? `[${address}]` : address}:${port}`, port };
}

/** Counts by name. */
export class Counts {
  readonly #counts = new Map<string, number>();

  add(name: string, count = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
  }

  read(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}

function boundTo(server: Server): AddressInfo {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no TCP address");
  return address;
}
