import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import postgres from "postgres";
import {
  type Cluster,
  defaultOpenFolders,
  findNative,
  inUse,
  logFileOf,
  openCluster,
  openDataDirectory,
  readPort,
  withStartLock,
  writePort,
} from "./embedded-files.ts";
import {
  EmbeddedPostgresError,
  errorCode,
  hasArguments,
  isSameProcess,
  processStartTime,
  readPostmaster,
  spawnPostgres,
  startFailed,
  stopPostmaster,
} from "./embedded-process.ts";

/** Where the embedded Postgres says what it does. A pino logger fits. */
export interface EmbeddedLogger {
  info(message: string): void;
  warn(message: string): void;
}

/** How to start the embedded Postgres. */
export interface EmbeddedPostgresOptions {
  /** Created with mode 0700 if absent (as root 0710, for the group of the account that Postgres runs as). */
  readonly dataDir: string;
  /** A loopback port that must be had. Absent or 0: the one of the last start, or any that is free. */
  readonly port?: number;
  /** False gives up everything that survives a power cut (fsync, synchronous commits): for tests. Default true. */
  readonly durable?: boolean;
  /** More server settings, by name; they win over ours, save for the address and the port. */
  readonly settings?: Record<string, string>;
  readonly logger?: EmbeddedLogger;
  /** Gives up the start; what was started is stopped. Without effect afterwards. */
  readonly signal: AbortSignal;
  /** The folder with bin, lib and share of Postgres. Default: that of the platform's npm package. */
  readonly nativeDir?: string;
  /** As root: where cluster and binaries go when the unprivileged account cannot reach them; see openCluster. */
  readonly openFolders?: readonly string[];
}

/** A running embedded Postgres that we own. */
export interface EmbeddedPostgres {
  /** For the superuser muster: postgres://muster:<password>@127.0.0.1:<port>/muster */
  readonly url: string;
  readonly port: number;
  /** The real path of the data directory. */
  readonly dataDir: string;
  /** Whether the server was left running by a killed coordinator, and taken over as it was. */
  readonly adopted: boolean;
  /** Shuts the server down (fast: clients are cut) and waits until it is gone. Idempotent. */
  stop(): Promise<void>;
}

const lockKey = [0x6d757374, 1] as const;
const startAttempts = 5;
const settleMs = 5000;
const retryMs = 25;

/**
 * Starts a Postgres on a data directory, or adopts the one that a killed coordinator left running there, and owns
 * it until `stop`. The server is a process of its own: it outlives us, and the next coordinator adopts it (or
 * restarts it, if it is to run with other settings). Who holds a session advisory lock on the server owns it.
 *
 * Rejects with EmbeddedPostgresError, or with the reason of the signal.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { signal } = options;
  signal.throwIfAborted();
  const native = options.nativeDir ?? findNative();
  const openFolders = options.openFolders ?? defaultOpenFolders();
  const directory = await openDataDirectory(options.dataDir);
  try {
    return await withStartLock(directory, async () => {
      const cluster = await openCluster(directory, native, openFolders, options.durable ?? true, signal);
      return await ownServer({ options, directory, cluster });
    });
  } catch (error) {
    if (signal.aborted && !(error instanceof EmbeddedPostgresError)) throw signal.reason;
    throw error;
  }
}

interface Start {
  readonly options: EmbeddedPostgresOptions;
  readonly directory: string;
  readonly cluster: Cluster;
}

interface Server {
  readonly port: number;
  readonly ownership: Ownership;
}

async function ownServer(start: Start): Promise<EmbeddedPostgres> {
  const { options, directory, cluster } = start;
  const left = await takeLeftServer(start);
  const { port, ownership } = left ?? (await startServer(start));
  try {
    await ownership.createDatabase();
    await writePort(directory, port);
    options.signal.throwIfAborted();
  } catch (error) {
    await ownership.stopServer();
    throw error;
  }
  let stopped: Promise<void> | undefined;
  return {
    url: `postgres://muster:${cluster.password}@127.0.0.1:${port}/muster`,
    port,
    dataDir: directory,
    adopted: left !== undefined,
    stop() {
      stopped ??= ownership.stopServer();
      return stopped;
    },
  };
}

/** Owns the server that runs on the cluster. Undefined when there is none, or it had to go for other settings. */
async function takeLeftServer(start: Start): Promise<Server | undefined> {
  const { options, directory, cluster } = start;
  const { signal } = options;
  for (;;) {
    signal.throwIfAborted();
    const postmaster = await readPostmaster(cluster.path);
    if (postmaster === undefined) return undefined;
    if (!postmaster.isReady) {
      await delay(retryMs, undefined, { signal });
      continue;
    }
    const { port } = postmaster;
    const ownership = new Ownership(start, port);
    try {
      await ownership.take();
    } catch (error) {
      await ownership.release();
      if (error instanceof EmbeddedPostgresError || signal.aborted) throw error;
      if (!isPassing(error)) throw startFailed("the running server does not let us in", directory, "", error);
      await delay(retryMs, undefined, { signal });
      continue;
    }
    const args = serverArguments(cluster.path, options, options.port || port);
    if (await hasArguments(cluster.path, cluster.invocation.bin, args)) {
      options.logger?.info(`adopted the Postgres (process ${postmaster.pid}) that a killed coordinator left`);
      return { port, ownership };
    }
    options.logger?.info("restarting the Postgres that a killed coordinator left, for its new settings");
    await ownership.stopServer();
  }
}

