import type { Sql } from "postgres";
import type { HotPool } from "./hot-pool.ts";
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
      pool.use((connection) => inTransaction(connection, "begin", () => body(connection.sql))),
  });
}

// Drizzle's session calls `unsafe` and `begin`, and reads `options`: all of them are there.
function castClient(client: object): Sql {
  return client as Sql;
}
