import postgres from "postgres";
import type { BenchPostgres } from "./bench-postgres.ts";

/** Where the WAL of a measured time went. */
export interface WalItem {
  /** A table, a table's indexes, or the records that belong to no table. */
  readonly name: string;
  /** Share of all bytes, 0 to 1. */
  readonly share: number;
  /** Of which full page images, that is what a checkpoint before has cost. */
  readonly imageShare: number;
}

/** WAL that is looked at: the latest of the time, so much that no checkpoint has taken it away yet. */
const lookedAtBytes = 192 * 1_048_576;

/**
 * Itemises the WAL between two positions by table, with `pg_walinspect`; partitions count as their table. Null where
 * the extension is not there, or the WAL is gone.
 */
export async function itemiseWal(
  { admin }: BenchPostgres,
  databaseUrl: string,
  range: { readonly from: string; readonly to: string },
): Promise<readonly WalItem[] | null> {
  try {
    await admin`create extension if not exists pg_walinspect`;
  } catch {
    return null;
  }
  const files = await namesOfFiles(databaseUrl);
  try {
    const rows = await admin<{ file: string | null; bytes: string; images: string }[]>`
      with span as (
        select '0/0'::pg_lsn + greatest(pg_wal_lsn_diff(${range.from}::pg_lsn, '0/0'),
          pg_wal_lsn_diff(${range.to}::pg_lsn, '0/0') - ${lookedAtBytes}::numeric) as begun
      ), blocks as (
        select relfilenode, block_fpi_length, record_length::numeric / count(*) over (partition by start_lsn) as length
        from span, pg_get_wal_block_info(begun, ${range.to}::pg_lsn, false)
      ), files as (
        select relfilenode::text as file, sum(length) as bytes, sum(block_fpi_length) as images
        from blocks group by relfilenode
      )
      select file, bytes::bigint::text as bytes, images::text as images from files
      union all
      select null, (pg_wal_lsn_diff(${range.to}::pg_lsn, begun) - (select coalesce(sum(bytes), 0) from files))::bigint::text, '0'
      from span`;
    return itemsOf(
      rows.map(({ file, bytes, images }) => [nameOf(files, file), Number(bytes), Number(images)]),
    );
  } catch (error) {
    process.stderr.write(`bench: the WAL is not itemised: ${error}\n`);
    return null;
  }
}

/** Adds up what has one name, largest first. */
export function itemsOf(
  parts: readonly (readonly [name: string, bytes: number, imageBytes: number])[],
): readonly WalItem[] {
  const total = parts.reduce((sum, [, bytes]) => sum + bytes, 0);
  const sums = new Map<string, { bytes: number; images: number }>();
  for (const [name, bytes, images] of parts) {
    const sum = sums.get(name) ?? { bytes: 0, images: 0 };
    sums.set(name, { bytes: sum.bytes + bytes, images: sum.images + images });
  }
  return [...sums]
    .map(([name, { bytes, images }]) => ({ name, share: bytes / total, imageShare: images / total }))
    .sort((a, b) => b.share - a.share);
}

function nameOf(files: ReadonlyMap<string, string>, file: string | null): string {
  if (file === null) return "commits, page headers and the like";
  return files.get(file) ?? "catalogue and other databases";
}

async function namesOfFiles(databaseUrl: string): Promise<ReadonlyMap<string, string>> {
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} });
  try {
    const rows = await sql<{ file: string; name: string }[]>`
      select pg_relation_filenode(c.oid)::text as file,
        coalesce(pg_partition_root(t.oid), t.oid)::regclass::text
          || case c.relkind when 'i' then ', indexes' when 't' then ', toast' else '' end as name
      from pg_class c
      left join pg_index i on i.indexrelid = c.oid
      join pg_class t on t.oid = coalesce(i.indrelid, c.oid)
      join pg_namespace n on n.oid = t.relnamespace
      where c.relkind in ('r', 'i') and n.nspname not in ('pg_catalog', 'information_schema')`;
    return new Map(rows.map(({ file, name }) => [file, name.replace(/^muster\./, "")]));
  } finally {
    await sql.end({ timeout: 5 });
  }
}
