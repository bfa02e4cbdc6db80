import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import postgres, { type Sql } from "postgres";
import { readArray } from "./arrays.ts";
import { drizzle, sql } from "./drizzle.ts";
import { HotPool } from "./hot-pool.ts";
import { setOrg, setOrgs } from "./statement.ts";

/** The login roles that a coordinator uses, least privilege first. */
export type Role = "muster_app" | "muster_hot" | "muster_sweep";

/** A transaction, or the database outside of one. */
export type Tx = Parameters<Parameters<PostgresJsDatabase["transaction"]>[0]>[0];

/** The connections of a coordinator. */
export interface Database {
  /** Requests. */
  readonly app: PostgresJsDatabase;
  /** Sweeps. */
  readonly sweep: PostgresJsDatabase;
  /** Flushes: prepared statements alone. */
  readonly hot: HotPool;
  /** Sweeps that work by prepared statements. */
  readonly sweepClient: HotPool;
  /** Closes all connections, waiting up to 5 s for what runs. */
  close(): Promise<void>;
}

/** Opens the pools; connections are made on first use. */
export function openDatabase(options: {
  readonly urls: Readonly<Record<Role, string>>;
  readonly appConnections: number;
  readonly hotConnections: number;
}): Database {
  const app = client(options.urls.muster_app, options.appConnections, "muster app");
  const hot = pool(options.urls.muster_hot, options.hotConnections, "muster hot");
  const sweepPool = pool(options.urls.muster_sweep, 2, "muster sweep");
  const sweep = client(options.urls.muster_sweep, 2, "muster sweep");
  return {
    app: drizzle(app),
    sweep: drizzle(sweep),
    hot,
    sweepClient: sweepPool,
    async close() {
      await Promise.all([app.end({ timeout: 5 }), sweep.end({ timeout: 5 }), hot.end(5), sweepPool.end(5)]);
    },
  };
}

/** Runs a transaction that sees one org and no other. */
export function inOrg<T>(db: PostgresJsDatabase, orgId: string, body: (tx: Tx) => Promise<T>): Promise<T> {
  return db.transaction(async (tx) => {
    await tx.execute(sql.raw(setOrg(orgId)));
    return body(tx);
  });
}

/** Runs a transaction on the tables that are written across orgs. */
export function inOrgs<T>(
  db: PostgresJsDatabase,
  orgIds: readonly string[],
  body: (tx: Tx) => Promise<T>,
): Promise<T> {
  return db.transaction(async (tx) => {
    await tx.execute(sql.raw(setOrgs(orgIds)));
    return body(tx);
  });
}

/** True when the connection failed, so that it is unknown what was committed. */
export function isConnectionLost(error: unknown): boolean {
  const code = errorCode(error);
  return /^(CONNECTION_|ECONN|EPIPE|ETIMEDOUT|57P0|08)/.test(code);
}

/** True when the database chose this transaction to give way: trying again is right. */
export function isSerialisation(error: unknown): boolean {
  const code = errorCode(error);
  return code === "40P01" || code === "40001" || code === "55P03";
}

/** The code of a driver or database error, looking through its causes. */
export function errorCode(error: unknown): string {
  let cause: unknown = error;
  for (let depth = 0; depth < 4 && cause instanceof Error; depth++) {
    if ("code" in cause && typeof cause.code === "string") return cause.code;
    cause = cause.cause;
  }
  return "";
}

/**
 * Settings of every client. The driver asks for the types of arrays at each
 * connection, and nobody catches that question when the server goes away just
 * then: the process would end. So it does not ask; lists are written and read
 * by `arrays.ts`.
 */
export const ownArrays = {
  fetch_types: false,
  types: { texts: { to: 1009, from: [1009, 2951], serialize: (value: string) => value, parse: readArray } },
};

function pool(url: string, size: number, name: string): HotPool {
  return new HotPool(Array.from({ length: size }, () => client(url, 1, name)));
}

function client(url: string, max: number, name: string): Sql {
  return postgres(url, {
    max,
    onnotice: () => {},
    connection: { application_name: name },
    connect_timeout: 10,
    ...ownArrays,
    // A statement is planned once a connection; connections are kept.
    max_lifetime: null,
  });
}
