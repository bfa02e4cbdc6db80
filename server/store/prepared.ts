import type { Sql } from "postgres";
import type { Connection } from "./connection.ts";
import type { Tx } from "./database.ts";
import { drizzle } from "./drizzle.ts";
import type { HotPool } from "./hot-pool.ts";
import { inTransaction } from "./transaction.ts";

/** Parameters that a statement has at most to be prepared: the text of one with a list depends on its length. */
const maxParameters = 32;

/**
 * Runs a transaction whose statements are prepared, for work that comes by the thousand when a fleet comes back: one
 * round trip a statement instead of two, and nothing planned again. Whoever uses it asks the same few statements each
 * time: a connection keeps each text for good, but for those with long lists.
 *
 * @param pool one that was made for Drizzle.
 * @param settings statements to begin with, without parameters: `setOrg`.
 */
export function transactPrepared<T>(
  pool: HotPool,
  settings: string,
  body: (tx: Tx) => Promise<T>,
): Promise<T> {
  return pool.use((connection) =>
    inTransaction(connection, `begin; ${settings}`, () => body(castTx(drizzle(preparing(connection))))),
  );
}

// Drizzle itself never asks for a prepared statement. One without parameters may be several, which cannot be prepared.
function preparing({ sql }: Connection): Sql {
  return castClient({
    // Drizzle writes how it wants times read here; the connection has the same already.
    options: { parsers: {}, serializers: {} },
    unsafe: (...[text, parameters = [], options = {}]: Parameters<Sql["unsafe"]>) =>
      sql.unsafe(text, parameters, {
        ...options,
        prepare: parameters.length > 0 && parameters.length <= maxParameters,
      }),
  });
}

// Drizzle's session calls `unsafe` and reads `options`; no transaction is begun within one.
function castClient(client: object): Sql {
  return client as Sql;
}

// A transaction is a database with `rollback`, which nobody here calls, and begun already.
function castTx(db: object): Tx {
  return db as Tx;
}
