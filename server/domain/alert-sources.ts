import { statfs } from "node:fs/promises";
import { hostname } from "node:os";
import {
  type AlertEvent,
  readForcedActs,
  readLastError,
  readRetriedJobs,
  readSlowJobs,
} from "../store/alert-facts.ts";
import { readEndedRuns } from "../store/alert-runs.ts";
import type { AlertStateRow } from "../store/alert-work.ts";
import { readArray } from "../store/arrays.ts";
import type { Tx } from "../store/database.ts";
import { inOrg } from "../store/database.ts";
import { readClock } from "../store/explain.ts";
import { sumStatesByQueue } from "../store/job-counts.ts";
import { oldestReady, readReadyShapes } from "../store/ready-lines.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import { call, runInOrg } from "../store/statement.ts";
import { readStats } from "../store/stats.ts";
import { type Look, type LookOptions, mostGroups, type Observation } from "./alert-looks.ts";
import { observeMissed } from "./alert-missed.ts";
import type { AttentionReader } from "./attention.ts";
import type { Coordinator } from "./context.ts";
import { encodeId } from "./ids.ts";
import { addRuns, isQuiet, judgeRuns, readCounts } from "./rules/alert-counts.ts";
import {
  type AlertCondition,
  type AlertRuleDefinition,
  conditionFacts,
  likePattern,
  passesFilter,
} from "./rules/alert-rules.ts";
import { AttentionCause } from "./rules/attention.ts";
import { durationText } from "./rules/durations.ts";
import { histogramOf, quantileMs } from "./rules/histograms.ts";
import { JobState } from "./rules/states.ts";
import { StatsDimension } from "./rules/stats.ts";

/** Where rules look, besides the database. */
export interface AlertSources {
  readonly attention: AttentionReader;
}

/** Time between two looks at what ends, what stands, and what is costly. */
const [soonMs, laterMs, seldomMs] = [5_000, 10_000, 30_000];
/** How long a coordinator's word on its own machine holds. */
const hostWordMs = 300_000;

/** Looks at what a rule is about. */
export async function observe(
  c: Coordinator & AlertSources,
  tx: Tx,
  orgId: string,
  options: LookOptions,
): Promise<Look> {
  const { cursor, definition } = options.rule;
  const whole = { cursor, isKept: () => false };
  switch (conditionFacts[definition.condition].source) {
    case "runs":
      return observeRuns(tx, orgId, options);
    case "queues":
      return { ...whole, observations: await observeQueues(c, orgId, definition), againInMs: laterMs };
    case "slow":
      return { ...whole, observations: await observeSlow(c, tx, orgId, options), againInMs: seldomMs };
    case "attention": {
      const observations =
        definition.condition === "job-retried"
          ? await observeRetried(tx, orgId, definition)
          : await observeAttention(c, orgId, definition);
      return { ...whole, observations, againInMs: laterMs };
    }
    case "host": {
      const isKept = ({ updatedAt }: AlertStateRow) =>
        options.now.getTime() - updatedAt.getTime() < hostWordMs;
      return { cursor, observations: await observeHost(c, orgId, definition), againInMs: laterMs, isKept };
    }
    case "acts":
      return {
        ...whole,
        observations: eventsOf(
          await readForcedActs(tx, orgId, { windowMs: definition.windowMs, now: options.now }),
          options,
        ),
        againInMs: soonMs,
      };
    case "schedules":
      return {
        ...whole,
        observations: await observeMissed(tx, orgId, options),
        againInMs: laterMs,
      };
  }
}

async function observeRuns(tx: Tx, orgId: string, { rule, states, now }: LookOptions): Promise<Look> {
  const { definition } = rule;
  const { filter, groupBy, condition } = definition;
  const page = await readEndedRuns(tx, orgId, {
    cursor: rule.cursor,
    queue: likePattern(filter.queue),
    kind: likePattern(filter.kind),
    project: likePattern(filter.project),
    groupBy: groupBy === "natural" ? "none" : groupBy,
  });
  const fresh = new Map(page.groups.map((one) => [one.group, one]));
  const groups = [...new Set([...states.keys(), ...fresh.keys()])].slice(0, mostGroups);
  const observations: Observation[] = [];
  for (const group of groups) {
    const state = states.get(group);
    const runs = fresh.get(group) ?? null;
    const counts = addRuns(readCounts(state?.counts), runs, now.getTime(), definition.windowMs);
    const { value, isFiring } = judgeRuns(definition, counts);
    const isNew = isFiring && state?.alertId == null;
    observations.push({
      ...{ group, isFiring, value, jobIds: counts.jobIds },
      // A rate stands; what it is made of is not told again and again.
      more: condition === "failure-rate" ? 0 : isNew ? value : (runs?.dead ?? 0),
      summary:
        isNew || (isFiring && runs !== null)
          ? await runsSummary(tx, orgId, condition, value, counts.jobIds[0])
          : (state?.summary ?? ""),
      counts: isQuiet(counts) ? null : counts,
    });
  }
  return { observations, cursor: page.cursor, againInMs: page.isMore ? 0 : soonMs, isKept: () => false };
}

