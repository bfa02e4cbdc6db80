import {
  create,
  type DescMessage,
  isMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { AuditService } from "@muster/client/v1/audit_service";
import { BatchService } from "@muster/client/v1/batch_service";
import { ExplainService } from "@muster/client/v1/explain_service";
import { JobState } from "@muster/client/v1/job";
import { ActOnJobsResponseSchema, JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { LeaseService } from "@muster/client/v1/lease_service";
import { ProjectService, PullRequestState } from "@muster/client/v1/project_service";
import { QueueService, QueueType } from "@muster/client/v1/queue_service";
import { SessionService } from "@muster/client/v1/session_service";
import { StatsService } from "@muster/client/v1/stats_service";
import { StatusService } from "@muster/client/v1/status_service";
import { SystemService } from "@muster/client/v1/system_service";
import {
  WatchJobsResponseSchema,
  WatchService,
  WatchWorkersResponseSchema,
} from "@muster/client/v1/watch_service";
import type { WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import {
  sampleAttention,
  sampleAttributions,
  sampleBatches,
  sampleChecks,
  sampleEntries,
  sampleGroups,
  sampleKeys,
  sampleLeases,
  sampleProjects,
  sampleQueues,
  sampleSessions,
  sampleWorkers,
} from "./nouns.ts";
import { sampleJob } from "./peer.ts";
import { sampleMs, sampleStatus } from "./sample.ts";

/** Services of all nouns in memory, as the protos have them. Every request is kept. */
export interface NounsPeer {
  readonly routes: (router: ConnectRouter) => void;
  /** Requests of this type, oldest first. */
  readonly requests: <Desc extends DescMessage>(schema: Desc) => MessageShape<Desc>[];
  /** Fails calls of a method by its request's type, while it answers an error. */
  readonly refuse: Map<DescMessage, Error>;
}

/** Makes the services. */
export function makeNounsPeer(): NounsPeer {
  const seen: unknown[] = [];
  const refuse = new Map<DescMessage, Error>();
  const note = <Request, Answer>(answer: (request: Request) => Answer) => {
    return (request: Request): Answer => {
      seen.push(request);
      for (const [schema, error] of refuse) if (isMessage(request, schema)) throw error;
      return answer(request);
    };
  };
  const workerOf = (workerId: string) => sampleWorkers().find((one) => one.workerId === workerId);
  const sessionOf = (sessionId: string) => sampleSessions().find((one) => one.sessionId === sessionId);
  const queueOf = (name: string) => sampleQueues().find((one) => one.name === name);
  const routes = (router: ConnectRouter): void => {
    router.service(StatusService, {
      getStatus: () => ({ status: sampleStatus() }),
      watchStatus: async function* (_request, context) {
        yield { status: sampleStatus() };
        await ended(context);
      },
    });
    router.service(WatchService, {
      watchWorkers: async function* (request, context) {
        seen.push(request);
        const workers = sampleWorkers();
        const say = (body: MessageInitShape<typeof WatchWorkersResponseSchema>["body"]) =>
          create(WatchWorkersResponseSchema, body === undefined ? {} : { body });
        yield say({ case: "snapshotBegin", value: {} });
        yield say({ case: "rows", value: { workers } });
        const counts = new Map<WorkerState, bigint>();
        for (const { state } of workers) counts.set(state, (counts.get(state) ?? 0n) + 1n);
        yield say({
          case: "snapshotEnd",
          value: { revision: "1", counts: [...counts].map(([state, count]) => ({ state, count })) },
        });
        await ended(context);
      },
      watchJobs: async function* (request, context) {
        seen.push(request);
        yield create(WatchJobsResponseSchema, { body: { case: "snapshotBegin", value: {} } });
        yield create(WatchJobsResponseSchema, {
          body: { case: "snapshotEnd", value: { revision: "1" } },
        });
        await ended(context);
      },
    });
    router.service(WorkerAdminService, {
      getWorker: note(({ workerId }) => ({ worker: workerOf(workerId) })),
      drainWorker: note(({ workerId }) => ({ worker: workerOf(workerId) })),
      resumeWorker: note(({ workerId }) => ({ worker: workerOf(workerId) })),
      disableWorker: note(({ workerId }) => ({ worker: workerOf(workerId) })),
      enableWorker: note(({ workerId }) => ({ worker: workerOf(workerId) })),
      removeWorker: note(() => ({})),
    });
    router.service(LeaseService, {
      listLeases: note(({ worker, atRisk }) => ({
        leases: sampleLeases()
          .filter((one) => worker === "" || [one.workerId, one.workerName].includes(worker))
          .filter((one) => !atRisk || one.atRisk),
      })),
      revokeLease: note(() => ({})),
    });
    router.service(ExplainService, {
      listAttention: note(() => ({ items: sampleAttention() })),
      explainWorker: note(({ workerId }) => ({
        worker: workerOf(workerId),
        summary: "It is idle: no ready job needs what it can do",
        fixes: ["Give it skill cuda12"],
        lines: [
          { kind: "render.frame", queue: "default", ready: 12, points: 4, requiredSkills: ["gpu"] },
          {
            kind: "agent.prompt",
            queue: "default",
            ready: 3,
            points: 1,
            reason: "kind",
            detail: "it has no handler",
          },
        ],
      })),
      explainJob: note(() => ({ summary: "It waits for a worker with skill blender" })),
    });
    router.service(QueueService, {
      listQueues: note(({ type }) => ({
        queues: sampleQueues().filter((one) => one.type === (type || QueueType.QUEUE)),
      })),
      getQueue: note(({ name }) => ({ queue: queueOf(name) })),
      setQueueLimits: note(({ name }) => ({ queue: queueOf(name) })),
      pauseQueue: note(({ name }) => ({ queue: queueOf(name), withdrawn: 2 })),
      resumeQueue: note(({ name }) => ({ queue: queueOf(name) })),
    });
    router.service(ProjectService, {
      listProjects: note(() => ({ projects: sampleProjects() })),
      getProject: note(({ name }) => ({ project: sampleProjects().find((one) => one.name === name) })),
      putProject: note(({ project }) => ({ project })),
      deleteProject: note(() => ({ waitingJobs: 14 })),
      listPullRequests: note(() => ({
        pullRequests: [
          {
            url: "https://github.com/acme/web/pull/7",
            state: PullRequestState.OPEN,
            counted: true,
            createTime: timestampFromMs(sampleMs - 600_000),
          },
        ],
      })),
      setPullRequestState: note(() => ({})),
    });
    router.service(SessionService, {
      listSessions: note(({ project, worker, archived }) => ({
        sessions: sampleSessions()
          .filter((one) => project === "" || one.project === project)
          .filter((one) => worker === "" || [one.workerId, one.workerName].includes(worker))
          .filter((one) => archived || !one.archived),
      })),
      getSession: note(({ sessionId }) => ({ session: sessionOf(sessionId), waitingJobs: 2 })),
      setPrimarySession: note(({ sessionId }) => ({ session: sessionOf(sessionId) })),
      archiveSession: note(({ sessionId }) => ({ session: sessionOf(sessionId) })),
      unarchiveSession: note(({ sessionId }) => ({ session: sessionOf(sessionId) })),
      removeSession: note(() => ({})),
      listLinkedProjects: note(() => ({
        linkedProjects: [
          { workerName: "gpu-1", linkedProject: { project: "acme/web", root: "/home/u/web" } },
        ],
      })),
    });
    router.service(BatchService, {
      listBatches: note(() => ({ batches: sampleBatches().map((one) => ({ ...one, states: [] })) })),
      getBatch: note(({ batchId }) => ({ batch: sampleBatches().find((one) => one.batchId === batchId) })),
    });
    router.service(JobService, {
      getJob: note(() => ({
        job: sampleJob(1, JobState.DEAD, {
          attempt: 5,
          workerName: "lin-11",
          error: {
            code: "EXIT_NONZERO",
            message: "fatal: Authentication failed\nfor \u001b[2Jthe repository",
          },
        }),
      })),
      listJobs: note(({ pageToken }) => ({
        jobs: [sampleJob(pageToken === "" ? 2 : 1, JobState.DEAD)],
        nextPageToken: pageToken === "" ? "more" : "",
      })),
      listDeadLetterGroups: note(() => ({ groups: sampleGroups() })),
      listDeadLetters: note(() => ({
        deadLetters: sampleGroups().map(({ fingerprint }, n) => ({
          fingerprint,
          cause: "failures",
          job: sampleJob(n, JobState.DEAD),
        })),
      })),
      actOnJobs: note(({ dryRun, jobs }) =>
        create(ActOnJobsResponseSchema, {
          done: jobs.case === "ids" ? jobs.value.jobIds.length : 2,
          ...(dryRun ? { matched: { states: [{ state: JobState.DEAD, count: 2n }] } } : {}),
        }),
      ),
    });
    router.service(KeyService, {
      listKeys: note(({ all }) => ({
        keys: sampleKeys().filter((one) => all || one.revokeTime === undefined),
      })),
      createKey: note(() => ({ key: sampleKeys()[0], text: "mk_api_4fQz81aB9xYw_secret" })),
      revokeKey: note(() => ({})),
    });
    router.service(StatsService, {
      listAttribution: note(({ by, project }) => ({
        attributions: sampleAttributions(by).filter((one) => project === "" || one.project === project),
      })),
      getStats: note(() => {
        const seconds = (of: number) => ({ seconds: BigInt(Math.floor(of)), nanos: (of % 1) * 1e9 });
        const figures = (attempts: bigint, succeeded: bigint) => ({
          ...{ attempts, succeeded, failed: attempts - succeeded, dead: 1n },
          successRate: Number(succeeded) / Number(attempts),
          ...{ waitP95: seconds(9.5), runP50: seconds(38), runP95: seconds(370), runP99: seconds(900) },
        });
        const series = [1, 2, 3, 5].map((count, n) => ({
          startTime: timestampFromMs(sampleMs - (20 - 4 * n) * 3_600_000),
          figures: { attempts: BigInt(count) },
        }));
        const histogram = [1, 4, 16].map((of) => ({
          ...{ start: seconds(of), end: seconds(of * 2), count: BigInt(Math.floor(40 / of)) },
        }));
        const histograms = { waitHistogram: histogram, runHistogram: histogram };
        return {
          stats: [
            { value: "render.frame", name: "render.frame", figures: figures(40n, 39n), series },
            {
              value: "agent\u001b[31m.review",
              name: "",
              figures: figures(11n, 11n),
              series: series.slice(2),
            },
          ],
          total: { figures: figures(51n, 50n), series, ...histograms },
          startTime: timestampFromMs(sampleMs - 24 * 3_600_000),
          endTime: timestampFromMs(sampleMs),
        };
      }),
    });
    router.service(AuditService, { listAuditEntries: note(() => ({ entries: sampleEntries() })) });
    router.service(SystemService, {
      getSystem: note(() => ({
        coordinators: [
          {
            coordinatorId: "coord-a",
            apiAddress: "http://127.0.0.1:7070",
            version: "0.1.0",
            startTime: timestampFromMs(sampleMs - 3_600_000),
            seenTime: timestampFromMs(sampleMs - 1_000),
            links: 61,
          },
          {
            coordinatorId: "coord-b",
            apiAddress: "http://127.0.0.1:7072",
            version: "0.0.9",
            startTime: timestampFromMs(sampleMs - 86_400_000),
            seenTime: timestampFromMs(sampleMs - 40_000),
            links: 57,
          },
        ],
        database: {
          version: "18.4",
          schema: "0031",
          embedded: true,
          connections: 9,
          maxConnections: 20,
          sizeBytes: 734_003_200n,
          roundTrip: { seconds: 0n, nanos: 1_200_000 },
          oldestTransaction: { seconds: 240n, nanos: 0 },
          clockAhead: { seconds: 0n, nanos: 3_000_000 },
        },
        version: "0.1.0",
        coordinatorId: "coord-a",
        rssBytes: 157_286_400n,
        loopDelay: { seconds: 0n, nanos: 14_000_000 },
        watches: 6,
        time: timestampFromMs(sampleMs),
      })),
      checkServer: note(() => ({ checks: sampleChecks() })),
    });
  };
  return {
    routes,
    refuse,
    requests: (schema) => seen.filter((request) => isMessage(request, schema)),
  };
}

function ended({ signal }: HandlerContext): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
