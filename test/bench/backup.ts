import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { createBackup, restoreBackup, verifyBackup } from "../../server/domain/backups.ts";
import { openBackupPlace } from "../../server/outbound/backup-places.ts";
import { backupTables } from "../../server/store/backups.ts";
import { migrateDatabase } from "../../server/store/migrate.ts";
import { startBenchPostgres } from "./bench-postgres.ts";

/** What backup and restore of so many jobs took. */
export interface BackupFigures {
  readonly jobs: number;
  readonly rows: number;
  readonly sizeMiB: number;
  readonly backupSeconds: number;
  readonly verifySeconds: number;
  readonly restoreSeconds: number;
  /** Counts and digests of every table are the same in both databases. */
  readonly isSame: boolean;
  /** Of this process, which carries all rows in both directions. */
  readonly peakRssMiB: number;
}

/**
 * Fills a database with jobs, nine of ten with their history and one waiting, backs it up, verifies the backup, and
 * restores it into an empty database of the same durable Postgres.
 */
export async function benchBackup(
  jobs: number,
  log: (line: string) => void,
): Promise<Readonly<Record<string, unknown>>> {
  const server = await startBenchPostgres({ max_wal_size: "4GB" });
  const folder = await mkdtemp(join(tmpdir(), "muster-bench-backup-"));
  const secret = "of a bench, which nobody else knows";
  try {
    const url = await server.createDatabase("filled");
    const targetUrl = await server.createDatabase("restored");
    const { muster_sweep: sweepUrl } = await migrateDatabase({ url, secret });
    await migrateDatabase({ url: targetUrl, secret });
    await fill(url, jobs);
    log(`${jobs} jobs are there`);
    const place = openBackupPlace({ place: folder, endpoint: undefined, region: "us-east-1" });
    const how = { signal: new AbortController().signal, told: () => {} };
    const rss = watchRss();
    const asked = { org: null, format: "sql", keep: { days: 30, count: null } } as const;
    const made = await timed(() => createBackup({ sweepUrl, place }, asked, how));
    log(`backed up in ${made.seconds} s`);
    const verified = await timed(() => verifyBackup(place, made.value.name, how));
    const restored = await timed(() => restoreBackup({ url: targetUrl, place }, made.value.name, how));
    log(`restored in ${restored.seconds} s`);
    const peakRssMiB = rss.end();
    const [before, after] = [await digests(url), await digests(targetUrl)];
    const figures: BackupFigures = {
      jobs,
      rows: made.value.rows,
      sizeMiB: Math.round(made.value.sizeBytes / 1_048_576),
      backupSeconds: made.seconds,
      verifySeconds: verified.seconds,
      restoreSeconds: restored.seconds,
      isSame: verified.value.problems.length === 0 && JSON.stringify(before) === JSON.stringify(after),
      peakRssMiB,
    };
    return { ...figures };
  } finally {
    await rm(folder, { recursive: true, force: true });
    await server.stop();
  }
}

async function fill(url: string, jobs: number): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await sql`insert into muster.orgs (org_id, name) values (${org}, 'default')`;
    const begin = Date.now();
    const id = `(lpad(to_hex(${begin}::bigint + n / 100), 12, '0') || '7000' || '8000' || lpad(to_hex(n), 12, '0'))::uuid`;
    await sql.unsafe(
      `insert into muster.jobs (org_id, job_id, points, lease_ttl_ms, reclaim_after_ms, max_attempts, backoff_initial_ms,
         backoff_max_ms, backoff_factor, priority, exclusive, at_most_once, opens_pull_request, kind, queue, title, payload,
         submitted_by)
       select '${org}', ${id}, 1, 14400000, 30000, 3, 5000, 600000, 2, 128, false, false, true, 'shell.run', 'default',
         'job ' || n, convert_to('{"argv":["echo","' || md5(n::text) || md5((n + 1)::text) || '"]}', 'UTF8'), 'key:bench'
       from generate_series(1, ${jobs}) n`,
    );
    await sql.unsafe(
      `insert into muster.attempts (org_id, job_id, attempt, generation, granted_at, worker_id, lease_id, result_id,
         outcome, state, failures, losses, releases, final, ordinal, result)
       select '${org}', ${id}, 1, 1, now(), md5((n % 100)::text)::uuid, md5(n::text)::uuid, md5((-n)::text)::uuid,
         1, 7, 0, 0, 0, true, 0, convert_to('{"ok":true,"at":' || n || '}', 'UTF8')
       from generate_series(1, ${jobs}) n where n % 10 > 0`,
    );
    await sql.unsafe(
      `insert into muster.job_queue (org_id, job_id, shape_id, ready_at, points, reclaim_after_ms, lease_ttl_ms, state, priority)
       select '${org}', ${id}, 1, now(), 1, 30000, 14400000, 3, 128 from generate_series(1, ${jobs}) n where n % 10 = 0`,
    );
    await sql.unsafe("analyze");
  } finally {
    await sql.end({ timeout: 5 });
  }
}

const org = "01900000-0000-7000-8000-000000000001";

// Of what a row says, whatever the order of the rows.
async function digests(url: string): Promise<Record<string, string>> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    const found: Record<string, string> = {};
    for (const { name } of backupTables) {
      const [row] = await sql.unsafe(
        `select count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) as digest from muster."${name}" t`,
      );
      found[name] = String(row?.["digest"]);
    }
    return found;
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function timed<T>(body: () => Promise<T>): Promise<{ readonly value: T; readonly seconds: number }> {
  const begun = performance.now();
  const value = await body();
  return { value, seconds: Math.round((performance.now() - begun) / 100) / 10 };
}

function watchRss(): { end(): number } {
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 100);
  return {
    end() {
      clearInterval(timer);
      return Math.round(peak / 1_048_576);
    },
  };
}
