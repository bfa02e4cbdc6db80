import { randomBytes } from "node:crypto";
import { type BackupPlace, backupNameForm } from "../outbound/backup-place.ts";
import { type BackupTable, backupTables, openSnapshot, type Snapshot } from "../store/backups.ts";
import { schemaVersion } from "../store/migrate.ts";
import { beginRestore, copyStatement, headOfSql, linesIn, tailOfSql } from "../store/restores.ts";
import { version } from "../version.ts";
import { broken, lookAt, manifestOf, readFile, writeFile } from "./backup-files.ts";
import { DomainError, invalidArgument } from "./errors.ts";
import {
  type BackedTable,
  type BackupFormat,
  backupsToRemove,
  type Keeping,
  type Manifest,
  type NamedBackup,
} from "./rules/backups.ts";

/** What a backup is asked to be. */
export interface BackupRequest {
  /** The name of the one org; null: the whole database. */
  readonly org: string | null;
  readonly format: BackupFormat;
  readonly keep: Keeping;
}

/** How far it is: 0 to 1, and a few words. */
export type Told = (fraction: number, message: string) => void;

/** What was made. */
export interface MadeBackup {
  readonly name: string;
  readonly place: string;
  readonly org: string | null;
  readonly orgs: number;
  readonly tables: number;
  readonly rows: number;
  readonly sizeBytes: number;
  /** Older ones that went. */
  readonly removed: readonly string[];
}

/** A whole backup of a place. */
export interface ListedBackup {
  readonly manifest: Manifest;
  readonly rows: number;
  readonly sizeBytes: number;
}

/** Something that a backup is not as its manifest says. */
export interface BackupProblem {
  readonly file: string;
  readonly message: string;
}

/**
 * Makes a backup: every table in one moment of the database, compressed on the way, in bounded memory. Nothing is to
 * be seen of it before it is whole; what broke off is removed. Then those go that `keep` does not keep.
 * `sweepUrl`: the database as the role of sweeps.
 */
