import type { Row } from "postgres";
import { sql } from "./drizzle.ts";
import { clock, gateNames as g, orgNames as o, queueNames as q, shapeNames as s } from "./names.ts";
import { jobQueue, shapes } from "./schema.ts";
import { orgs, pullRequests } from "./schema-fleet.ts";
import { gates } from "./schema-routing.ts";
import { call, names, type OrgTx, param, statement } from "./statement.ts";

/*
 * Gates: a row only where a queue, kind, pool or project is limited or paused.
 *
 * A gate comes and goes under the lock of its org's row, with a new
 * `gates_version`: that waits for the claims under way, which hold the row
 * shared, and a later claim that knows the old version claims nothing. `used`
 * is counted in a statement after that lock, so a limit holds from the commit
 * that puts it. An exit from a lease that began before may not know the gate:
 * then `used` stays too high, never too low, until it is counted anew.
 *
 * Lock order: org, gates by key. Who ends leases locks their rows before the
 * gates, and so takes the org's row before all else when a gate may come.
 */

/** A rate: so many starts a period. */
export interface GateRate {
  readonly jobs: number;
  readonly periodMs: number;
}

/** A pause. */
export interface GatePause {
  /** For people; may be empty. */
  readonly reason: string;
  /** When it ends by itself; null: when somebody resumes it. */
  readonly resumeAt: Date | null;
}

/** A gate as it stands. */
export interface GateRow {
  /** `queue:<name>`, `kind:<name>`, `pool:<name>` or `project:<name>`. */
  readonly key: string;
  /** Leases of its jobs; of a project also its open pull requests. */
  readonly used: number;
  readonly maxUsed: number | null;
  readonly rate: GateRate | null;
  /** Starts that are free now; 0 without a rate. */
  readonly tokens: number;
  /** As it was put; whether it is over, `isPaused` says. */
  readonly pause: (GatePause & { readonly at: Date }) | null;
  /** By the database's clock. */
  readonly isPaused: boolean;
}

/** What to change of a gate; what is left out stays as it is, null takes it away. */
export interface GateChange {
  readonly maxUsed?: number | null;
  readonly rate?: GateRate | null;
  readonly pause?: GatePause | null;
}

/** A gate before and after a change; null where there is none. */
export interface ChangedGate {
  readonly before: GateRow | null;
  readonly after: GateRow | null;
}

const isPaused = sql`(x.${g.pausedAt} is not null and (x.${g.resumeAt} is null or x.${g.resumeAt} > ${clock}))`;
const seconds = (at: typeof clock) => sql`extract(epoch from ${at})::float8`;
const columns = sql`x.${g.key} as key, x.${g.used} as used, x.${g.maxUsed} as max_used, x.${g.rateJobs} as rate_jobs,
  x.${g.ratePeriodMs} as rate_period, ${seconds(sql`x.${g.pausedAt}`)} as paused, x.${g.pauseReason} as reason,
  ${seconds(sql`x.${g.resumeAt}`)} as resume, ${isPaused} as is_paused,
  coalesce(least(x.${g.rateJobs}, x.${g.tokens} + greatest(0, extract(epoch from ${clock} - x.${g.tokensAt}))
    * 1000 * x.${g.rateJobs} / x.${g.ratePeriodMs}), 0)::float8 as tokens`;
const named = sql`x.${g.orgId} = ${param("org")}::uuid and x.${g.key} = any(${param("keys")}::text[])`;

const readSome = statement(sql`select ${columns} from ${gates} x where ${named}`);
const readAll = statement(sql`select ${columns} from ${gates} x where x.${g.orgId} = ${param("org")}::uuid`);
const lock = statement(sql`select ${columns} from ${gates} x where ${named} order by x.${g.key} for update`);

const raiseVersion = statement(sql`
  update ${orgs} set ${o.gatesVersion} = ${o.gatesVersion} + 1 where ${o.orgId} = ${param("org")}::uuid`);

const p = names(pullRequests);

