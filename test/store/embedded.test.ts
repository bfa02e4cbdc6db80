import { type ChildProcess, execFile, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from "../../server/store/embedded.ts";
import { findNative } from "../../server/store/embedded-files.ts";
import { readPostmaster, stopPostmaster } from "../../server/store/embedded-process.ts";

const isRoot = process.getuid?.() === 0;
const run = promisify(execFile);

let template: string;
let folder: string;
let dataDir: string;
let started: EmbeddedPostgres[];
let children: ChildProcess[];

beforeAll(async () => {
  template = await mkdtemp(join(tmpdir(), "muster-embedded-template-"));
  const signal = AbortSignal.timeout(30_000);
  const made = await startEmbeddedPostgres({ dataDir: template, durable: false, signal });
  await made.stop();
}, 30_000);

afterAll(() => rm(template, { recursive: true, force: true }));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-embedded-"));
  await chmod(folder, 0o755);
  dataDir = join(folder, "data");
  started = [];
  children = [];
});

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  for (const server of started) await server.stop();
  for (const cluster of await clustersUnder(folder)) {
    const postmaster = await readPostmaster(cluster);
    if (postmaster !== undefined) await stopPostmaster(postmaster.pid, cluster, "immediate");
  }
  await rm(folder, { recursive: true, force: true });
});

describe("a start", { timeout: 30_000 }, () => {
  test("makes a database that takes connections, and a stop that leaves no process", async () => {
    const server = await start();
    expect(server.adopted).toBe(false);
    const select = `select current_database() as database, current_user as "user",
      current_setting('fsync') as fsync, current_setting('server_encoding') as encoding`;
    const found = await query(server.url, (sql) => sql.unsafe(select));
    expect(found).toEqual([{ database: "muster", user: "muster", fsync: "on", encoding: "UTF8" }]);
    const { pid } = await runningIn(join(dataDir, "postgres"));
    await server.stop();
    await server.stop();
    expect(await commandOf(pid)).toBe("");
    expect(await readdir(dataDir)).not.toContain("postgres.lock");
  });

  test("keeps everybody else out of the data and the password", async () => {
    await startedBefore();
    const server = await start({ durable: false });
    expect(await modeOf(dataDir)).toBe(isRoot ? 0o710 : 0o700);
    expect(await modeOf(join(dataDir, "postgres"))).toBe(0o700);
    for (const name of ["postgres.password", "postgres.port", "postgres.log"]) {
      expect(await modeOf(join(dataDir, name))).toBe(0o600);
      expect((await stat(join(dataDir, name))).uid).toBe(process.getuid?.());
    }
    const wrong = server.url.replace(/:[^:@]+@/, ":wrong@");
    await expect(query(wrong, (sql) => sql`select 1`)).rejects.toMatchObject({ code: "28P01" });
  });

  test("keeps data and port over a restart, and takes settings", async () => {
    await startedBefore();
    const first = await start({ durable: false });
    await query(first.url, (sql) => sql`create table kept as select 42 as answer`);
    await first.stop();
    const second = await start({ durable: false, settings: { work_mem: "7MB" } });
    expect(second).toMatchObject({ url: first.url, port: first.port, adopted: false });
    const select = `select answer, current_setting('work_mem') as memory from kept`;
    const rows = await query(second.url, (sql) => sql.unsafe(select));
    expect(rows).toEqual([{ answer: 42, memory: "7MB" }]);
  });

  test("is given up with its signal, and leaves no process", async () => {
    await startedBefore();
    const giveUp = new AbortController();
    const logger = { info: () => giveUp.abort(new Error("enough")), warn: () => undefined };
    await expect(start({ durable: false, signal: giveUp.signal, logger })).rejects.toThrow("enough");
    expect(await readPostmaster(join(dataDir, "postgres"))).toBeUndefined();
    const server = await start({ durable: false });
    expect(await query(server.url, (sql) => sql`select 1 as one`)).toEqual([{ one: 1 }]);
  });
});