export async function createBackup(
  { sweepUrl, place }: { readonly sweepUrl: string; readonly place: BackupPlace },
  request: BackupRequest,
  { signal, told }: { readonly signal: AbortSignal; readonly told: Told },
): Promise<MadeBackup> {
  const snapshot = await openSnapshot(sweepUrl, signal);
  try {
    const org = orgOf(snapshot, request.org);
    const scope = org === null ? allOrgs : scopeOf(org.name);
    const name = nameOf(snapshot.at, scope);
    try {
      const manifest = await writeTables(snapshot, {
        place,
        name,
        org,
        format: request.format,
        signal,
        told,
      });
      await place.finish(name, Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`), signal);
      const removed = await removeOlder(place, { scope, org }, request.keep, snapshot.at.getTime(), signal);
      const { rows, sizeBytes } = totalsOf(manifest);
      const { orgs, tables } = manifest;
      return {
        name,
        place: place.shown,
        org: request.org,
        orgs,
        tables: tables.length,
        rows,
        sizeBytes,
        removed,
      };
    } catch (error) {
      await place.remove(name, new AbortController().signal).catch(() => {});
      throw error;
    }
  } finally {
    await snapshot.close();
  }
}

/** The whole backups of a place, newest first. One whose manifest cannot be read is left out. */
export async function listBackups(place: BackupPlace, signal: AbortSignal): Promise<ListedBackup[]> {
  const listed: ListedBackup[] = [];
  for (const name of (await place.list(signal)).reverse()) {
    const manifest = await manifestOf(place, name, signal).catch(() => null);
    if (manifest !== null) listed.push({ manifest, ...totalsOf(manifest) });
  }
  return listed;
}

/** Compares every file of a backup with its manifest: digest, size, number of rows. Needs no database. */
export async function verifyBackup(
  place: BackupPlace,
  name: string,
  { signal, told }: { readonly signal: AbortSignal; readonly told: Told },
): Promise<{ readonly manifest: Manifest; readonly problems: readonly BackupProblem[] }> {
  const manifest = await manifestOf(place, name, signal);
  const problems: BackupProblem[] = [];
  const frames = manifest.frames.map((frame) => ({ ...frame, rows: null }));
  const files = [...frames, ...manifest.tables];
  for (const [index, file] of files.entries()) {
    told(index / files.length, file.file);
    const looked = await lookAt(place, name, file.file, signal);
    const say = (message: string) => problems.push({ file: file.file, message });
    if (looked === null) say("is missing");
    else if (looked.sha256 !== file.sha256) say("has other bytes than were written");
    else if (file.rows !== null && looked.lines !== linesOf(manifest.format, file.rows)) {
      say(`has not the ${file.rows} rows that it should have`);
    }
  }
  return { manifest, problems };
}

/**
 * Puts a backup into the database of `url`, in one transaction: see `beginRestore` for what it must be. Bytes that are
 * not those that were written, or another number of rows, and nothing has happened. Answers with the cluster's epoch.
 */
export async function restoreBackup(
  { url, place }: { readonly url: string; readonly place: BackupPlace },
  name: string,
  { signal, told }: { readonly signal: AbortSignal; readonly told: Told },
): Promise<{ readonly manifest: Manifest; readonly epoch: number; readonly rows: number }> {
  const manifest = await manifestOf(place, name, signal);
  if (manifest.format !== "sql") {
    throw new DomainError("VALIDATION_FAILED", {
      message: `the backup ${name} has the format jsonl, which is for other programs`,
      suggestion: "Restore one of the format sql.",
    });
  }
  const restore = await beginRestore(url, manifest, signal);
  const total = totalsOf(manifest).rows;
  let rows = 0;
  try {
    for (const table of manifest.tables) {
      told(total === 0 ? 0 : rows / total, table.table);
      const file = await readFile(place, name, table.file, signal);
      if (file === null) throw broken(name, `its file ${table.file} is missing`);
      const body = withoutFirstLine(file.text);
      const loaded = await restore.load(table.table, table.columns, body);
      // The last line is the end of the rows.
      if (file.sha256() !== table.sha256 || loaded - 1 !== table.rows) {
        throw broken(name, `its file ${table.file} is not as it was written`);
      }
      rows += table.rows;
    }
    told(1, "committing");
    return { manifest, epoch: await restore.finish(), rows };
  } catch (error) {
    await restore.abandon();
    signal.throwIfAborted();
    throw error;
  }
}

const allOrgs = "all";

function orgOf(snapshot: Snapshot, name: string | null) {
  if (name === null) return null;
  const found = snapshot.orgs.find((one) => one.name === name);
  if (found === undefined) throw invalidArgument([{ field: "org", message: "is not the name of an org" }]);
  return found;
}

// Two orgs may have the same letters: what the manifest says counts, this is for people.
function scopeOf(org: string): string {
  const letters = org.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-");
  return `org-${letters.slice(0, 50)}`.replace(/-+$/, "");
}

function nameOf(at: Date, scope: string): string {
  const time = at.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  return `muster-${time}-${scope}-${randomBytes(3).toString("hex")}`;
}

interface Writing {
  readonly place: BackupPlace;
  readonly name: string;
  readonly org: { readonly orgId: string; readonly name: string } | null;
  readonly format: BackupFormat;
  readonly signal: AbortSignal;
  readonly told: Told;
}

async function writeTables(snapshot: Snapshot, writing: Writing): Promise<Manifest> {
  const { place, name, org, format, signal, told } = writing;
  const orgs = org === null ? snapshot.orgs : [org];
  let lastPlace = 0;
  for (const { orgId } of orgs) lastPlace = Math.max(lastPlace, await snapshot.lastPlace(orgId));
  const { partitions, epoch } = snapshot;
  const frames: Manifest["frames"][number][] = [];
  const frame = async (file: string, text: string) => {
    const kept = await writeFile(place, name, file, [Buffer.from(text)], signal);
    frames.push({ file, sizeBytes: kept.sizeBytes, sha256: kept.sha256 });
  };
  if (format === "sql") await frame("000-begin.sql.gz", headOfSql({ partitions }));
  const tables: BackedTable[] = [];
  let done = 0;
  for (const [index, table] of backupTables.entries()) {
    const file = `${String(index + 1).padStart(3, "0")}-${table.name}.${format}.gz`;
    const counted = { rows: 0 };
    const counting = (rows: number) => {
      counted.rows += rows;
      const all = Math.max(snapshot.estimatedRows, done + counted.rows, 1);
      told(Math.min((done + counted.rows) / all, 0.99), `${table.name}: ${counted.rows} rows`);
    };
    const lines = linesOfTable(snapshot, table, orgs, format, counting);
    const { sizeBytes, sha256 } = await writeFile(place, name, file, lines, signal);
    tables.push({ table: table.name, file, columns: table.columns, rows: counted.rows, sizeBytes, sha256 });
    done += counted.rows;
  }
  if (format === "sql") await frame("999-end.sql.gz", tailOfSql({ epoch, lastPlace }));
  return {
    ...{ form: 1, name, version, format, schema: schemaVersion(), epoch, at: snapshot.at.toISOString() },
    ...{ org, orgs: orgs.length, partitions, lastPlace, tables, frames },
  };
}

async function* linesOfTable(
  snapshot: Snapshot,
  table: BackupTable,
  orgs: readonly { readonly orgId: string }[],
  format: BackupFormat,
  counting: (rows: number) => void,
): AsyncGenerator<Uint8Array> {
  if (format === "sql") yield Buffer.from(`${copyStatement(table)};\n`);
  for (const { orgId } of orgs) {
    const stream = await snapshot.rows(table, orgId, format);
    for await (const chunk of gathered(stream)) {
      counting(linesIn(chunk));
      yield format === "sql" ? chunk : withoutDoubling(chunk);
    }
  }
  if (format === "sql") yield Buffer.from("\\.\n");
}

// The server sends a row a message: small ones together are cheaper for all that follows.
async function* gathered(rows: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let kept: Buffer[] = [];
  let keptBytes = 0;
  for await (const row of rows) {
    kept.push(row);
    keptBytes += row.length;
    if (keptBytes < chunkBytes) continue;
    yield Buffer.concat(kept);
    [kept, keptBytes] = [[], 0];
  }
  if (keptBytes > 0) yield Buffer.concat(kept);
}

const chunkBytes = 256 * 1024;

// COPY doubles every backslash; JSON has no other character that it would change. A chunk ends with a row.
function withoutDoubling(chunk: Buffer): Buffer {
  return chunk.includes("\\\\") ? Buffer.from(chunk.toString("utf8").replaceAll("\\\\", "\\")) : chunk;
}

// The statement before the rows, and the end of them, are lines too.
function linesOf(format: BackupFormat, rows: number): number {
  return format === "sql" ? rows + 2 : rows;
}

async function* withoutFirstLine(text: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let isBehind = false;
  for await (const chunk of text) {
    const end = isBehind ? -1 : chunk.indexOf(10);
    if (!isBehind && end < 0) continue;
    isBehind = true;
    yield chunk.subarray(end + 1);
  }
}

async function removeOlder(
  place: BackupPlace,
  { scope, org }: { readonly scope: string; readonly org: { readonly orgId: string } | null },
  keep: Keeping,
  nowMs: number,
  signal: AbortSignal,
): Promise<string[]> {
  const named = (await place.list(signal)).flatMap(namedBackup).filter((one) => one.scope === scope);
  const own: NamedBackup[] = [];
  for (const one of named) {
    const of =
      org === null ? null : (await manifestOf(place, one.name, signal).catch(() => null))?.org?.orgId;
    if (of === (org?.orgId ?? null)) own.push(one);
  }
  const removed = backupsToRemove(own, scope, keep, nowMs);
  for (const name of removed) await place.remove(name, signal);
  return removed;
}

function namedBackup(name: string): NamedBackup[] {
  const [, time = "", scope = ""] = backupNameForm.exec(name) ?? [];
  const at = time.replace(/(....)(..)(..)T(..)(..)(..)Z/, "$1-$2-$3T$4:$5:$6Z");
  return scope === "" ? [] : [{ name, scope, atMs: Date.parse(at) }];
}

function totalsOf({ tables, frames }: Manifest): { readonly rows: number; readonly sizeBytes: number } {
  const sizes = [...tables, ...frames].map((one) => one.sizeBytes);
  return {
    rows: tables.reduce((sum, { rows }) => sum + rows, 0),
    sizeBytes: sizes.reduce((sum, one) => sum + one, 0),
  };
}
