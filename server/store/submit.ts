import type { DependencyPolicy } from "../domain/rules/dependencies.ts";
import { initialState } from "../domain/rules/lifecycle.ts";
import type { JobSettings } from "../domain/rules/settings.ts";
import type { InternedShape } from "../domain/rules/shapes.ts";
import { sql } from "./drizzle.ts";
import {
  batchNames as b,
  changeNames as ch,
  clock,
  jobNames as j,
  keyNames as k,
  nilUuid,
  queueNames as q,
  shapeNames as s,
} from "./names.ts";
import { batches, changes, jobKeys, jobQueue, jobs, shapes } from "./schema.ts";
import { auditLog } from "./schema-fleet.ts";
import { stateNumber } from "./state-numbers.ts";
import { type Call, call, names, param, statement } from "./statement.ts";
import { tallied } from "./tallies.ts";

const au = names(auditLog);
// T1 by the table: where a job starts that waits for no other, before its run_at and after; and one that waits.
const scheduled = stateNumber(initialState({ waitingOn: 0, readyInMs: 1 }));
const ready = stateNumber(initialState({ waitingOn: 0, readyInMs: null }));
const blocked = stateNumber(initialState({ waitingOn: 1, readyInMs: null }));

/** What many jobs of a flush have in common: sent once. */
export interface JobTemplate {
  readonly shape: InternedShape;
  readonly project: string | null;
  readonly settings: JobSettings;
  readonly priority: number;
  readonly softTimeoutMs: number | null;
  readonly hardTimeoutMs: number | null;
  readonly isExclusive: boolean;
  readonly isAtMostOnce: boolean;
  readonly opensPullRequest: boolean;
  readonly dependencyPolicy: DependencyPolicy;
  readonly instructions: readonly string[];
  readonly submittedBy: string;
}

/** A job that is about to be inserted. */
export interface NewJob {
  readonly jobId: string;
  readonly template: JobTemplate;
  readonly batchId: string | null;
  readonly parentJobId: string | null;
  readonly title: string;
  /** JSON text. */
  readonly payload: string;
  readonly labels: Readonly<Record<string, string>> | null;
  readonly runAt: Date | null;
  readonly deadline: Date | null;
  readonly externalId: string | null;
  readonly idempotencyKey: string | null;
  /** In the order in which they were named; null: none. */
  readonly dependsOn: readonly string[] | null;
  /** How many of them have not succeeded yet. */
  readonly waitingOn: number;
  /** Jobs of the same submission wait for it. */
  readonly hasDependants: boolean;
}

