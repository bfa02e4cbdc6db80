import type { Connection } from "./connection.ts";

/**
 * Runs a transaction step by step. The driver's own `begin` is not used: when
 * the connection is lost in the middle it writes the ROLLBACK to a socket that
 * is not there, which ends the process.
 */
export async function inTransaction<T>(
  connection: Connection,
  begin: string,
  body: () => Promise<T>,
): Promise<T> {
  const { sql } = connection;
  let value: T;
  try {
    await sql.unsafe(begin);
    value = await body();
  } catch (error) {
    // One that cannot be rolled back must not be used again.
    await sql.unsafe("rollback").catch(() => connection.cut());
    throw error;
  }
  const { command } = await sql.unsafe("commit");
  if (command !== "COMMIT") throw new Error("the transaction was rolled back");
  return value;
}