async function startServer(start: Start): Promise<Server> {
  const { options, directory, cluster } = start;
  for (let attempt = 1; ; attempt++) {
    const port = await choosePort(start);
    const args = serverArguments(cluster.path, options, port);
    let pid: number;
    try {
      pid = await spawnPostgres(cluster.invocation, cluster.path, args, logFileOf(directory), options.signal);
    } catch (error) {
      if (!isAddressInUse(error)) throw error;
      if (options.port) throw portInUse(options.port, error);
      if (attempt === startAttempts) throw error;
      continue;
    }
    const ownership = new Ownership(start, port);
    try {
      await ownership.take();
    } catch (error) {
      await ownership.release();
      await stopPostmaster(pid, cluster.path, "immediate");
      throw error;
    }
    options.logger?.info(`started Postgres (process ${pid}) on 127.0.0.1:${port} in ${cluster.path}`);
    return { port, ownership };
  }
}

function serverArguments(cluster: string, options: EmbeddedPostgresOptions, port: number): string[] {
  const settings = {
    max_connections: "100",
    shared_buffers: "256MB",
    max_wal_size: "2GB",
    jit: "off",
    timezone: "UTC",
    log_timezone: "UTC",
    ...(options.durable === false
      ? { fsync: "off", synchronous_commit: "off", full_page_writes: "off" }
      : {}),
    ...options.settings,
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: "",
  };
  return ["-D", cluster, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
}

async function choosePort({ options, directory }: Start): Promise<number> {
  if (options.port) {
    const refused = await bind(options.port).catch((error: unknown) => error);
    if (errorCode(refused) === "EADDRINUSE") throw portInUse(options.port, refused);
    return options.port;
  }
  const remembered = await readPort(directory);
  if (remembered > 0) {
    const refused = await bind(remembered).catch((error: unknown) => error);
    if (refused === remembered) return remembered;
    options.logger?.warn(`port ${remembered} of the last start is taken; choosing another`);
  }
  return bind(0);
}

/** Proves that a loopback port can be had, and returns its number. */
function bind(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen({ host: "127.0.0.1", port, exclusive: true }, () => {
      const address = probe.address();
      const bound = typeof address === "object" && address !== null ? address.port : port;
      probe.close(() => resolve(bound));
    });
  });
}

function isAddressInUse(error: unknown): boolean {
  return error instanceof EmbeddedPostgresError && /Address already in use/.test(error.details["log"] ?? "");
}

function portInUse(port: number, cause: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    "PORT_IN_USE",
    `port ${port} on 127.0.0.1 is in use, so Postgres cannot have it`,
    { port: String(port) },
    "Name another port, or none to have a free one chosen.",
    cause,
  );
}

/** The server comes up or goes down: worth another try. */
function isPassing(error: unknown): boolean {
  const codes = ["ECONNREFUSED", "ECONNRESET", "EPIPE", "CONNECTION_CLOSED", "57P01", "57P02", "57P03"];
  return codes.includes(errorCode(error) ?? "");
}

