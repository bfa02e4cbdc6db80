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
    const from = new Date(day * dayMs);
    const to = new Date((day + 1) * dayMs);
    const label = from.toISOString().slice(0, 10).replaceAll("-", "");
    for (const table of ["jobs", "attempts"]) {
      if (existing.has(`${table}_${label}`)) continue;
      await attach(client, table, label, `from ('${lowestUuid(from)}') to ('${lowestUuid(to)}')`);
    }
    if (!existing.has(`log_chunks_${label}`)) {
      const [a, b] = [from, to].map((date) => date.toISOString().slice(0, 10));
      await attach(client, "log_chunks", label, `from ('${a}') to ('${b}')`);
    }
  }
}

/** Makes the missing partitions on a connection of its own, as the owner: for the sweep. */
export async function addPartitions(url: string, nowMs: number): Promise<void> {
  const pool = new HotPool({ url, name: "muster partitions", timeoutMs: 10_000, size: 1, isDrizzle: false });
  try {
    await pool.use(async ({ sql }) => {
      await sql.unsafe("set role muster_owner");
      await sql.unsafe("set search_path to muster");
      await ensurePartitions(sql, nowMs);
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

async function attach(client: Sql, table: string, label: string, bounds: string): Promise<void> {
  const name = `muster.${table}_${label}`;
  // One message is one transaction.
  await client.unsafe(
    `create table ${name} (like muster.${table} including defaults including constraints);
     alter table muster.${table} attach partition ${name} for values ${bounds}`,
  );
}
