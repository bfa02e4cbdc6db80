import type { SQL } from "drizzle-orm";
import { sql } from "./drizzle.ts";
import { gateNames as g } from "./names.ts";
import { gates } from "./schema-routing.ts";
import { type Call, call, param, statement } from "./statement.ts";

/*
 * What leaves a lease gives its place under the gates back, in the transaction
 * that takes the lease away. Gates are locked in the order of their keys, and
 * after rows of the queue; a claim locks them before, and waits for no row.
 */

/**
 * Parts of a statement: give back what ended. `source` has a row a shape or more, with the columns kind, queue, pool,
 * project and `n`. The last part is named `gated`. Parameters: org.
 */
export function givenBack(source: SQL): SQL {
  return sql`freed as materialized (
    select k.key, sum(k.n)::int as n from (
      select 'kind:' || d.kind as key, d.n from ${source} d
      union all select 'queue:' || d.queue, d.n from ${source} d
      union all select 'pool:' || d.pool, d.n from ${source} d where d.pool is not null
      union all select 'project:' || d.project, d.n from ${source} d where d.project is not null
    ) k group by k.key
  ), ${lockedAndLowered}`;
}

const lockedAndLowered = sql`held_gates as materialized (
    select x.${g.key} as key from ${gates} x
    where x.${g.orgId} = ${param("org")}::uuid and x.${g.key} = any(array(select f.key from freed f))
    order by x.${g.key} for update
  ), gated as (
    update ${gates} x set ${g.used} = x.${g.used} - f.n from freed f
    where x.${g.orgId} = ${param("org")}::uuid and x.${g.key} = any(array(select o.key from held_gates o))
      and x.${g.key} = f.key
  )`;

const leave = statement(sql`
  with freed as materialized (
    select d.key, d.n from unnest(${param("keys")}::text[], ${param("counts")}::int[]) as d(key, n)
  ), ${lockedAndLowered}
  select 1 as done from freed limit 1`);

/** The statement that gives back places under gates, so many of each key. A negative number takes places. */
export function leaveGates(org: string, places: ReadonlyMap<string, number>): Call {
  return call(leave, { org, keys: [...places.keys()], counts: [...places.values()] });
}
