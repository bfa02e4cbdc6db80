import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { writeArray } from "./arrays.ts";
import { drizzle, sql } from "./drizzle.ts";
import { HotPool } from "./hot-pool.ts";
import { poolClient } from "./pool-client.ts";
import { type OrgTx, refuseForeign, setOrg, setOrgs } from "./statement.ts";

/** The login roles that a coordinator uses, least privilege first. */
export type Role = "muster_app" | "muster_hot" | "muster_sweep";

/** A transaction of Drizzle's, which names no org. */
export type AnyTx = Parameters<Parameters<PostgresJsDatabase["transaction"]>[0]>[0];

declare const ofOrg: unique symbol;

/**
 * A transaction that names its org, or orgs: `inOrg` and its kin alone make one, so what takes it cannot be called
 * without a tenant. Statements that ask for another one's rows are refused; see `poolClient`.
 */
export type Tx = AnyTx & { readonly [ofOrg]: true };

/** The connections of a coordinator. */
export interface Database {
  /** Requests. */
  readonly app: PostgresJsDatabase;
  /** The connections of `app`, for transactions with prepared statements. */
  readonly appClient: HotPool;
  /** Renewals of links: they wait for no request. */
  readonly beats: PostgresJsDatabase;
  /** Sweeps. */
  readonly sweep: PostgresJsDatabase;
  /** Flushes: prepared statements alone. */
  readonly hot: HotPool;
  /** Sweeps that work by prepared statements. */
  readonly sweepClient: HotPool;
  /** How many uses of `app`, `hot` and `sweepClient` have ended: whatever was committed is among them. */
  uses(): number;
  /** Closes all connections, waiting up to 5 s for what runs. */
  close(): Promise<void>;
}

/** Opens the pools; connections are made on first use. */
export function openDatabase(options: {
  readonly urls: Readonly<Record<Role, string>>;
  readonly appConnections: number;
  readonly hotConnections: number;
  /** What a statement may take; see `HotPool`. Default 6 s. */
  readonly timeoutMs?: number;
}): Database {
  const { urls, timeoutMs = 6_000 } = options;
  const pool = (role: Role, name: string, size: number, isDrizzle: boolean) =>
    new HotPool({ url: urls[role], name, size, timeoutMs, isDrizzle });
  const app = pool("muster_app", "muster app", options.appConnections, true);
  const beats = pool("muster_app", "muster beats", 1, true);
  const sweep = pool("muster_sweep", "muster sweep", 2, true);
  const sweepClient = pool("muster_sweep", "muster sweep", 2, false);
  const hot = pool("muster_hot", "muster hot", options.hotConnections, false);
  return {
    app: drizzle(poolClient(app)),
    appClient: app,
    beats: drizzle(poolClient(beats)),
    sweep: drizzle(poolClient(sweep)),
    hot,
    sweepClient,
    uses: () => app.uses + hot.uses + sweepClient.uses,
    async close() {
      await Promise.all([app, beats, sweep, sweepClient, hot].map((one) => one.end(5)));
    },
  };
}

/** Runs a transaction that sees one org and no other. */
export function inOrg<T>(db: PostgresJsDatabase, orgId: string, body: (tx: Tx) => Promise<T>): Promise<T> {
  return db.transaction(async (tx) => {
    await tx.execute(sql.raw(setOrg(orgId)));
    return body(scoped(tx));
  });
}

/** The same, of an org that is found, or given its id, within the transaction. */
export function inNewOrg<T, Org extends { readonly orgId: string }>(
  db: PostgresJsDatabase,
  { find, body }: { find(tx: AnyTx): Promise<Org>; body(tx: Tx, org: Org): Promise<T> },
): Promise<T> {
  return db.transaction(async (tx) => {
    const org = await find(tx);
    await tx.execute(sql.raw(setOrg(org.orgId)));
    return body(scoped(tx), org);
  });
}

/** Runs one transaction in two orgs, one after the other: what is done to the first is said in the second. */
export function inBothOrgs<First, T>(
  db: PostgresJsDatabase,
  [firstId, secondId]: readonly [string, string],
  { first, second }: { first(tx: Tx): Promise<First>; second(tx: Tx, first: First): Promise<T> },
): Promise<T> {
  return db.transaction(async (tx) => {
    await tx.execute(sql.raw(setOrg(firstId)));
    const done = await first(scoped(tx));
    await tx.execute(sql.raw(setOrg(secondId)));
    return second(scoped(tx), done);
  });
}

/** A transaction of `inOrg` as the hot statements take it. */
export function orgTxOf(tx: Tx, orgId: string): OrgTx {
  return {
    orgId,
    run: async ({ statement, values }) => {
      refuseForeign(orgId, [{ statement, values }]);
      // The text with its parameters in the places of their numbers.
      const parts = statement.text.split(/\$(\d+)/).map((part, index) => {
        if (index % 2 === 0) return sql.raw(part);
        const value = values[statement.names[Number(part) - 1] ?? ""];
        return sql`${Array.isArray(value) ? writeArray(value) : value}`;
      });
      return tx.execute(sql.join(parts));
    },
  };
}

/** Runs a transaction on the tables that are written across orgs. */
export function inOrgs<T>(
  db: PostgresJsDatabase,
  orgIds: readonly string[],
  body: (tx: Tx) => Promise<T>,
): Promise<T> {
  return db.transaction(async (tx) => {
    await tx.execute(sql.raw(setOrgs(orgIds)));
    return body(scoped(tx));
  });
}

// The one place that says so: the transaction has named its org.
function scoped(tx: AnyTx): Tx {
  return tx as Tx;
}
