import type { Sql } from "postgres";
import { getTableColumns } from "./drizzle.ts";
import type { HotPool } from "./hot-pool.ts";
import { orgs } from "./schema-fleet.ts";
import { ForeignOrgError } from "./statement.ts";
import { inTransaction } from "./transaction.ts";

/**
 * A pool as the client that Drizzle asks for, with what Drizzle calls and
 * nothing else: statements and transactions, each on a connection of its own
 * with the pool's deadline.
 */
export function poolClient(pool: HotPool): Sql {
  return castClient({
    // Drizzle writes how it wants times read here; the connections get the same.
    options: { parsers: {}, serializers: {} },
    unsafe: (...given: Parameters<Sql["unsafe"]>) => ({
      // biome-ignore lint/suspicious/noThenProperty: Drizzle awaits a statement, or asks it for its values.
      then: (resolve: (rows: unknown) => unknown, reject: (error: unknown) => unknown) =>
        pool.use(async ({ sql }) => await sql.unsafe(...given)).then(resolve, reject),
      values: () => pool.use(async ({ sql }) => await sql.unsafe(...given).values()),
    }),
    begin: <T>(body: (tx: Sql) => Promise<T>) =>
      pool.use((connection) => inTransaction(connection, "begin", () => body(ofOneOrg(connection.sql)))),
  });
}

/**
 * A connection within a transaction: once an org is named, a statement that asks for rows of another one is refused.
 * Row-level security would let it find nothing, which reads like an answer; here the defect is named.
 */
function ofOneOrg(sql: Sql): Sql {
  let orgId: string | null = null;
  const unsafe = (...given: Parameters<Sql["unsafe"]>) => {
    const [text, parameters = []] = given;
    const named = /^set local muster\.org = '([^']+)'/.exec(text)?.[1];
    if (named !== undefined) orgId = named;
    else if (orgId !== null && orgsAsked(text).some((index) => parameters[index] !== orgId)) {
      throw new ForeignOrgError();
    }
    return sql.unsafe(...given);
  };
  return new Proxy(sql, {
    get: (target, name): unknown => (name === "unsafe" ? unsafe : Reflect.get(target, name)),
  });
}

const asked = new RegExp(`"${getTableColumns(orgs).orgId.name}" = \\$(\\d+)`, "g");
const maxTexts = 2_000;
const known = new Map<string, readonly number[]>();

// Where the parameters are that stand for the org. The texts of statements are few.
function orgsAsked(text: string): readonly number[] {
  const found = known.get(text);
  if (found !== undefined) return found;
  const indexes = [...text.matchAll(asked)].map(([, number]) => Number(number) - 1);
  if (known.size >= maxTexts) known.clear();
  known.set(text, indexes);
  return indexes;
}

// Drizzle's session calls `unsafe` and `begin`, and reads `options`: all of them are there.
function castClient(client: object): Sql {
  return client as Sql;
}
