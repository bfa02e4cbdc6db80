import type { Row } from "postgres";
import type { ArtifactStore } from "../outbound/artifact-store.ts";
import { inOrg, orgTxOf } from "../store/database.ts";
import { callOfJobs, lockAsked } from "../store/job-changes.ts";
import { noWorker } from "../store/leases.ts";
import { findNeeded, findReleasing, readFiles, readRemovable, removeAll } from "../store/removals.ts";
import { call, type OrgTx } from "../store/statement.ts";
import { insertAuditRows, readKeys } from "../store/submit.ts";
import { appendChange } from "../store/transitions.ts";
import type { Caller, Coordinator } from "./context.ts";
import { drainReleases } from "./dependants.ts";
import { type DomainError, failedPrecondition, notFound } from "./errors.ts";
import { type FinalRun, finalsOf } from "./final-runs.ts";
import { encodeId } from "./ids.ts";
import { auditRow, requestKey, takeRequest } from "./job-rows.ts";
import { checkedState } from "./job-views.ts";
import { changeNumbers } from "./rules/event-types.ts";
import { stateName } from "./rules/states.ts";

/** What verbs that remove jobs work with. */
export type RemovalContext = Coordinator & { readonly artifacts: Pick<ArtifactStore, "delete"> };

/** Which of some jobs may be removed, and why not the others. */
export interface Removal {
  readonly jobs: readonly FinalRun[];
  readonly refused: ReadonlyMap<string, DomainError>;
  /** Ends of these are on their way to who waits for them: drain them and look again. */
  readonly releasing: readonly string[];
}

/** T20: deletes a job that has ended, with all that is kept of it but the audit. Resolves after commit. */
export async function deleteJob(
  c: RemovalContext,
  caller: Caller,
  request: { readonly jobId: string; readonly reason: string; readonly requestId: string },
): Promise<void> {
  const { jobId, reason, requestId } = request;
  const { orgId } = caller;
  const remove = (): Promise<"done" | "releasing"> =>
    inOrg(c.db.app, orgId, async (app) => {
      const tx = orgTxOf(app, orgId);
      const removal = await planRemoval(tx, [jobId], { isLocked: true });
      if (removal.releasing.length > 0) return "releasing";
      const error = removal.refused.get(jobId);
      if (error) {
        if (error.reason === "JOB_NOT_FOUND" && (await isRepeated(tx, jobId, requestId))) return "done";
        throw error;
      }
      await takeRequest(c, tx, "delete", jobId, requestId);
      const [run] = removal.jobs;
      const files = await removeJobs(c, tx, removal.jobs);
      const details = {
        kind: run?.shape.kind,
        state: run?.state,
        generation: run?.generation,
        attempts: run?.attempt,
        files,
      };
      const row = auditRow(c, caller, "job.delete", encodeId("job", jobId), details, reason);
      await tx.run(insertAuditRows(orgId, [row]));
      return "done";
    });
  while ((await remove()) === "releasing") await drainReleases(c, orgId, jobId);
  c.wakes.changed(orgId, [jobId]);
}

/** Looks which jobs may be removed; with locks it stays so until the end of the transaction. */
export async function planRemoval(
  tx: OrgTx,
  jobIds: readonly string[],
  { isLocked }: { readonly isLocked: boolean },
): Promise<Removal> {
  const { orgId } = tx;
  if (isLocked) await tx.run(callOfJobs(lockAsked, orgId, jobIds));
  const [found, finals, releasing, needed] = await Promise.all([
    tx.run(callOfJobs(readRemovable, orgId, jobIds)),
    finalsOf(tx, jobIds),
    tx.run(call(findReleasing, { org: orgId, jobs: jobIds })),
    tx.run(callOfJobs(findNeeded, orgId, jobIds)),
  ]);
  const byId = new Map(found.map((row) => [String(row["job"]), row]));
  const isNeeded = new Set(needed.map((row) => String(row["job"])));
  const jobs: FinalRun[] = [];
  const refused = new Map<string, DomainError>();
  for (const jobId of jobIds) {
    const run = finals.get(jobId);
    const error = refusalOf(jobId, byId.get(jobId), run, isNeeded.has(jobId));
    if (error) refused.set(jobId, error);
    else if (run) jobs.push(run);
  }
  return { jobs, refused, releasing: releasing.map((row) => String(row["job"])) };
}

/**
 * Removes jobs that may be, first their files, under the locks of `planRemoval`: what fails in between is removed by
 * a repetition, and no file is left that nothing names. Answers the number of files.
 */
export async function removeJobs(
  c: Pick<RemovalContext, "artifacts">,
  tx: OrgTx,
  jobs: readonly FinalRun[],
): Promise<number> {
  if (jobs.length === 0) return 0;
  const { orgId } = tx;
  const jobIds = jobs.map((job) => job.jobId);
  const files = await tx.run(call(readFiles, { org: orgId, jobs: jobIds }));
  for (let at = 0; at < files.length; at += filesAtOnce) {
    await Promise.all(
      files.slice(at, at + filesAtOnce).map((row) => c.artifacts.delete(fileKey(orgId, row))),
    );
  }
  for (const one of removeAll) await tx.run(callOfJobs(one, orgId, jobIds));
  await tx.run(
    call(appendChange, {
      ...{ org: orgId, n: changeNumbers.removal, jobs: jobIds, states: jobs.map((job) => job.state) },
      ...{ attempts: jobs.map((job) => job.attempt), workers: jobs.map(() => noWorker) },
    }),
  );
  return files.length;
}

const filesAtOnce = 16;

function refusalOf(
  jobId: string,
  row: Row | undefined,
  run: FinalRun | undefined,
  isNeeded: boolean,
): DomainError | null {
  const id = encodeId("job", jobId);
  const live: unknown = row?.["live"];
  if (row === undefined) return notFound("JOB_NOT_FOUND", id);
  if (live !== null && live !== undefined) {
    const state = stateName(checkedState(Number(live)));
    return failedPrecondition("JOB_NOT_TERMINAL", { jobId: id, state });
  }
  if (run === undefined) return notFound("JOB_NOT_FOUND", id);
  return isNeeded ? failedPrecondition("JOB_HAS_DEPENDANTS", { jobId: id }) : null;
}

async function isRepeated(tx: OrgTx, jobId: string, requestId: string): Promise<boolean> {
  if (requestId === "") return false;
  const keys = [requestKey("delete", jobId, requestId)];
  return (await tx.run(call(readKeys, { org: tx.orgId, types: ["request"], keys }))).length > 0;
}

function fileKey(orgId: string, row: Row) {
  return {
    orgId,
    jobId: String(row["job"]),
    attempt: Number(row["attempt"]),
    artifactId: String(row["artifact"]),
    sha256: String(row["sha256"]),
  };
}
