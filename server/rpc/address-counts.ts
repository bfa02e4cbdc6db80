import { isIPv6, type Socket } from "node:net";

/** How many connections each address has, so that none takes all there are. */
export class AddressCounts {
  readonly #most: number;
  readonly #isUncounted: (address: string) => boolean;
  readonly #counts = new Map<string, number>();

  constructor(limits: {
    /** 0: no limit. */
    readonly connectionsPerAddress: number;
    readonly isUncounted: (address: string) => boolean;
  }) {
    this.#most = limits.connectionsPerAddress;
    this.#isUncounted = limits.isUncounted;
  }

  /** Counts a connection until it is closed; false when its address has enough of them. */
  admit(socket: Socket): boolean {
    const address = socket.remoteAddress;
    // Closed again before it was taken.
    if (address === undefined) return true;
    if (this.#most === 0 || this.#isUncounted(address)) return true;
    const name = networkOf(address);
    const count = this.#counts.get(name) ?? 0;
    if (count >= this.#most) return false;
    this.#counts.set(name, count + 1);
    socket.once("close", () => {
      const left = (this.#counts.get(name) ?? 1) - 1;
      if (left === 0) this.#counts.delete(name);
      else this.#counts.set(name, left);
    });
    return true;
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
