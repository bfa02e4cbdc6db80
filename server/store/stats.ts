import type { SQL } from "drizzle-orm";
import type { Row } from "postgres";
import { histogramOf } from "../domain/rules/histograms.ts";
import { JobState, Outcome } from "../domain/rules/states.ts";
import {
  outcomeOf,
  runOutcomes,
  type StatsCounts,
  StatsDimension,
  type StatsFigures,
  statsCounts,
} from "../domain/rules/stats.ts";
import { readArray } from "./arrays.ts";
import { sql } from "./drizzle.ts";
import { clock, queueNames as q, shapeNames as s } from "./names.ts";
import { shapes } from "./schema.ts";
import { workers } from "./schema-fleet.ts";
import { type SpanSum, spanStats, statDeltas, stats } from "./schema-stats.ts";
import { type Call, call, names, param, statement } from "./statement.ts";

/*
 * Nothing counts attempts where they end: each flush appends what it knows, one row, and a sweep folds the rows into
 * minutes, minutes into hours, hours into days. What is counted is the sum of all.
 */

const d = names(statDeltas);
const t = names(stats);
const sp = names(spanStats);
const w = names(workers);

const number = (value: number) => sql.raw(String(value));
const list = (parts: readonly SQL[]) => sql.join([...parts], sql`, `);

/**
 * Part of a statement: appends successes that ended their runs. `source` has rows of the queue. Parameters: org, tally (a
 * new id).
 */
export function stated(source: SQL): SQL {
  return sql`insert into ${statDeltas} (${d.orgId}, ${d.deltaId}, ${d.shapeIds}, ${d.workerIds}, ${d.waits}, ${d.runs})
    select ${param("org")}::uuid, ${param("tally")}::uuid, array_agg(${q.shapeId}), array_agg(${q.workerId}),
      array_agg(date_part('epoch', ${q.grantedAt} - ${q.readyAt})::real),
      array_agg(date_part('epoch', ${clock} - ${q.grantedAt})::real)
    from ${source} having count(*) > 0`;
}

/** An attempt that ended. */
export interface StatedAttempt {
  readonly shapeId: bigint;
  readonly workerId: string | null;
  readonly outcome: number;
  /** The terminal state that it brought its run to; null: the run goes on. */
  readonly state: number | null;
  /** From ready to granted; null: not known. */
  readonly waitedSeconds: number | null;
  /** By the database's clock; null without a lease. */
  readonly grantedAtSeconds: number | null;
}

const insertDelta = statement(sql`
  insert into ${statDeltas} (${d.orgId}, ${d.deltaId}, ${d.shapeIds}, ${d.workerIds}, ${d.outcomes}, ${d.states},
    ${d.waits}, ${d.runs}, ${d.spans})
  select ${param("org")}::uuid, ${param("delta")}::uuid, ${param("shapes")}::bigint[], ${param("workers")}::uuid[],
    ${param("outcomes")}::smallint[], ${param("states")}::smallint[], ${param("waits")}::real[],
    (select array_agg(date_part('epoch', ${clock} - to_timestamp(x.granted))::real order by x.n)
      from unnest(${param("granted")}::float8[]) with ordinality as x(granted, n)), ${param("spans")}::text::jsonb`);

/** The statement that appends attempts that ended, at least one, and where their time went. `delta` is a new id. */
export function appendStats(
  org: string,
  delta: string,
  attempts: readonly StatedAttempt[],
  spans: readonly SpanSum[] = [],
): Call {
  return call(insertDelta, {
    org,
    delta,
    shapes: attempts.map((one) => one.shapeId.toString()),
    workers: attempts.map((one) => one.workerId),
    outcomes: attempts.map((one) => one.outcome),
    states: attempts.map((one) => one.state),
    waits: attempts.map((one) => one.waitedSeconds),
    granted: attempts.map((one) => one.grantedAtSeconds),
    spans: spans.length === 0 ? null : JSON.stringify(spans),
  });
}

