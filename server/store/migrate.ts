import { createHmac } from "node:crypto";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import postgres, { type Sql } from "postgres";
import { errorCode } from "./connection-errors.ts";
import type { Role } from "./database.ts";
import { drizzle, migrate, readMigrationFiles } from "./drizzle.ts";
import { ensurePartitions } from "./partitions.ts";

const owner = "muster_owner";
const roles: readonly Role[] = ["muster_app", "muster_hot", "muster_sweep"];

// Every table of a hot statement is reached by an index through `= any(array)`;
// joins are hashed. With these off, stale statistics cannot choose another way.
const hotSettings: Readonly<Record<string, string>> = {
  enable_bitmapscan: "off",
  enable_seqscan: "off",
  enable_sort: "off",
  enable_nestloop: "off",
  enable_mergejoin: "off",
  jit: "off",
  // Planned once a connection: the shape of these plans does not depend on the parameters.
  plan_cache_mode: "force_generic_plan",
};

/** The schema in the database is newer than this coordinator. */
export class SchemaTooNewError extends Error {
  override readonly name = "SchemaTooNewError";
  readonly code = "SCHEMA_TOO_NEW";
  readonly suggestion = "Start the version of Muster that migrated it, or a newer one.";
}

/** The roles of the server have passwords that derive from another secret. */
export class SecretMismatchError extends Error {
  override readonly name = "SecretMismatchError";
  readonly code = "SECRET_MISMATCH";
  readonly suggestion =
    "Give MUSTER_SECRET the value that the other coordinators of this Postgres have, or give the URLs of roles of your own.";

  constructor(role: string) {
    super(`the role ${role} exists on this Postgres, and its password derives from another secret`);
  }
}

/**
 * Brings a database to the present schema: roles, migrations, partitions.
 * Under a lock, so that any number of coordinators may start at once.
 *
 * @returns the URLs of the login roles.
 */
export async function migrateDatabase(options: {
  readonly url: string;
  /** Derives the passwords of the roles. */
  readonly secret: string;
  /** What they derived from before: roles that still have such a password get that of `secret`. */
  readonly olderSecrets?: readonly string[];
  /** Given where the user of `url` may not create roles. */
  readonly roleUrls?: Partial<Record<Role, string>>;
  /** Nobody else uses this Postgres: passwords of another secret are replaced. Default false. */
  readonly mayResetRoles?: boolean;
}): Promise<Record<Role, string>> {
  const { url, secret, olderSecrets = [], roleUrls = {}, mayResetRoles = false } = options;
  const client = postgres(url, {
    max: 1,
    onnotice: () => {},
    fetch_types: false,
    connection: { application_name: "muster migrate" },
  });
  try {
    await client`select pg_advisory_lock(${lockKey})`;
    const urls: Record<Role, string> = {
      muster_app: roleUrls.muster_app ?? roleUrl(url, "muster_app", secret),
      muster_hot: roleUrls.muster_hot ?? roleUrl(url, "muster_hot", secret),
      muster_sweep: roleUrls.muster_sweep ?? roleUrl(url, "muster_sweep", secret),
    };
    await createRoles(client, { secret, olderSecrets, urls, given: roleUrls, mayResetRoles });
    await client.unsafe(`create schema if not exists muster authorization ${owner}`);
    // The migrator creates the schema if it is absent, and asks for the right before it looks.
    await client.unsafe(
      `do $$ begin execute format('grant create on database %I to ${owner}', current_database()); end $$`,
    );
    await client.unsafe(`set role ${owner}`);
    await refuseNewerSchema(client);
    await migrate(drizzle(client), {
      migrationsFolder,
      migrationsSchema: "muster",
      migrationsTable: "migrations",
    });
    await client.unsafe("set search_path to muster");
    await ensurePartitions(client, Date.now());
    return urls;
  } finally {
    await client.end({ timeout: 5 });
  }
}

/** The same key for every coordinator: "muster" as a number. */
const lockKey = 0x6d7573;

/** Where the migrations are: beside the sources, and beside `dist` in a package. */
export const migrationsFolder = ["./migrations", "../../store/migrations"]
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((path) => existsSync(path)) as string;

