import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  defaultOpenFolders,
  findNative,
  logFileOf,
  openCluster,
  openDataDirectory,
} from "../../server/store/embedded-files.ts";
import { readPostmaster, spawnPostgres, stopPostmaster } from "../../server/store/embedded-process.ts";

/** A Postgres of one test, durable, that may be crashed and started again at the same address. */
export interface OwnPostgres {
  readonly url: string;
  /** Ends it as a crash does: nothing is flushed, recovery follows. */
  crash(): Promise<void>;
  /** Starts it again; resolves when it lets clients in. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Makes a cluster and starts it. */
export async function startOwnPostgres(): Promise<OwnPostgres> {
  const folder = await mkdtemp(join(tmpdir(), "muster-own-postgres-"));
  await chmod(folder, 0o755);
  const directory = await openDataDirectory(join(folder, "data"));
  const signal = () => AbortSignal.timeout(120_000);
  const cluster = await openCluster(directory, findNative(), defaultOpenFolders(), true, signal());
  const port = await freePort();
  const settings = { listen_addresses: "127.0.0.1", port, unix_socket_directories: "", timezone: "UTC" };
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const start = async (): Promise<void> => {
    await spawnPostgres(
      cluster.invocation,
      cluster.path,
      ["-D", cluster.path, ...args],
      logFileOf(directory),
      signal(),
    );
  };
  const crash = async (): Promise<void> => {
    const running = await readPostmaster(cluster.path);
    if (running) await stopPostmaster(running.pid, cluster.path, "immediate");
  };
  await start();
  return {
    url: `postgres://muster:${cluster.password}@127.0.0.1:${port}/postgres`,
    crash,
    start,
    async close() {
      await crash();
      await rm(folder, { recursive: true, force: true });
    },
  };
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