/** Sums what is of the same kind and path. */
export function sumSpans(all: readonly SpanSum[]): SpanSum[] {
  return [...Map.groupBy(all, ({ kind, path }) => JSON.stringify([kind, path])).values()].flatMap((of) =>
    of.slice(0, 1).map(({ kind, path }) => ({
      kind,
      path,
      count: of.reduce((sum, one) => sum + one.count, 0),
      totalMs: of.reduce((sum, one) => sum + one.totalMs, 0),
      selfMs: of.reduce((sum, one) => sum + one.selfMs, 0),
    })),
  );
}

const isOutcome = (...outcomes: readonly number[]) => sql`l.outcome in (${list(outcomes.map(number))})`;

/** The columns of what is counted, as they are named in every part. */
const figures = [...statsCounts.map((name) => t[name]), t.runSeconds];
const sums = (of: SQL) =>
  list([
    ...statsCounts.map((name) => sql`sum(${of}.${t[name]})::bigint as ${t[name]}`),
    sql`sum(${of}.${t.runSeconds})::float8 as ${t.runSeconds}`,
  ]);

const pairs = (of: SQL, histogram: 1 | 2, column: SQL, keys: SQL) =>
  sql`select ${keys}, ${number(histogram)} as histogram, ${of}.${column}[i.n] as bucket, ${of}.${column}[i.n + 1] as n
    from pieces ${of}, generate_series(1, cardinality(${of}.${column}), 2) as i(n)`;

// Of rows with a bucket and a count: the pairs of each histogram.
const packed = (keys: SQL) => sql`
  binned as (
    select ${keys}, histogram, bucket, sum(n)::bigint as n from buckets group by ${keys}, histogram, bucket
  ), packed as (
    select ${keys}, array_agg(v.x order by bucket, v.place) filter (where histogram = 1) as ${t.waits},
      array_agg(v.x order by bucket, v.place) filter (where histogram = 2) as ${t.runs}
    from binned, lateral (values (0, bucket::bigint), (1, n)) as v(place, x) group by ${keys}
  ), merged as (
    select ${keys}, ${list(figures)}, coalesce(h.${t.waits}, '{}') as ${t.waits}, coalesce(h.${t.runs}, '{}') as ${t.runs}
    from summed left join packed h using (${keys})
  )`;

/** Parts of a statement: `merged` is the sum of the rows of `pieces` that have the same keys, columns of it. */
const mergedPieces = (keys: SQL) => sql`
  summed as (select ${keys}, ${sums(sql`p`)} from pieces p group by ${keys}),
  buckets as (${pairs(sql`p`, 1, t.waits, keys)} union all ${pairs(sql`p`, 2, t.runs, keys)}),
  ${packed(keys)}`;

const lineKeys = list([t.dimension, t.at, t.value, t.project]);

/** Which of the ways to count attempts a row is of, as `grouping(state, wait, run)` says it. */
const isPart = { states: sql`l.part = 3`, waits: sql`l.part = 5`, runs: sql`l.part = 6` };

/**
 * Parts of a statement: `merged` is what rows of deltas count, by dimension, minute, value and project. Parameters: org,
 * dimensions smallint[].
 *
 * Attempts are counted three ways in one pass, by state, by wait and by time run: by all at once hardly two are alike.
 * What is not told apart by worker is counted without workers first. With each attempt dealt out to all its dimensions,
 * a hundred workers made a fold six times as long.
 */