const insertJobs = statement(sql`
  with d as (
    select p.*, t.*, case when p.waiting_on > 0 then ${blocked} when p.run_at > extract(epoch from ${clock}) then ${scheduled} else ${ready} end::smallint as state
    from unnest(${param("jobs")}::uuid[], ${param("templates")}::int[], ${param("batches")}::uuid[],
      ${param("parents")}::uuid[], ${param("titles")}::text[], ${param("payloads")}::text[], ${param("labels")}::text[],
      ${param("runs")}::float8[], ${param("deadlines")}::float8[], ${param("externals")}::text[], ${param("keys")}::text[],
      ${param("dependencies")}::text[], ${param("waiting")}::int[], ${param("parented")}::boolean[])
      as p(job_id, template, batch_id, parent_job_id, title, payload, labels, run_at, deadline, external_id, idempotency_key,
        depends_on, waiting_on, has_dependants)
    join unnest(${param("shapes")}::bigint[], ${param("kinds")}::text[], ${param("queues")}::text[],
      ${param("skills")}::text[], ${param("points")}::int[], ${param("pools")}::text[], ${param("projects")}::text[],
      ${param("targets")}::text[], ${param("instructions")}::text[], ${param("priorities")}::smallint[], ${param("softs")}::int[],
      ${param("hards")}::int[], ${param("ttls")}::int[], ${param("reclaims")}::int[], ${param("tries")}::int[],
      ${param("backoffs")}::int[], ${param("backoffMaxes")}::int[], ${param("factors")}::float8[],
      ${param("exclusives")}::boolean[], ${param("mostOnces")}::boolean[], ${param("opens")}::boolean[],
      ${param("policies")}::text[], ${param("submitters")}::text[]) with ordinality
      as t(shape_id, kind, queue, skills, points, pool, project, target, instructions, priority, soft, hard, ttl, reclaim, tries,
        backoff, backoff_max, factor, is_exclusive, is_at_most_once, opens_pull_request, policy, submitted_by, ordinal)
      on t.ordinal = p.template
  ), asked as (
    insert into ${jobs} (${j.orgId}, ${j.jobId}, ${j.batchId}, ${j.parentJobId}, ${j.runAt}, ${j.deadline}, ${j.points},
      ${j.softTimeoutMs}, ${j.hardTimeoutMs}, ${j.leaseTtlMs}, ${j.reclaimAfterMs}, ${j.maxAttempts},
      ${j.backoffInitialMs}, ${j.backoffMaxMs}, ${j.backoffFactor}, ${j.priority}, ${j.exclusive}, ${j.atMostOnce},
      ${j.opensPullRequest}, ${j.kind}, ${j.queue}, ${j.title}, ${j.payload}, ${j.skills}, ${j.instructions}, ${j.labels},
      ${j.project}, ${j.pool}, ${j.target}, ${j.externalId}, ${j.idempotencyKey},
      ${j.dependsOn}, ${j.dependencyPolicy}, ${j.submittedBy})
    select ${param("org")}::uuid, job_id, batch_id, parent_job_id, to_timestamp(run_at), to_timestamp(deadline), points,
      soft, hard, ttl, reclaim, tries, backoff, backoff_max, factor, priority, is_exclusive, is_at_most_once,
      opens_pull_request, kind, queue, title, convert_to(payload, 'UTF8'), string_to_array(nullif(skills, ''), ','),
      string_to_array(nullif(instructions, ''), ','), labels::jsonb, project, pool, target, external_id, idempotency_key,
      string_to_array(depends_on, ',')::uuid[], case when depends_on is not null then policy end, submitted_by
    from d
  ), changed as (
    insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
    select ${param("org")}::uuid, 1, array_agg(job_id), array_agg(state), array_agg(0), array_agg(${param("nil")}::uuid) from d
  ), counted as (
    ${tallied(sql`d`, {
      submitted: sql`1`,
      scheduled: sql`case when d.state = ${scheduled} then 1 else 0 end`,
      ready: sql`case when d.state = ${ready} then 1 else 0 end`,
      blocked: sql`case when d.state = ${blocked} then 1 else 0 end`,
    })}
  )
  insert into ${jobQueue} (${q.orgId}, ${q.jobId}, ${q.shapeId}, ${q.readyAt}, ${q.wakeAt}, ${q.deadline}, ${q.batchId},
    ${q.points}, ${q.reclaimAfterMs}, ${q.leaseTtlMs}, ${q.state}, ${q.priority}, ${q.waitingOn}, ${q.hasDependants})
  select ${param("org")}::uuid, job_id, shape_id, 
    case state when ${ready} then ${clock} when ${blocked} then to_timestamp(run_at) end,
    case when state = ${scheduled} then to_timestamp(run_at) end, to_timestamp(deadline), batch_id, points, reclaim, ttl, state,
    priority, waiting_on, has_dependants
  from d`);

const insertShapes = statement(sql`
  insert into ${shapes} (${s.orgId}, ${s.shapeId}, ${s.kind}, ${s.queue}, ${s.skills}, ${s.points}, ${s.pool},
    ${s.project}, ${s.target}, ${s.avoid}, ${s.alone}, ${s.accountedTo}, ${s.schedule})
  select ${param("org")}::uuid, shape_id, kind, queue, string_to_array(skills, ','), points, pool, project, target,
    string_to_array(avoid, ',')::uuid[], alone, accounted_to, schedule
  from unnest(${param("ids")}::bigint[], ${param("kinds")}::text[], ${param("queues")}::text[], ${param("skills")}::text[],
    ${param("points")}::int[], ${param("pools")}::text[], ${param("projects")}::text[], ${param("targets")}::text[],
    ${param("avoids")}::text[], ${param("alones")}::boolean[], ${param("accounts")}::text[],
    ${param("schedules")}::text[])
    as d(shape_id, kind, queue, skills, points, pool, project, target, avoid, alone, accounted_to, schedule)
  on conflict do nothing`);

const insertBatch = statement(sql`
  insert into ${batches} (${b.orgId}, ${b.batchId}, ${b.title}, ${b.firstJobId}, ${b.lastJobId}, ${b.total}, ${b.pending})
  values (${param("org")}::uuid, ${param("batch")}::uuid, ${param("title")}::text, ${param("first")}::uuid,
    ${param("last")}::uuid, ${param("total")}::int, ${param("total")}::int)`);

