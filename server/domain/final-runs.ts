import { callOfJobs, readFinals, releaseDeadLetters, reviveJobs } from "../store/job-changes.ts";
import type { Call, OrgTx } from "../store/statement.ts";
import { call } from "../store/statement.ts";
import { insertNewShapes } from "../store/submit.ts";
import { addTally, appendTallies, type TallyDelta, tallyOf } from "../store/tallies.ts";
import type { Coordinator } from "./context.ts";
import { checkedState } from "./job-views.ts";
import { scheduleOfActor } from "./rules/schedules.ts";
import { internShape, type Shape, shapeTarget } from "./rules/shapes.ts";
import type { JobState } from "./rules/states.ts";

/** How the latest run of a job that has ended did so. */
export interface FinalRun {
  readonly jobId: string;
  /** Of its last attempt. */
  readonly attempt: number;
  readonly generation: number;
  readonly state: JobState;
  /** Of the job as it was submitted. */
  readonly shape: Shape;
}

/** How the latest runs of jobs ended; a job that never ended a run is left out. It may be live again. */
export async function finalsOf(tx: OrgTx, jobIds: readonly string[]): Promise<Map<string, FinalRun>> {
  const finals = new Map<string, FinalRun>();
  if (jobIds.length === 0) return finals;
  for (const row of await tx.run(callOfJobs(readFinals, tx.orgId, jobIds))) {
    const jobId = String(row["job"]);
    const generation = Number(row["generation"]);
    if ((finals.get(jobId)?.generation ?? 0) > generation) continue;
    finals.set(jobId, {
      jobId,
      generation,
      attempt: Number(row["attempt"]),
      state: checkedState(Number(row["state"])),
      shape: {
        kind: String(row["kind"]),
        queue: String(row["queue"]),
        skills: Array.isArray(row["skills"]) ? [...new Set(row["skills"].map(String))].sort() : [],
        points: Number(row["points"]),
        pool: row["pool"] === null ? null : String(row["pool"]),
        project: row["project"] === null || row["opens"] !== true ? null : String(row["project"]),
        target: shapeTarget(row["target"] === null ? null : String(row["target"])),
        avoid: [],
        isAlone: false,
        accountedTo: row["opens"] === true ? null : row["project"] === null ? null : String(row["project"]),
        schedule: scheduleOfActor(String(row["submitter"])),
      },
    });
  }
  return finals;
}

/**
 * T19: the statements that start new runs of jobs, at least one, whose rows are locked by `lockAsked`.
 *
 * @param n number of the change within its transaction.
 */
export function reviveRuns(
  c: Pick<Coordinator, "newId">,
  org: string,
  runs: readonly FinalRun[],
  n: number,
): Call[] {
  const sorted = [...runs].sort((a, b) => (a.jobId < b.jobId ? -1 : 1));
  const shapes = sorted.map((run) => internShape(run.shape));
  const jobs = sorted.map((run) => run.jobId);
  // A run that is replayed has not ended, after all.
  const uncounted = new Map<string, TallyDelta>();
  for (const { shape, state } of sorted) addTally(uncounted, shape.queue, { [tallyOf[state]]: -1, ready: 1 });
  return [
    insertNewShapes(org, [...new Map(shapes.map((shape) => [shape.shapeId, shape])).values()]),
    callOfJobs(reviveJobs, org, jobs, {
      shapes: shapes.map((shape) => shape.shapeId.toString()),
      attempts: sorted.map((run) => run.attempt),
      generations: sorted.map((run) => run.generation + 1),
      states: sorted.map((run) => run.state),
      n,
    }),
    call(releaseDeadLetters, { org, jobs }),
    appendTallies(org, c.newId(), uncounted),
  ];
}