describe("ownership", { timeout: 30_000 }, () => {
  test("adopts the server of a killed coordinator as it is", async () => {
    await startedBefore();
    const { outcome, kill } = await startChild();
    await query(String(outcome["url"]), (sql) => sql`create table kept as select 42 as answer`);
    const before = await runningIn(join(dataDir, "postgres"));
    await kill();
    const server = await start({ durable: false });
    expect(server).toMatchObject({ adopted: true, url: outcome["url"], port: outcome["port"] });
    expect(await runningIn(join(dataDir, "postgres"))).toEqual(before);
    expect(await query(server.url, (sql) => sql`select answer from kept`)).toEqual([{ answer: 42 }]);
    await server.stop();
    expect(await readPostmaster(join(dataDir, "postgres"))).toBeUndefined();
    expect(await commandOf(before.pid)).toBe("");
  });

  test("restarts the server of a killed coordinator for other settings", async () => {
    await startedBefore();
    const { kill } = await startChild();
    await kill();
    const server = await start({ durable: false, settings: { work_mem: "7MB" } });
    expect(server.adopted).toBe(false);
    expect(await query(server.url, (sql) => sql`show work_mem`)).toEqual([{ work_mem: "7MB" }]);
  });

  test("refuses a directory that a live coordinator owns, here or in another process", async () => {
    await startedBefore();
    await start({ durable: false });
    await expect(start({ durable: false })).rejects.toMatchObject({
      code: "DATA_DIRECTORY_IN_USE",
      details: { directory: dataDir, pid: String(process.pid) },
      suggestion: expect.stringMatching(/--data.*DATABASE_URL/),
    });
    const { outcome } = await startChild();
    expect(outcome).toEqual({ code: "DATA_DIRECTORY_IN_USE" });
  });

  test("is taken again when Postgres has restarted", async () => {
    await startedBefore();
    const journal = keepJournal();
    const server = await start({ durable: false, logger: journal.logger });
    const [owner] = await query(
      server.url,
      (sql) => sql<{ pid: number }[]>`select pid from pg_locks where locktype = 'advisory' and granted`,
    );
    process.kill(owner?.pid ?? 0, "SIGKILL");
    await journal.says("the embedded Postgres is owned again");
    await expect(start({ durable: false })).rejects.toMatchObject({ code: "DATA_DIRECTORY_IN_USE" });
    await server.stop();
    expect(await readPostmaster(join(dataDir, "postgres"))).toBeUndefined();
  });

  test("that went to another coordinator leaves the server to it", async () => {
    await startedBefore();
    const journal = keepJournal();
    const server = await start({ durable: false, logger: journal.logger });
    const before = await runningIn(join(dataDir, "postgres"));
    const other = postgres(server.url.replace(/muster$/, "postgres"), { max: 1 });
    const [lock] = await query(
      server.url,
      (sql) => sql<{ key: number; second: number; pid: number }[]>`
        select classid::int as key, objid::int as second, pid from pg_locks where locktype = 'advisory'`,
    );
    if (lock === undefined) throw new Error("nobody owns the server");
    const taken = other`select pg_advisory_lock(${lock.key}::int, ${lock.second}::int)`.execute();
    await query(server.url, async (sql) => {
      const waiting = () => sql`select 1 from pg_locks where locktype = 'advisory' and not granted`;
      await expect.poll(waiting).toHaveLength(1);
      return sql`select pg_terminate_backend(${lock.pid})`;
    });
    await taken;
    await journal.says("another coordinator owns the embedded Postgres now");
    await server.stop();
    expect(await other`select 1 as one`).toEqual([{ one: 1 }]);
    await other.end();
    expect(await runningIn(join(dataDir, "postgres"))).toEqual(before);
  });

  test("goes to exactly one of two that start on a new directory at the same moment", async () => {
    const both = await Promise.all([startChild(), startChild()]);
    const outcomes = both.map(({ outcome }) => outcome["code"] ?? "started");
    expect(outcomes.toSorted()).toEqual(["DATA_DIRECTORY_IN_USE", "started"]);
    for (const { child } of both) child.stdin?.end();
    await Promise.all(both.map(({ exited }) => exited));
    expect(await readPostmaster(join(dataDir, "postgres"))).toBeUndefined();
  });

  test("takes over the start lock and the postmaster.pid of processes that are gone", async () => {
    await startedBefore();
    const stale = { pid: process.pid, startedAt: "1" };
    await writeFile(join(dataDir, "postgres.lock"), JSON.stringify(stale));
    await writeFile(
      join(dataDir, "postgres", "postmaster.pid"),
      `${process.pid}\n${dataDir}/postgres\n1\n1\n`,
    );
    const server = await start({ durable: false });
    expect(server.adopted).toBe(false);
  });
});