async function runsSummary(
  tx: Tx,
  orgId: string,
  condition: AlertCondition,
  value: number,
  jobId: string | undefined,
): Promise<string> {
  const last = jobId === undefined ? null : await readLastError(tx, orgId, jobId);
  const why = [last?.code, last?.message].filter(Boolean).join(": ");
  const lastText =
    last === null ? "" : `; the last: ${last.kind}${why === "" ? "" : `: ${why.slice(0, 300)}`}`;
  if (condition === "failure-rate") return `${value.toFixed(1)} % of the runs are dead${lastText}`;
  if (condition === "consecutive-failures") return `${value} runs in a row are dead${lastText}`;
  return `${value === 1 ? "A job is" : `${value} jobs are`} dead${lastText}`;
}

async function observeQueues(
  c: Coordinator,
  orgId: string,
  { condition, threshold, filter, groupBy }: AlertRuleDefinition,
): Promise<Observation[]> {
  const values = condition === "queue-depth" ? await depths(c, orgId) : await ages(c, orgId);
  const passed = [...values].filter(([queue]) => passesFilter(filter.queue, queue));
  const joined = (all: readonly number[]) =>
    condition === "queue-depth" ? all.reduce((sum, one) => sum + one, 0) : Math.max(0, ...all);
  const groups = groupBy === "none" ? [["", joined(passed.map(([, value]) => value))] as const] : passed;
  return groups
    .filter(([, value]) => value >= threshold)
    .slice(0, mostGroups)
    .map(([group, value]) => {
      const of = group === "" ? "The queues" : `Queue ${group}`;
      const summary =
        condition === "queue-depth"
          ? `${of} ${group === "" ? "have" : "has"} ${value} ready jobs`
          : `${of} ${group === "" ? "have" : "has"} a job that waits for ${durationText(value * 1_000)}`;
      return standing(group, value, summary);
    });
}

async function depths(c: Coordinator, orgId: string): Promise<Map<string, number>> {
  const rows = await inOrg(c.db.app, orgId, (tx) => sumStatesByQueue(tx, orgId));
  return new Map(rows.map(({ queue, counts }) => [queue, counts.get(JobState.ready) ?? 0]));
}

async function ages(c: Coordinator, orgId: string): Promise<Map<string, number>> {
  return readOrgByIndex(c.db.app, orgId, async (tx) => {
    const shapes = await readReadyShapes(tx, orgId, 2_000);
    const oldest = await oldestReady(
      tx,
      orgId,
      shapes.map(({ shapeId }) => shapeId),
    );
    const nowMs = (await readClock(tx)).getTime();
    const found = new Map<string, number>();
    for (const { queue, shapeId } of shapes) {
      const since = oldest.get(shapeId);
      if (since === undefined) continue;
      found.set(queue, Math.max(found.get(queue) ?? 0, (nowMs - since.getTime()) / 1_000));
    }
    return found;
  });
}

async function observeSlow(
  c: Coordinator,
  tx: Tx,
  orgId: string,
  { rule: { definition }, now }: LookOptions,
): Promise<Observation[]> {
  const { threshold, least, filter } = definition;
  const until = now.getTime() / 1_000;
  const [rows = []] = await runInOrg(c.db.sweepClient, orgId, [
    call(readStats, {
      ...{ org: orgId, dimensions: [StatsDimension.kind], values: null, project: null },
      ...{ from: until - 86_400, until: until + 60, step: 172_800 },
    }),
  ]);
  const limits = rows.flatMap((row) => {
    const runs = histogramOf(readArray(String(row["runs"])).map(Number));
    const ended = [...runs.values()].reduce((sum, one) => sum + one, 0);
    const p95 = quantileMs(runs, 0.95);
    const kind = String(row["value"]);
    const isJudged = p95 !== null && ended >= least && passesFilter(filter.kind, kind);
    return isJudged ? [{ kind, p95, limitMs: p95 * threshold }] : [];
  });
  const slow = await readSlowJobs(tx, orgId, {
    kinds: limits.map(({ kind }) => kind),
    limitsMs: limits.map(({ limitMs }) => limitMs),
    queue: likePattern(filter.queue),
    project: likePattern(filter.project),
    most: mostGroups,
  });
  const observations = slow.map(({ jobId, kind, ranMs, limitMs }) => {
    const p95 = limitMs / threshold;
    const summary = `A job of kind ${kind} runs for ${durationText(ranMs)}; the p95 of its kind is ${durationText(p95)}`;
    return { ...standing(encodeId("job", jobId), ranMs / p95, summary), jobIds: [jobId] };
  });
  return together(observations, definition, "jobs are slow");
}

