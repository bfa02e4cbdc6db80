import { sql } from "./drizzle.ts";
import { attemptNames as a, edgeNames as e, jobNames as j, queueNames as q } from "./names.ts";
import { attempts, jobQueue, jobs } from "./schema.ts";
import { edges, releases } from "./schema-routing.ts";
import { names, param, statement } from "./statement.ts";

const r = names(releases);

/*
 * Who waits for whom. An edge is written by the submit of the child, under the
 * lock of the parent's live row, and goes with the end of the parent: in its
 * transaction, or, where there are too many, by way of a row of `releases`.
 */

/** Locks the live rows of jobs in the order of their ids, so that none ends meanwhile. Parameters: org, jobs uuid[]. */
export const holdLive = statement(sql`
  select x.${q.jobId} as job from ${jobQueue} x
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])
  order by x.${q.jobId} for no key update`);

/** How the runs of jobs ended. Parameters: org, jobs uuid[], low, high (the bounds of the ids). */
export const readEnds = statement(sql`
  select x.${a.jobId} as job, x.${a.generation} as generation, x.${a.state} as state from ${attempts} x
  where x.${a.orgId} = ${param("org")}::uuid and x.${a.jobId} = any(${param("jobs")}::uuid[])
    and x.${a.jobId} >= ${param("low")}::uuid and x.${a.jobId} <= ${param("high")}::uuid and x.${a.final}`);

/** Keeps ended jobs from being replayed meanwhile. Parameters: org, jobs uuid[], low, high. */
export const holdEnded = statement(sql`
  select x.${j.jobId} as job from ${jobs} x
  where x.${j.orgId} = ${param("org")}::uuid and x.${j.jobId} = any(${param("jobs")}::uuid[])
    and x.${j.jobId} >= ${param("low")}::uuid and x.${j.jobId} <= ${param("high")}::uuid
  order by x.${j.jobId} for share`);

/** Notes in locked live rows that others wait for them. Parameters: org, jobs uuid[]. */
export const markParents = statement(sql`
  update ${jobQueue} x set ${q.hasDependants} = true
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[]) and not x.${q.hasDependants}`);

/** Writes who waits for whom. Parameters: org, parents uuid[], children uuid[], in parallel. */
export const insertEdges = statement(sql`
  insert into ${edges} (${e.orgId}, ${e.parentId}, ${e.childId})
  select ${param("org")}::uuid, d.parent, d.child
  from unnest(${param("parents")}::uuid[], ${param("children")}::uuid[]) as d(parent, child)`);

/**
 * Leaves ends of jobs to the sweep, each with its edges. The row is locked although it is there: a sweep that is about
 * to remove it then sees the edges of this transaction. Parameters: org, parents uuid[] (sorted), states smallint[].
 */
export const insertReleases = statement(sql`
  insert into ${releases} as x (${r.orgId}, ${r.parentId}, ${r.state})
  select ${param("org")}::uuid, d.parent, d.state
  from unnest(${param("parents")}::uuid[], ${param("states")}::smallint[]) as d(parent, state)
  on conflict (${r.orgId}, ${r.parentId}) do update set ${r.state} = excluded.${r.state}`);

/** The edges of parents, in no order. Parameters: org, parents uuid[], limit. */
export const readEdges = statement(sql`
  select x.${e.parentId} as parent, x.${e.childId} as child from ${edges} x
  where x.${e.orgId} = ${param("org")}::uuid and x.${e.parentId} = any(${param("parents")}::uuid[])
  limit ${param("limit")}::int`);

/** Removes edges whose parents' ends have reached the children. Parameters: org, parents uuid[]. */
export const deleteEdges = statement(sql`
  delete from ${edges} x where x.${e.orgId} = ${param("org")}::uuid and x.${e.parentId} = any(${param("parents")}::uuid[])`);

/** Removes some of the edges of one parent. Parameters: org, parent, children uuid[]. */
export const deleteEdgesTo = statement(sql`
  delete from ${edges} x where x.${e.orgId} = ${param("org")}::uuid and x.${e.parentId} = ${param("parent")}::uuid
    and x.${e.childId} = any(${param("children")}::uuid[])`);

/** Writes for how many jobs others wait now. Parameters: org, jobs uuid[], counts int[], in parallel. */
export const countDown = statement(sql`
  update ${jobQueue} x set ${q.waitingOn} = d.waiting
  from unnest(${param("jobs")}::uuid[], ${param("counts")}::int[]) as d(job_id, waiting)
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[]) and x.${q.jobId} = d.job_id`);

/** How many edges parents have, counted up to `most` each. Parameters: org, parents uuid[], most. */
export const countEdges = statement(sql`
  select p.parent as parent, (select count(*)::int from (
    select 1 from ${edges} x where x.${e.orgId} = ${param("org")}::uuid and x.${e.parentId} = p.parent
    limit ${param("most")}::int) c) as count
  from unnest(${param("parents")}::uuid[]) as p(parent)`);

/** Takes ends that wait for a sweep, the oldest that nobody else has taken. Parameters: org, limit. */
export const takeReleases = statement(sql`
  select x.${r.parentId} as parent, x.${r.state} as state from ${releases} x
  where x.${r.orgId} = ${param("org")}::uuid order by x.${r.createdAt} limit ${param("limit")}::int
  for update skip locked`);

/** Takes the end of one job, when it waits for a sweep. Parameters: org, parent. */
export const takeReleaseOf = statement(sql`
  select x.${r.parentId} as parent, x.${r.state} as state from ${releases} x
  where x.${r.orgId} = ${param("org")}::uuid and x.${r.parentId} = ${param("parent")}::uuid for update`);

/** Removes ends whose edges are gone. Parameters: org, parents uuid[]. */
export const deleteReleases = statement(sql`
  delete from ${releases} x where x.${r.orgId} = ${param("org")}::uuid and x.${r.parentId} = any(${param("parents")}::uuid[])`);
