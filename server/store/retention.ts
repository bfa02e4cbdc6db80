import type { SQL } from "drizzle-orm";
import { Connection } from "./connection.ts";
import { PgDialect, sql } from "./drizzle.ts";
import { dayBounds, dayLabel, partitionBounds } from "./partitions.ts";
import { artifacts, batches, deadLetters, jobKeys, jobQueue, jobs, lateResults } from "./schema.ts";
import { orgs } from "./schema-fleet.ts";
import { releases } from "./schema-routing.ts";
import { setOrg } from "./statement.ts";

/** A table of one day. */
export interface DayPartition {
  readonly table: string;
  /** YYYYMMDD, UTC. */
  readonly day: string;
  /** About how many rows it has. */
  readonly rows: number;
  /** False: it was taken out of its table, and not dropped yet. */
  readonly isAttached: boolean;
}

/** Where a file of a job is. */
export interface FileKey {
  readonly orgId: string;
  readonly jobId: string;
  readonly attempt: number;
  readonly artifactId: string;
  readonly sha256: string;
}

/** Two connections: one that owns the tables and sees no row, and one that sees the rows of one org at a time. */
export interface RetentionStore {
  /** The database's clock. */
  now(): Promise<Date>;
  orgs(): Promise<string[]>;
  partitions(): Promise<DayPartition[]>;
  /** Days before `upTo` that something of an org still needs, each with what. */
  neededDays(orgId: string, upTo: string): Promise<ReadonlyMap<string, string>>;
  /** Takes a day out of its table; nobody who reads or writes other days waits. */
  detach(partition: DayPartition): Promise<void>;
  attach(partition: DayPartition): Promise<void>;
  drop(partition: DayPartition): Promise<void>;
  /** Files of an org's jobs of a day, some of them. */
  files(orgId: string, day: string, limit: number): Promise<FileKey[]>;
  removeFiles(orgId: string, artifactIds: readonly string[]): Promise<void>;
  /** Removes what is kept of an org's jobs of a day outside of the days' tables. */
  removeRest(orgId: string, day: string): Promise<void>;
  /** Removes batches that ended before a time. */
  removeBatches(orgId: string, before: Date): Promise<void>;
  close(): Promise<void>;
}

