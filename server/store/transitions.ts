import { isLeased, isTerminal, JobState } from "../domain/rules/states.ts";
import { sql } from "./drizzle.ts";
import { leaveGates } from "./gate-exits.ts";
import {
  attemptNames as a,
  batchNames as b,
  changeNames as ch,
  clock,
  nilUuid,
  queueNames as q,
} from "./names.ts";
import { attempts, batches, changes, deadLetters, jobQueue, progress } from "./schema.ts";
import { stateNumber } from "./state-numbers.ts";
import { type Call, call, names, param, statement } from "./statement.ts";
import { appendStats, sumSpans } from "./stats.ts";
import { addTally, appendTallies, type TallyDelta, tallyOf } from "./tallies.ts";
import type { Transition } from "./transition.ts";

const dl = names(deadLetters);
const pr = names(progress);

const ready = stateNumber(JobState.ready);
const parked = stateNumber(JobState.parked);
const scheduled = stateNumber(JobState.scheduled);
const blocked = stateNumber(JobState.blocked);

// A row that is parked while it waits for a time keeps that time as its ready_at: unpark goes back to it. A blocked
// one has it there already.
const moveJobs = statement(sql`
  update ${jobQueue} x set ${q.state} = d.state, ${q.shapeId} = d.shape, ${q.failures} = d.failures,
    ${q.losses} = d.losses, ${q.releases} = d.releases, ${q.attempt} = d.attempt, ${q.leaseId} = null,
    ${q.workerId} = null, ${q.grantedAt} = null, ${q.reason} = d.reason, ${q.sessionId} = d.session,
    ${q.waitingOn} = d.waiting, ${q.isPoolParked} = d.pool_parked,
    ${q.readyAt} = case when d.state = ${parked} and x.${q.state} = ${scheduled} then x.${q.wakeAt}
      when d.state = ${parked} and x.${q.state} = ${blocked} then x.${q.readyAt}
      when d.state <> ${ready} and d.renews then null
      when d.state = ${ready} and (d.renews or x.${q.readyAt} is null) then ${clock}
      else x.${q.readyAt} end,
    ${q.wakeAt} = ${clock} + d.wake * interval '1 millisecond'
  from unnest(${param("jobs")}::uuid[], ${param("states")}::smallint[], ${param("shapes")}::bigint[],
    ${param("failures")}::smallint[], ${param("losses")}::smallint[], ${param("releases")}::smallint[],
    ${param("attempts")}::int[], ${param("renews")}::boolean[], ${param("wakes")}::bigint[], ${param("reasons")}::text[],
    ${param("sessions")}::text[], ${param("waiting")}::int[], ${param("poolParks")}::boolean[])
    as d(job_id, state, shape, failures, losses, releases, attempt, renews, wake, reason, session, waiting, pool_parked)
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[]) and x.${q.jobId} = d.job_id`);

const removeJobs = statement(sql`
  delete from ${jobQueue} where ${q.orgId} = ${param("org")}::uuid and ${q.jobId} = any(${param("jobs")}::uuid[])`);

const keepAttempts = statement(sql`
  insert into ${attempts} (${a.orgId}, ${a.jobId}, ${a.attempt}, ${a.generation}, ${a.grantedAt}, ${a.workerId},
    ${a.leaseId}, ${a.resultId}, ${a.outcome}, ${a.state}, ${a.failures}, ${a.losses}, ${a.releases}, ${a.final},
    ${a.ordinal}, ${a.result}, ${a.errorCode}, ${a.errorMessage}, ${a.errorDetail}, ${a.prUrl}, ${a.reason}, ${a.sessionId}, ${a.lastSequence},
    ${a.isolation}, ${a.profile})
  select ${param("org")}::uuid, d.job_id, d.attempt, d.generation, to_timestamp(d.granted), d.worker_id, d.lease_id,
    d.result_id, d.outcome, d.state, d.failures, d.losses, d.releases, d.state is not null,
    case when d.state is null then d.attempt else 0 end, convert_to(d.result, 'UTF8'),
    d.code, d.message, d.detail, d.pr_url, d.reason, d.session, d.last_sequence, d.isolation,
    convert_to(d.profile, 'UTF8')
  from unnest(${param("jobs")}::uuid[], ${param("attempts")}::int[], ${param("generations")}::int[],
    ${param("granted")}::float8[], ${param("workers")}::uuid[], ${param("leases")}::uuid[], ${param("ids")}::uuid[],
    ${param("outcomes")}::smallint[], ${param("states")}::smallint[], ${param("failures")}::smallint[],
    ${param("losses")}::smallint[], ${param("releases")}::smallint[], ${param("results")}::text[],
    ${param("codes")}::text[], ${param("messages")}::text[], ${param("details")}::text[], ${param("prUrls")}::text[],
    ${param("reasons")}::text[], ${param("sessions")}::text[], ${param("sequences")}::bigint[],
    ${param("isolations")}::smallint[], ${param("profiles")}::text[])
    as d(job_id, attempt, generation, granted, worker_id, lease_id, result_id, outcome, state, failures, losses,
      releases, result, code, message, detail, pr_url, reason, session, last_sequence, isolation, profile)`);

