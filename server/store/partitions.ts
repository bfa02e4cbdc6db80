import type { Sql } from "postgres";
import { HotPool } from "./hot-pool.ts";

const dayMs = 86_400_000;

/** How many days ahead partitions exist. */
export const partitionsAheadDays = 7;

/**
 * Makes the daily partitions of yesterday to a week ahead that are missing.
 * They are created apart and attached, so that nobody who reads or writes
 * waits. Called as the owner, at the start and by a sweep.
 */
export async function ensurePartitions(client: Sql, nowMs: number): Promise<void> {
  const rows = await client`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'muster' and c.relispartition`;
  const existing = new Set(rows.map((row) => String(row["name"])));
  const today = Math.floor(nowMs / dayMs);
  for (let day = today - 1; day <= today + partitionsAheadDays; day++) {
    const label = dayLabel(new Date(day * dayMs));
    for (const table of ["jobs", "attempts", "log_chunks"]) {
      if (!existing.has(`${table}_${label}`)) await attach(client, table, label);
    }
  }
}

/** The day of a partition as its name has it: YYYYMMDD, UTC. */
export function dayLabel(time: Date): string {
  return time.toISOString().slice(0, 10).replaceAll("-", "");
}

/** The statement that makes the partition of a day, if it is absent: for a restore. `label`: YYYYMMDD. */
export function partitionOf(table: string, label: string): string {
  return `create table if not exists muster.${table}_${label} partition of muster.${table} for values ${partitionBounds(table, label)}`;
}

/** The ids of jobs of a day: from `low`, below `high`. `label`: YYYYMMDD. */
export function dayBounds(label: string): { readonly low: string; readonly high: string } {
  const from = dayStart(label);
  return { low: lowestUuid(from), high: lowestUuid(new Date(from.getTime() + dayMs)) };
}

/** When a day begins. `label`: YYYYMMDD. */
export function dayStart(label: string): Date {
  return new Date(`${label.slice(0, 4)}-${label.slice(4, 6)}-${label.slice(6)}T00:00:00Z`);
}

/** What belongs into the partition of a day, as SQL writes it. */
export function partitionBounds(table: string, label: string): string {
  const from = dayStart(label);
  const to = new Date(from.getTime() + dayMs);
  const written = (time: Date) =>
    table === "log_chunks" ? time.toISOString().slice(0, 10) : lowestUuid(time);
  return `from ('${written(from)}') to ('${written(to)}')`;
}

/** Makes the missing partitions on a connection of its own, as the owner: for the sweep. */
export async function addPartitions(url: string, nowMs: number): Promise<void> {
  await asOwner(url, (sql) => ensurePartitions(sql, nowMs));
}

/** Makes those that are missing of some days (YYYYMMDD), by table: for what comes from another database. */
export async function addPartitionsOf(
  url: string,
  days: Readonly<Record<string, readonly string[]>>,
): Promise<void> {
  await asOwner(url, async (sql) => {
    const rows = await sql`select c.relname::text as name from pg_class c
      where c.relnamespace = 'muster'::regnamespace and c.relispartition`;
    const existing = new Set(rows.map((row) => String(row["name"])));
    for (const [table, labels] of Object.entries(days)) {
      for (const label of labels) if (!existing.has(`${table}_${label}`)) await attach(sql, table, label);
    }
  });
}

/** Runs something on a connection of its own, as the owner of the tables. */
async function asOwner(url: string, body: (sql: Sql) => Promise<void>): Promise<void> {
  const pool = new HotPool({ url, name: "muster partitions", timeoutMs: 10_000, size: 1, isDrizzle: false });
  try {
    await pool.use(async ({ sql }) => {
      await sql.unsafe("set role muster_owner");
      await sql.unsafe("set search_path to muster");
      await body(sql);
    });
  } finally {
    await pool.end(5);
  }
}

/** The smallest UUIDv7 of a time: partitions of job ids are ranges of submit time. */
export function lowestUuid(time: Date): string {
  const hex = time.getTime().toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

async function attach(client: Sql, table: string, label: string): Promise<void> {
  const name = `muster.${table}_${label}`;
  // One message is one transaction.
  await client.unsafe(
    `create table ${name} (like muster.${table} including defaults including constraints);
     alter table muster.${table} attach partition ${name} for values ${partitionBounds(table, label)}`,
  );
}
