import { join } from "node:path";
import { type Child, startChild } from "./child.ts";

/** The Postgres of a run: a process of its own, on the same data and port after each crash. */
export interface RunDatabase {
  /** For its superuser, without a proxy between. */
  readonly url: string;
  readonly port: number;
  /** `kill -9` of the postmaster, or an immediate stop: no checkpoint either way. Resolves when it is gone. */
  crash(how: "kill" | "immediate"): Promise<void>;
  /** Starts it again; resolves when it takes connections. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it in a folder. */
export async function startDatabase(folder: string): Promise<RunDatabase> {
  let owner: Child;
  let postmaster = 0;
  const start = async (): Promise<Readonly<Record<string, unknown>>> => {
    owner = startChild({
      name: "postgres",
      program: "./postgres-process.ts",
      argument: { dataDir: join(folder, "data") },
      logFile: join(folder, "postgres.log"),
    });
    const ready = await owner.ready;
    postmaster = Number(ready["pid"]);
    return ready;
  };
  const { url, port } = await start();
  return {
    url: String(url),
    port: Number(port),
    async crash(how) {
      // The owner would tell nobody, but it would try to have the server back.
      owner.signal("SIGKILL");
      process.kill(postmaster, how === "kill" ? "SIGKILL" : "SIGQUIT");
      await owner.exited;
      while (isThere(postmaster)) await new Promise((resolve) => setTimeout(resolve, 10));
    },
    async start() {
      await start();
    },
    stop: () => owner.stop(30_000),
  };
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
