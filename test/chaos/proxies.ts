import type { FrameFault } from "./proxy/frame-proxy.ts";
import { type RemoteProxy, startProxyHost } from "./proxy/proxy-host.ts";
import type { TcpFault } from "./proxy/tcp-faults.ts";

/** The proxies of a run: in a process of their own, so that bytes never wait for the runner. */
export interface RunProxies {
  /** For connections of clients. */
  clients(target: string): Promise<RemoteProxy<"tcp">>;
  /** For the links of one worker; `hasFrames`: with a proxy behind it that knows frames. */
  worker(name: string, target: string, options: { readonly hasFrames: boolean }): Promise<WorkerPath>;
  /** For the connections of one coordinator to Postgres. */
  postgres(name: string, target: string): Promise<RemoteProxy<"postgres">>;
  /** What all did together, by kind of harm. */
  counts(): Promise<Readonly<Record<string, number>>>;
  close(): Promise<void>;
}

/** All that stands between a worker and its coordinator. */
export interface WorkerPath {
  readonly address: string;
  setTarget(target: string): Promise<void>;
  /** Harm to bytes; the answer heals it. */
  harm(fault: TcpFault): Promise<() => Promise<void>>;
  /** Harm to frames; null when nothing on the way knows them. */
  readonly harmFrames: ((fault: FrameFault) => Promise<() => Promise<void>>) | null;
}

/** Starts the process of the proxies. */
export function startProxies(seed: number): RunProxies {
  const host = startProxyHost({ seed: String(seed) });
  const opened: Pick<RemoteProxy<"tcp">, "look">[] = [];
  const keep = <T extends Pick<RemoteProxy<"tcp">, "look">>(proxy: T): T => {
    opened.push(proxy);
    return proxy;
  };
  return {
    clients: async (target) => keep(await host.start("tcp", "clients", target)),
    postgres: async (name, target) => keep(await host.start("postgres", `postgres of ${name}`, target)),
    async worker(name, target, { hasFrames }) {
      const frames = hasFrames ? keep(await host.start("frame", `frames of ${name}`, target)) : null;
      const bytes = keep(await host.start("tcp", name, frames?.address ?? target));
      return {
        address: bytes.address,
        setTarget: (next) => (frames ?? bytes).setTarget(next),
        harm: (fault) => bytes.fault(fault),
        harmFrames: frames ? (fault) => frames.fault(fault) : null,
      };
    },
    async counts() {
      const sums: Record<string, number> = {};
      for (const { counts } of await Promise.all(opened.map((proxy) => proxy.look()))) {
        for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
      }
      return sums;
    },
    close: () => host.close(),
  };
}