const causes: Partial<Record<AlertCondition, AttentionCause>> = {
  "no-route": AttentionCause.noRoute,
  "project-cap": AttentionCause.projectCap,
  "worker-stale": AttentionCause.workerStale,
  "lease-stale": AttentionCause.leaseStale,
};

async function observeAttention(
  c: AlertSources,
  orgId: string,
  definition: AlertRuleDefinition,
): Promise<Observation[]> {
  const { condition, threshold, groupBy } = definition;
  const cause = causes[condition];
  if (cause === undefined) return [];
  const { items } = await c.attention.listAttention({ orgId }, { causes: [cause] });
  const isByJobs = condition !== "worker-stale";
  const observations = items.map(({ id, summary, jobs, jobIds }) => ({
    ...standing(id.replace(/^\S+ /, ""), isByJobs ? jobs : 1, summary),
    jobIds: jobIds.slice(0, 5),
  }));
  const isEnough = ({ value }: Observation) => !isByJobs || value >= threshold;
  if (groupBy !== "none") return observations.filter(isEnough);
  const sum = observations.reduce((all, { value }) => all + value, 0);
  return together(observations, definition, "problems")
    .map((one) => ({ ...one, value: sum }))
    .filter(isEnough);
}

async function observeRetried(
  tx: Tx,
  orgId: string,
  definition: AlertRuleDefinition,
): Promise<Observation[]> {
  const rows = await readRetriedJobs(tx, orgId, definition.threshold, mostGroups);
  const observations = rows.map(({ jobId, failures, losses, kind }) => {
    const why = failures >= losses ? `failed ${failures} times` : `was lost ${losses} times`;
    const summary = `A job of kind ${kind} ${why}`;
    return { ...standing(encodeId("job", jobId), Math.max(failures, losses), summary), jobIds: [jobId] };
  });
  return together(observations, definition, "jobs fail again and again");
}

async function observeHost(
  c: Coordinator,
  orgId: string,
  { condition, threshold }: AlertRuleDefinition,
): Promise<Observation[]> {
  const host = hostname();
  if (condition === "database") {
    const startMs = performance.now();
    await inOrg(c.db.app, orgId, readClock);
    const tookMs = performance.now() - startMs;
    if (tookMs < threshold) return [quiet(host)];
    return [standing(host, tookMs, `The database answers ${host} in ${durationText(tookMs)}`)];
  }
  const places =
    c.config.databaseUrl === undefined ? [c.config.artifactsDir, c.config.dataDir] : [c.config.artifactsDir];
  const frees = await Promise.all(
    places.map((place) =>
      statfs(place).then(
        ({ bavail, blocks }) => (blocks > 0 ? (100 * bavail) / blocks : 100),
        () => 100,
      ),
    ),
  );
  const free = Math.min(...frees);
  if (free >= threshold) return [quiet(host)];
  return [standing(host, free, `The disk of ${host} has ${free.toFixed(1)} % free`)];
}

// What happened within the window, by its groups; what was seen before is known by its key.
function eventsOf(
  events: readonly AlertEvent[],
  { rule: { definition }, states }: LookOptions,
): Observation[] {
  const byGroup = Map.groupBy(events, ({ group }) => (definition.groupBy === "none" ? "" : group));
  return [...byGroup].slice(0, mostGroups).map(([group, of]) => {
    const state = states.get(group);
    const seen = new Set(keysOf(state?.counts));
    const value = of.reduce((sum, { weight }) => sum + weight, 0);
    const more = of.reduce((sum, { key, weight }) => sum + (seen.has(key) ? 0 : weight), 0);
    return {
      ...{ group, value, isFiring: value >= definition.threshold, jobIds: [] },
      more: state?.alertId == null ? value : more,
      summary: `${of[0]?.text ?? ""}${of.length > 1 ? ` (and ${of.length - 1} more)` : ""}`,
      counts: { keys: of.map(({ key }) => key) },
    };
  });
}

function keysOf(counts: unknown): readonly unknown[] {
  const keys = typeof counts === "object" && counts !== null ? Reflect.get(counts, "keys") : null;
  return Array.isArray(keys) ? keys : [];
}

// All of them as one group where the rule wants that.
function together(
  observations: readonly Observation[],
  { groupBy }: AlertRuleDefinition,
  words: string,
): Observation[] {
  const [first] = observations;
  if (groupBy !== "none" || first === undefined) return [...observations];
  const many = `${observations.length} ${words}; the first: ${first.summary}`;
  const jobIds = observations.flatMap((one) => one.jobIds).slice(0, 5);
  const summary = observations.length === 1 ? first.summary : many;
  return [{ ...first, group: "", value: observations.length, summary, jobIds }];
}

function standing(group: string, value: number, summary: string): Observation {
  return { group, value, summary, isFiring: true, more: 0, jobIds: [], counts: null };
}

function quiet(group: string): Observation {
  return { ...standing(group, 0, ""), isFiring: false };
}
