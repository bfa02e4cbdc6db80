import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { ConnectError } from "@connectrpc/connect";
import type { Artifact } from "@muster/client/v1/artifact_service";
import type { Batch, SubmitBatchRequest } from "@muster/client/v1/batch_service";
import { type AttemptEvent, AttemptEventSchema } from "@muster/client/v1/event";
import {
  type CheckWorkResponse,
  CheckWorkResponseSchema,
  type ExplainJobResponse,
  type ExplainWorkerResponse,
  type ListAttentionResponse,
  ListAttentionResponseSchema,
} from "@muster/client/v1/explain_service";
import { type Attempt, type Job, JobSchema } from "@muster/client/v1/job";
import type { SubmitJobRequest } from "@muster/client/v1/job_service";
import type { Project, PullRequest } from "@muster/client/v1/project_service";
import { StatusSchema } from "@muster/client/v1/status_service";
import type { Worker } from "@muster/client/v1/worker";
import type { PeerQueues } from "./api-peer-queues.ts";
import { found } from "./api-peer-rows.ts";
import { makePeerSystem } from "./api-peer-system.ts";

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
