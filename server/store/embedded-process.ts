import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { constants, readFileSync } from "node:fs";
import { chmod, lstat, mkdir, open, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/**
 * What can go wrong with the embedded Postgres, as people act on it:
 * in use (another coordinator owns it), version (its files are of another major version), foreign (the directory
 * holds something else), unusable (it cannot be created, read or written), missing (no binaries that run here),
 * port in use (the port that was asked for), start failed (`details.log` holds the last lines).
 */
export type EmbeddedPostgresCode =
  | "DATA_DIRECTORY_IN_USE"
  | "DATA_DIRECTORY_VERSION"
  | "DATA_DIRECTORY_FOREIGN"
  | "DATA_DIRECTORY_UNUSABLE"
  | "EMBEDDED_POSTGRES_MISSING"
  | "PORT_IN_USE"
  | "POSTGRES_START_FAILED";

/** The embedded Postgres could not be had. `suggestion` is one sentence that says what to do. */
export class EmbeddedPostgresError extends Error {
  readonly code: EmbeddedPostgresCode;
  readonly details: Record<string, string>;
  readonly suggestion: string;

  constructor(
    code: EmbeddedPostgresCode,
    message: string,
    details: Record<string, string>,
    suggestion: string,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? {} : { cause });
    this.name = "EmbeddedPostgresError";
    this.code = code;
    this.details = details;
    this.suggestion = suggestion;
  }
}

/** The operating system's account that Postgres runs as when we are root. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** A running server, as its postmaster.pid tells. `port` is 0 until the server has written it. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  readonly isReady: boolean;
}

/** A command of the package: the folder of its binaries, and who runs it (absent: we ourselves). */
export interface Invocation {
  readonly bin: string;
  readonly account: Account | undefined;
}

const pollMs = 10;
const fastShutdownMs = 60_000;
const maxLogBytes = 8 * 1024 * 1024;
const logTailBytes = 4096;
const logTailLines = 20;

/** The `code` of a system or database error; undefined for anything else. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** When a process began, in the kernel's own unit; undefined without /proc, or when the process is gone. */
export function processStartTime(pid: number): string | undefined {
  return readProcess(pid)?.startedAt;
}

/** Whether that very process still runs, and not a later one that was given its number. */
export function isSameProcess(pid: number, startedAt: string | undefined): boolean {
  const now = readProcess(pid);
  if (now === undefined) return isAlive(pid);
  return !now.isZombie && (startedAt === undefined || startedAt === now.startedAt);
}

/** The version that the binaries print ("18.4"). Rejects when they do not run, with the system's code. */
export function askVersion({ bin, account }: Invocation): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(join(bin, "postgres"), ["--version"], spawnOptions(account), (error, stdout, stderr) => {
      const version = /\(PostgreSQL\) (\S+)/.exec(stdout)?.[1];
      if (error === null && version !== undefined) return resolve(version);
      const cause = error ?? new Error(`postgres --version printed ${JSON.stringify(stdout)}`);
      if (stderr !== "") cause.message = stderr.trim();
      reject(cause);
    });
  });
}

/**
 * Creates a cluster in `cluster`, which must not exist: user muster with the password in `passwordFile`,
 * UTF-8, order by code point. Not `durable`: its files may be lost with the power.
 */
export async function createCluster(
  { bin, account }: Invocation,
  cluster: string,
  passwordFile: string,
  durable: boolean,
  signal: AbortSignal,
): Promise<void> {
  const child = spawn(
    join(bin, "initdb"),
    [
      `--pgdata=${cluster}`,
      "--username=muster",
      "--auth=scram-sha-256",
      `--pwfile=${passwordFile}`,
      "--encoding=UTF8",
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
      "--no-instructions",
      ...(durable ? [] : ["--no-sync"]),
    ],
    { ...spawnOptions(account), stdio: ["ignore", "pipe", "pipe"], signal },
  );
  let output = "";
  const collect = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-logTailBytes);
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const failure = await new Promise<Error | undefined>((resolve) => {
    child.once("error", resolve);
    child.once("close", (status) =>
      resolve(status === 0 ? undefined : new Error(`initdb ended with ${status}`)),
    );
  });
  signal.throwIfAborted();
  if (failure !== undefined)
    throw startFailed("initdb did not create the database", cluster, output, failure);
}