/**
 * The session advisory lock that makes us the owner of the server, and the one connection that holds it.
 *
 *   none ──take──► held ──connection lost──► dropped ──retaken──► held
 *                                               └──another coordinator has it──► taken (and tried on)
 *
 * `released` ends it from any of them. Advisory locks belong to a database: this one to `postgres`.
 */
class Ownership {
  readonly #start: Start;
  readonly #sql: postgres.Sql;
  readonly #released = new AbortController();
  #state: "none" | "held" | "dropped" | "taken" = "none";
  #pid: number | undefined;
  #retaking: Promise<void> | undefined;

  constructor(start: Start, port: number) {
    this.#start = start;
    this.#sql = postgres({
      host: "127.0.0.1",
      port,
      username: "muster",
      password: start.cluster.password,
      database: "postgres",
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      connect_timeout: 10,
      fetch_types: false,
      backoff: false,
      onnotice: () => undefined,
      onclose: () => this.#onClose(),
      connection: { application_name: `muster-owner ${process.pid} ${processStartTime(process.pid) ?? ""}` },
    });
  }

  /** Takes the lock. A live owner makes DATA_DIRECTORY_IN_USE; a killed one's session gets time to end. */
  async take(): Promise<void> {
    const { options, directory } = this.#start;
    const giveUpAt = performance.now() + settleMs;
    while (!(await this.#tryLock())) {
      const [owner] = await this.#sql<{ name: string }[]>`
        select application_name as name from pg_stat_activity join pg_locks using (pid)
        where locktype = 'advisory' and granted and objsubid = 2
          and classid = ${lockKey[0]} and objid = ${lockKey[1]} and datname = current_database()`;
      const [, pid, startedAt] = /^muster-owner (\d+) (\d*)$/.exec(owner?.name ?? "") ?? [];
      const isLive = pid !== undefined && isSameProcess(Number(pid), startedAt || undefined);
      if (isLive || performance.now() > giveUpAt) throw inUse(directory, isLive ? Number(pid) : undefined);
      await delay(retryMs, undefined, { signal: options.signal });
    }
  }

  /** Creates the database muster if it is absent. */
  async createDatabase(): Promise<void> {
    const found = await this.#sql`select 1 from pg_database where datname = 'muster'`;
    if (found.length === 0) await this.#sql`create database muster`;
  }

  /** Stops the server, unless another coordinator has come to own it; then gives up the lock. */
  async stopServer(): Promise<void> {
    if (this.#state === "dropped") await this.#tryLock().catch(() => false);
    this.#released.abort();
    const running = await readPostmaster(this.#start.cluster.path);
    const isOurs = this.#state === "held" || (this.#state === "dropped" && running?.pid === this.#pid);
    if (running !== undefined && isOurs) await stopPostmaster(running.pid, this.#start.cluster.path, "fast");
    await this.release();
  }

  /** Closes the connection, and with it gives up the lock. */
  async release(): Promise<void> {
    this.#released.abort();
    await this.#sql.end({ timeout: 0 });
    await this.#retaking;
  }

  async #tryLock(): Promise<boolean> {
    const [row] = await this.#sql<{ held: boolean }[]>`
      select pg_try_advisory_lock(${lockKey[0]}::int, ${lockKey[1]}::int) as held`;
    const isHeld = row?.held === true;
    if (isHeld) this.#pid = (await readPostmaster(this.#start.cluster.path))?.pid;
    this.#state = isHeld ? "held" : this.#state === "none" ? "none" : "taken";
    return isHeld;
  }

  #onClose(): void {
    if (this.#released.signal.aborted || this.#state !== "held") return;
    this.#state = "dropped";
    this.#retaking ??= this.#retake().finally(() => {
      this.#retaking = undefined;
    });
  }

  async #retake(): Promise<void> {
    const { logger } = this.#start.options;
    const { signal } = this.#released;
    logger?.warn("the connection that owns the embedded Postgres was lost");
    for (let waitMs = 50; !signal.aborted; waitMs = Math.min(waitMs * 2, settleMs)) {
      try {
        await delay(waitMs, undefined, { signal });
        const before = this.#state;
        if (await this.#tryLock()) {
          logger?.info("the embedded Postgres is owned again");
          return;
        }
        if (before !== this.#state) logger?.warn("another coordinator owns the embedded Postgres now");
      } catch {
        // The server is still away, or we are released: the loop's condition tells.
      }
    }
  }
}