const mergedDeltas = (source: SQL) => sql`
  attempted as (
    select date_trunc('minute', x.${d.at}, 'UTC') as at, i.shape_id, i.worker_id,
      case when x.${d.outcomes} is null then ${number(Outcome.succeeded)} else i.outcome end as outcome,
      case when x.${d.states} is null then ${number(JobState.succeeded)} else i.state end as state,
      muster.histogram_bucket(i.wait) as wait, muster.histogram_bucket(i.run) as run, i.run::float8 as seconds
    from ${source} x, unnest(x.${d.shapeIds}, x.${d.workerIds}, x.${d.outcomes}, x.${d.states}, x.${d.waits}, x.${d.runs})
      as i(shape_id, worker_id, outcome, state, wait, run)
  ), by_worker as materialized (
    select at, shape_id, worker_id, outcome, state, wait, run, grouping(state, wait, run) as part, count(*) as n,
      sum(seconds) as seconds
    from attempted group by grouping sets ((at, shape_id, worker_id, outcome, state),
      (at, shape_id, worker_id, outcome, wait), (at, shape_id, worker_id, outcome, run))
  ), by_shape as materialized (
    select at, shape_id, outcome, state, wait, run, part, sum(n)::bigint as n, sum(seconds) as seconds
    from by_worker group by at, shape_id, outcome, state, wait, run, part
  ), valued as materialized (
    select l.at, l.outcome, l.state, l.wait, l.run, l.part, l.n, l.seconds, v.dimension as ${t.dimension},
      v.value as ${t.value}, v.project as ${t.project}
    from by_shape l
    left join ${shapes} h on h.${s.orgId} = ${param("org")}::uuid and h.${s.shapeId} = l.shape_id
    cross join lateral (values (${number(StatsDimension.org)}, '', ''),
      (${number(StatsDimension.kind)}, h.${s.kind}, ''), (${number(StatsDimension.queue)}, h.${s.queue}, ''),
      (${number(StatsDimension.project)}, coalesce(h.${s.project}, h.${s.accountedTo}), ''),
      (${number(StatsDimension.schedule)}, h.${s.schedule}, '')
    ) as v(dimension, value, project)
    where v.value is not null and v.dimension = any(${param("dimensions")}::smallint[])
    union all
    select l.at, l.outcome, l.state, l.wait, l.run, l.part, l.n, l.seconds, v.dimension, v.value, v.project
    from by_worker l
    left join ${shapes} h on h.${s.orgId} = ${param("org")}::uuid and h.${s.shapeId} = l.shape_id
    left join ${workers} k on k.${w.orgId} = ${param("org")}::uuid and k.${w.workerId} = l.worker_id
    cross join lateral (values (${number(StatsDimension.worker)}, l.worker_id::text, ''),
      (${number(StatsDimension.owner)}, k.${w.owner}, coalesce(h.${s.project}, h.${s.accountedTo}, ''))
    ) as v(dimension, value, project)
    where v.value is not null and v.dimension = any(${param("dimensions")}::smallint[])
  ), summed as (
    select ${lineKeys}, ${list(
      Object.entries(outcomeOf).map(
        ([name, outcome]) =>
          sql`coalesce(sum(l.n) filter (where ${isOutcome(outcome)}), 0)::bigint as ${t[columnOf(name)]}`,
      ),
    )}, coalesce(sum(l.n) filter (where l.state = ${number(JobState.dead)}), 0)::bigint as ${t.dead},
      coalesce(sum(l.seconds), 0)::float8 as ${t.runSeconds}
    from valued l where ${isPart.states} group by ${lineKeys}
  ), buckets as (
    select ${lineKeys}, 1 as histogram, l.wait::bigint as bucket, l.n from valued l
    where ${isPart.waits} and l.wait is not null and not ${isOutcome(Outcome.offerTimedOut)}
    union all select ${lineKeys}, 2, l.run::bigint, l.n from valued l
    where ${isPart.runs} and l.run is not null and ${isOutcome(...runOutcomes)}
  ), ${packed(lineKeys)}`;

function columnOf(name: string): keyof StatsCounts {
  return name as keyof StatsCounts;
}

const columns = list([t.orgId, t.grain, lineKeys, ...figures, t.waits, t.runs]);
const adding = sql`on conflict (${list([t.orgId, t.grain, lineKeys])}) do update set ${list([
  ...figures.map((name) => sql`${name} = x.${name} + excluded.${name}`),
  ...[t.waits, t.runs].map((name) => sql`${name} = muster.histogram_sum(x.${name}, excluded.${name})`),
])}`;

/**
 * Folds deltas, the oldest first, so many at a time, into minutes; returns how many. What another folds is left to it.
 * Parameters: org, dimensions smallint[] (all), limit.
 */
