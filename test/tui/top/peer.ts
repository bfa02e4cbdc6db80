import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter } from "@connectrpc/connect";
import { AttentionItemSchema, AttentionSeverity, ExplainService } from "@muster/client/v1/explain_service";
import { type Job, JobSchema, JobState } from "@muster/client/v1/job";
import { StatusService } from "@muster/client/v1/status_service";
import {
  type WatchJobsRequest,
  type WatchJobsResponse,
  WatchJobsResponseSchema,
  WatchService,
} from "@muster/client/v1/watch_service";
import { sampleMs, sampleStatus } from "./sample.ts";

/** Services in memory, as the protos have them: what the console is tested against. */
export interface Peer {
  readonly routes: (router: ConnectRouter) => void;
  readonly jobs: Map<string, Job>;
  readonly watches: WatchJobsRequest[];
  /** Sends a message to every watch of jobs that is open. */
  readonly tell: (body: MessageInitShape<typeof WatchJobsResponseSchema>["body"]) => void;
  /** Ends every watch. */
  readonly cut: () => void;
}

/** Makes a peer with some jobs, newest first. */
export function makePeer(jobs: readonly Job[] = sampleJobs()): Peer {
  const held = new Map(jobs.map((job) => [job.jobId, job]));
  const watches: WatchJobsRequest[] = [];
  const open = new Set<Channel>();
  const routes = (router: ConnectRouter): void => {
    router.service(StatusService, {
      getStatus: () => ({ status: sampleStatus() }),
      watchStatus: async function* (_request, { signal }) {
        yield { status: sampleStatus() };
        await ended(signal);
      },
    });
    router.service(ExplainService, {
      listAttention: () => ({
        items: [
          create(AttentionItemSchema, {
            attentionId: "a1",
            severity: AttentionSeverity.CRITICAL,
            target: "kind:render",
            summary: "no worker has skill blender",
            since: timestampFromMs(sampleMs - 240_000),
            jobs: 3,
          }),
        ],
      }),
    });
    router.service(WatchService, {
      watchJobs: async function* (request, { signal }) {
        watches.push(request);
        const channel = makeChannel();
        open.add(channel);
        signal.addEventListener("abort", channel.end);
        try {
          if (request.resumeRevision === "") {
            yield say({ case: "snapshotBegin", value: {} });
            yield say({ case: "rows", value: { jobs: [...held.values()] } });
            yield say({
              case: "snapshotEnd",
              value: { revision: "1", counts: { states: countsOf(held.values()) } },
            });
          } else yield say({ case: "delta", value: { revision: request.resumeRevision } });
          yield* channel.messages();
        } finally {
          open.delete(channel);
        }
      },
    });
  };
  return {
    routes,
    jobs: held,
    watches,
    tell: (body) => {
      for (const channel of open) channel.send(say(body));
    },
    cut: () => {
      for (const channel of open) channel.end();
    },
  };
}

/** A job of a list. */
export function sampleJob(n: number, state: JobState, change: MessageInitShape<typeof JobSchema> = {}): Job {
  return create(JobSchema, {
    jobId: jobId(n),
    state,
    attempt: 1,
    generation: 1,
    createTime: timestampFromMs(sampleMs - n * 61_000),
    ...change,
    spec: {
      kind: "render.frame",
      queue: "default",
      priority: 128,
      retry: { maxAttempts: 3 },
      ...change.spec,
    },
  });
}

/** The id of a job: a smaller number is a newer job. */
export function jobId(n: number): string {
  return `job_01jd9y3f4k8qkx2m00000${String(99_999 - n).padStart(5, "0")}`;
}

/** Jobs in every state, with hostile names. */
export function sampleJobs(): Job[] {
  return [
    sampleJob(1, JobState.READY, { spec: { kind: "agent.codegen", requiredSkills: ["gpu", "blender"] } }),
    sampleJob(2, JobState.RUNNING, {
      workerName: "gpu-1",
      spec: { title: "shot 412", priority: 240 },
      progress: { fraction: 0.74, message: "frame 296/400" },
    }),
    sampleJob(3, JobState.RUNNING, {
      workerName: "evil\u001b[2J\u202e",
      cancelRequested: true,
      spec: { title: "\u001b]0;pwned\u0007漢字" },
    }),
    sampleJob(4, JobState.SCHEDULED, {
      failures: 1,
      wakeTime: timestampFromMs(sampleMs + 30_000),
      error: { code: "EXIT_NONZERO", message: "exit 1" },
    }),
    sampleJob(5, JobState.PARKED, { reason: "quota\nspent" }),
    sampleJob(6, JobState.BLOCKED, { waitingOn: 2 }),
    sampleJob(7, JobState.DEAD, { error: { code: "OOM", message: "CUDA out of memory" } }),
    sampleJob(8, JobState.SUCCEEDED, { prUrl: "https://example.com/pull/7" }),
    sampleJob(9, JobState.CANCELLED, { reason: "wrong branch" }),
    sampleJob(10, JobState.OFFERED, { workerName: "laptop" }),
  ];
}

function countsOf(jobs: Iterable<Job>): { state: JobState; count: bigint }[] {
  const counts = new Map<JobState, bigint>();
  for (const { state } of jobs) counts.set(state, (counts.get(state) ?? 0n) + 1n);
  return [...counts].map(([state, count]) => ({ state, count }));
}

function say(body: MessageInitShape<typeof WatchJobsResponseSchema>["body"]): WatchJobsResponse {
  return create(WatchJobsResponseSchema, body === undefined ? {} : { body });
}

interface Channel {
  readonly send: (message: WatchJobsResponse) => void;
  readonly end: () => void;
  readonly messages: () => AsyncGenerator<WatchJobsResponse, void>;
}

function makeChannel(): Channel {
  const waiting: WatchJobsResponse[] = [];
  let isEnded = false;
  let wake = (): void => undefined;
  return {
    send: (message) => {
      waiting.push(message);
      wake();
    },
    end: () => {
      isEnded = true;
      wake();
    },
    messages: async function* () {
      while (true) {
        const next = waiting.shift();
        if (next !== undefined) yield next;
        else if (isEnded) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    },
  };
}

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
