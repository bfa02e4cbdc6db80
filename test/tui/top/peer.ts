import { clone, create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { ArtifactService } from "@muster/client/v1/artifact_service";
import { type AttemptEvent, AttemptEventSchema, LogStream } from "@muster/client/v1/event";
import { AttentionItemSchema, AttentionSeverity, ExplainService } from "@muster/client/v1/explain_service";
import {
  type Attempt,
  AttemptOutcome,
  AttemptSchema,
  type Job,
  JobSchema,
  type JobSpec,
  JobState,
} from "@muster/client/v1/job";
import {
  type ActOnJobsRequest,
  type ActOnJobsResponse,
  JobService,
  type SubmitJobRequest,
  type UpdateJobRequest,
} from "@muster/client/v1/job_service";
import { StatusService } from "@muster/client/v1/status_service";
import { LookupType, SystemService } from "@muster/client/v1/system_service";
import {
  type WatchJobsRequest,
  type WatchJobsResponse,
  WatchJobsResponseSchema,
  WatchService,
} from "@muster/client/v1/watch_service";
import { payloadOfText } from "../../../tui/input/payload.ts";
import { isTerminal } from "../../../tui/output/states.ts";
import { sampleMs, sampleStatus } from "./sample.ts";

/** Services in memory, as the protos have them: what the console is tested against. */
export interface Peer {
  readonly routes: (router: ConnectRouter) => void;
  readonly jobs: Map<string, Job>;
  readonly watches: WatchJobsRequest[];
  readonly acts: ActOnJobsRequest[];
  readonly updates: UpdateJobRequest[];
  readonly submitted: SubmitJobRequest[];
  /** What an action on jobs answers; all are done without it. */
  answer?: (matched: readonly Job[]) => Pick<ActOnJobsResponse, "done" | "skipped" | "failures">;
  /** What a list is refused with. */
  refuseList?: ConnectError;
  /** What a submission is refused with. */
  refuse?: ConnectError;
  /** Sends a message to every watch of jobs that is open. */
  readonly tell: (body: MessageInitShape<typeof WatchJobsResponseSchema>["body"]) => void;
  /** Ends the stream of the status. */
  readonly failStatus: () => void;
  /** Ends every watch. */
  readonly cut: () => void;
}

/** Makes a peer with some jobs, newest first. */
export function makePeer(jobs: readonly Job[] = sampleJobs()): Peer {
  const held = new Map(jobs.map((job) => [job.jobId, job]));
  const watches: WatchJobsRequest[] = [];
  const acts: ActOnJobsRequest[] = [];
  const updates: UpdateJobRequest[] = [];
  const submitted: SubmitJobRequest[] = [];
  const open = new Set<Channel>();
  let failing = Promise.withResolvers<void>();
  const routes = (router: ConnectRouter): void => {
    router.service(StatusService, {
      getStatus: () => ({ status: sampleStatus() }),
      watchStatus: async function* (_request, { signal }) {
        yield { status: sampleStatus() };
        await Promise.race([ended(signal), failing.promise]);
        if (!signal.aborted) failing = Promise.withResolvers();
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
    router.service(JobService, {
      actOnJobs: (request) => {
        acts.push(request);
        const ids = request.jobs.case === "ids" ? request.jobs.value.jobIds : [...held.keys()];
        const matched = ids.flatMap((id) => held.get(id) ?? []);
        const { done, skipped, failures } = peer.answer?.(matched) ?? {
          done: matched.length,
          skipped: 0,
          failures: [],
        };
        return { matched: { states: countsOf(matched) }, done, skipped, failures };
      },
      updateJob: (request) => {
        updates.push(request);
        return { job: held.get(request.jobId) };
      },
      submitJob: (request) => {
        submitted.push(request);
        if (peer.refuse !== undefined) throw peer.refuse;
        return { jobId: jobId(0) };
      },
      retryJob: (request) => ({ job: held.get(request.jobId) }),
      getJob: ({ jobId: id }) => {
        const job = held.get(id);
        if (job === undefined) throw new ConnectError("there is no such job", Code.NotFound);
        const full = clone(JobSchema, job);
        if (full.spec !== undefined) full.spec.payload = payloadOfText('{"argv":["date"]}');
        return { job: full };
      },
      listAttempts: ({ jobId: id }) => ({ attempts: sampleAttempts(id) }),
      watchJob: async function* ({ jobId: id, events, after }, { signal }) {
        const job = held.get(id);
        if (job === undefined) throw new ConnectError("there is no such job", Code.NotFound);
        yield { body: { case: "job", value: job } };
        if (events) {
          for (const event of sampleEvents()) {
            if (after === undefined || event.sequence > after.sequence)
              yield { body: { case: "event", value: event } };
          }
        }
        if (!isTerminal(job.state)) await ended(signal);
      },
    });
    router.service(SystemService, {
      lookup: ({ text }) => ({
        candidates: [...held.keys()]
          .filter((id) => id.includes(text))
          .slice(0, 1)
          .map((id) => ({ type: LookupType.JOB, id, label: "agent.codegen" })),
      }),
    });
    router.service(ArtifactService, {
      listArtifacts: () => ({
        artifacts: [
          {
            artifactId: "art_1",
            name: "frame\u202e.png",
            contentType: "image/png",
            sizeBytes: 123_456n,
            attempt: 2,
          },
        ],
      }),
    });
    router.service(WatchService, {
      watchJobs: async function* (request, { signal }) {
        watches.push(request);
        if (peer.refuseList !== undefined) throw peer.refuseList;
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
  const peer: Peer = {
    routes,
    acts,
    updates,
    submitted,
    jobs: held,
    watches,
    tell: (body) => {
      for (const channel of open) channel.send(say(body));
    },
    failStatus: () => failing.resolve(),
    cut: () => {
      for (const channel of open) channel.end();
    },
  };
  return peer;
}

type JobChange = Partial<Omit<Job, "spec" | "error" | "progress" | "$typeName" | "$unknown">> & {
  readonly spec?: Partial<Omit<JobSpec, "$typeName" | "$unknown" | "retry">>;
  readonly error?: { readonly code: string; readonly message: string };
  readonly progress?: { readonly fraction?: number; readonly message: string };
};

/** A job of a list. */
export function sampleJob(n: number, state: JobState, change: JobChange = {}): Job {
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

/** An attempt that failed, and one that runs. */
export function sampleAttempts(id: string): Attempt[] {
  return [
    create(AttemptSchema, {
      jobId: id,
      attempt: 1,
      leaseId: "lse_1",
      workerName: "gpu-3",
      startTime: timestampFromMs(sampleMs - 100_000),
      endTime: timestampFromMs(sampleMs - 60_000),
      outcome: AttemptOutcome.FAILED,
      error: { code: "EXIT_NONZERO", message: "exit \u001b[31m1", detail: "line one\nline \u001b[2Jtwo" },
    }),
    create(AttemptSchema, {
      jobId: id,
      attempt: 2,
      leaseId: "lse_2",
      workerName: "gpu-1",
      startTime: timestampFromMs(sampleMs - 30_000),
    }),
  ];
}

/** What an attempt logged: lines, a gap, an error, escapes. */
export function sampleEvents(): AttemptEvent[] {
  const at = (n: number) => timestampFromMs(sampleMs - 30_000 + n * 1_000);
  const out = (n: number, text: string, stream = LogStream.STDOUT) =>
    create(AttemptEventSchema, {
      attempt: 1,
      sequence: BigInt(n),
      time: at(n),
      body: { case: "log", value: { stream, text } },
    });
  return [
    out(1, "Read blend: shots/shot_0412.blend\nframe 294 "),
    out(2, "done in 6.0s\n"),
    create(AttemptEventSchema, {
      attempt: 1,
      sequence: 5n,
      time: at(5),
      body: { case: "gap", value: { fromSequence: 3n, toSequence: 5n, cause: "slow-reader" } },
    }),
    out(6, "error: CUDA out of memory \u001b[2J\u202e\n", LogStream.STDERR),
    ...Array.from({ length: 30 }, (_, n) => out(7 + n, `frame ${295 + n} done in 6.1s\n`)),
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
