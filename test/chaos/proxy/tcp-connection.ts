import { connect, type Socket } from "node:net";
import type { Clock } from "../../../worker/clock.ts";
import type { Random } from "../random.ts";
import type { ProxiedConnection } from "./fault-proxy.ts";
import { Lane } from "./lane.ts";
import type { Direction, Effect } from "./tcp-faults.ts";

/** Looks at the bytes of one connection. */
export interface Filter {
  /** What goes on of a chunk from who connected. */
  up(chunk: Buffer): readonly Buffer[];
  /** What goes on of a chunk from the target. */
  down(chunk: Buffer): readonly Buffer[];
  /** Who connected, as far as known. */
  readonly name: string;
}

/** What a connection needs. */
export interface TcpConnectionOptions {
  readonly id: number;
  readonly client: Socket;
  readonly target: { readonly host: string; readonly port: number };
  readonly clock: Clock;
  readonly random: Random;
  readonly effect: (direction: Direction) => Effect;
  /** Absent: all goes on. */
  readonly filter?: ((connection: TcpConnection) => Filter) | undefined;
  /** So many bytes came and are gone. */
  readonly swallowed: (bytes: number) => void;
  /** Both sides are closed. */
  readonly closed: () => void;
}

/** A connection of a client, and ours to the target for it. */
export class TcpConnection implements ProxiedConnection {
  readonly id: number;
  readonly #client: Socket;
  readonly #target: Socket;
  readonly #up: Lane;
  readonly #down: Lane;
  readonly #filter: Filter;

  constructor(options: TcpConnectionOptions) {
    const { id, client, target, clock, random, effect, filter, swallowed, closed } = options;
    this.id = id;
    this.#client = client;
    this.#target = connect({ ...target, allowHalfOpen: true, noDelay: true });
    this.#filter = filter?.(this) ?? passAll;
    const common = { clock, random, swallowed, broken: () => this.reset() };
    this.#up = new Lane({
      ...common,
      from: client,
      to: this.#target,
      effect: () => effect("up"),
      filter: (chunk) => this.#filter.up(chunk),
    });
    this.#down = new Lane({
      ...common,
      from: this.#target,
      to: client,
      effect: () => effect("down"),
      filter: (chunk) => this.#filter.down(chunk),
    });
    let open = 2;
    for (const socket of [client, this.#target]) {
      // What went wrong is seen at the close.
      socket.on("error", () => {});
      socket.once("close", () => {
        open -= 1;
        if (open === 0) closed();
      });
    }
  }

  get name(): string {
    return this.#filter.name;
  }

  get bytesUp(): number {
    return this.#up.passedBytes;
  }

  get bytesDown(): number {
    return this.#down.passedBytes;
  }

  /** The faults changed. */
  update(): void {
    this.#up.update();
    this.#down.update();
  }

  /** RST to both sides. */
  reset(): void {
    this.#stop();
    this.#client.resetAndDestroy();
    this.#target.resetAndDestroy();
  }

  /** FIN to both sides; what they still send is not read. */
  end(): void {
    this.#stop();
    for (const socket of [this.#client, this.#target]) socket.destroySoon();
  }

  /** RST to one side; the other learns of it when the fault is healed. */
  lose(side: "client" | "target"): void {
    this.#up.lose();
    this.#down.lose();
    (side === "client" ? this.#client : this.#target).resetAndDestroy();
  }

  /** Hands bytes of our own to the client, after those of the target. */
  inject(bytes: Buffer): void {
    this.#down.inject(bytes);
  }

  #stop(): void {
    this.#up.stop();
    this.#down.stop();
  }
}

const passAll: Filter = { up: (chunk) => [chunk], down: (chunk) => [chunk], name: "" };