/** Opens them. `ownerUrl`: for a user who may become the owner of the tables; `sweepUrl`: the role of sweeps. */
export function openRetention(
  { ownerUrl, sweepUrl }: { readonly ownerUrl: string; readonly sweepUrl: string },
  signal: AbortSignal,
): RetentionStore {
  const open = (url: string) => new Connection({ url, name: "muster retention", timeoutMs: statementMs });
  const owner = open(ownerUrl);
  const sweep = open(sweepUrl);
  const cut = () => [owner, sweep].forEach((one) => void one.cut());
  signal.addEventListener("abort", cut, { once: true });
  let isOwner: Promise<unknown> | undefined;
  const asOwner = async (text: string) => {
    isOwner ??= owner.sql.unsafe(
      "set role muster_owner; set search_path to muster; set lock_timeout = '10s'",
    );
    await isOwner;
    return owner.sql.unsafe(text);
  };
  // One message is one transaction, so the org is named for it alone.
  const asOrg = async (orgId: string, statement: SQL) => {
    const { sql: text, params } = dialect.sqlToQuery(statement);
    await sweep.sql.unsafe(`begin; ${setOrg(orgId)}`);
    try {
      return await sweep.sql.unsafe(text, params as string[]);
    } finally {
      await sweep.sql.unsafe("commit");
    }
  };
  return {
    async now() {
      const [row] = await sweep.sql.unsafe("select muster.muster_clock() as now");
      return new Date(String(row?.["now"]));
    },
    async orgs() {
      const { sql: text } = dialect.sqlToQuery(sql`select ${orgs.orgId} as id from ${orgs} order by 1`);
      return (await sweep.sql.unsafe(text)).map((row) => String(row["id"]));
    },
    async partitions() {
      const rows = await asOwner(
        `select c.relname::text as name, greatest(c.reltuples, 0)::float8 as rows,
           coalesce((select not i.inhdetachpending from pg_inherits i where i.inhrelid = c.oid), false) as attached
         from pg_class c where c.relnamespace = 'muster'::regnamespace and c.relkind = 'r'
           and c.relname ~ '^(jobs|attempts|log_chunks)_[0-9]{8}$' order by 1`,
      );
      return rows.flatMap((row): DayPartition[] => {
        const [, table = "", day = ""] = /^(.+)_(\d{8})$/.exec(String(row["name"])) ?? [];
        return [{ table, day, rows: Math.round(Number(row["rows"])), isAttached: row["attached"] === true }];
      });
    },
    async neededDays(orgId, upTo) {
      const rows = await asOrg(orgId, neededDaysOf(orgId, upTo));
      return new Map(rows.map((row) => [String(row["day"]), String(row["why"])]));
    },
    async detach({ table, day, isAttached }) {
      if (!isAttached) return;
      await asOwner(`alter table muster.${table} detach partition muster.${table}_${day} concurrently`);
    },
    async attach({ table, day }) {
      const bounds = partitionBounds(table, day);
      await asOwner(
        `alter table muster.${table} attach partition muster.${table}_${day} for values ${bounds}`,
      );
    },
    async drop({ table, day }) {
      const [pending] = await asOwner(
        `select 1 from pg_inherits i where i.inhrelid = 'muster.${table}_${day}'::regclass and i.inhdetachpending`,
      );
      // A detach that somebody's end cut short.
      if (pending)
        await asOwner(`alter table muster.${table} detach partition muster.${table}_${day} finalize`);
      await asOwner(`drop table if exists muster.${table}_${day}`);
    },
    async files(orgId, day, limit) {
      const { low, high } = dayBounds(day);
      const rows = await asOrg(
        orgId,
        sql`select ${artifacts.jobId} as job, ${artifacts.attempt} as attempt, ${artifacts.artifactId} as artifact,
            ${artifacts.sha256} as sha256 from ${artifacts} where ${artifacts.orgId} = ${orgId}::uuid
            and ${artifacts.jobId} >= ${low}::uuid and ${artifacts.jobId} < ${high}::uuid limit ${limit}`,
      );
      return rows.map((row) => ({
        orgId,
        jobId: String(row["job"]),
        attempt: Number(row["attempt"]),
        artifactId: String(row["artifact"]),
        sha256: String(row["sha256"]),
      }));
    },
    async removeFiles(orgId, artifactIds) {
      const ids = sql.join(
        artifactIds.map((id) => sql`${id}::uuid`),
        sql`, `,
      );
      await asOrg(
        orgId,
        sql`delete from ${artifacts} where ${artifacts.orgId} = ${orgId}::uuid and ${artifacts.artifactId} in (${ids})`,
      );
    },
    async removeRest(orgId, day) {
      const { low, high } = dayBounds(day);
      const among = (org: SQL, id: SQL) =>
        sql`${org} = ${orgId}::uuid and ${id} >= ${low}::uuid and ${id} < ${high}::uuid`;
      const rest = [
        sql`delete from ${deadLetters} where ${among(sql`${deadLetters.orgId}`, sql`${deadLetters.jobId}`)}`,
        sql`delete from ${lateResults} where ${among(sql`${lateResults.orgId}`, sql`${lateResults.jobId}`)}`,
        sql`delete from ${jobKeys} where ${among(sql`${jobKeys.orgId}`, sql`${jobKeys.targetId}`)}
          and ${jobKeys.type} in ('external', 'idempotency')`,
      ];
      for (const statement of rest) await asOrg(orgId, statement);
    },
    async removeBatches(orgId, before) {
      await asOrg(orgId, endedBatches(orgId, before));
    },
    async close() {
      signal.removeEventListener("abort", cut);
      await Promise.all([owner.close(1), sweep.close(1)]);
    },
  };
}

// `day`, `why`.
function neededDaysOf(orgId: string, upTo: string): SQL {
  const { low } = dayBounds(upTo);
  const day = (id: SQL) =>
    sql`to_char(to_timestamp(('x' || left(replace(${id}::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
      at time zone 'utc', 'YYYYMMDD')`;
  return sql`select distinct ${day(sql`${jobQueue.jobId}`)} as day, 'a job of it has not ended' as why
      from ${jobQueue} where ${jobQueue.orgId} = ${orgId}::uuid and ${jobQueue.jobId} < ${low}::uuid
    union all select distinct ${day(sql`p.id`)}, 'a job that waits depends on one of it'
      from ${jobQueue} join ${jobs} on ${jobs.orgId} = ${orgId}::uuid and ${jobs.jobId} = ${jobQueue.jobId}
      cross join unnest(${jobs.dependsOn}) p(id)
      where ${jobQueue.orgId} = ${orgId}::uuid and p.id < ${low}::uuid
    union all select distinct ${day(sql`${releases.parentId}`)}, 'the end of a job of it is on its way'
      from ${releases} where ${releases.orgId} = ${orgId}::uuid and ${releases.parentId} < ${low}::uuid`;
}

/** The statement that removes batches that ended before a time, and whose jobs are gone. */
export function endedBatches(orgId: string, before: Date): SQL {
  const { low } = dayBounds(dayLabel(before));
  return sql`delete from ${batches} where ${batches.orgId} = ${orgId}::uuid and ${batches.pending} = 0
    and ${batches.lastJobId} < ${low}::uuid and not exists (select from ${jobs}
      where ${jobs.orgId} = ${orgId}::uuid and ${jobs.jobId} >= ${batches.firstJobId}
        and ${jobs.jobId} <= ${batches.lastJobId})`;
}

const dialect = new PgDialect();
const statementMs = 5 * 60_000;
