import type { MessageInitShape } from "@bufbuild/protobuf";
import type { JobSpecSchema } from "@muster/client/v1/job";
import type { Session } from "@muster/client/v1/session";
import type { IsolationLevel, KindIsolation } from "./isolation.ts";
import type { LogLevel } from "./logger.ts";

/** What is known of a job when an attempt of it starts. */
export interface JobInfo {
  /** `job_…`. */
  readonly id: string;
  /** What sort of work. */
  readonly kind: string;
  /** For people. */
  readonly title: string;
  /** Number of this attempt; rises by one or more from attempt to attempt. */
  readonly attempt: number;
  /** Attempts that failed before. */
  readonly failures: number;
  /** Failures after which the job is dead. */
  readonly maxAttempts: number;
  /** Free text by key. */
  readonly labels: Readonly<Record<string, string>>;
  /** The lane. */
  readonly queue: string;
  /** Size. */
  readonly points: number;
  /** Skills that the job requires. */
  readonly requiredSkills: readonly string[];
  /** From the start of the attempt to the warning; undefined when there is none. */
  readonly softTimeoutMs: number | undefined;
  /** From the start of the attempt to the request to stop; undefined when there is none. */
  readonly hardTimeoutMs: number | undefined;
}

/** `ctx.log("text")` or `ctx.log("warn", "text")`; and raw output of processes. Never waits, never throws. */
export interface JobLog {
  (text: string): void;
  (level: LogLevel, text: string): void;
  /** Standard output of a process: chunks may cut characters in two. */
  stdout(chunk: Uint8Array | string): void;
  /** Standard error of a process. */
  stderr(chunk: Uint8Array | string): void;
  /** What the worker says of the work, apart from what the work says. */
  system(text: string): void;
}

/** A stream of text, of which each chunk comes out without secrets; what may be the start of one is held back. */
export interface RedactingStream {
  /** What is safe to show by now. Bytes may be cut inside of a character. */
  push(chunk: Uint8Array | string): string;
  /** What was held back. */
  end(): string;
}

/** A job to submit; `payload` is any JSON value. The other fields are those of JobSpec. */
export type ChildJob = Omit<MessageInitShape<typeof JobSpecSchema>, "payload" | "$typeName" | "$unknown"> & {
  readonly kind: string;
  readonly payload?: unknown;
};

/** A job that exists now. */
export interface SubmittedJob {
  /** `job_…`. */
  readonly jobId: string;
  /** It existed already under the idempotency key. */
  readonly replayed: boolean;
}

/** Something said to the handler by an operator or a service. */
export interface IncomingMessage {
  /** Id of the message. */
  readonly messageId: string;
  /** What is said. Untrusted text. */
  readonly text: string;
}

/** An artifact that is committed. */
export interface StoredArtifact {
  /** `art_…`. */
  readonly artifactId: string;
  /** File name. */
  readonly name: string;
  /** Size in bytes. */
  readonly sizeBytes: number;
  /** SHA-256 of the bytes, in hex. */
  readonly sha256: string;
}

/** The project of a job. */
export interface JobProject {
  /** Its name. */
  readonly name: string;
  /** Root of its working copy on this machine; null: there is none. */
  readonly root: string | null;
  /** Remote URL of the working copy; null: none is known. */
  readonly remoteUrl: string | null;
}

/** What an attempt calls the API with. */
export interface JobToken {
  /** URL of the API. */
  readonly address: string;
  /** `mk_job_…`. */
  readonly key: string;
}

/** How a job is parked. */
export interface ParkOptions {
  /** For people; at most 200 characters are kept. */
  readonly reason: string;
  /** How long; wins over `until`. */
  readonly wakeAfterMs?: number;
  /** Until when. */
  readonly until?: Date;
  /** The quota of the job's pool is spent. Default: false. */
  readonly pool?: boolean;
  /** Go on in this session of this worker. Default: in the one that the attempt was given, if any. */
  readonly session?: string;
}

/** What a job left to one that depends on it. */
export interface ParentResult<R = unknown> {
  /** `job_…`. */
  readonly jobId: string;
  /** How it ended. `GONE`: it was removed. Only with the policy `release` another one than `SUCCEEDED` is met. */
  readonly state: "SUCCEEDED" | "CANCELLED" | "DEAD" | "GONE";
  /** Its kind; empty when it is gone. */
  readonly kind: string;
  /** The submitter's own id for it; undefined when it has none. */
  readonly externalId: string | undefined;
  /** What its handler returned, as a JSON value; undefined when it did not succeed. Nothing checks it. */
  readonly result: R | undefined;
}

/** The document of a skill, for whoever does the work. */
export interface SkillDocument {
  /** Name of the skill. */
  readonly name: string;
  /** SHA-256 of the text, in hex: its version. */
  readonly digest: string;
  /** Markdown. Whoever may steer jobs wrote it. */
  readonly text: string;
}

