import {
  holdEnded,
  holdLive,
  insertEdges,
  insertReleases,
  markParents,
  readEnds,
} from "../store/dependencies.ts";
import { type Call, call, type OrgTx } from "../store/statement.ts";
import { type NewJob, readKeys } from "../store/submit.ts";
import { type DomainError, invalidArgument, type Violation } from "./errors.ts";
import { type ParentName, parentFields } from "./rules/dependencies.ts";
import type { JobRequest } from "./rules/job-spec.ts";
import { JobState } from "./rules/states.ts";
import type { Submission } from "./submit.ts";

/** A job that must succeed first, as a submission names it once its own jobs have their ids: uuids. */
export type Parent = Exclude<ParentName, { readonly type: "ref" }> & { readonly field: string };

/** What the parents of submissions came to. */
export interface Resolution {
  /** The submissions in their order, their jobs with what they wait for. */
  readonly submissions: readonly Submission[];
  /** By their places: those that name jobs which are not there. */
  readonly refused: ReadonlyMap<number, DomainError>;
  /** What is to be written with the jobs. */
  readonly calls: readonly Call[];
  /** Some of the parents have died already: a sweep takes that to the jobs. */
  readonly leavesEnds: boolean;
}

/** Wrong parents that one answer names. */
const maxViolations = 1_000;

/** What the jobs of a submission wait for, job by job; null when none waits. A ref becomes the id of its job. */
export function parentsOf(jobs: readonly JobRequest[], rows: readonly NewJob[]): Submission["dependencies"] {
  if (jobs.every(({ dependsOn }) => dependsOn.length === 0)) return null;
  const byRef = new Map(jobs.map(({ ref }, index) => [ref, rows[index]?.jobId]));
  return jobs.map(({ dependsOn }) =>
    dependsOn.map((parent): Parent => {
      const field = parentFields[parent.type];
      if (parent.type !== "ref") return { ...parent, field };
      const jobId = byRef.get(parent.ref);
      if (jobId === undefined) throw new Error("a ref that no job of its submission has");
      return { type: "job", jobId, field };
    }),
  );
}

/**
 * Finds the parents of submissions, and keeps those that live from ending, and those that died from a replay, before
 * the commit. One that has succeeded does not count; one that died or was cancelled acts as if it did so right after
 * the submit.
 *
 * @param isFresh whether the submission at a place is to be inserted.
 */
export async function resolveParents(
  tx: OrgTx,
  submissions: readonly Submission[],
  isFresh: (index: number) => boolean,
): Promise<Resolution> {
  const fresh = [...submissions.keys()].filter(isFresh);
  const waiting = fresh.filter((index) => submissions[index]?.dependencies);
  if (waiting.length === 0) return { submissions, refused: new Map(), calls: [], leavesEnds: false };
  const owners = new Map(
    fresh.flatMap((index) => (submissions[index]?.jobs ?? []).map((job) => [job.jobId, index] as const)),
  );
  const parents = waiting.flatMap((index) => submissions[index]?.dependencies?.flat() ?? []);
  const idOf = await readIds(tx, parents);
  const outside = new Set(parents.flatMap((parent) => idOf(parent) ?? []).filter((id) => !owners.has(id)));
  const places = await placesOf(tx, [...outside].sort());
  return decide(tx.orgId, submissions, new Set(waiting), { owners, idOf, places });
}

/** Where a parent is: it lives, or how its last run ended. */
type Place = "live" | JobState;

interface Known {
  /** The submissions of this flush that bring jobs, by their ids. */
  readonly owners: ReadonlyMap<string, number>;
  readonly idOf: (parent: Parent) => string | null;
  readonly places: ReadonlyMap<string, Place>;
}

