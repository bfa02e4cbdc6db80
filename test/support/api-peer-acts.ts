import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { type Job, JobState } from "@muster/client/v1/job";
import { type ActOnJobsRequest, JobAction, type JobService } from "@muster/client/v1/job_service";
import { LeaseSchema, LeaseService } from "@muster/client/v1/lease_service";
import type { Api } from "./api-peer-state.ts";

/** Jobs that one call of the peer takes: few, so that every caller has to go on. */
export const peerActs = 2;

type ActRoutes = Pick<
  ServiceImpl<typeof JobService>,
  "actOnJobs" | "updateJob" | "deleteJob" | "listDeadLetterGroups"
>;

/** What is done to many jobs, and to one that it is edited or deleted. */
export function actRoutes(api: Api): ActRoutes {
  return {
    actOnJobs: (request) => {
      api.asked.push(request);
      const all = matching(api, request.jobs);
      const start = Number(request.pageToken || 0);
      const end = request.jobs.case === "filter" ? start + peerActs : all.length;
      if (request.confirmed !== undefined && start === 0 && all.length > request.confirmed)
        throw countChanged();
      const jobs = all.slice(start, end);
      const able = jobs.filter((job) => isAble(request.action, job));
      if (!request.dryRun) for (const job of able) apply(api, request.action, job);
      const states = Map.groupBy(all, (job) => job.state);
      return {
        done: able.length,
        skipped: jobs.length - able.length,
        failures: jobs
          .filter((job) => !able.includes(job))
          .map((job) => ({ jobId: job.jobId, reason: "JOB_ALREADY_TERMINAL", message: "The job has ended" })),
        nextPageToken: end < all.length ? String(end) : "",
        ...(start === 0
          ? { matched: { states: [...states].map(([state, of]) => ({ state, count: BigInt(of.length) })) } }
          : {}),
      };
    },
    updateJob: (request) => {
      api.asked.push(request);
      const job = found(api, request.jobId);
      api.changeJob(job.jobId, { reason: request.reason });
      return { job: found(api, request.jobId) };
    },
    deleteJob: ({ jobId }) => {
      found(api, jobId);
      api.jobs.delete(jobId);
      return {};
    },
    listDeadLetterGroups: () => {
      const dead = [...api.jobs.values()].filter((job) => job.state === JobState.DEAD);
      const groups = [...Map.groupBy(dead, fingerprintOf)].map(([fingerprint = "", jobs]) => {
        const [sample] = jobs;
        return {
          ...{ fingerprint, kind: sample?.spec?.kind ?? "", count: BigInt(jobs.length) },
          ...{ firstTime: timestampNow(), lastTime: timestampNow(), sampleJobId: sample?.jobId ?? "" },
          hourly: [...Array.from({ length: 23 }, () => 0), jobs.length],
          ...(sample?.error === undefined ? {} : { error: sample.error }),
        };
      });
      return { groups };
    },
  };
}

/** Leases of the peer's running jobs: `lse_` and the name of the job. */
export function addLeaseRoutes(router: ConnectRouter, api: Api): void {
  const leases = () =>
    [...api.jobs.values()]
      .filter((job) => job.state === JobState.RUNNING)
      .map((job) =>
        create(LeaseSchema, {
          ...{
            leaseId: job.jobId.replace("job_", "lse_"),
            jobId: job.jobId,
            state: job.state,
            attempt: job.attempt,
          },
          ...{
            kind: job.spec?.kind ?? "",
            workerName: job.workerName,
            grantTime: timestampNow(),
            atRisk: true,
          },
        }),
      );
  router.service(LeaseService, {
    listLeases: (request) => {
      api.asked.push(request);
      return { leases: leases() };
    },
    getLease: ({ leaseId, jobId }) => {
      const lease = leases().find((one) => one.leaseId === leaseId || one.jobId === jobId);
      if (lease === undefined) throw notFound("LEASE_NOT_FOUND", leaseId || jobId);
      return { lease };
    },
    revokeLease: ({ leaseId, reason }) => {
      const lease = leases().find((one) => one.leaseId === leaseId);
      if (lease === undefined) throw notFound("SUPERSEDED", leaseId);
      api.changeJob(lease.jobId, { state: JobState.READY, reason });
      return { job: found(api, lease.jobId) };
    },
  });
}

function matching(api: Api, jobs: ActOnJobsRequest["jobs"]): Job[] {
  if (jobs.case === "ids") return jobs.value.jobIds.flatMap((id) => api.jobs.get(id) ?? []);
  const [, kind] = /kind:(\S+)/.exec(jobs.value ?? "") ?? [];
  const [, print] = /fingerprint:(\S+)/.exec(jobs.value ?? "") ?? [];
  return [...api.jobs.values()].filter(
    (job) =>
      (kind === undefined || job.spec?.kind === kind) &&
      (print === undefined || print === "*" || fingerprintOf(job) === print),
  );
}

/** Of a dead job: most have equal errors. */
export function fingerprintOf({ state, spec }: Job): string | undefined {
  if (state !== JobState.DEAD) return undefined;
  return spec?.kind === "other.error" ? "f00e" : "f00d";
}

function isAble(action: JobAction, { state }: Job): boolean {
  const isEnded = state >= JobState.SUCCEEDED;
  return [JobAction.RETRY, JobAction.DISCARD, JobAction.DELETE].includes(action) ? isEnded : !isEnded;
}

function apply(api: Api, action: JobAction, { jobId }: Job): void {
  if (action === JobAction.DELETE || action === JobAction.DISCARD) api.jobs.delete(jobId);
  else if (action === JobAction.CANCEL) api.changeJob(jobId, { state: JobState.CANCELLED });
  else if (action === JobAction.PARK) api.changeJob(jobId, { state: JobState.PARKED });
  else api.changeJob(jobId, { state: JobState.READY });
}

function found(api: Api, jobId: string): Job {
  const job = api.jobs.get(jobId);
  if (job === undefined) throw notFound("JOB_NOT_FOUND", jobId);
  return job;
}

function notFound(reason: string, id: string): ConnectError {
  const detail = { reason, metadata: { id }, suggestion: "Look again.", requestId: "req_404" };
  return makeError(Code.NotFound, `there is no ${id}`, detail);
}

function countChanged(): ConnectError {
  const detail = { reason: "COUNT_CHANGED", metadata: {}, suggestion: "Look again.", requestId: "req_1" };
  return makeError(Code.FailedPrecondition, "more jobs match", detail);
}