const insertAudit = statement(sql`
  insert into ${auditLog} (${au.orgId}, ${au.auditId}, ${au.actor}, ${au.action}, ${au.target}, ${au.reason},
    ${au.requestId}, ${au.details})
  select ${param("org")}::uuid, d.id, d.actor, d.action, d.target, d.reason, d.request, d.details::jsonb
  from unnest(${param("ids")}::uuid[], ${param("actors")}::text[], ${param("actions")}::text[], ${param("targets")}::text[],
    ${param("reasons")}::text[], ${param("requests")}::text[], ${param("details")}::text[])
    as d(id, actor, action, target, reason, request, details)`);

/**
 * Takes keys: returns (type, key) of those that were free or expired. The
 * caller sends them sorted, each once. Parameters: org, types, keys, targets,
 * prints (hex), lives (milliseconds, null: for good).
 */
export const takeKeys = statement(sql`
  insert into ${jobKeys} as x (${k.orgId}, ${k.type}, ${k.key}, ${k.targetId}, ${k.fingerprint}, ${k.expiresAt})
  select ${param("org")}::uuid, d.type, d.key, d.target, decode(d.print, 'hex'),
    ${clock} + d.life * interval '1 millisecond'
  from unnest(${param("types")}::text[], ${param("keys")}::text[], ${param("targets")}::uuid[], ${param("prints")}::text[],
    ${param("lives")}::bigint[]) as d(type, key, target, print, life)
  on conflict (${k.orgId}, ${k.type}, ${k.key}) do update set ${k.targetId} = excluded.${k.targetId},
    ${k.fingerprint} = excluded.${k.fingerprint}, ${k.expiresAt} = excluded.${k.expiresAt}
    where x.${k.expiresAt} <= ${clock}
  returning x.${k.type} as type, x.${k.key} as key`);

/** Reads who has keys. Parameters: org, types, keys. */
export const readKeys = statement(sql`
  select x.${k.type} as type, x.${k.key} as key, x.${k.targetId} as target, encode(x.${k.fingerprint}, 'hex') as print
  from ${jobKeys} x where x.${k.orgId} = ${param("org")}::uuid and x.${k.type} = any(${param("types")}::text[])
    and x.${k.key} = any(${param("keys")}::text[])`);

/** Gives keys back that a refused submission took. Parameters: org, types, keys. */
export const dropKeys = statement(sql`
  delete from ${jobKeys} using unnest(${param("types")}::text[], ${param("keys")}::text[]) as d(type, key)
  where ${k.orgId} = ${param("org")}::uuid and ${jobKeys}.${k.type} = d.type and ${jobKeys}.${k.key} = d.key
    and ${jobKeys}.${k.key} = any(${param("keys")}::text[])`);

/** The jobs of a batch in order. Parameters: org, batch. */
export const readBatchJobs = statement(sql`
  select x.${j.jobId} as job from ${batches} w join ${jobs} x on x.${j.orgId} = ${param("org")}::uuid
    and x.${j.jobId} >= w.${b.firstJobId} and x.${j.jobId} <= w.${b.lastJobId} and x.${j.batchId} = w.${b.batchId}
  where w.${b.orgId} = ${param("org")}::uuid and w.${b.batchId} = ${param("batch")}::uuid order by x.${j.jobId}`);

/** Locks leases that submit children, so that they stay current. Parameters: org, jobs, attempts, leases, workers. */
export const holdParents = statement(sql`
  select x.${q.leaseId} as lease from ${jobQueue} x
  join unnest(${param("jobs")}::uuid[], ${param("attempts")}::int[], ${param("leases")}::uuid[], ${param("workers")}::uuid[])
    as f(job_id, attempt, lease_id, worker_id) on x.${q.jobId} = f.job_id and x.${q.attempt} = f.attempt
    and x.${q.leaseId} = f.lease_id and x.${q.workerId} is not distinct from f.worker_id
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])
  order by x.${q.jobId} for key share of x`);