const keepDeadLetters = statement(sql`
  insert into ${deadLetters} (${dl.orgId}, ${dl.jobId}, ${dl.generation}, ${dl.cause}, ${dl.fingerprint}, ${dl.kind})
  select ${param("org")}::uuid, d.job_id, d.generation, d.cause, d.fingerprint, d.kind
  from unnest(${param("jobs")}::uuid[], ${param("generations")}::int[], ${param("causes")}::text[],
    ${param("fingerprints")}::text[], ${param("kinds")}::text[]) as d(job_id, generation, cause, fingerprint, kind)`);

const clearProgress = statement(sql`
  delete from ${progress} where ${pr.orgId} = ${param("org")}::uuid and ${pr.jobId} = any(${param("jobs")}::uuid[])`);

const countBatches = statement(sql`
  update ${batches} w set ${b.pending} = w.${b.pending} - d.succeeded - d.cancelled - d.dead,
    ${b.succeeded} = w.${b.succeeded} + d.succeeded, ${b.cancelled} = w.${b.cancelled} + d.cancelled,
    ${b.dead} = w.${b.dead} + d.dead
  from unnest(${param("batches")}::uuid[], ${param("succeeded")}::int[], ${param("cancelled")}::int[],
    ${param("dead")}::int[]) as d(batch_id, succeeded, cancelled, dead)
  where w.${b.orgId} = ${param("org")}::uuid and w.${b.batchId} = any(${param("batches")}::uuid[])
    and w.${b.batchId} = d.batch_id`);

/** Tells the change feed. Parameters: org, n, jobs uuid[], states, attempts, workers (nil: none). */
export const appendChange = statement(sql`
  insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
  values (${param("org")}::uuid, ${param("n")}::smallint, ${param("jobs")}::uuid[], ${param("states")}::smallint[],
    ${param("attempts")}::int[], ${param("workers")}::uuid[])`);

/**
 * The statements that write transitions of locked rows: the live rows, the
 * history, dead letters, batches, counts and the change feed.
 *
 * @param n number of the change within its transaction.
 */
export function writeTransitions(
  org: string,
  transitions: readonly Transition[],
  options: { readonly n: number; readonly tally: string },
): Call[] {
  if (transitions.length === 0) return [];
  const calls: Call[] = [];
  const live = transitions.filter((one) => !isTerminal(one.state));
  const ended = transitions.filter((one) => isTerminal(one.state));
  const kept = transitions.flatMap((one) => (one.ended ? [{ ...one, ended: one.ended }] : []));
  if (live.length > 0) calls.push(moveLive(org, live));
  if (ended.length > 0) calls.push(call(removeJobs, { org, jobs: ended.map((one) => one.jobId) }));
  if (kept.length > 0) calls.push(keepHistory(org, kept), countAttempts(org, options.tally, kept));
  const dead = ended.filter((one) => one.dead !== null);
  if (dead.length > 0) {
    calls.push(
      call(keepDeadLetters, {
        org,
        jobs: dead.map((one) => one.jobId),
        generations: dead.map((one) => one.generation),
        causes: dead.map((one) => one.dead?.cause ?? ""),
        fingerprints: dead.map((one) => one.dead?.fingerprint ?? ""),
        kinds: dead.map((one) => one.dead?.kind ?? ""),
      }),
    );
  }
  calls.push(
    call(clearProgress, { org, jobs: transitions.map((one) => one.jobId) }),
    // Gates before batches, as where successes end their runs: else the two wait for each other.
    ...giveBack(org, transitions),
    ...countEnds(org, ended),
    appendTallies(org, options.tally, movesOf(transitions)),
  );
  calls.push(
    call(appendChange, {
      org,
      n: options.n,
      jobs: transitions.map((one) => one.jobId),
      states: transitions.map((one) => one.state),
      attempts: transitions.map((one) => one.attempt),
      workers: transitions.map((one) => one.ended?.workerId ?? nilUuid),
    }),
  );
  return calls;
}

