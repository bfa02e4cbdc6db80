import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { FaultsByLevel, ProxyAnswer, ProxyCommand, ProxyLevel, ProxyLook } from "./proxy-board.ts";

/** A process that holds proxies. */
export interface ProxyHost {
  readonly pid: number;
  /** Starts a proxy in it. Names are unique in a host. */
  start<L extends ProxyLevel>(level: L, name: string, target: string): Promise<RemoteProxy<L>>;
  /** Closes all proxies and ends the process. */
  close(): Promise<void>;
}

/** A proxy in another process. */
export interface RemoteProxy<L extends ProxyLevel> {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  setTarget(target: string): Promise<void>;
  /** Does harm until the answer is called. */
  fault(plan: FaultsByLevel[L]): Promise<() => Promise<void>>;
  look(): Promise<ProxyLook>;
  close(): Promise<void>;
}

/** Starts such a process. The proxies draw from forks of this seed, by their names. */
export function startProxyHost({ seed }: { readonly seed: string }): ProxyHost {
  const path = fileURLToPath(new URL("proxy-process.ts", import.meta.url));
  const child = spawn(process.execPath, [path], { stdio: ["pipe", "inherit", "inherit", "pipe"] });
  const ask = asking(child);
  return {
    pid: child.pid ?? 0,
    async start(level, name, target) {
      const { address = "", port = 0 } = await ask({ do: "start", proxy: name, level, target, seed });
      return {
        name,
        address,
        port,
        async setTarget(next) {
          await ask({ do: "target", proxy: name, target: next });
        },
        async fault(plan) {
          const { fault = 0 } = await ask({ do: "fault", proxy: name, plan });
          return async () => {
            await ask({ do: "heal", fault });
          };
        },
        async look() {
          return (await ask({ do: "look", proxy: name })).look ?? { counts: {}, connections: [] };
        },
        async close() {
          await ask({ do: "close", proxy: name });
        },
      };
    },
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = new Promise((resolve) => child.once("exit", resolve));
      child.stdin?.end();
      await exited;
    },
  };
}

interface Answered {
  readonly id: number;
  readonly answer?: ProxyAnswer;
  readonly error?: string;
}

function asking(child: ChildProcess): (command: ProxyCommand) => Promise<ProxyAnswer> {
  const waiting = new Map<number, PromiseWithResolvers<ProxyAnswer>>();
  let asked = 0;
  let gone: Error | undefined;
  createInterface({ input: readable(child.stdio[3]) }).on("line", (line) => {
    const { id, answer, error } = readAnswer(line);
    const one = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) one?.resolve(answer ?? {});
    else one?.reject(new Error(error));
  });
  const lost = (why: string): void => {
    gone ??= new Error(`the process of the proxies ${why}`);
    for (const one of waiting.values()) one.reject(gone);
    waiting.clear();
  };
  child.once("error", (error) => lost(`did not start: ${error.message}`));
  child.once("exit", (code, signal) => lost(`ended with ${signal ?? code}`));
  child.stdin?.on("error", () => {});
  return (command) => {
    if (gone) return Promise.reject(gone);
    asked += 1;
    const one = Promise.withResolvers<ProxyAnswer>();
    waiting.set(asked, one);
    child.stdin?.write(`${JSON.stringify({ id: asked, command })}\n`);
    return one.promise;
  };
}

function readable(stream: ChildProcess["stdio"][number] | undefined): Readable {
  if (stream === null || stream === undefined || !("read" in stream))
    throw new Error("descriptor 3 is no pipe");
  return stream;
}

// Safe: the other end is `proxy-process.ts`, which writes only such lines.
function readAnswer(line: string): Answered {
  return JSON.parse(line);
}
