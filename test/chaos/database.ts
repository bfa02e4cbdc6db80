import { join } from "node:path";
import { type Child, type ChildLine, startChild, untilReady } from "./child.ts";

/** The Postgres of a run: a process of its own, on the same data and port after each crash. */
export interface RunDatabase {
  /** For its superuser, without a proxy between. */
  readonly url: string;
  readonly port: number;
  /** `kill -9` of the postmaster, or an immediate stop: no checkpoint either way. Resolves when it is gone. */
  crash(how: "kill" | "immediate"): Promise<void>;
  /** Starts it again, and once more if it crashes while it starts; resolves when it takes connections. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it in a folder. `crashed` is called when its process ends and nobody had asked it to. */
export async function startDatabase(folder: string, crashed: (how: string) => void): Promise<RunDatabase> {
  let owner: Child;
  let postmaster = 0;
  const spawnOwner = (): Child => {
    owner = startChild({
      name: "postgres",
      program: "./postgres-process.ts",
      argument: { dataDir: join(folder, "data") },
      logFile: join(folder, "postgres.log"),
      crashed,
    });
    return owner;
  };
  const start = async (): Promise<ChildLine> => {
    const ready = (await untilReady(spawnOwner(), spawnOwner, never)) ?? {};
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

/** Of a start that nobody breaks off. */
const never = new AbortController().signal;

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