function moveLive(org: string, live: readonly Transition[]): Call {
  return call(moveJobs, {
    org,
    jobs: live.map((one) => one.jobId),
    states: live.map((one) => one.state),
    shapes: live.map((one) => one.shapeId.toString()),
    failures: live.map((one) => one.failures),
    losses: live.map((one) => one.losses),
    releases: live.map((one) => one.releases),
    attempts: live.map((one) => one.attempt),
    renews: live.map((one) => one.renewsReadyAt),
    wakes: live.map((one) => one.wakeInMs),
    reasons: live.map((one) => one.reason),
    sessions: live.map((one) => one.sessionId),
    waiting: live.map((one) => one.waitingOn),
    poolParks: live.map((one) => one.isPoolParked),
  });
}

/** A transition that ends an attempt. */
type Ending = Transition & { readonly ended: NonNullable<Transition["ended"]> };

function countAttempts(org: string, delta: string, kept: readonly Ending[]): Call {
  const attempts = kept.map(({ shapeId, state, ended }) => ({
    ...ended,
    shapeId,
    state: isTerminal(state) ? state : null,
  }));
  return appendStats(org, delta, attempts, sumSpans(kept.flatMap(({ ended }) => ended.profile?.sums ?? [])));
}

function keepHistory(org: string, kept: readonly Ending[]): Call {
  return call(keepAttempts, {
    org,
    jobs: kept.map((one) => one.jobId),
    attempts: kept.map((one) => one.ended.attempt),
    generations: kept.map((one) => one.generation),
    granted: kept.map((one) => one.ended.grantedAtSeconds),
    workers: kept.map((one) => one.ended.workerId),
    leases: kept.map((one) => one.ended.leaseId),
    ids: kept.map((one) => one.ended.resultId),
    outcomes: kept.map((one) => one.ended.outcome),
    states: kept.map((one) => (isTerminal(one.state) ? one.state : null)),
    failures: kept.map((one) => one.failures),
    losses: kept.map((one) => one.losses),
    releases: kept.map((one) => one.releases),
    results: kept.map((one) => one.ended.result),
    codes: kept.map((one) => one.ended.error?.code ?? null),
    messages: kept.map((one) => one.ended.error?.message ?? null),
    details: kept.map((one) => one.ended.error?.detail ?? null),
    prUrls: kept.map((one) => one.ended.prUrl),
    reasons: kept.map((one) => one.reason),
    sessions: kept.map((one) => one.ended.sessionId),
    sequences: kept.map((one) => one.ended.lastSequence),
    isolations: kept.map((one) => one.ended.isolation),
    profiles: kept.map((one) => one.ended.profile?.text ?? null),
  });
}

function movesOf(transitions: readonly Transition[]): Map<string, TallyDelta> {
  const deltas = new Map<string, TallyDelta>();
  for (const { queue, from, state } of transitions) {
    if (from === state) continue;
    addTally(deltas, queue, { [tallyOf[from]]: -1 });
    addTally(deltas, queue, { [tallyOf[state]]: 1 });
  }
  return deltas;
}

function giveBack(org: string, transitions: readonly Transition[]): Call[] {
  const places = new Map<string, number>();
  for (const { gates, from, state } of transitions) {
    if (!isLeased(from) || isLeased(state)) continue;
    for (const key of gates) places.set(key, (places.get(key) ?? 0) + 1);
  }
  return places.size > 0 ? [leaveGates(org, places)] : [];
}

function countEnds(org: string, ended: readonly Transition[]): Call[] {
  if (ended.length === 0) return [];
  const count = (rows: readonly Transition[], state: number) =>
    rows.filter((one) => one.state === state).length;
  const counts = (rows: readonly Transition[]) => ({
    succeeded: count(rows, JobState.succeeded),
    cancelled: count(rows, JobState.cancelled),
    dead: count(rows, JobState.dead),
  });
  const byBatch = Map.groupBy(
    ended.filter((one) => one.batchId !== null),
    (one) => one.batchId,
  );
  const rows = [...byBatch].map(([batchId, of]) => ({ batchId, ...counts(of) }));
  if (rows.length === 0) return [];
  return [
    call(countBatches, {
      org,
      batches: rows.map((row) => row.batchId),
      succeeded: rows.map((row) => row.succeeded),
      cancelled: rows.map((row) => row.cancelled),
      dead: rows.map((row) => row.dead),
    }),
  ];
}
