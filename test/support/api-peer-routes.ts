import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { type Duration, timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { type Artifact, ArtifactService } from "@muster/client/v1/artifact_service";
import {
  type Batch,
  BatchSchema,
  BatchService,
  type SubmitBatchRequest,
} from "@muster/client/v1/batch_service";
import { type AttemptEvent, AttemptEventSchema } from "@muster/client/v1/event";
import {
  type CheckWorkResponse,
  CheckWorkResponseSchema,
  type ExplainJobResponse,
  ExplainService,
  type ExplainWorkerResponse,
  type ListAttentionResponse,
  ListAttentionResponseSchema,
} from "@muster/client/v1/explain_service";
import {
  type Attempt,
  type DeadLetter,
  DeadLetterSchema,
  type Job,
  JobSchema,
  type JobSpec,
  JobState,
} from "@muster/client/v1/job";
import {
  CancelOutcome,
  type EventCursor,
  JobService,
  type SubmitJobRequest,
} from "@muster/client/v1/job_service";
import {
  type Project,
  ProjectSchema,
  ProjectService,
  type PullRequest,
} from "@muster/client/v1/project_service";
import { StatusSchema, StatusService } from "@muster/client/v1/status_service";
import { type Worker, WorkerSchema, WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { actRoutes, addLeaseRoutes, fingerprintOf } from "./api-peer-acts.ts";
import { addQueueRoutes, addSettingsRoutes, type PeerQueues } from "./api-peer-queues.ts";
import { addSystemRoutes, makePeerSystem } from "./api-peer-system.ts";

/** How routes hear of changes, and tell them. */
export interface Signals {
  /** Resolves at the next change of anything. */
  readonly changed: () => Promise<void>;
  readonly notify: () => void;
}

/** An empty state, with what changes it. */
export function makeState() {
  let wake = Promise.withResolvers<void>();
  const notify = (): void => {
    wake.resolve();
    wake = Promise.withResolvers<void>();
  };
  const failures: { error: ConnectError; method: string | undefined }[] = [];
  const waiters = new Set<() => void>();
  const api = {
    address: "",
    key: "mk_api_test",
    jobs: new Map<string, Job>(),
    events: new Map<string, AttemptEvent[]>(),
    attempts: new Map<string, Attempt[]>(),
    batches: new Map<string, Batch>(),
    workers: new Map<string, Worker>(),
    projects: new Map<string, Project>(),
    queues: new Map() as PeerQueues,
    pullRequests: new Map<string, PullRequest>(),
    waitingJobs: 0,
    artifacts: new Map<string, Artifact & { bytes: Uint8Array }>(),
    /** By the id of the job. */
    explanations: new Map<string, ExplainJobResponse>(),
    /** By the name of the worker. */
    workerExplanations: new Map<string, ExplainWorkerResponse>(),
    work: create(CheckWorkResponseSchema) as CheckWorkResponse,
    attention: create(ListAttentionResponseSchema) as ListAttentionResponse,
    /** Requests about work, attention and runnable jobs, as they came. */
    asked: [] as unknown[],
    submitted: [] as SubmitJobRequest[],
    submittedBatches: [] as SubmitBatchRequest[],
    calls: [] as string[],
    system: makePeerSystem(),
    onRequest: undefined as ((method: string, message: object) => void) | undefined,
    status: create(StatusSchema, { org: "default" }),
    addJob(init: MessageInitShape<typeof JobSchema>): Job {
      const job = create(JobSchema, { createTime: timestampNow(), generation: 1, ...init });
      api.jobs.set(job.jobId, job);
      notify();
      return job;
    },
    changeJob(jobId: string, change: Partial<Omit<Job, "$typeName" | "$unknown">>): void {
      api.jobs.set(jobId, create(JobSchema, { ...found(api.jobs, jobId, "job"), ...change }));
      notify();
    },
    addEvent(jobId: string, event: MessageInitShape<typeof AttemptEventSchema>): void {
      const events = api.events.get(jobId) ?? [];
      api.events.set(jobId, [...events, create(AttemptEventSchema, { time: timestampNow(), ...event })]);
      notify();
    },
    changeStatus(status: MessageInitShape<typeof StatusSchema>): void {
      api.status = create(StatusSchema, status);
      notify();
    },
    failNext(error: ConnectError, method?: string): void {
      failures.push({ error, method });
    },
    called(method: string, times: number): Promise<void> {
      const { promise, resolve } = Promise.withResolvers<void>();
      const look = (): void => {
        if (api.calls.filter((name) => name === method).length < times) return;
        waiters.delete(look);
        resolve();
      };
      waiters.add(look);
      look();
      return promise;
    },
  };
  return { api, changed: () => wake.promise, notify, failures, waiters };
}

/** The state that the routes work on. */
export type Api = ReturnType<typeof makeState>["api"];

/** Adds every service of the API. */
export function addRoutes(router: ConnectRouter, api: Api, signals: Signals): void {
  addJobRoutes(router, api, signals);
  addBatchRoutes(router, api, signals);
  addQueueRoutes(router, api.queues);
  addSettingsRoutes(router);
  addLeaseRoutes(router, api);
  addSystemRoutes(router, api);
  router.service(WorkerAdminService, {
    createWorker: ({ name }) => {
      const worker = create(WorkerSchema, { workerId: newId("wrk"), name, state: WorkerState.OFFLINE });
      api.workers.set(worker.workerId, worker);
      return { worker, key: "mk_worker_secret" };
    },
    getWorker: ({ workerId, name }) => {
      const worker = [...api.workers.values()].find((one) => one.workerId === workerId || one.name === name);
      if (worker === undefined) throw notFound("worker", workerId || name);
      return { worker };
    },
    drainWorker: ({ workerId, name }) => {
      const worker = [...api.workers.values()].find((one) => one.workerId === workerId || one.name === name);
      if (worker === undefined) throw notFound("worker", workerId || name);
      [worker.state, worker.drainRequested] = [WorkerState.DRAINING, true];
      return { worker };
    },
    resumeWorker: ({ workerId, name }) => {
      const worker = [...api.workers.values()].find((one) => one.workerId === workerId || one.name === name);
      if (worker === undefined) throw notFound("worker", workerId || name);
      [worker.state, worker.drainRequested] = [WorkerState.IDLE, false];
      return { worker };
    },
    listWorkers: (request) => {
      const { rows, nextPageToken } = page([...api.workers.values()], request);
      return { workers: rows, nextPageToken };
    },
  });
  router.service(ProjectService, {
    putProject: ({ project }) => {
      const kept = create(ProjectSchema, project);
      api.projects.set(kept.name, kept);
      return { project: kept };
    },
    listProjects: (request) => {
      const { rows, nextPageToken } = page([...api.projects.values()], request);
      return { projects: rows, nextPageToken };
    },
    getProject: ({ name }) => ({ project: found(api.projects, name, "project") }),
    deleteProject: ({ name }) => {
      found(api.projects, name, "project");
      api.projects.delete(name);
      return { waitingJobs: api.waitingJobs };
    },
    listPullRequests: (request) => {
      const { project, state } = request;
      const rows = [...api.pullRequests.values()].filter(
        (one) => (project === "" || one.project === project) && (state === 0 || one.state === state),
      );
      const { rows: shown, nextPageToken } = page(rows, request);
      return { pullRequests: shown, nextPageToken };
    },
    setPullRequestState: ({ url, state }) => {
      const pullRequest = found(api.pullRequests, url, "pull request");
      pullRequest.state = state;
      return { pullRequest };
    },
    getWebhook: () => ({ path: "/webhooks/github/org_1", secret: "f00d" }),
  });
  router.service(ArtifactService, {
    listArtifacts: ({ jobId }) => ({
      artifacts: [...api.artifacts.values()].filter((one) => one.jobId === jobId),
    }),
    getArtifactUrl: ({ artifactId }) => {
      const artifact = found(api.artifacts, artifactId, "artifact");
      return { artifact, url: `${api.address}/artifacts/${artifactId}` };
    },
  });
  router.service(ExplainService, {
    explainJob: ({ jobId, externalId }) => found(api.explanations, jobId || externalId, "job"),
    explainWorker: ({ workerId, name }) => found(api.workerExplanations, workerId || name, "worker"),
    checkWork: (request) => {
      api.asked.push(request);
      return api.work;
    },
    listAttention: (request) => {
      api.asked.push(request);
      return api.attention;
    },
  });
  router.service(StatusService, {
    getStatus: () => ({ status: api.status }),
    async *watchStatus(_request, { signal }) {
      while (!signal.aborted) {
        const change = signals.changed();
        yield { status: api.status };
        await Promise.race([change, aborted(signal)]);
      }
    },
  });
}

function addJobRoutes(router: ConnectRouter, api: Api, signals: Signals): void {
  router.service(JobService, {
    ...actRoutes(api),
    submitJob: (request) => {
      api.submitted.push(request);
      return { jobId: store(api, request.job).jobId };
    },
    getJob: ({ jobId, externalId }) => {
      const byExternalId = [...api.jobs.values()].find(
        (job) => externalId !== "" && job.spec?.externalId === externalId,
      );
      return { job: byExternalId ?? found(api.jobs, jobId, "job") };
    },
    listJobs: (request) => {
      const { filter } = request;
      if (filter?.runnableBy) api.asked.push(request);
      const rows = [...api.jobs.values()].filter(
        (job) =>
          (filter === undefined || filter.states.length === 0 || filter.states.includes(job.state)) &&
          (!filter?.kind || job.spec?.kind === filter.kind),
      );
      const { rows: jobs, nextPageToken } = page(rows, request);
      const states = [...new Set(rows.map(({ state }) => state))].map((state) => ({
        state,
        count: BigInt(rows.filter((job) => job.state === state).length),
      }));
      return { jobs, nextPageToken, ...(request.counted ? { counts: { states } } : {}) };
    },
    cancelJob: ({ jobId, reason }) => {
      const job = found(api.jobs, jobId, "job");
      if (isEnded(job)) return { job, outcome: CancelOutcome.ALREADY_TERMINAL };
      api.changeJob(jobId, { state: JobState.CANCELLED, reason });
      return { job: found(api.jobs, jobId, "job"), outcome: CancelOutcome.CANCELLED };
    },
    retryJob: ({ jobId }) => {
      const job = found(api.jobs, jobId, "job");
      api.changeJob(jobId, { state: JobState.READY, generation: job.generation + 1 });
      return { job: found(api.jobs, jobId, "job") };
    },
    parkJob: ({ jobId, reason, until }) => {
      found(api.jobs, jobId, "job");
      api.changeJob(jobId, {
        state: JobState.PARKED,
        reason,
        ...(until === undefined ? {} : { wakeTime: until }),
      });
      return { job: found(api.jobs, jobId, "job") };
    },
    unparkJob: ({ jobId }) => {
      found(api.jobs, jobId, "job");
      api.changeJob(jobId, { state: JobState.READY, reason: "" });
      return { job: found(api.jobs, jobId, "job") };
    },
    waitJob: async ({ jobId, timeout }, { signal }) => {
      const timeIsUp = AbortSignal.timeout(timeoutMs(timeout));
      for (;;) {
        const change = signals.changed();
        const job = found(api.jobs, jobId, "job");
        if (isEnded(job)) return { job, done: true };
        if (timeIsUp.aborted) return { job, done: false };
        await Promise.race([change, aborted(AbortSignal.any([signal, timeIsUp]))]);
        signal.throwIfAborted();
      }
    },
    async *watchJob({ jobId, events, after }, { signal }) {
      let last: Job | undefined;
      let cursor = after;
      while (!signal.aborted) {
        const change = signals.changed();
        const job = found(api.jobs, jobId, "job");
        if (job !== last) yield { body: { case: "job", value: job } };
        last = job;
        for (const event of events ? eventsAfter(api.events.get(jobId) ?? [], cursor) : []) {
          yield { body: { case: "event", value: event } };
          cursor = { $typeName: "muster.v1.EventCursor", attempt: event.attempt, sequence: event.sequence };
        }
        if (isEnded(job)) return;
        await Promise.race([change, aborted(signal)]);
      }
    },
    listAttempts: ({ jobId }) => ({ attempts: api.attempts.get(found(api.jobs, jobId, "job").jobId) ?? [] }),
    listJobEvents: ({ jobId, after }) => {
      const job = found(api.jobs, jobId, "job");
      const all = eventsAfter(api.events.get(jobId) ?? [], after);
      // Small pages, so that every reader has to turn them.
      const events = all.slice(0, 2);
      const last = events.at(-1);
      const next =
        all.length > 2 && last !== undefined ? { attempt: last.attempt, sequence: last.sequence } : undefined;
      return { events, done: isEnded(job), ...(next === undefined ? {} : { next }) };
    },
    listDeadLetters: (request) => {
      const { rows, nextPageToken } = page(deadLetters(api), request);
      return { deadLetters: rows, nextPageToken };
    },
    discardDeadLetter: ({ jobId }) => {
      found(api.jobs, jobId, "job");
      api.jobs.delete(jobId);
      return {};
    },
  });
}

function addBatchRoutes(router: ConnectRouter, api: Api, signals: Signals): void {
  const read = (batchId: string): Batch => {
    const jobs = [...api.jobs.values()].filter((job) => job.batchId === batchId);
    const count = (state: JobState): number => jobs.filter((job) => job.state === state).length;
    return create(BatchSchema, {
      ...found(api.batches, batchId, "batch"),
      total: jobs.length,
      pending: jobs.filter((job) => !isEnded(job)).length,
      succeeded: count(JobState.SUCCEEDED),
      cancelled: count(JobState.CANCELLED),
      dead: count(JobState.DEAD),
    });
  };
  router.service(BatchService, {
    submitBatch: (request) => {
      api.submittedBatches.push(request);
      const batchId = newId("bat");
      api.batches.set(
        batchId,
        create(BatchSchema, { batchId, title: request.title, createTime: timestampNow() }),
      );
      return { batchId, jobIds: request.jobs.map((spec) => store(api, spec, batchId).jobId) };
    },
    getBatch: ({ batchId }) => ({ batch: read(batchId) }),
    listBatches: (request) => {
      const { rows, nextPageToken } = page([...api.batches.keys()].map(read), request);
      return { batches: rows, nextPageToken };
    },
    waitBatch: async ({ batchId, timeout }, { signal }) => {
      const timeIsUp = AbortSignal.timeout(timeoutMs(timeout));
      for (;;) {
        const change = signals.changed();
        const batch = read(batchId);
        if (batch.pending === 0) return { batch, done: true };
        if (timeIsUp.aborted) return { batch, done: false };
        await Promise.race([change, aborted(AbortSignal.any([signal, timeIsUp]))]);
        signal.throwIfAborted();
      }
    },
  });
}

function store(api: Api, spec: JobSpec | undefined, batchId = ""): Job {
  const job = { jobId: newId("job"), state: JobState.READY, batchId };
  return api.addJob(spec === undefined ? job : { ...job, spec });
}

function deadLetters(api: Api): DeadLetter[] {
  return [...api.jobs.values()]
    .filter((job) => job.state === JobState.DEAD)
    .map((job) =>
      create(DeadLetterSchema, {
        ...{ job, cause: "failures", fingerprint: fingerprintOf(job) ?? "", deadTime: timestampNow() },
      }),
    );
}

function eventsAfter(events: readonly AttemptEvent[], after: EventCursor | undefined): AttemptEvent[] {
  if (after === undefined) return [...events];
  return events.filter(
    ({ attempt, sequence }) =>
      attempt > after.attempt || (attempt === after.attempt && sequence > after.sequence),
  );
}

// Page tokens are offsets: the peer is no model of how the coordinator makes them.
function page<Row>(
  rows: readonly Row[],
  { pageSize, pageToken }: { pageSize: number; pageToken: string },
): { rows: Row[]; nextPageToken: string } {
  const start = Number(pageToken || 0);
  const end = start + (pageSize || 50);
  return { rows: rows.slice(start, end), nextPageToken: end < rows.length ? String(end) : "" };
}

function timeoutMs(timeout: Duration | undefined): number {
  return timeout === undefined ? 30_000 : Number(timeout.seconds) * 1000 + timeout.nanos / 1e6;
}

function isEnded(job: Job): boolean {
  return [JobState.SUCCEEDED, JobState.CANCELLED, JobState.DEAD].includes(job.state);
}

function found<Row>(rows: Map<string, Row>, id: string, noun: string): Row {
  const row = rows.get(id);
  if (row === undefined) throw notFound(noun, id);
  return row;
}

function notFound(noun: string, id: string): ConnectError {
  return makeError(Code.NotFound, `there is no ${noun} ${id}`, {
    reason: `${noun.toUpperCase().replaceAll(" ", "_")}_NOT_FOUND`,
    metadata: { id },
    suggestion: `List them with: muster ${noun} list`,
    requestId: "req_404",
  });
}

function newId(prefix: string): string {
  return `${prefix}_${crypto.randomUUID().replaceAll("-", "").slice(0, 26)}`;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
