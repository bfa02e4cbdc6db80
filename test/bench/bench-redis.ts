import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Redis } from "ioredis";

/** The Redis of a run. */
export interface BenchRedis {
  readonly url: string;
  readonly client: Redis;
  /** What it keeps, in words. */
  readonly durability: string;
  readonly version: string;
  /** CPU time so far, in microseconds, and what it has appended to its file, in bytes. */
  usage(): Promise<{
    readonly cpuMicros: number;
    readonly appendedBytes: number;
    readonly peakRssBytes: number;
  }>;
  stop(): Promise<void>;
}

/** The Redis of REDIS_URL; else one of our own, with AOF everysec; undefined where there is none. */
export async function startBenchRedis(
  env: Readonly<Record<string, string | undefined>>,
): Promise<BenchRedis | undefined> {
  if (env["REDIS_URL"]) return openRedis(env["REDIS_URL"], async () => {});
  const program = (env["PATH"] ?? "")
    .split(delimiter)
    .map((folder) => join(folder, "redis-server"))
    .find(isExecutable);
  if (program === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), "muster-bench-redis-"));
  const port = await freePort();
  const flags = {
    port,
    bind: "127.0.0.1",
    dir: folder,
    appendonly: "yes",
    appendfsync: "everysec",
    save: "",
  };
  const server = spawn(
    program,
    Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
    { stdio: "ignore" },
  );
  return openRedis(`redis://127.0.0.1:${port}`, async () => {
    await ended(server);
    await rm(folder, { recursive: true, force: true });
  });
}

async function openRedis(url: string, end: () => Promise<void>): Promise<BenchRedis> {
  const client = new Redis(url, { maxRetriesPerRequest: null });
  client.on("error", () => {});
  const info = async (section: string) => {
    const lines = (await client.info(section)).split("\r\n").map((line) => line.split(":"));
    return new Map(lines.map(([name = "", value = ""]) => [name, value]));
  };
  const setting = async (name: string) => ((await client.config("GET", name)) as string[])[1] ?? "?";
  const isAppending = (await setting("appendonly")) === "yes";
  const durability = isAppending ? `AOF, fsync ${await setting("appendfsync")}` : "no AOF";
  return {
    url,
    client,
    durability,
    version: (await info("server")).get("redis_version") ?? "?",
    async usage() {
      const [cpu, persistence, memory] = [await info("cpu"), await info("persistence"), await info("memory")];
      const seconds = Number(cpu.get("used_cpu_sys")) + Number(cpu.get("used_cpu_user"));
      return {
        cpuMicros: Math.round(seconds * 1e6),
        appendedBytes: Number(persistence.get("aof_current_size") ?? 0),
        peakRssBytes: Number(memory.get("used_memory_peak") ?? 0),
      };
    },
    async stop() {
      client.disconnect();
      await end();
    },
  };
}

function ended(server: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (server.exitCode !== null || server.signalCode !== null) return resolve();
    server.once("exit", () => resolve());
    server.kill("SIGTERM");
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.listen(0, "127.0.0.1", () => {
      const bound = probe.address();
      probe.close(() => resolve(typeof bound === "object" && bound ? bound.port : 0));
    });
  });
}
