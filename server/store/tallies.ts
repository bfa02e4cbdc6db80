import type { SQL } from "drizzle-orm";
import { JobState } from "../domain/rules/states.ts";
import { sql } from "./drizzle.ts";
import { shapeNames as s, tallyNames as t } from "./names.ts";
import { shapes, tallies } from "./schema.ts";
import { type Call, call, param, statement } from "./statement.ts";

/*
 * How many jobs of a queue are in each state is nowhere counted and nowhere
 * stored: every statement that moves jobs appends by how much each number
 * changed, one row a queue. A sweep folds the rows; the sum of all is what
 * stands.
 */

/** By how much numbers of a queue changed; what is left out did not. */
export interface TallyDelta {
  readonly submitted?: number;
  readonly succeeded?: number;
  readonly cancelled?: number;
  readonly dead?: number;
  readonly blocked?: number;
  readonly scheduled?: number;
  readonly ready?: number;
  readonly offered?: number;
  readonly running?: number;
  readonly parked?: number;
}

/** The numbers, in the order of the columns. */
export const tallyCounts = [
  "submitted",
  "succeeded",
  "cancelled",
  "dead",
  "blocked",
  "scheduled",
  "ready",
  "offered",
  "running",
  "parked",
] as const satisfies readonly (keyof TallyDelta)[];

/** The number of jobs in a state; a terminal one counts runs. */
export const tallyOf: Readonly<Record<JobState, keyof TallyDelta>> = {
  [JobState.blocked]: "blocked",
  [JobState.scheduled]: "scheduled",
  [JobState.ready]: "ready",
  [JobState.offered]: "offered",
  [JobState.running]: "running",
  [JobState.parked]: "parked",
  [JobState.succeeded]: "succeeded",
  [JobState.cancelled]: "cancelled",
  [JobState.dead]: "dead",
};

const columns = sql`${t.orgId}, ${t.tallyId}, ${t.queue}, ${sql.join(
  tallyCounts.map((name) => t[name]),
  sql`, `,
)}`;

/**
 * Part of a statement: appends a row a queue. Parameters: org, tally.
 *
 * @param source rows with a column `queue`, several of a queue or one.
 * @param deltas what a row of the source adds to each number.
 */
export function tallied(source: SQL, deltas: Readonly<Partial<Record<keyof TallyDelta, SQL>>>): SQL {
  const sums = tallyCounts.map((name) => {
    const delta = deltas[name];
    return delta === undefined ? sql`0` : sql`sum(${delta})::bigint`;
  });
  return sql`insert into ${tallies} (${columns})
    select ${param("org")}::uuid, ${param("tally")}::uuid, d.queue, ${sql.join(sums, sql`, `)}
    from ${source} d group by d.queue`;
}

/**
 * Part of a statement: the shapes of a source, which has a column `shape_id`, by their ids; one row a row of it.
 * Columns of the source are read as `x.`, those of the shape as `h.`. Parameters: org.
 */
export function ofShapes(columns: SQL, source: SQL): SQL {
  return sql`select ${columns} from ${source} x join ${shapes} h on h.${s.orgId} = ${param("org")}::uuid
    and h.${s.shapeId} = any(array(select y.shape_id from ${source} y)) and h.${s.shapeId} = x.shape_id`;
}

const insertTallies = statement(sql`
  insert into ${tallies} (${columns})
  select ${param("org")}::uuid, ${param("tally")}::uuid, d.* from unnest(${param("queues")}::text[], ${sql.join(
    tallyCounts.map((name) => sql`${param(name)}::bigint[]`),
    sql`, `,
  )}) d`);

/** The statement that appends what changed, a row a queue. `tally` is a new id. */
export function appendTallies(org: string, tally: string, deltas: ReadonlyMap<string, TallyDelta>): Call {
  const rows = [...deltas];
  return call(insertTallies, {
    org,
    tally,
    queues: rows.map(([queue]) => queue),
    ...Object.fromEntries(tallyCounts.map((name) => [name, rows.map(([, delta]) => delta[name] ?? 0)])),
  });
}

/** Adds a change to those of a queue. */
export function addTally(deltas: Map<string, TallyDelta>, queue: string, delta: TallyDelta): void {
  const sum: { -readonly [Name in keyof TallyDelta]: TallyDelta[Name] } = { ...deltas.get(queue) };
  for (const name of tallyCounts) {
    const more = delta[name];
    if (more !== undefined) sum[name] = (sum[name] ?? 0) + more;
  }
  deltas.set(queue, sum);
}