// The leases by the small index of leased rows, their shapes by their ids. Parameters: org, keys, projects text[].
const count = statement(sql`
  with leased as materialized (
    select x.${q.shapeId} as shape_id, count(*) as n from ${jobQueue} x
    where x.${q.orgId} = ${param("org")}::uuid and x.${q.workerId} is not null group by 1
  ), places as (
    select unnest(array['kind:' || h.${s.kind}, 'queue:' || h.${s.queue}, 'pool:' || h.${s.pool},
      'project:' || h.${s.project}]) as key, l.n
    from leased l join ${shapes} h on h.${s.orgId} = ${param("org")}::uuid
      and h.${s.shapeId} = any(array(select shape_id from leased)) and h.${s.shapeId} = l.shape_id
    union all
    select 'project:' || r.${p.project}, count(*) from ${pullRequests} r
    where r.${p.orgId} = ${param("org")}::uuid and r.${p.project} = any(${param("projects")}::text[])
      and r.${p.isOpen} and r.${p.isCounted} group by 1
  )
  select key, sum(n)::int as used from places where key = any(${param("keys")}::text[]) group by key`);

const insert = statement(sql`
  insert into ${gates} (${g.orgId}, ${g.key}, ${g.used}, ${g.maxUsed}, ${g.pausedAt}, ${g.pauseReason}, ${g.resumeAt},
    ${g.rateJobs}, ${g.ratePeriodMs}, ${g.tokens})
  values (${param("org")}::uuid, ${param("key")}::text, ${param("used")}::int, ${param("maxUsed")}::int,
    case when ${param("paused")}::boolean then ${clock} end, ${param("reason")}::text,
    to_timestamp(${param("resume")}::float8), ${param("rateJobs")}::int, ${param("ratePeriod")}::int,
    ${param("tokens")}::float8)`);

const update = statement(sql`
  update ${gates} x set ${g.maxUsed} = ${param("maxUsed")}::int,
    ${g.pausedAt} = case when ${param("paused")}::boolean then case when ${isPaused} then x.${g.pausedAt} else ${clock} end end,
    ${g.pauseReason} = ${param("reason")}::text, ${g.resumeAt} = to_timestamp(${param("resume")}::float8),
    ${g.rateJobs} = ${param("rateJobs")}::int, ${g.ratePeriodMs} = ${param("ratePeriod")}::int,
    ${g.tokens} = ${param("tokens")}::float8, ${g.tokensAt} = ${clock}
  where x.${g.orgId} = ${param("org")}::uuid and x.${g.key} = ${param("key")}::text`);

const remove = statement(sql`delete from ${gates} x where ${named}`);

const setUsed = statement(sql`
  update ${gates} x set ${g.used} = d.used, ${g.countedAt} = ${clock}
  from unnest(${param("keys")}::text[], ${param("counts")}::int[]) as d(key, used)
  where ${named} and x.${g.key} = d.key`);

/** Gates of an org by their keys, unlocked; `null` for all. */
export async function readGates(tx: OrgTx, keys: readonly string[] | null): Promise<Map<string, GateRow>> {
  const rows = await tx.run(
    keys === null ? call(readAll, { org: tx.orgId }) : call(readSome, { org: tx.orgId, keys }),
  );
  return byKey(rows);
}

/**
 * Changes a gate, or what it is found to be under its lock; one that has neither a limit nor a rate nor a pause then goes. Holds from the commit. Who changes
 * the gates of rows that the transaction has locked calls `expectGates` before it locks them.
 */
export async function putGate(
  tx: OrgTx,
  key: string,
  change: GateChange | ((gate: GateRow | undefined) => GateChange),
): Promise<ChangedGate> {
  const changed = (gate: GateRow | undefined) =>
    merged(gate, typeof change === "function" ? change(gate) : change);
  const seen = (await readGates(tx, [key])).get(key);
  const isEmpty = isOpen(changed(seen));
  if (!seen && isEmpty) return { before: null, after: null };
  const comesOrGoes = !seen || isEmpty;
  if (comesOrGoes) await raise(tx);
  let before = await lockGate(tx, key);
  if (!before && !comesOrGoes) {
    // Gone since it was seen: no lock is held yet.
    await raise(tx);
    before = await lockGate(tx, key);
  }
  const next = changed(before);
  if (!before) {
    const used = (await countGates(tx, [key])).get(key) ?? 0;
    await tx.run(call(insert, { ...values(tx.orgId, key, next), used }));
  } else if (isOpen(next) && comesOrGoes) {
    await tx.run(call(remove, { org: tx.orgId, keys: [key] }));
  } else {
    // One that turned out to be open only now stays until the sweep drops it: the org's row comes first.
    await tx.run(call(update, values(tx.orgId, key, next)));
  }
  return { before: before ?? null, after: (await readGates(tx, [key])).get(key) ?? null };
}