/**
 * Starts a server that outlives us: a session of its own (Ctrl-C does not reach it), nothing inherited but the log
 * file. Resolves once the server takes connections. On failure or abort nothing is left running.
 */
export async function spawnPostgres(
  { bin, account }: Invocation,
  cluster: string,
  args: readonly string[],
  logFile: string,
  signal: AbortSignal,
): Promise<number> {
  await removeRecycledPid(cluster);
  const log = await openLog(logFile);
  let logStart: number;
  let child: ChildProcess;
  try {
    logStart = (await log.stat()).size;
    child = spawn(join(bin, "postgres"), args, {
      ...spawnOptions(account),
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
    });
    await once(child, "spawn");
  } catch (cause) {
    throw startFailed("the Postgres binary does not start", cluster, "", cause);
  } finally {
    await log.close();
  }
  child.unref();
  const pid = child.pid ?? 0;
  try {
    while (child.exitCode === null && child.signalCode === null) {
      const postmaster = await readPostmaster(cluster);
      if (postmaster?.pid === pid && postmaster.isReady) return pid;
      await delay(pollMs, undefined, { signal });
    }
  } catch (error) {
    await stopPostmaster(pid, cluster, "immediate");
    throw error;
  }
  throw startFailed("Postgres ended while it started", cluster, await readLogTail(logFile, logStart));
}

/** The server that runs on this cluster; undefined when none does, whatever a stale postmaster.pid says. */
export async function readPostmaster(cluster: string): Promise<Postmaster | undefined> {
  const lines = await readPidFile(cluster);
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0 || !isPostmaster(pid, cluster)) return undefined;
  return { pid, port: Number(lines[3] ?? 0), isReady: lines[7]?.trim() === "ready" };
}

/**
 * Shuts a server down and waits until it is gone. Fast: clients are cut, everything is written; turned into
 * immediate (recovery at the next start, nothing committed lost) when it takes a minute.
 */
export async function stopPostmaster(
  pid: number,
  cluster: string,
  mode: "fast" | "immediate",
): Promise<void> {
  if (!isPostmaster(pid, cluster)) return;
  sendSignal(pid, mode === "fast" ? "SIGINT" : "SIGQUIT");
  const giveUpAt = performance.now() + fastShutdownMs;
  let isPatient = mode === "fast";
  while (isPostmaster(pid, cluster)) {
    if (isPatient && performance.now() > giveUpAt) {
      isPatient = false;
      sendSignal(pid, "SIGQUIT");
    }
    await delay(pollMs);
  }
}

/** Whether the server runs with exactly these arguments; false makes a restart, never a failure. */
export async function hasArguments(cluster: string, bin: string, args: readonly string[]): Promise<boolean> {
  const expected = `${join(bin, "postgres")}${args.map((argument) => ` "${argument}"`).join("")}\n`;
  const actual = await readFile(join(cluster, "postmaster.opts"), "utf8").catch(() => "");
  return actual === expected;
}

/** The error for a server that does not come up. */
export function startFailed(
  what: string,
  directory: string,
  log: string,
  cause?: unknown,
): EmbeddedPostgresError {
  const lines = log.trim().split("\n");
  const telling = lines.findLast((line) => /FATAL|PANIC|error:/.test(line)) ?? lines.at(-1) ?? "";
  const reason = telling !== "" ? telling : cause instanceof Error ? cause.message : "";
  return new EmbeddedPostgresError(
    "POSTGRES_START_FAILED",
    reason === "" ? what : `${what}: ${reason}`,
    { directory, log: log.trim() },
    "Correct what the log names, or set DATABASE_URL to use a Postgres of your own.",
    cause,
  );
}

