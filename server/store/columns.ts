import type { SQL } from "drizzle-orm";
import { customType, pgSchema, sql, timestamp, uuid } from "./drizzle.ts";

/**
 * The Postgres schema `muster`. All tenant tables start with org_id, in the
 * primary key too, and every statement filters by it: isolation, row-level
 * security and sharding in one habit.
 */
export const muster = pgSchema("muster");

/** Bytes. */
export const bytea = customType<{ data: Uint8Array; driverData: Buffer }>({ dataType: () => "bytea" });

/** A transaction id that never wraps, as text. */
export const xid8 = customType<{ data: string }>({ dataType: () => "xid8" });

/** The database's clock, which alone judges. */
export const now: SQL = sql`muster.muster_clock()`;

/** A point in time. */
export const at = (name: string) => timestamp(name, { withTimezone: true });

/** The tenant: first column of every tenant table. */
export const orgId = () => uuid("org_id").notNull();