export const foldDeltas = statement(sql`
  with taken as (
    delete from ${statDeltas} y where y.${d.orgId} = ${param("org")}::uuid and y.${d.deltaId} = any(array(
      select o.${d.deltaId} from ${statDeltas} o where o.${d.orgId} = ${param("org")}::uuid
      order by o.${d.deltaId} limit ${param("limit")}::int for update skip locked))
    returning y.*
  ), ${mergedDeltas(sql`taken`)}, spent as (
    insert into ${spanStats} as x (${list([sp.orgId, sp.grain, sp.kind, sp.at, sp.path, sp.count, sp.totalMs, sp.selfMs])})
    select ${param("org")}::uuid, 2, e.kind, date_trunc('hour', y.${d.at}, 'UTC'), e.path, sum(e.count)::bigint,
      sum(e."totalMs")::float8, sum(e."selfMs")::float8
    from taken y, jsonb_to_recordset(y.${d.spans}) as e(kind text, path text, count bigint, "totalMs" float8, "selfMs" float8)
    where y.${d.spans} is not null group by 3, 4, 5 order by 3, 4, 5
    on conflict (${list([sp.orgId, sp.grain, sp.kind, sp.at, sp.path])}) do update set ${list(
      [sp.count, sp.totalMs, sp.selfMs].map((name) => sql`${name} = x.${name} + excluded.${name}`),
    )}
  ), folded as (
    insert into ${stats} as x (${columns})
    select ${param("org")}::uuid, 1, ${lineKeys}, ${list(figures)}, m.${t.waits}, m.${t.runs}
    from merged m order by ${lineKeys} ${adding}
  )
  select count(*)::int as n from taken`);

/**
 * Folds rows of a grain that are older than `keep` milliseconds into the next one, whole ones of it. Parameters: org,
 * from and to (grains), dimensions smallint[] (all), unit (`hour` or `day`), keep.
 */
export const foldStats = statement(sql`
  with old as (
    delete from ${stats} y where y.${t.orgId} = ${param("org")}::uuid and y.${t.grain} = ${param("from")}::smallint
      and y.${t.dimension} = any(${param("dimensions")}::smallint[])
      and y.${t.at} < date_trunc(${param("unit")}::text, ${clock} - ${param("keep")}::bigint * interval '1 millisecond', 'UTC')
    returning y.*
  ), pieces as materialized (
    select ${list([t.dimension, t.value, t.project])}, date_trunc(${param("unit")}::text, y.${t.at}, 'UTC') as ${t.at},
      ${list(figures)}, ${t.waits}, ${t.runs} from old y
  ), ${mergedPieces(lineKeys)}
  insert into ${stats} as x (${columns})
  select ${param("org")}::uuid, ${param("to")}::smallint, ${lineKeys}, ${list(figures)}, m.${t.waits}, m.${t.runs}
  from merged m order by ${lineKeys} ${adding}`);

/** Drops days that are older than `keep` milliseconds. Parameters: org, dimensions smallint[] (all), keep. */
export const dropStats = statement(sql`
  delete from ${stats} y where y.${t.orgId} = ${param("org")}::uuid and y.${t.grain} = 3
    and y.${t.dimension} = any(${param("dimensions")}::smallint[])
    and y.${t.at} < ${clock} - ${param("keep")}::bigint * interval '1 millisecond'`);

// The number of the step that a time is in, from `from` on.
const slot = (at: SQL) =>
  sql`floor((date_part('epoch', ${at}) - ${param("from")}::float8) / ${param("step")}::float8)::int`;
const isAsked = (
  of: SQL,
) => sql`(${param("values")}::text[] is null or ${of}.${t.value} = any(${param("values")}::text[]))
  and (${param("project")}::text is null or ${of}.${t.project} = ${param("project")}::text)
  and ${of}.${t.at} >= to_timestamp(${param("from")}::float8) and ${of}.${t.at} < to_timestamp(${param("until")}::float8)`;