/** Takes a gate away, whatever it holds back. Returns what it was. */
export async function dropGate(tx: OrgTx, key: string): Promise<GateRow | null> {
  if (!(await readGates(tx, [key])).has(key)) return null;
  await raise(tx);
  const before = await lockGate(tx, key);
  await tx.run(call(remove, { org: tx.orgId, keys: [key] }));
  return before ?? null;
}

/**
 * Says that the transaction may put these gates after it has locked rows of the queue or other gates: takes the org's
 * row now, if one of them would come.
 */
export async function expectGates(tx: OrgTx, keys: readonly string[]): Promise<void> {
  const seen = await readGates(tx, keys);
  if (keys.some((key) => !seen.has(key))) await raise(tx);
}

/** A gate whose `used` was wrong. */
export interface Recount {
  readonly key: string;
  readonly before: number;
  readonly after: number;
}

/** Locks gates, counts `used` anew and corrects it. Returns those that were wrong. */
export async function recountGates(tx: OrgTx, keys: readonly string[]): Promise<Recount[]> {
  if (keys.length === 0) return [];
  const locked = byKey(await tx.run(call(lock, { org: tx.orgId, keys })));
  if (locked.size === 0) return [];
  const held = [...locked.keys()];
  const counts = await countGates(tx, held);
  const used = held.map((key) => counts.get(key) ?? 0);
  await tx.run(call(setUsed, { org: tx.orgId, keys: held, counts: used }));
  return [...locked.values()].flatMap((gate, index) => {
    const after = used[index] ?? 0;
    return gate.used === after ? [] : [{ key: gate.key, before: gate.used, after }];
  });
}

/** What takes places under gates now: leases, and the open pull requests of a project. Keys without any are left out. */
export async function countGates(tx: OrgTx, keys: readonly string[]): Promise<Map<string, number>> {
  const projects = keys.flatMap((key) => (key.startsWith("project:") ? [key.slice(8)] : []));
  const rows = await tx.run(call(count, { org: tx.orgId, keys, projects }));
  return new Map(rows.map((row) => [String(row["key"]), Number(row["used"])]));
}

async function raise(tx: OrgTx): Promise<void> {
  await tx.run(call(raiseVersion, { org: tx.orgId }));
}

async function lockGate(tx: OrgTx, key: string): Promise<GateRow | undefined> {
  return byKey(await tx.run(call(lock, { org: tx.orgId, keys: [key] }))).get(key);
}

type GateValues = Required<GateChange> & { readonly tokens: number };

function merged(before: GateRow | undefined, change: GateChange): GateValues {
  const rate = change.rate === undefined ? (before?.rate ?? null) : change.rate;
  const free = before?.rate ? before.tokens : Number.POSITIVE_INFINITY;
  const pause = before?.isPaused ? before.pause : null;
  return {
    maxUsed: change.maxUsed === undefined ? (before?.maxUsed ?? null) : change.maxUsed,
    rate,
    // Full at the start; a change of the rate gives nothing away.
    tokens: rate ? Math.min(rate.jobs, free) : 0,
    pause: change.pause === undefined ? pause : change.pause,
  };
}

function isOpen({ maxUsed, rate, pause }: GateValues): boolean {
  return maxUsed === null && rate === null && pause === null;
}

function values(org: string, key: string, { maxUsed, rate, pause, tokens }: GateValues) {
  return {
    org,
    key,
    maxUsed,
    paused: pause !== null,
    reason: pause?.reason ?? null,
    resume: pause?.resumeAt ? pause.resumeAt.getTime() / 1_000 : null,
    rateJobs: rate?.jobs ?? null,
    ratePeriod: rate?.periodMs ?? null,
    tokens,
  };
}

function byKey(rows: readonly Row[]): Map<string, GateRow> {
  return new Map(rows.map((row) => [String(row["key"]), gateOf(row)]));
}

function gateOf(row: Row): GateRow {
  const number = (name: string) => (row[name] === null ? null : Number(row[name]));
  const time = (name: string) => (row[name] === null ? null : new Date(Number(row[name]) * 1_000));
  const rateJobs = number("rate_jobs");
  const at = time("paused");
  return {
    key: String(row["key"]),
    used: Number(row["used"]),
    maxUsed: number("max_used"),
    rate: rateJobs === null ? null : { jobs: rateJobs, periodMs: number("rate_period") ?? 1 },
    tokens: Number(row["tokens"]),
    pause: at && { at, reason: String(row["reason"] ?? ""), resumeAt: time("resume") },
    isPaused: row["is_paused"] === true,
  };
}