/** The schema that this version of Muster works with: how many migrations there are. */
export function schemaVersion(): number {
  return readMigrationFiles({ migrationsFolder }).length;
}

/** The URL of a role: the given one with its user and derived password. */
export function roleUrl(url: string, role: Role, secret: string): string {
  const result = new URL(url);
  result.username = role;
  result.password = rolePassword(role, secret);
  return result.href;
}

function rolePassword(role: string, secret: string): string {
  return createHmac("sha256", secret).update(`muster role ${role}`).digest("base64url");
}

async function createRoles(
  client: Sql,
  {
    secret,
    olderSecrets,
    urls,
    given,
    mayResetRoles,
  }: {
    readonly secret: string;
    readonly olderSecrets: readonly string[];
    readonly urls: Record<Role, string>;
    readonly given: Partial<Record<Role, string>>;
    readonly mayResetRoles: boolean;
  },
): Promise<void> {
  const existing = new Set(
    (await client`select rolname from pg_roles where rolname like 'muster\\_%'`).map((row) =>
      String(row["rolname"]),
    ),
  );
  if (!existing.has(owner)) {
    await client.unsafe(`create role ${owner} nologin`).catch(ignoreExists);
  }
  await client.unsafe(`grant ${owner} to current_user`);
  for (const role of roles) {
    if (given[role]) continue;
    // The password is derived and base64url: it holds no quote.
    const password = rolePassword(role, secret);
    if (!existing.has(role)) {
      await client.unsafe(`create role ${role} login password '${password}'`).catch(ignoreExists);
    } else if (!(await canLogIn(urls[role]))) {
      // Roles belong to the whole server: another Muster on it may be using them.
      if (!mayResetRoles && !(await isOfSecret(urls[role], role, olderSecrets))) {
        throw new SecretMismatchError(role);
      }
      await client.unsafe(`alter role ${role} login password '${password}'`);
    }
  }
  if (!given.muster_hot) await applyHotSettings(client);
}

/**
 * Sets the planner settings of the hot role in the database of the connection: they belong to the
 * pair of role and database, so a copy of a database does not have them.
 */
export async function applyHotSettings(client: Sql): Promise<void> {
  const [database] = await client`select current_database() as name`;
  const current = await client`
    select unnest(setconfig) as line from pg_db_role_setting s join pg_roles r on r.oid = s.setrole
    join pg_database d on d.oid = s.setdatabase where r.rolname = 'muster_hot' and d.datname = current_database()`;
  const set = new Set(current.map((row) => String(row["line"])));
  for (const [name, value] of Object.entries(hotSettings)) {
    if (set.has(`${name}=${value}`)) continue;
    await client.unsafe(
      `alter role muster_hot in database "${String(database?.["name"])}" set ${name} = ${value}`,
    );
  }
}

// Two databases of one cluster may be prepared at once; roles belong to the cluster.
function ignoreExists(error: unknown): void {
  if (!["42710", "23505"].includes(errorCode(error))) throw error;
}

// Then it is ours: whoever knows the older secret may move it on.
async function isOfSecret(url: string, role: Role, olderSecrets: readonly string[]): Promise<boolean> {
  for (const older of olderSecrets) if (await canLogIn(roleUrl(url, role, older))) return true;
  return false;
}

async function canLogIn(url: string): Promise<boolean> {
  const client = postgres(url, { max: 1, onnotice: () => {}, fetch_types: false, connect_timeout: 10 });
  try {
    await client`select 1`;
    return true;
  } catch (error) {
    if (errorCode(error) === "28P01") return false;
    throw error;
  } finally {
    await client.end({ timeout: 1 });
  }
}

async function refuseNewerSchema(client: Sql): Promise<void> {
  const [table] = await client`select to_regclass('muster.migrations') as name`;
  if (!table?.["name"]) return;
  const [row] = await client`select count(*)::int as applied from muster.migrations`;
  const known = schemaVersion();
  const applied = Number(row?.["applied"]);
  if (applied > known) {
    throw new SchemaTooNewError(`the database has ${applied} migrations and this version knows ${known}`);
  }
}