describe("a refusal", { timeout: 30_000 }, () => {
  test("names both versions for a directory of a newer Postgres", async () => {
    await mkdir(join(dataDir, "postgres"), { recursive: true });
    await writeFile(join(dataDir, "postgres", "PG_VERSION"), "19\n");
    await writeFile(join(dataDir, "postgres.password"), "secret");
    await expect(start({ durable: false })).rejects.toMatchObject({
      code: "DATA_DIRECTORY_VERSION",
      details: { directory: dataDir, found: "19", supported: "18" },
      suggestion: expect.stringContaining("newer Muster"),
    });
  });

  test("leaves a directory alone that holds something else", async () => {
    await mkdir(dataDir);
    await writeFile(join(dataDir, "letter.txt"), "dear");
    await expect(start()).rejects.toMatchObject({ code: "DATA_DIRECTORY_FOREIGN" });
    expect(await readdir(dataDir)).toEqual(["letter.txt"]);
  });

  test("is clear when the directory is a file", async () => {
    await writeFile(dataDir, "");
    await expect(start()).rejects.toMatchObject({ code: "DATA_DIRECTORY_UNUSABLE" });
  });

  test("does not begin anew where a database has vanished", async () => {
    await mkdir(dataDir);
    await writeFile(join(dataDir, "postgres.password"), "secret");
    await writeFile(join(dataDir, "postgres.port"), "5432");
    await expect(start({ durable: false })).rejects.toMatchObject({
      code: "DATA_DIRECTORY_UNUSABLE",
      message: expect.stringContaining("is gone"),
    });
  });

  test("suggests DATABASE_URL when there are no binaries", async () => {
    await expect(start({ nativeDir: join(folder, "none") })).rejects.toMatchObject({
      code: "EMBEDDED_POSTGRES_MISSING",
      suggestion: expect.stringContaining("DATABASE_URL"),
    });
  });

  test("says that a port which was asked for is taken, and chooses another otherwise", async () => {
    await startedBefore();
    const other = createServer();
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    const address = other.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    try {
      await expect(start({ durable: false, port })).rejects.toMatchObject({
        code: "PORT_IN_USE",
        details: { port: String(port) },
      });
      await writeFile(join(dataDir, "postgres.port"), `${port}\n`);
      const server = await start({ durable: false });
      expect(server.port).not.toBe(port);
    } finally {
      other.close();
    }
  });

  test("carries the last lines of the log when Postgres does not start", async () => {
    await startedBefore();
    const outcome = start({ durable: false, settings: { shared_buffers: "many" } });
    await expect(outcome).rejects.toMatchObject({
      code: "POSTGRES_START_FAILED",
      details: { log: expect.stringContaining('invalid value for parameter "shared_buffers": "many"') },
    });
  });
});

