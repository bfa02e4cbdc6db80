import type { Tx } from "./database.ts";
import { events } from "./schema-events.ts";

/** Keeps an event that is no transition of a job. */
export async function insertEvent(tx: Tx, row: typeof events.$inferInsert): Promise<void> {
  await tx.insert(events).values(row);
}