/** The accounts of this machine, as /etc/passwd lists them. */
export async function readAccounts(): Promise<Account[]> {
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n");
  return lines.flatMap((line) => {
    const [name, , uid, gid] = line.split(":");
    if (name === undefined || uid === undefined || gid === undefined) return [];
    return [{ name, uid: Number(uid), gid: Number(gid) }];
  });
}

/** The first of the folders (made if its parent exists) that the account can reach and root alone can write. */
export async function chooseOpenFolder(account: Account, candidates: readonly string[]): Promise<string> {
  for (const folder of candidates) {
    const isNew = await mkdir(folder).then(
      () => true,
      () => false,
    );
    if (isNew) await chmod(folder, 0o711);
    const found = await lstat(folder).catch(() => undefined);
    const isSafe = found?.isDirectory() === true && found.uid === 0 && (found.mode & 0o022) === 0;
    if (isSafe && (await canReach(account, await realpath(folder)))) return realpath(folder);
  }
  throw new Error(`the account ${account.name} can reach neither it nor any of ${candidates.join(", ")}`);
}

/** Whether the account may pass into a folder (a real path), by the mode bits on the way. */
export async function canReach(account: Account, path: string): Promise<boolean> {
  const { uid, gid, mode } = await stat(path);
  const passBit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
  if ((mode & passBit) === 0) return false;
  return dirname(path) === path || canReach(account, dirname(path));
}

/** Only what Postgres needs: the coordinator's environment holds secrets, and this process may be another user's. */
function spawnOptions(account: Account | undefined) {
  const env = { LC_ALL: "C", PATH: process.env["PATH"] ?? "/usr/bin:/bin" };
  return account === undefined ? { cwd: "/", env } : { cwd: "/", env, uid: account.uid, gid: account.gid };
}

/**
 * A Postgres on this cluster, and not a process that was given the number of a dead one. A zombie (nobody reaps
 * orphans in many containers) has an empty command line, so it counts as gone.
 */
function isPostmaster(pid: number, cluster: string): boolean {
  let command: string[];
  try {
    command = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return isAlive(pid);
  }
  if (basename(command[0] ?? "") !== "postgres") return false;
  const flag = command.indexOf("-D");
  const directory = flag < 0 ? "" : (command[flag + 1] ?? "");
  return !isAbsolute(directory) || directory === cluster;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}

function sendSignal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (errorCode(error) !== "ESRCH") throw error;
  }
}

function readProcess(pid: number): { isZombie: boolean; startedAt: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { isZombie: fields[0] === "Z" || fields[0] === "X", startedAt: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}

async function readPidFile(cluster: string): Promise<string[]> {
  try {
    return (await readFile(join(cluster, "postmaster.pid"), "utf8")).split("\n");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return [];
    throw error;
  }
}

/**
 * Postgres takes over a stale postmaster.pid unless its number now belongs to some other process of the same user
 * (in containers it often does). Its own check of the shared memory still refuses when backends are left.
 */
async function removeRecycledPid(cluster: string): Promise<void> {
  const pid = Number((await readPidFile(cluster))[0]);
  if (Number.isInteger(pid) && pid > 0 && isAlive(pid) && !isPostmaster(pid, cluster)) {
    await rm(join(cluster, "postmaster.pid"), { force: true });
  }
}

async function openLog(logFile: string) {
  const size = await stat(logFile).then(
    (found) => found.size,
    () => 0,
  );
  if (size > maxLogBytes) await rename(logFile, `${logFile}.1`);
  return open(
    logFile,
    constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW,
    0o600,
  );
}

async function readLogTail(logFile: string, startByte: number): Promise<string> {
  const text = await readFile(logFile);
  const tail = text.subarray(Math.max(startByte, text.length - logTailBytes)).toString();
  return tail.trimEnd().split("\n").slice(-logTailLines).join("\n");
}