/** What a handler gets: one attempt of one job. Useless once the handler has ended. */
export interface JobContext<P = unknown> {
  /** The job. */
  readonly job: JobInfo;
  /**
   * What is asked, parsed at the first look. P is what the handler expects; nothing checks it. Throws a
   * JobFailure that is not retryable when it is not JSON.
   */
  readonly payload: P;
  /** The same for every attempt of the job: for outside effects that must not happen twice. */
  readonly idempotencyKey: string;
  /**
   * Aborts when the handler should stop: cancel, hard timeout, lost lease, shutdown. The reason is a `Stop`.
   * A handler that throws after that has stopped; one that returns has succeeded all the same. One that
   * ignores it keeps its slot until it ends, because nothing can kill code in this process.
   */
  readonly signal: AbortSignal;
  /** Aborts at the soft timeout: finish soon. */
  readonly softTimeout: AbortSignal;
  /** The job's project, and its working copy on this machine; null when the job has none. */
  readonly project: JobProject | null;
  /** The agent session to use, which is this worker's; null when the job has none. */
  readonly session: Session | null;
  /** Writes to the log of the attempt. */
  readonly log: JobLog;
  /**
   * What this attempt, or an agent that it runs, may call the API with: for its own job alone (read it, keep artifacts,
   * submit child jobs), and as long as the lease is current. `key` is sent like an API key; `MUSTER_ADDRESS` and
   * `MUSTER_API_KEY` take both. Fetched at the first call; from then on the key is a secret, as by `addSecret`.
   * Rejects with a ConnectError.
   */
  token(): Promise<JobToken>;
  /**
   * Registers a secret: `***` stands for it, from now on, in the log, progress, messages, partial results, errors and
   * the result; also for its base64, hex, URL-encoded and JSON-escaped forms, for each of its lines, and where chunks
   * of output cut it. False for one of fewer than 6 characters, which is not looked for.
   */
  addSecret(secret: string): boolean;
  /** A stream without this attempt's secrets, for output that goes elsewhere than to its log. */
  redacting(): RedactingStream;
  /** Says under which isolation the attempt's programs run; told with its result, and shown on the attempt. */
  isolatedBy(level: IsolationLevel): void;
  /** Messages from operators and services, from the first one; ends when the handler should stop. */
  readonly messages: AsyncIterable<IncomingMessage>;
  /** Calls `warn` at the soft timeout; at once when it has passed. */
  onSoftTimeout(warn: () => void): void;
  /** How far it is: 0 to 1, and a few words. The latest counts; sent at most once a second. */
  progress(fraction?: number, message?: string): void;
  /** Publishes a partial result: any JSON value up to 1 MiB. Throws a JobFailure when it is not. */
  partial(value: unknown): void;
  /** Says something to people and services. */
  message(text: string): void;
  /**
   * Tells other services that something happened: `handler.` and the name is the type of the event, by which they
   * follow it and filter. `name` has 1 to 100 characters of `a-z 0-9 . _ -`, the first a letter or digit; `body` is any
   * JSON value of up to 64 KiB, nested 60 deep. Never waits. Each is in the attempt's record; of one that says more than
   * 100 at once and 10 a second others are told no more than that, with the next one how many were left out. Throws a
   * JobFailure that is not retryable when it cannot be told.
   */
  event(name: string, body?: unknown): void;
  /**
   * Runs `body` and remembers how long it took, until the promise that it may return has settled; answers and throws as
   * it does. Spans inside of it, also across `await`, are shown below it. Where the time went comes with the result
   * (`muster profile`): 200 names in their places, 16 deep, 100 characters a name; what is beyond is counted. A span of
   * OpenTelemetry, too, where this process has a tracer.
   */
  span<T>(name: string, body: () => T): T;
  /** The pull request that the job opened, to be named in the result. */
  pullRequest(url: string): void;
  /**
   * Submits a child job. The default idempotency key is the id of this job and a running number, so that a
   * second attempt which submits the same children in the same order submits nothing twice. Rejects with a
   * ConnectError.
   */
  submit(job: ChildJob, options?: { readonly idempotencyKey?: string }): Promise<SubmittedJob>;
  /** Keeps a file: bytes, or the path of a file, up to 1 GiB. Rejects with an error that says which step failed. */
  artifact(
    name: string,
    content: Uint8Array | string,
    options?: { readonly contentType?: string },
  ): Promise<StoredArtifact>;
  /**
   * What the jobs left that this one depends on, in the order in which they were named; empty when it depends on none.
   * Up to 256 KiB come with the lease; more is fetched at the first call. Rejects with a ConnectError when it cannot
   * be, and may be called again.
   */
  parents<R = unknown>(): Promise<readonly ParentResult<R>[]>;
  /**
   * The documents that the job names in its `instructions`, in that order; then those of the skills that it requires,
   * where there are any. As they were when the lease was granted. Fetched at the first call, unless this worker has them
   * from an earlier job. Rejects with a retryable JobFailure when the job names one that is not there, with a ConnectError
   * when one cannot be fetched; and may be called again.
   */
  skills(): Promise<readonly SkillDocument[]>;
  /**
   * Ends the attempt: the job is held, without spending an attempt, for a while (`wakeAfterMs`, or `until` a time by
   * this machine's clock) or until somebody unparks it. With `pool` the quota of the job's pool is spent: all jobs of
   * the pool wait as long, or until somebody resumes the pool; a job that has no pool is held alone.
   */
  park(options: ParkOptions): never;
  /** Ends the attempt: the job is given back, without spending an attempt, to run elsewhere or later. */
  release(reason: string): never;
}

// Declared as a method so that a handler for a certain payload fits where handlers for any are kept: nothing
// checks payloads but the handler itself.
/** What runs the jobs of a kind. What it returns, any JSON value up to 1 MiB, is the result. */
export type Handler<P = unknown, R = unknown> = {
  run(ctx: JobContext<P>): Promise<R> | R;
}["run"] & {
  /** The isolation that programs of the kind need at least. */
  readonly isolation?: KindIsolation;
};

/**
 * Gives a handler the types of its payload and result, and its kind an isolation:
 * `defineHandler<Input, Output>(async (ctx) => …, { isolation: { level: "bwrap" } })`.
 */
export function defineHandler<P, R = unknown>(
  handler: Handler<P, R>,
  definition: { readonly isolation?: KindIsolation } = {},
): Handler<P, R> {
  return Object.assign(handler, definition);
}
