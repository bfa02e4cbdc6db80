import { seededRandom } from "../random.ts";
import type { FaultProxy, ProxiedConnection } from "./fault-proxy.ts";
import { type FrameFault, startFrameProxy } from "./frame-proxy.ts";
import { type PostgresFault, startPostgresProxy } from "./postgres-proxy.ts";
import type { TcpFault } from "./tcp-faults.ts";
import { startTcpProxy } from "./tcp-proxy.ts";

/** What a proxy understands, and with it the harm that it can do. */
export interface FaultsByLevel {
  readonly tcp: TcpFault;
  readonly postgres: PostgresFault;
  readonly frame: FrameFault;
}

/** The levels. */
export type ProxyLevel = keyof FaultsByLevel;

/** What proxies are told; plain data. Proxies have names, which are given at their start. */
export type ProxyCommand =
  | {
      readonly do: "start";
      readonly proxy: string;
      readonly level: ProxyLevel;
      /** `host:port`. */
      readonly target: string;
      readonly seed: string;
    }
  | { readonly do: "target"; readonly proxy: string; readonly target: string }
  | { readonly do: "fault"; readonly proxy: string; readonly plan: FaultsByLevel[ProxyLevel] }
  | { readonly do: "heal"; readonly fault: number }
  | { readonly do: "look"; readonly proxy: string }
  | { readonly do: "close"; readonly proxy: string };

/** What they answer: the fields that the command has an answer for. */
export interface ProxyAnswer {
  /** To `start`. */
  readonly address?: string;
  readonly port?: number;
  /** To `fault`: what `heal` takes. */
  readonly fault?: number;
  /** To `look`. */
  readonly look?: ProxyLook;
}

/** What a proxy did, and what is open. */
export interface ProxyLook {
  readonly counts: Readonly<Record<string, number>>;
  readonly connections: readonly ProxiedConnection[];
}

/** Many proxies by name, told what to do by data. */
export class ProxyBoard {
  readonly #proxies = new Map<string, Held>();
  readonly #heals = new Map<number, () => void>();
  #faults = 0;

  /** Does it. Rejects with what was wrong with the command. */
  async run(command: ProxyCommand): Promise<ProxyAnswer> {
    switch (command.do) {
      case "start": {
        const { proxy: name, level, target, seed } = command;
        if (this.#proxies.has(name)) throw new TypeError(`there is a proxy ${name} already`);
        const proxy = await starters[level]({ target, random: seededRandom(seed).fork(name) });
        this.#proxies.set(name, { level, proxy });
        return { address: proxy.address, port: proxy.port };
      }
      case "target":
        this.#named(command.proxy).proxy.setTarget(command.target);
        return {};
      case "fault": {
        const { level, proxy } = this.#named(command.proxy);
        const { plan } = command;
        if (!kinds[level].includes(plan.kind)) throw new TypeError(`a ${level} proxy knows no ${plan.kind}`);
        this.#faults += 1;
        this.#heals.set(this.#faults, proxy.fault(plan));
        return { fault: this.#faults };
      }
      case "heal":
        // Healed twice is healed.
        this.#heals.get(command.fault)?.();
        this.#heals.delete(command.fault);
        return {};
      case "look": {
        const { proxy } = this.#named(command.proxy);
        return { look: { counts: proxy.counts(), connections: proxy.connections() } };
      }
      case "close": {
        const { proxy } = this.#named(command.proxy);
        this.#proxies.delete(command.proxy);
        await proxy.close();
        return {};
      }
    }
  }

  /** Closes all of them. */
  async close(): Promise<void> {
    await Promise.all([...this.#proxies.values()].map(({ proxy }) => proxy.close()));
    this.#proxies.clear();
  }

  #named(name: string): Held {
    const held = this.#proxies.get(name);
    if (held === undefined) throw new TypeError(`there is no proxy ${name}`);
    return held;
  }
}

// The kinds of a level are looked at before a plan is handed on.
interface Held {
  readonly level: ProxyLevel;
  readonly proxy: FaultProxy<FaultsByLevel[ProxyLevel]>;
}

const starters = { tcp: startTcpProxy, postgres: startPostgresProxy, frame: startFrameProxy };

const tcpKinds: readonly TcpFault["kind"][] = [
  "delay",
  "bandwidth",
  "slice",
  "slow-close",
  "hold",
  "swallow",
  "half-open",
  "refuse",
  "reset",
  "end",
];
const postgresKinds: readonly PostgresFault["kind"][] = [
  ...tcpKinds,
  "swallow-commit",
  "drop-notification",
  "terminate",
];
const frameKinds: readonly FrameFault["kind"][] = ["frames", "goaway", "reset-streams", "cut"];
const kinds: Readonly<Record<ProxyLevel, readonly string[]>> = {
  tcp: tcpKinds,
  postgres: postgresKinds,
  frame: frameKinds,
};
