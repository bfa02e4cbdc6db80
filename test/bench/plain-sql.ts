import { randomUUID } from "node:crypto";
import postgres from "postgres";
import type { BenchPostgres } from "./bench-postgres.ts";
import { sharedMs } from "./clock.ts";
import { quantile } from "./figures.ts";
import { benchPayload } from "./seen.ts";

/** What Postgres itself does on this machine with the same sort of work. */
export interface PlainSqlResult {
  readonly jobsPerSecond: number;
  /** Insert, claim and finish of one job alone: three commits. */
  readonly lifecycleP50Ms: number;
}

/**
 * The yardstick of the smoke: jobs inserted, claimed and finished with a history row, by the same driver, in batches,
 * on two connections. Nothing of Muster is in it, so a change of Muster cannot move it.
 */
export async function plainSql(
  server: BenchPostgres,
  { jobs, batch, samples }: { readonly jobs: number; readonly batch: number; readonly samples: number },
): Promise<PlainSqlResult> {
  const name = "bench_plain";
  const sql = postgres(await server.createDatabase(name), { max: 2, onnotice: () => {} });
  try {
    await sql.unsafe(tables);
    const lifecycle = async (size: number) => {
      await sql`
        insert into live (job_id, payload) select id, ${JSON.stringify(benchPayload())}
        from unnest(${Array.from({ length: size }, () => randomUUID())}::uuid[]) as t(id)`;
      const claimed = await sql<{ job_id: string }[]>`
        update live set state = 1, lease_id = ${randomUUID()} where job_id = any(array(
          select job_id from live where state = 0 order by ready_at, job_id limit ${size} for update skip locked))
        returning job_id`;
      await sql`
        with gone as (
          delete from live where job_id = any(${claimed.map(({ job_id }) => job_id)}::uuid[]) returning job_id, lease_id
        ) insert into history (job_id, lease_id, result) select job_id, lease_id, 'null' from gone`;
    };
    // Statements are prepared, and the processor is awake.
    for (let n = 0; n < 20; n++) await lifecycle(batch);
    let left = jobs;
    const startedMs = sharedMs();
    await Promise.all(
      [0, 1].map(async () => {
        while (left > 0) {
          left -= batch;
          await lifecycle(batch);
        }
      }),
    );
    const seconds = (sharedMs() - startedMs) / 1_000;
    const times: number[] = [];
    for (let n = 0; n < samples; n++) {
      const begunMs = sharedMs();
      await lifecycle(1);
      times.push(sharedMs() - begunMs);
    }
    return { jobsPerSecond: jobs / seconds, lifecycleP50Ms: quantile(times, 0.5) };
  } finally {
    await sql.end({ timeout: 5 });
    await server.dropDatabase(name);
  }
}

const tables = `
  create table live (job_id uuid primary key, state smallint not null default 0,
    ready_at timestamptz not null default statement_timestamp(), lease_id uuid, payload text not null);
  create index live_ready on live (ready_at, job_id) where state = 0;
  create table history (job_id uuid primary key, lease_id uuid, ended_at timestamptz not null default statement_timestamp(),
    result text);`;