describe.skipIf(!isRoot)("as root", { timeout: 30_000 }, () => {
  test("works from a closed folder, with data and binaries where nobody can reach them", async () => {
    const closed = join(folder, "closed");
    await mkdir(closed, { mode: 0o700 });
    const nativeDir = join(closed, "native");
    await run("sh", ["-c", 'cp -al "$1" "$2" || cp -a "$1" "$2"', "sh", findNative(), nativeDir]);
    dataDir = join(closed, "data");
    const options = { durable: false, nativeDir, openFolders: [join(closed, "none"), join(folder, "open")] };
    const first = await start(options);
    await query(first.url, (sql) => sql`create table kept as select 42 as answer`);
    await first.stop();
    const second = await start(options);
    expect(await query(second.url, (sql) => sql`select answer from kept`)).toEqual([{ answer: 42 }]);
    const home = (await readFile(join(dataDir, "postgres.location"), "utf8")).trim();
    expect(home.startsWith(join(folder, "open", "data-"))).toBe(true);
    const { pid } = await runningIn(join(home, "postgres"));
    expect((await commandOf(pid)).startsWith(join(folder, "open", "postgres-"))).toBe(true);
    const copies = (await readdir(join(folder, "open"))).filter((name) => name.startsWith("postgres-"));
    expect(copies).toHaveLength(1);
    for (const name of copies) expect((await stat(join(folder, "open", name))).uid).toBe(0);
  });

  test("puts nothing into a folder that others may write", async () => {
    const closed = join(folder, "closed");
    const shared = join(folder, "shared");
    await mkdir(closed, { mode: 0o700 });
    await mkdir(shared);
    await chmod(shared, 0o777);
    dataDir = join(closed, "data");
    await expect(start({ durable: false, openFolders: [shared] })).rejects.toMatchObject({
      code: "DATA_DIRECTORY_UNUSABLE",
      message: expect.stringContaining("nobody"),
    });
    expect(await readdir(shared)).toEqual([]);
  });

  test("runs Postgres as the account that owns the directory", async () => {
    await mkdir(dataDir, { mode: 0o700 });
    await chown(dataDir, 1, 1);
    await start({ durable: false });
    const { pid } = await runningIn(join(dataDir, "postgres"));
    expect((await stat(`/proc/${pid}`)).uid).toBe(1);
  });
});

/** Makes the data directory one that was started and stopped before: quicker than a first start. */
async function startedBefore(): Promise<void> {
  await run("cp", ["-a", template, dataDir]);
}

async function start(options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
  const signal = AbortSignal.timeout(25_000);
  const server = await startEmbeddedPostgres({ dataDir, signal, ...options });
  started.push(server);
  return server;
}

/** A coordinator in a process group of its own; `kill` reaches the whole group, as a terminal's Ctrl-C does. */
async function startChild() {
  const script = join(import.meta.dirname, "..", "support", "embedded-owner.ts");
  const child = spawn(process.execPath, [script, JSON.stringify({ dataDir, durable: false })], {
    stdio: ["pipe", "inherit", "inherit", "pipe"],
    detached: true,
  });
  children.push(child);
  const exited = once(child, "exit");
  const said = child.stdio[3];
  if (said === undefined || said === null || !("read" in said)) throw new Error("no descriptor 3");
  const kill = async () => {
    process.kill(-(child.pid ?? 0), "SIGKILL");
    await exited;
  };
  for await (const line of createInterface({ input: said })) {
    const outcome: Record<string, unknown> = JSON.parse(line);
    return { child, outcome, exited, kill };
  }
  throw new Error("the child said nothing");
}

/** A logger, and a way to wait for what it is told. */
function keepJournal() {
  const spoken = new EventEmitter();
  const said: string[] = [];
  const tell = (message: string) => {
    said.push(message);
    spoken.emit("message");
  };
  const says = async (message: string) => {
    while (!said.includes(message)) await once(spoken, "message");
  };
  return { logger: { info: tell, warn: tell }, says };
}

async function query<T>(url: string, ask: (sql: postgres.Sql) => PromiseLike<Iterable<T>>): Promise<T[]> {
  const sql = postgres(url, { max: 1 });
  try {
    return [...(await ask(sql))];
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function runningIn(cluster: string) {
  const postmaster = await readPostmaster(cluster);
  if (postmaster === undefined) throw new Error(`no server runs in ${cluster}`);
  return postmaster;
}

/** Empty for a process that is gone, reaped or not. */
async function commandOf(pid: number): Promise<string> {
  return readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

async function clustersUnder(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name));
  const isCluster = entries.some(({ name }) => name === "PG_VERSION");
  return isCluster ? [path] : (await Promise.all(folders.map(clustersUnder))).flat();
}
