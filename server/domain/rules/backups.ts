/** A table of a backup: a file of it. */
export interface BackedTable {
  readonly table: string;
  readonly file: string;
  readonly columns: readonly string[];
  readonly rows: number;
  /** Of the file, as it is kept. */
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** How the rows are written: for psql and `muster backup restore`, or a JSON object a line for other programs. */
export type BackupFormat = "sql" | "jsonl";

/** What a backup holds. */
export interface Manifest {
  /** Of this form of backups. */
  readonly form: 1;
  readonly name: string;
  /** The version of Muster that made it. */
  readonly version: string;
  readonly format: BackupFormat;
  /** How many migrations its database had. */
  readonly schema: number;
  /** Of its cluster; a restore goes above it. */
  readonly epoch: number;
  /** The moment that it shows, by the database's clock. */
  readonly at: string;
  /** The one org that it is of; null: all. */
  readonly org: { readonly orgId: string; readonly name: string } | null;
  readonly orgs: number;
  /** Days (YYYYMMDD) that partitions are needed of, by table. */
  readonly partitions: Readonly<Record<string, readonly string[]>>;
  /** Transactions of the new database that must have begun before its audit logs go on: see `lastPlace` in the store. */
  readonly lastPlace: number;
  readonly tables: readonly BackedTable[];
  /** The statements before and after the tables, for psql. */
  readonly frames: readonly { readonly file: string; readonly sizeBytes: number; readonly sha256: string }[];
}

/** Reads a manifest. Throws an Error that says what is wrong with it. */
export function readManifest(bytes: Uint8Array): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    throw new Error("its manifest is not JSON");
  }
  if (!isManifest(value)) throw new Error("its manifest is not one of this form");
  return value;
}

const nameForm = /^[a-z][a-z0-9_]{0,62}$/;

// What leads to statements and files is checked; the rest is compared with what is found.
function isManifest(value: unknown): value is Manifest {
  if (!isObject(value)) return false;
  const { form, format, name, at, schema, epoch, lastPlace, tables, frames, partitions, org } = value;
  return (
    form === 1 &&
    (format === "sql" || format === "jsonl") &&
    typeof name === "string" &&
    typeof at === "string" &&
    [schema, epoch, lastPlace].every((one) => Number.isSafeInteger(one)) &&
    (org === null || (isObject(org) && isUuid(org["orgId"]) && typeof org["name"] === "string")) &&
    isObject(partitions) &&
    Object.entries(partitions).every(
      ([table, days]) =>
        nameForm.test(table) &&
        Array.isArray(days) &&
        days.every((day) => typeof day === "string" && /^\d{8}$/.test(day)),
    ) &&
    Array.isArray(tables) &&
    tables.every(isTable) &&
    Array.isArray(frames) &&
    frames.every(isFile)
  );
}

function isTable(value: unknown): boolean {
  return (
    isFile(value) &&
    isObject(value) &&
    typeof value["table"] === "string" &&
    nameForm.test(value["table"]) &&
    Number.isSafeInteger(value["rows"]) &&
    Array.isArray(value["columns"]) &&
    value["columns"].every((column) => typeof column === "string" && nameForm.test(column))
  );
}

function isFile(value: unknown): boolean {
  return (
    isObject(value) &&
    typeof value["file"] === "string" &&
    Number.isSafeInteger(value["sizeBytes"]) &&
    typeof value["sha256"] === "string" &&
    /^[0-9a-f]{64}$/.test(value["sha256"])
  );
}

function isUuid(value: unknown): boolean {
  return typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What is kept of older backups. */
export interface Keeping {
  /** Younger ones stay. */
  readonly days: number;
  /** At most so many of the same scope; null: any number. */
  readonly count: number | null;
}

/** A backup by its name. */
export interface NamedBackup {
  readonly name: string;
  /** Of all orgs, or of which. */
  readonly scope: string;
  readonly atMs: number;
}

/**
 * Which backups go: those of the scope that are too old, or too many. The newest one of a scope always stays: a
 * schedule that has stopped must not end with nothing.
 */
export function backupsToRemove(
  backups: readonly NamedBackup[],
  scope: string,
  { days, count }: Keeping,
  nowMs: number,
): string[] {
  const ofScope = backups
    .filter((one) => one.scope === scope)
    .sort((a, b) => b.atMs - a.atMs || (a.name < b.name ? 1 : -1));
  return ofScope
    .filter(
      (one, index) =>
        index > 0 && (one.atMs < nowMs - days * 86_400_000 || (count !== null && index >= count)),
    )
    .map((one) => one.name);
}
