import { sql } from "./drizzle.ts";
import { clock, linkNames as l } from "./names.ts";
import { events } from "./schema-events.ts";
import { links, workers } from "./schema-fleet.ts";
import { names, param, statement } from "./statement.ts";

/*
 * What the event feed tells of silent workers. Each statement notes in the link's row that it told, and tells in the same
 * transaction: whoever comes second finds that it was told.
 */

const e = names(events);
const w = names(workers);

const org = sql`${param("org")}::uuid`;
const late = sql`${clock} - ${param("silent")}::bigint * interval '1 millisecond'`;
const lastSeen = sql`to_char(t.seen_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

// Of the rows `t`: worker_id, n (from 1), and what `data` is made of.
const telling = (type: "worker.stale" | "worker.lost" | "worker.recovered", data: typeof clock) => sql`
  insert into ${events} (${e.orgId}, ${e.eventId}, ${e.type}, ${e.workerId}, ${e.data})
  select ${org}, (${param("ids")}::uuid[])[t.n], ${sql.raw(`'${type}'`)}, t.worker_id,
    jsonb_build_object('name', w.${w.name}) || ${data}
  from told t join ${workers} w on w.${w.orgId} = ${org} and w.${w.workerId} = t.worker_id
  returning ${e.workerId} as worker`;

// The list lets no statistics choose another way than by the key.
const isOneOf = (rows: typeof clock) =>
  sql`x.${l.workerId} = any(array(select y.worker_id from ${rows} y)) and x.${l.workerId} = f.worker_id`;

// Those that the condition holds for, numbered, as many as there are ids; who is locked is told by another.
const found = (condition: typeof clock) => sql`
  found as materialized (
    select y.worker_id, y.seen_at, y.was_lost, row_number() over (order by y.worker_id) as n from (
      select k.${l.workerId} as worker_id, k.${l.seenAt} as seen_at, k.${l.lostAt} is not null as was_lost
      from ${links} k where k.${l.orgId} = ${org} and ${condition}
      order by k.${l.workerId} limit cardinality(${param("ids")}::uuid[]) for update of k skip locked) y
  )`;

/**
 * Tells of workers that are silent, and did not say goodbye. Returns who is told of, and has no more than there are ids.
 * Parameters: org, silent (milliseconds), ids uuid[] (new ones, for events).
 */
export const tellStale = statement(sql`
  with ${found(sql`k.${l.staleAt} is null and (k.${l.isAttached} or not k.${l.isDraining}) and k.${l.seenAt} < ${late}
    and exists (select from ${workers} v where v.${w.orgId} = ${org} and v.${w.workerId} = k.${l.workerId}
      and v.${w.disabledAt} is null)`)}, told as (
    update ${links} x set ${l.staleAt} = ${clock} from found f
    where x.${l.orgId} = ${org} and ${isOneOf(sql`found`)} returning f.worker_id, f.seen_at, f.n
  )
  ${telling("worker.stale", sql`jsonb_build_object('lastSeen', ${lastSeen})`)}`);

/** Tells of workers that are heard again. The same parameters. */
export const tellRecovered = statement(sql`
  with ${found(sql`(k.${l.staleAt} is not null or k.${l.lostAt} is not null) and k.${l.isAttached}
    and k.${l.seenAt} >= ${late}`)}, told as (
    update ${links} x set ${l.staleAt} = null, ${l.lostAt} = null from found f
    where x.${l.orgId} = ${org} and ${isOneOf(sql`found`)} returning f.worker_id, f.was_lost, f.n
  )
  ${telling("worker.recovered", sql`jsonb_build_object('wasLost', t.was_lost)`)}`);

/**
 * Tells of workers whose leases are taken back because they are silent, unless it was told since they were last heard.
 * Parameters: org, workers uuid[], ids uuid[] (as many, for events).
 */
export const tellLost = statement(sql`
  with locked as materialized (
    select k.${l.workerId} as worker_id, k.${l.seenAt} as seen_at from ${links} k
    where k.${l.orgId} = ${org} and k.${l.workerId} = any(${param("workers")}::uuid[]) and k.${l.lostAt} is null
    order by k.${l.workerId} for no key update
  ), told as (
    update ${links} x set ${l.lostAt} = ${clock}
    from (select y.*, row_number() over (order by y.worker_id) as n from locked y) f
    where x.${l.orgId} = ${org} and ${isOneOf(sql`locked`)} returning f.worker_id, f.seen_at, f.n
  )
  ${telling("worker.lost", sql`jsonb_build_object('lastSeen', ${lastSeen})`)}`);