/**
 * What a dimension counts in a time, by value, project and step; also what is not folded yet. Parameters: org, dimensions
 * smallint[] (one), values text[] and project (null: any), from and until (seconds), step (seconds).
 */
export const readStats = statement(sql`
  with fresh as materialized (
    with ${mergedDeltas(
      sql`(select * from ${statDeltas} o where o.${d.orgId} = ${param("org")}::uuid)`,
    )} select * from merged
  ), pieces as materialized (
    select y.${t.value}, y.${t.project}, ${slot(sql`y.${t.at}`)} as slot, ${list(figures)}, ${t.waits}, ${t.runs}
    from ${stats} y where y.${t.orgId} = ${param("org")}::uuid and y.${t.grain} in (1, 2, 3)
      and y.${t.dimension} = any(${param("dimensions")}::smallint[]) and ${isAsked(sql`y`)}
    union all
    select y.${t.value}, y.${t.project}, ${slot(sql`y.${t.at}`)}, ${list(figures)}, ${t.waits}, ${t.runs}
    from fresh y where ${isAsked(sql`y`)}
  ), ${mergedPieces(list([t.value, t.project, sql`slot`]))}
  select m.${t.value} as value, m.${t.project} as project, m.slot as slot, ${list(
    statsCounts.map((name) => sql`m.${t[name]}::float8 as ${sql.identifier(name.toLowerCase())}`),
  )}, m.${t.runSeconds} as seconds, m.${t.waits}::text as waits, m.${t.runs}::text as runs
  from merged m`);

/** What a value of a dimension counts in one step. */
export interface StatsRow extends StatsFigures {
  readonly value: string;
  readonly project: string;
  /** From 0. */
  readonly slot: number;
}

/** Reads a row of `readStats`. */
export function statsRow(row: Row): StatsRow {
  const pairsOf = (text: unknown) => histogramOf(readArray(String(text)).map(Number));
  return {
    value: String(row["value"]),
    project: String(row["project"]),
    slot: Number(row["slot"]),
    succeeded: Number(row["succeeded"]),
    failed: Number(row["failed"]),
    timedOut: Number(row["timedout"]),
    lost: Number(row["lost"]),
    cancelled: Number(row["cancelled"]),
    released: Number(row["released"]),
    parked: Number(row["parked"]),
    unanswered: Number(row["unanswered"]),
    dead: Number(row["dead"]),
    runSeconds: Number(row["seconds"]),
    waits: pairsOf(row["waits"]),
    runs: pairsOf(row["runs"]),
  };
}

/** What became of the time of attempts of a kind, by span. Parameters: org, kind, from and until (seconds). */
export const readSpanStats = statement(sql`
  select e.path, sum(e.n)::float8 as n, sum(e.total)::float8 as total, sum(e.self)::float8 as self from (
    select x.${sp.path} as path, x.${sp.count} as n, x.${sp.totalMs} as total, x.${sp.selfMs} as self from ${spanStats} x
    where x.${sp.orgId} = ${param("org")}::uuid and x.${sp.grain} in (2, 3) and x.${sp.kind} = ${param("kind")}::text
      and x.${sp.at} >= to_timestamp(${param("from")}::float8) and x.${sp.at} < to_timestamp(${param("until")}::float8)
    union all
    select i.path, i.count, i."totalMs", i."selfMs" from ${statDeltas} o,
      jsonb_to_recordset(o.${d.spans}) as i(kind text, path text, count bigint, "totalMs" float8, "selfMs" float8)
    where o.${d.orgId} = ${param("org")}::uuid and o.${d.spans} is not null and i.kind = ${param("kind")}::text
      and o.${d.at} >= to_timestamp(${param("from")}::float8) and o.${d.at} < to_timestamp(${param("until")}::float8)
  ) e group by e.path`);

/** Drops where time went that is older than `keep` milliseconds. Parameters: org, keep. */
export const dropSpanStats = statement(sql`
  delete from ${spanStats} y where y.${sp.orgId} = ${param("org")}::uuid
    and y.${sp.at} < ${clock} - ${param("keep")}::bigint * interval '1 millisecond'`);
