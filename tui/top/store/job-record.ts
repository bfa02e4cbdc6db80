import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { Artifact, ArtifactService } from "@muster/client/v1/artifact_service";
import type { AttemptEvent } from "@muster/client/v1/event";
import type { Attempt, Job } from "@muster/client/v1/job";
import { type EventCursor, EventCursorSchema, type JobService, JobView } from "@muster/client/v1/job_service";
import { isTerminal } from "../../output/states.ts";
import { isPassing } from "../../stream/reconnect.ts";
import { watchJob } from "../../stream/watch-job.ts";
import { type Freshness, lostConnection } from "./connection.ts";
import { createLogRing, type LogRing } from "./log-ring.ts";

/** Everything that is known of one job. */
export interface JobRecordState extends Freshness {
  /** With payload and result, once they are read; undefined before. */
  readonly job: Job | undefined;
  readonly attempts: readonly Attempt[];
  readonly artifacts: readonly Artifact[];
  /** Why the job cannot be shown: it is deleted, or never was. */
  readonly refusal: ConnectError | undefined;
}

/** What it takes to follow a job. */
export interface JobRecordClients {
  readonly jobs: Client<typeof JobService>;
  readonly artifacts: Pick<Client<typeof ArtifactService>, "listArtifacts">;
}

/** One job, followed: its state, its attempts, its log. Detail and log screen share it. */
export interface JobRecord {
  readonly jobId: string;
  readonly state: () => JobRecordState;
  readonly log: LogRing;
  /** Keeps it fresh until the signal; it goes on where an earlier follow left off. Never throws. */
  readonly follow: (signal: AbortSignal) => Promise<void>;
  /** Forgets the log and reads it from this attempt on; 0: from the first. */
  readonly readLogFrom: (attempt: number) => void;
  /** The attempt that the log begins with. */
  readonly logFrom: () => number;
}

/** How a record is made. */
export interface JobRecordOptions {
  readonly clients: JobRecordClients;
  readonly jobId: string;
  /** What a list knows already. */
  readonly known?: Job | undefined;
  readonly now: () => number;
  readonly changed: () => void;
  /** Waits; tests hand in their own. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

/** Time between two looks at a job that has ended: somebody may run it again. */
const endedPauseMs = 3_000;

/** Makes the record of a job; nothing is read before it is followed. */
export function createJobRecord(options: JobRecordOptions): JobRecord {
  const { clients, jobId, now, changed } = options;
  const wait = options.wait ?? ((ms: number, signal: AbortSignal) => delay(ms, undefined, { signal }));
  const log = createLogRing();
  let cursor: EventCursor | undefined;
  let from = 0;
  let state: JobRecordState = {
    job: options.known,
    attempts: [],
    artifacts: [],
    refusal: undefined,
    connection: { kind: "connecting" },
    receivedMs: now(),
    quietMs: 45_000,
  };
  const set = (change: Partial<JobRecordState>): void => {
    state = { ...state, ...change };
    changed();
  };
  const heard = (): Partial<JobRecordState> => ({
    connection: { kind: "live" },
    receivedMs: now(),
    refusal: undefined,
  });
  const once = (signal: AbortSignal) => ({ signal, timeoutMs: 30_000 });

  // The stream tells of the job without payload and result, so they are read again when something has ended.
  const readRest = async (signal: AbortSignal): Promise<void> => {
    const [full, attempts, artifacts] = await Promise.all([
      clients.jobs.getJob({ jobId, view: JobView.FULL }, once(signal)),
      clients.jobs.listAttempts({ jobId, pageSize: 1_000 }, once(signal)),
      clients.artifacts.listArtifacts({ jobId, pageSize: 1_000 }, once(signal)).catch(unlessUnknown),
    ]);
    set({
      ...heard(),
      job: full.job,
      attempts: attempts.attempts,
      artifacts: artifacts?.artifacts ?? [],
    });
  };
  const takeJob = async (job: Job, signal: AbortSignal): Promise<void> => {
    const before = state.job;
    const isOther =
      before === undefined ||
      state.attempts.length === 0 ||
      before.state !== job.state ||
      before.attempt !== job.attempt ||
      before.generation !== job.generation;
    set({ ...heard(), job: { ...job, ...keptOf(before, job) } });
    if (isOther) await readRest(signal).catch(unlessEnding(signal));
  };
  const takeEvent = (event: AttemptEvent): void => {
    cursor = create(EventCursorSchema, { attempt: event.attempt, sequence: event.sequence });
    if (event.attempt >= from) log.push(event);
    set(heard());
  };
  const watch = async (signal: AbortSignal): Promise<void> => {
    const onLost = (error: ConnectError, delayMs: number, attempt: number): void =>
      set({ connection: lostConnection(state.connection, error.rawMessage, delayMs, attempt, now()) });
    const after =
      cursor ?? (from === 0 ? undefined : create(EventCursorSchema, { attempt: from, sequence: 0n }));
    for await (const { body } of watchJob(clients.jobs, jobId, {
      events: true,
      ...(after === undefined ? {} : { after }),
      signal,
      fromTheStart: true,
      wait,
      onLost,
    })) {
      if (body.case === "job") await takeJob(body.value, signal);
      else if (body.case === "event") takeEvent(body.value);
      else set(heard());
    }
  };
  const isEnded = (): boolean => state.job !== undefined && isTerminal(state.job.state);

  return {
    jobId,
    state: () => state,
    log,
    logFrom: () => from,
    readLogFrom: (attempt) => {
      from = attempt;
      cursor = undefined;
      log.clear();
    },
    follow: async (signal) => {
      while (!signal.aborted) {
        try {
          await watch(signal);
          while (!signal.aborted && isEnded()) {
            await wait(endedPauseMs, signal);
            const { job } = await clients.jobs.getJob({ jobId, view: JobView.BASIC }, once(signal));
            if (job !== undefined) await takeJob(job, signal);
          }
        } catch (error) {
          if (signal.aborted) return;
          const known = ConnectError.from(error);
          if (!isPassing(known)) set({ refusal: known, connection: { kind: "live" }, receivedMs: now() });
          else set({ connection: lostConnection(state.connection, known.rawMessage, 1_000, 1, now()) });
          await wait(isPassing(known) ? 1_000 : 30_000, signal).catch(() => undefined);
        }
      }
    },
  };
}

// Lists and streams leave payload and result out; what is known of the same run stays.
function keptOf(before: Job | undefined, job: Job): Partial<Job> {
  if (before === undefined) return {};
  const payload = before.spec?.payload;
  const spec = job.spec !== undefined && payload !== undefined ? { spec: { ...job.spec, payload } } : {};
  const isSame = before.generation === job.generation && before.result !== undefined;
  return { ...spec, ...(isSame && before.result !== undefined ? { result: before.result } : {}) };
}

function unlessUnknown(error: unknown): undefined {
  if (ConnectError.from(error).code !== Code.Unimplemented) throw error;
}

function unlessEnding(signal: AbortSignal): (error: unknown) => void {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}