function decide(
  orgId: string,
  submissions: readonly Submission[],
  waiting: ReadonlySet<number>,
  { owners, idOf, places }: Known,
): Resolution {
  const refused = new Map<number, DomainError>();
  const edges: { readonly parent: string; readonly child: string }[] = [];
  const parented = new Set<string>();
  const ended = new Map<string, JobState>();
  // Of its own flush a job knows those of its own submission and of earlier ones that were not refused.
  const placeOf = (jobId: string, index: number): Place | undefined => {
    const owner = owners.get(jobId);
    if (owner === undefined) return places.get(jobId);
    return owner === index || (owner < index && !refused.has(owner)) ? "live" : undefined;
  };
  const resolved = submissions.map((submission, index): Submission => {
    if (!waiting.has(index)) return submission;
    const violations: Violation[] = [];
    const own: typeof edges = [];
    const jobs = submission.jobs.map((job, n): NewJob => {
      const path = submission.batch ? `jobs[${n}]` : "job";
      const dependsOn = new Map<string, number>();
      let waitingOn = 0;
      for (const [k, parent] of (submission.dependencies?.[n] ?? []).entries()) {
        const field = `${path}.dependsOn[${k}].${parent.field}`;
        const jobId = idOf(parent);
        const place = jobId === null ? undefined : placeOf(jobId, index);
        if (jobId === null || place === undefined) {
          violations.push({ field, message: "is not that of a job that exists", reason: "JOB_NOT_FOUND" });
          continue;
        }
        const before = dependsOn.get(jobId);
        if (before !== undefined) violations.push({ field, message: `is that of dependsOn[${before}]` });
        dependsOn.set(jobId, k);
        if (place === JobState.succeeded) continue;
        if (place !== "live" && job.template.dependencyPolicy === "release") continue;
        waitingOn++;
        own.push({ parent: jobId, child: job.jobId });
      }
      return dependsOn.size === 0 ? job : { ...job, dependsOn: [...dependsOn.keys()], waitingOn };
    });
    if (violations.length > 0) {
      refused.set(index, invalidArgument(violations.slice(0, maxViolations)));
      return submission;
    }
    for (const edge of own) {
      edges.push(edge);
      const place = placeOf(edge.parent, index);
      if (place === "live") parented.add(edge.parent);
      else if (place !== undefined) ended.set(edge.parent, place);
    }
    return { ...submission, jobs };
  });
  return {
    submissions: resolved.map((submission) => ({
      ...submission,
      jobs: submission.jobs.map((job) => (parented.has(job.jobId) ? { ...job, hasDependants: true } : job)),
    })),
    refused,
    calls: writes(orgId, edges, [...parented].filter((jobId) => !owners.has(jobId)).sort(), ended),
    leavesEnds: ended.size > 0,
  };
}

function writes(
  org: string,
  edges: readonly { readonly parent: string; readonly child: string }[],
  parented: readonly string[],
  ended: ReadonlyMap<string, JobState>,
): Call[] {
  const ends = [...ended].sort(([a], [b]) => (a < b ? -1 : 1));
  const calls: Call[] = [];
  if (parented.length > 0) calls.push(call(markParents, { org, jobs: parented }));
  if (edges.length > 0) {
    calls.push(
      call(insertEdges, {
        org,
        parents: edges.map((edge) => edge.parent),
        children: edges.map((edge) => edge.child),
      }),
    );
  }
  if (ends.length > 0) {
    const [parents, states] = [ends.map(([jobId]) => jobId), ends.map(([, state]) => state)];
    calls.push(call(insertReleases, { org, parents, states }));
  }
  return calls;
}

// The keys of this flush are there already, under its own jobs.
async function readIds(tx: OrgTx, parents: readonly Parent[]): Promise<Known["idOf"]> {
  const keys = new Set(parents.flatMap((parent) => (parent.type === "external" ? [parent.externalId] : [])));
  const rows =
    keys.size === 0
      ? []
      : await tx.run(call(readKeys, { org: tx.orgId, types: ["external"], keys: [...keys] }));
  const ids = new Map(rows.map((row) => [String(row["key"]), String(row["target"])]));
  return (parent) => (parent.type === "job" ? parent.jobId : (ids.get(parent.externalId) ?? null));
}

async function placesOf(tx: OrgTx, jobIds: readonly string[]): Promise<Map<string, Place>> {
  const places = await holdPlaces(tx, jobIds);
  const dead = jobIds.filter((id) => {
    const place = places.get(id);
    return place !== undefined && place !== "live" && place !== JobState.succeeded;
  });
  if (dead.length === 0) return places;
  // A replay in this moment is either before the submit, which then waits for the new run, or after its commit.
  await tx.run(call(holdEnded, { org: tx.orgId, jobs: dead, low: dead.at(0), high: dead.at(-1) }));
  return new Map([...places, ...(await holdPlaces(tx, dead))]);
}

// In this order: who ends before its row is locked has its final row when that is looked for.
async function holdPlaces(tx: OrgTx, jobs: readonly string[]): Promise<Map<string, Place>> {
  if (jobs.length === 0) return new Map();
  const [live, ends] = await Promise.all([
    tx.run(call(holdLive, { org: tx.orgId, jobs })),
    tx.run(call(readEnds, { org: tx.orgId, jobs, low: jobs.at(0), high: jobs.at(-1) })),
  ]);
  const places = new Map<string, Place>();
  const byRun = ends.sort((a, b) => Number(a["generation"]) - Number(b["generation"]));
  for (const row of byRun) places.set(String(row["job"]), stateOf(row["state"]));
  for (const row of live) places.set(String(row["job"]), "live");
  return places;
}

// The column holds no other number: every write of it goes through the table of transitions.
function stateOf(value: unknown): JobState {
  return Number(value) as JobState;
}
