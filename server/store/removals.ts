import type { SQL } from "drizzle-orm";
import { sql } from "./drizzle.ts";
import {
  attemptNames as a,
  batchNames as b,
  jobNames as j,
  keyNames as k,
  queueNames as q,
} from "./names.ts";
import {
  artifacts,
  attempts,
  batches,
  deadLetters,
  jobKeys,
  jobQueue,
  jobs,
  lateResults,
  logChunks,
} from "./schema.ts";
import { releases } from "./schema-routing.ts";
import { names, param, type Statement, statement } from "./statement.ts";

const ar = names(artifacts);
const dl = names(deadLetters);
const lr = names(lateResults);
const lc = names(logChunks);
const r = names(releases);

const ids = sql`${param("jobs")}::uuid[]`;
const among = (column: SQL) => sql`${column} = any(${ids})
  and ${column} >= ${param("low")}::uuid and ${column} <= ${param("high")}::uuid`;

/** Jobs that may be removed: whether they live, and what names them. Parameters: org, jobs, low, high. */
export const readRemovable = statement(sql`
  select d.${j.jobId} as job, d.${j.kind} as kind, x.${q.state} as live from ${jobs} d
  left join ${jobQueue} x on x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = d.${j.jobId}
  where d.${j.orgId} = ${param("org")}::uuid and ${among(sql`d.${j.jobId}`)}`);

/** Jobs whose ends have not reached all that wait for them. Parameters: org, jobs. */
export const findReleasing = statement(sql`
  select x.${r.parentId} as job from ${releases} x
  where x.${r.orgId} = ${param("org")}::uuid and x.${r.parentId} = any(${ids})`);

/**
 * Jobs that a live job depends on: its handler may ask for their results. One depends on jobs that were submitted
 * before it, or with it in a batch. Parameters: org, jobs, low, high.
 */
export const findNeeded = statement(sql`
  select distinct p.job from ${jobs} d
  join ${jobQueue} x on x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = d.${j.jobId}
  cross join unnest(d.${j.dependsOn}) as p(job)
  where d.${j.orgId} = ${param("org")}::uuid and d.${j.dependsOn} && ${ids} and p.job = any(${ids})
    and d.${j.jobId} >= (
      select least(${param("low")}, min(w.${b.firstJobId}::text))::uuid from ${jobs} o
      join ${batches} w on w.${b.orgId} = ${param("org")}::uuid and w.${b.batchId} = o.${j.batchId}
      where o.${j.orgId} = ${param("org")}::uuid and ${among(sql`o.${j.jobId}`)})`);

/** Where the files of jobs are. Parameters: org, jobs. */
export const readFiles = statement(sql`
  select x.${ar.jobId} as job, x.${ar.artifactId} as artifact, x.${ar.attempt} as attempt, x.${ar.sha256} as sha256
  from ${artifacts} x where x.${ar.orgId} = ${param("org")}::uuid and x.${ar.jobId} = any(${ids})`);

/**
 * T20: the statements that remove jobs that have ended, and all that is kept of them, in their order: the history may
 * go only after its job. Parameters of each: org, jobs, low, high.
 */
export const removeAll: readonly Statement[] = [
  statement(sql`
    with gone as (
      delete from ${jobs} d where d.${j.orgId} = ${param("org")}::uuid and ${among(sql`d.${j.jobId}`)}
      returning d.${j.jobId}, d.${j.externalId}, d.${j.idempotencyKey}
    )
    delete from ${jobKeys} x using gone g where x.${k.orgId} = ${param("org")}::uuid and x.${k.targetId} = g.${j.jobId}
      and ((x.${k.type} = 'external' and x.${k.key} = g.${j.externalId})
        or (x.${k.type} = 'idempotency' and x.${k.key} = g.${j.idempotencyKey}))`),
  statement(sql`
    delete from ${attempts} x where x.${a.orgId} = ${param("org")}::uuid and ${among(sql`x.${a.jobId}`)}`),
  statement(sql`
    delete from ${deadLetters} x where x.${dl.orgId} = ${param("org")}::uuid and ${among(sql`x.${dl.jobId}`)}`),
  statement(sql`
    delete from ${logChunks} x where x.${lc.orgId} = ${param("org")}::uuid and ${among(sql`x.${lc.jobId}`)}`),
  statement(sql`
    delete from ${artifacts} x where x.${ar.orgId} = ${param("org")}::uuid and ${among(sql`x.${ar.jobId}`)}`),
  statement(sql`
    delete from ${lateResults} x where x.${lr.orgId} = ${param("org")}::uuid and ${among(sql`x.${lr.jobId}`)}`),
];