/** The statement that inserts jobs, blocked, ready or scheduled, counts them and tells the feed. `tally` is a new id. */
export function insertNewJobs(org: string, tally: string, rows: readonly NewJob[]): Call {
  const templates = [...new Set(rows.map((row) => row.template))];
  const position = new Map(templates.map((template, index) => [template, index + 1]));
  return call(insertJobs, {
    org,
    tally,
    nil: nilUuid,
    jobs: rows.map((row) => row.jobId),
    templates: rows.map((row) => position.get(row.template)),
    batches: rows.map((row) => row.batchId),
    parents: some(rows.map((row) => row.parentJobId)),
    titles: rows.map((row) => row.title),
    payloads: rows.map((row) => row.payload),
    labels: some(rows.map((row) => (row.labels ? JSON.stringify(row.labels) : null))),
    runs: some(rows.map((row) => seconds(row.runAt))),
    deadlines: some(rows.map((row) => seconds(row.deadline))),
    externals: some(rows.map((row) => row.externalId)),
    keys: some(rows.map((row) => row.idempotencyKey)),
    dependencies: some(rows.map((row) => row.dependsOn?.join(",") ?? null)),
    waiting: rows.map((row) => row.waitingOn),
    parented: rows.map((row) => row.hasDependants),
    shapes: templates.map((one) => one.shape.shapeId.toString()),
    kinds: templates.map((one) => one.shape.kind),
    queues: templates.map((one) => one.shape.queue),
    skills: templates.map((one) => one.shape.skills.join(",")),
    points: templates.map((one) => one.shape.points),
    pools: templates.map((one) => one.shape.pool),
    projects: templates.map((one) => one.project),
    targets: templates.map((one) => one.shape.target),
    instructions: templates.map((one) => one.instructions.join(",")),
    priorities: templates.map((one) => one.priority),
    softs: templates.map((one) => one.softTimeoutMs),
    hards: templates.map((one) => one.hardTimeoutMs),
    ttls: templates.map((one) => one.settings.leaseTtlMs),
    reclaims: templates.map((one) => one.settings.reclaimAfterMs),
    tries: templates.map((one) => one.settings.maxAttempts),
    backoffs: templates.map((one) => one.settings.backoffInitialMs),
    backoffMaxes: templates.map((one) => one.settings.backoffMaxMs),
    factors: templates.map((one) => one.settings.backoffFactor),
    exclusives: templates.map((one) => one.isExclusive),
    mostOnces: templates.map((one) => one.isAtMostOnce),
    opens: templates.map((one) => one.opensPullRequest),
    policies: templates.map((one) => one.dependencyPolicy),
    submitters: templates.map((one) => one.submittedBy),
  });
}

/** The statement that makes shapes known. */
export function insertNewShapes(org: string, rows: readonly InternedShape[]): Call {
  const sorted = [...rows].sort((a, c) => (a.shapeId < c.shapeId ? -1 : 1));
  return call(insertShapes, {
    org,
    ids: sorted.map((row) => row.shapeId.toString()),
    kinds: sorted.map((row) => row.kind),
    queues: sorted.map((row) => row.queue),
    skills: sorted.map((row) => row.skills.join(",")),
    points: sorted.map((row) => row.points),
    pools: sorted.map((row) => row.pool),
    projects: sorted.map((row) => row.project),
    targets: sorted.map((row) => row.target),
    avoids: sorted.map((row) => row.avoid.join(",")),
    alones: sorted.map((row) => row.isAlone),
    accounts: sorted.map((row) => row.accountedTo ?? null),
    schedules: sorted.map((row) => row.schedule ?? null),
  });
}

/** The statement that inserts a batch of `rows`, which are in the order of their ids. */
export function insertNewBatch(org: string, batchId: string, title: string, rows: readonly NewJob[]): Call {
  return call(insertBatch, {
    org,
    batch: batchId,
    title,
    first: rows.at(0)?.jobId,
    last: rows.at(-1)?.jobId,
    total: rows.length,
  });
}

/** An audit row that is written by a flush. */
export interface AuditRow {
  readonly auditId: string;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly reason: string;
  readonly requestId: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** The statement that writes audit rows. */
export function insertAuditRows(org: string, rows: readonly AuditRow[]): Call {
  return call(insertAudit, {
    org,
    ids: rows.map((row) => row.auditId),
    actors: rows.map((row) => row.actor),
    actions: rows.map((row) => row.action),
    targets: rows.map((row) => row.target),
    reasons: rows.map((row) => row.reason),
    requests: rows.map((row) => row.requestId),
    details: rows.map((row) => JSON.stringify(row.details)),
  });
}

// Of most lists most flushes have nothing to say: beside a longer one in `unnest`, an empty one is a list of nulls.
function some<T>(values: readonly T[]): readonly T[] {
  return values.every((value) => value === null) ? [] : values;
}

function seconds(time: Date | null): number | null {
  return time ? time.getTime() / 1_000 : null;
}
