import { isIPv6, type Socket } from "node:net";
import { Allowance } from "./allowance.ts";

/** What an address may do. */
export interface AddressLimits {
  /**
   * Connections of an address at once, of one /64 in IPv6, and how many it may open in a burst, at least 100; a tenth of
   * the burst every second after that. 0: no limit.
   */
  readonly connectionsPerAddress: number;
  /** Addresses that are neither counted nor shut out. */
  readonly isUncounted: (address: string) => boolean;
  /** Milliseconds of a steady clock. */
  readonly nowMs?: () => number;
}

/** How long an address is shut out after its first flood; twice as long after each that follows. */
const shutOutMs = 10_000;
const longestShutOutMs = 60_000;
/** An address that floods no more is one like any other this long after it was let in again. */
const forgivenAfterMs = 60_000;
/** Connections that flood although their address is shut out, after which all that it has are closed. */
const floodsWhileShutOut = 2;
/** However few an address may have at once: connections that follow each other are no flood. */
const leastBurst = 100;

/** What is known of an address. */
interface Known {
  readonly sockets: Set<Socket>;
  readonly openings: Allowance;
  floods: number;
  floodsWhileOut: number;
  outUntilMs: number;
}

/**
 * What each address does, so that none takes all there is: how many connections it has, how fast it opens them, and
 * whether one of them was closed for flooding. To close that one alone is no defence: the next is open before the
 * work that the last one made is done. So its address is shut out for a time, at accept, where it costs least.
 */
export class Addresses {
  readonly #limits: AddressLimits;
  readonly #nowMs: () => number;
  readonly #known = new Map<string, Known>();
  #sweptAtMs: number;

  constructor(limits: AddressLimits) {
    this.#limits = limits;
    this.#nowMs = limits.nowMs ?? (() => performance.now());
    this.#sweptAtMs = this.#nowMs();
  }

  /** Counts a connection until it is closed, or says why it is not let in. */
  admit(socket: Socket): "admitted" | "address-limit" | "shut-out" {
    const known = this.#of(socket);
    if (known === undefined) return "admitted";
    if (known.outUntilMs > this.#nowMs()) return "shut-out";
    const most = this.#limits.connectionsPerAddress;
    if (most > 0 && (known.sockets.size >= most || !known.openings.take())) return "address-limit";
    known.sockets.add(socket);
    socket.once("close", () => known.sockets.delete(socket));
    return "admitted";
  }

  /** Tells how to report that a connection floods; to be asked while it is open. */
  floodOf(socket: Socket): () => void {
    const known = this.#of(socket);
    return () => {
      if (known !== undefined) this.#flooded(known);
    };
  }

  #flooded(known: Known): void {
    const now = this.#nowMs();
    if (known.outUntilMs > now) {
      // Opened before its address was shut out, as whatever else floods now.
      known.floodsWhileOut++;
      if (known.floodsWhileOut < floodsWhileShutOut) return;
      for (const socket of known.sockets) socket.destroy();
      return;
    }
    if (now >= known.outUntilMs + forgivenAfterMs) known.floods = 0;
    known.outUntilMs = now + Math.min(longestShutOutMs, shutOutMs * 2 ** known.floods);
    known.floods++;
    known.floodsWhileOut = 0;
  }

  #of(socket: Socket): Known | undefined {
    const address = socket.remoteAddress;
    // Without one: closed again before it was taken.
    if (address === undefined || this.#limits.isUncounted(address)) return undefined;
    this.#sweep();
    const name = networkOf(address);
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const burst = Math.max(leastBurst, this.#limits.connectionsPerAddress);
    const fresh: Known = {
      sockets: new Set(),
      openings: new Allowance(burst, burst / 10, this.#nowMs),
      floods: 0,
      floodsWhileOut: 0,
      outUntilMs: Number.NEGATIVE_INFINITY,
    };
    this.#known.set(name, fresh);
    return fresh;
  }

  // Forgets those of whom nothing need be known, once in a while.
  #sweep(): void {
    const now = this.#nowMs();
    if (now < this.#sweptAtMs + forgivenAfterMs) return;
    this.#sweptAtMs = now;
    for (const [name, known] of this.#known) {
      const isForgiven = now >= known.outUntilMs + forgivenAfterMs;
      if (isForgiven && known.sockets.size === 0 && known.openings.isFull) this.#known.delete(name);
    }
  }
}

/** What one household has: an address, or in IPv6 the first 64 bits of it. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [before = "", after] = address.replace(/%.*$/, "").split("::");
  const head = before === "" ? [] : before.split(":");
  const tail = after === undefined || after === "" ? [] : after.split(":");
  const zeros = after === undefined ? 0 : 8 - head.length - tail.length;
  return [...head, ...Array.from({ length: zeros }, () => "0"), ...tail].slice(0, 4).join(":");
}
