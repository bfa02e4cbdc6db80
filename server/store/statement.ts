import type { SQL, Table } from "drizzle-orm";
import type { Row, Sql } from "postgres";
import { writeArray, writeIds } from "./arrays.ts";
import { isSerialisation } from "./connection-errors.ts";
import { getTableColumns, PgDialect, Placeholder, sql } from "./drizzle.ts";
import type { HotPool } from "./hot-pool.ts";
import { inTransaction } from "./transaction.ts";

/** A statement built once from the schema and executed prepared, by its parameters' names. */
export interface Statement {
  readonly text: string;
  readonly names: readonly string[];
  /** Which of the parameters are lists of ids. */
  readonly idLists: readonly boolean[];
}

/** One execution of a statement. */
export interface Call {
  readonly statement: Statement;
  readonly values: Readonly<Record<string, unknown>>;
}

/** A named parameter of a statement. */
export function param(name: string): ReturnType<typeof sql.placeholder> {
  return sql.placeholder(name);
}

/** The bare column names of a table, as identifiers, by their keys in the schema. */
export function names<T extends Table>(table: T): { readonly [K in keyof T["_"]["columns"]]: SQL } {
  const columns = Object.entries(getTableColumns(table)).map(([key, column]) => [
    key,
    sql`${sql.identifier(column.name)}`,
  ]);
  return castNames<T>(Object.fromEntries(columns));
}

/** Builds a statement. A parameter that stands in several places is sent once. */
export function statement(query: SQL): Statement {
  const built = new PgDialect().sqlToQuery(query);
  const order: string[] = [];
  const text = built.sql.replace(/\$(\d+)/g, (_, number: string) => {
    const value = built.params[Number(number) - 1];
    if (!(value instanceof Placeholder)) throw new Error("a hot statement takes named parameters only");
    let index = order.indexOf(value.name);
    if (index < 0) index = order.push(value.name) - 1;
    return `$${index + 1}`;
  });
  const idLists = order.map((_, index) => text.includes(`$${index + 1}::uuid[]`));
  return { text, names: order, idLists };
}

/** Pairs a statement with its parameters. */
export function call(statement: Statement, values: Readonly<Record<string, unknown>>): Call {
  return { statement, values };
}

/** A transaction of one org, for work that decides between its statements. */
export interface OrgTx {
  readonly orgId: string;
  run(call: Call): Promise<Row[]>;
}

/** Runs a transaction of one org step by step. */
export function transact<T>(pool: HotPool, orgId: string, body: (tx: OrgTx) => Promise<T>): Promise<T> {
  return pool.use((connection) =>
    inTransaction(connection, `begin; ${setOrg(orgId)}`, () =>
      body({
        orgId,
        run: async (one) => {
          refuseForeign(orgId, [one]);
          return execute(connection.sql, one);
        },
      }),
    ),
  );
}

/** Times that the database may choose a transaction to give way before that is told. */
const maxTries = 5;

/** The same, begun again when the database chose it to give way: the body must leave nothing behind outside of it. */
export async function transactAgain<T>(
  pool: HotPool,
  orgId: string,
  body: (tx: OrgTx) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await transact(pool, orgId, body);
    } catch (error) {
      if (!isSerialisation(error) || tries === maxTries) throw error;
    }
  }
}

/** What a statement is executed on: a pool, a reserved connection or a transaction. */
type Connection = Pick<Sql, "unsafe">;

/** A statement was given to a transaction of another org: a defect, caught before the database sees it. */
export class ForeignOrgError extends Error {
  override readonly name = "ForeignOrgError";

  constructor() {
    super("a statement of one org in a transaction of another");
  }
}

/** Refuses what is to run in a transaction of an org and names another one. */
export function refuseForeign(orgId: string, calls: readonly Call[]): void {
  for (const { values } of calls) {
    const named = values["org"];
    if (named !== undefined && named !== orgId) throw new ForeignOrgError();
  }
}

/** Executes one statement on a connection, prepared. */
export function execute(sql: Connection, { statement, values }: Call): Promise<Row[]> {
  const parameters = statement.names.map((name, index) => {
    if (!(name in values)) throw new Error(`parameter ${name} is missing`);
    const value = values[name];
    if (!Array.isArray(value)) return value;
    return statement.idLists[index] ? writeIds(value) : writeArray(value);
  });
  return runUnsafe(sql, statement.text, parameters);
}

/**
 * Executes statements in one transaction of one org, all sent in one go:
 * a single round trip. Rejects if any of them failed; then nothing happened,
 * unless the connection was lost, which leaves the outcome unknown.
 */
export function runInOrg(pool: HotPool, orgId: string, calls: readonly Call[]): Promise<Row[][]> {
  return pool.use(async (connection) => {
    refuseForeign(orgId, calls);
    const { sql } = connection;
    const { begun, running, committed } = connection.inOneGo(() => ({
      begun: sql.unsafe(`begin; ${setOrg(orgId)}`).execute(),
      running: calls.map((one) => execute(sql, one)),
      committed: sql.unsafe("commit").execute(),
    }));
    const settled = await Promise.allSettled([begun, ...running, committed]);
    const failed = settled.find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
    if ((await committed).command !== "COMMIT") throw new Error("the transaction was rolled back");
    return await Promise.all(running);
  });
}

/** The statements that name the tenant of a transaction. */
export function setOrg(orgId: string): string {
  const id = checkedUuid(orgId);
  return `set local muster.org = '${id}'; set local muster.orgs = '{${id}}'`;
}

/** The statement that names several tenants, for the tables that are written across them. */
export function setOrgs(orgIds: readonly string[]): string {
  return `set local muster.orgs = '{${orgIds.map(checkedUuid).join(",")}}'`;
}

function checkedUuid(text: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) throw new Error("not a UUID");
  return text;
}

// postgres.js types parameters as a closed union; what we send is checked by the statement's casts.
function runUnsafe(client: Connection, text: string, parameters: unknown[]): Promise<Row[]> {
  return client.unsafe(text, parameters as never[], { prepare: true }).execute();
}

// The keys are those of the table's columns by construction.
function castNames<T extends Table>(value: object): { readonly [K in keyof T["_"]["columns"]]: SQL } {
  return value as { readonly [K in keyof T["_"]["columns"]]: SQL };
}
