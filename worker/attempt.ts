import { create } from "@bufbuild/protobuf";
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { JobState } from "@muster/client/v1/job";
import type { LeaseRef } from "@muster/client/v1/job_service";
import type { OfferedLease, ParentResult as ParentMessage } from "@muster/client/v1/link";
import { type Session, SessionSchema } from "@muster/client/v1/session";
import type { Api, Caller } from "./api.ts";
import type {
  ChildJob,
  IncomingMessage,
  JobContext,
  JobInfo,
  JobLog,
  JobProject,
  JobToken,
  ParentResult,
  ParkOptions,
  RedactingStream,
  SkillDocument,
  StoredArtifact,
  SubmittedJob,
} from "./context.ts";
import type { JobProfile, ReportBody } from "./engine/messages.ts";
import { JobFailure, ParkSignal, ReleaseSignal } from "./failure.ts";
import { encodeEvent } from "./handler-event.ts";
import type { IsolationLevel } from "./isolation.ts";
import { jobLog } from "./job-log.ts";
import { decodePayload, encodeJson } from "./json.ts";
import { MessageQueue } from "./message-queue.ts";
import type { LinkedProject } from "./published.ts";
import { Redaction } from "./redaction.ts";
import type { SkillDocuments } from "./skill-documents.ts";
import { Spans } from "./spans.ts";
import { Stop, type StopOrder } from "./stop.ts";
import { clipBytes, clipText } from "./text.ts";
import { type TraceSpan, type Tracing, traceLabel } from "./tracing.ts";

const maxProgressChars = 200;
const maxMessageBytes = 64 * 1024;
const maxUrlChars = 2000;

/** The calls that an attempt makes outside the link. */
export type AttemptApi = Pick<Api, "submit" | "artifact" | "jobToken" | "parents">;

/** What an attempt needs of the worker. */
export interface AttemptOptions {
  readonly api: AttemptApi;
  /** Largest partial result. */
  readonly payloadBytes: number;
  /** Largest piece of log. */
  readonly logChunkBytes: number;
  /** The working copy of a project that this machine has. */
  readonly linkedProject: (project: string) => LinkedProject | undefined;
  /** The documents of skills. */
  readonly documents: Pick<SkillDocuments, "read">;
  /** Sends a report of the attempt. */
  readonly report: (leaseId: string, body: ReportBody) => void;
  /** Makes spans of OpenTelemetry; absent: nobody wants them. */
  readonly tracing?: Tracing;
}

const noPayload = Symbol("not parsed yet");

/** The context of one attempt. Everything that a handler may not use is made when it is first used. */
export class Attempt implements JobContext {
  readonly lease: LeaseRef;
  /** Named by the handler. */
  prUrl = "";
  /** Of its programs, once it has started one. */
  isolation: IsolationLevel | undefined;
  /** The secrets that the handler has registered. */
  readonly redaction = new Redaction();
  readonly #offer: OfferedLease;
  readonly #options: AttemptOptions;
  #payload: unknown = noPayload;
  #job: JobInfo | undefined;
  #stop: Stop | undefined;
  #stopping: AbortController | undefined;
  #hurry: AbortController | undefined;
  #isLate = false;
  #softTimeout: AbortController | undefined;
  #log: (JobLog & { flush(): void }) | undefined;
  #messages: MessageQueue | undefined;
  #children = 0;
  #parents: Promise<readonly ParentResult[]> | undefined;
  #skills: Promise<readonly SkillDocument[]> | undefined;
  #token: Promise<JobToken> | undefined;
  #spans: Spans | undefined;
  readonly #startMs = performance.now();
  readonly #trace: TraceSpan | undefined;
  #isEnded = false;

  constructor(lease: LeaseRef, offer: OfferedLease, options: AttemptOptions) {
    this.lease = lease;
    this.#offer = offer;
    this.#options = options;
    if (options.tracing !== undefined) this.#trace = this.#traced(options.tracing);
  }

  get job(): JobInfo {
    this.#job ??= jobInfoOf(this.lease, this.#offer);
    return this.#job;
  }

  get payload(): unknown {
    if (this.#payload === noPayload) this.#payload = decodePayload(this.#offer.payload);
    return this.#payload;
  }

  get idempotencyKey(): string {
    return this.#offer.idempotencyKey;
  }

  get signal(): AbortSignal {
    if (this.#stopping === undefined) {
      this.#stopping = new AbortController();
      if (this.#stop !== undefined) this.#stopping.abort(this.#stop);
    }
    return this.#stopping.signal;
  }

  get softTimeout(): AbortSignal {
    if (this.#softTimeout === undefined) {
      this.#softTimeout = new AbortController();
      if (this.#isLate) this.#softTimeout.abort();
    }
    return this.#softTimeout.signal;
  }

  get project(): JobProject | null {
    const { project: name, projectRoot } = this.#offer;
    if (name === "") return null;
    const linked = this.#options.linkedProject(name);
    const root = projectRoot || linked?.root || null;
    return { name, root, remoteUrl: linked?.remoteUrl || null };
  }

  get session(): Session | null {
    const { session, sessionId, project } = this.#offer;
    if (session !== undefined) return session;
    return sessionId === "" ? null : create(SessionSchema, { sessionId, project });
  }

  get log(): JobLog {
    this.#log ??= jobLog(this.#options.logChunkBytes, this.redaction, (body) => this.#report(body));
    return this.#log;
  }

  get messages(): AsyncIterable<IncomingMessage> {
    this.#messages ??= new MessageQueue();
    if (this.#stop !== undefined) this.#messages.end();
    return this.#messages;
  }

  /** The handler was asked to stop. */
  get isStopping(): boolean {
    return this.#stop !== undefined;
  }

  isolatedBy(level: IsolationLevel): void {
    this.isolation = level;
  }

  addSecret(secret: string): boolean {
    return this.redaction.add(secret);
  }

  redacting(): RedactingStream {
    return this.redaction.stream();
  }

  onSoftTimeout(warn: () => void): void {
    if (this.softTimeout.aborted) warn();
    else this.softTimeout.addEventListener("abort", warn, { once: true });
  }

  progress(fraction?: number, message = ""): void {
    const isNumber = fraction !== undefined && !Number.isNaN(fraction);
    const within = isNumber ? Math.min(1, Math.max(0, fraction)) : undefined;
    const said = clipText(this.redaction.redact(message), maxProgressChars);
    this.#report({ kind: "progress", fraction: within, message: said });
  }

  partial(value: unknown): void {
    const data = this.redaction.redactJson(encodeJson(value, "PARTIAL", this.#options.payloadBytes));
    this.#report({ kind: "partial", data });
  }

  message(text: string): void {
    this.#report({ kind: "message", text: clipBytes(this.redaction.redact(text), maxMessageBytes) });
  }

  event(name: string, body?: unknown): void {
    this.#report({ kind: "event", name, data: encodeEvent(name, body, this.redaction) });
  }

  pullRequest(url: string): void {
    this.prUrl = clipText(this.redaction.redact(url), maxUrlChars);
  }

  submit(job: ChildJob, options: { readonly idempotencyKey?: string } = {}): Promise<SubmittedJob> {
    this.#children += 1;
    const key = options.idempotencyKey ?? `child:${this.lease.jobId}:${this.#children}`;
    return this.#options.api.submit(this.#caller(), this.#inTrace(job), key);
  }

  artifact(
    name: string,
    content: Uint8Array | string,
    options: { readonly contentType?: string } = {},
  ): Promise<StoredArtifact> {
    const contentType = options.contentType ?? "application/octet-stream";
    return this.#options.api.artifact(this.#caller(), name, content, contentType);
  }

  token(): Promise<JobToken> {
    this.#token ??= this.#options.api.jobToken(this.#caller()).then(
      (token) => {
        this.redaction.add(token.key);
        return token;
      },
      (error: unknown) => {
        this.#token = undefined;
        throw error;
      },
    );
    return this.#token;
  }

  parents<R = unknown>(): Promise<readonly ParentResult<R>[]> {
    this.#parents ??= this.#readParents().catch((error: unknown) => {
      this.#parents = undefined;
      throw error;
    });
    return ofType<R>(this.#parents);
  }

  skills(): Promise<readonly SkillDocument[]> {
    this.#skills ??= this.#readSkills().catch((error: unknown) => {
      this.#skills = undefined;
      throw error;
    });
    return this.#skills;
  }

  span<T>(name: string, body: () => T): T {
    if (this.#isEnded) return body();
    this.#spans ??= new Spans(this.#startMs, this.#trace);
    return this.#spans.run(name, body);
  }

  park({ reason, wakeAfterMs, until, pool, session }: ParkOptions): never {
    const untilMs = until && Math.max(0, until.getTime() - Date.now());
    throw new ParkSignal(reason, wakeAfterMs ?? untilMs, pool, session);
  }

  release(reason: string): never {
    throw new ReleaseSignal(reason);
  }

  /** The handler should stop. The first order stands; the loss of the lease ends its grace. */
  stop(order: StopOrder): void {
    if (this.#stop !== undefined) {
      if (order.kind === "superseded") this.#hurry?.abort(this.#stop);
      return;
    }
    this.#hurry = new AbortController();
    this.#stop = new Stop(order, this.#hurry.signal);
    this.#messages?.end();
    this.#stopping?.abort(this.#stop);
  }

  /** The soft timeout has passed. */
  late(): void {
    this.#isLate = true;
    this.#softTimeout?.abort();
  }

  /** A message came. */
  incoming(message: IncomingMessage): void {
    this.#messages ??= new MessageQueue();
    this.#messages.push(message);
  }

  /** Runs the handler, as what its trace is about. */
  within<T>(body: () => T): T {
    return this.#trace === undefined ? body() : this.#trace.within(body);
  }

  /** Where the time went; undefined when the handler marked nothing. To be asked once, when it has ended. */
  profile(): JobProfile | undefined {
    return this.#spans?.finish();
  }

  /** Ends its trace. */
  endTrace(failure?: { readonly thrown: unknown }): void {
    this.#trace?.end(failure);
  }

  /** The handler has ended: what it held back is sent, and what it still says is dropped. */
  end(): void {
    this.#log?.flush();
    this.#messages?.end();
    this.#isEnded = true;
  }

  #report(body: ReportBody): void {
    if (!this.#isEnded) this.#options.report(this.lease.leaseId, body);
  }

  async #readParents(): Promise<readonly ParentResult[]> {
    const { parentCount, parentResults } = this.#offer;
    const isWhole = parentResults.length === parentCount;
    return (isWhole ? parentResults : await this.#options.api.parents(this.#caller())).map(parentOf);
  }

  #readSkills(): Promise<readonly SkillDocument[]> {
    return Promise.all(
      this.#offer.skillDocuments.map(async ({ skill: name, digest, text }) => {
        if (digest === "")
          throw new JobFailure(`the skill ${name} has no document`, { code: "SKILL_NOT_FOUND" });
        return { name, digest, text: text || (await this.#options.documents.read({ skill: name, digest })) };
      }),
    );
  }

  // What it starts elsewhere is a part of the same trace.
  #inTrace(job: ChildJob): ChildJob {
    const traceparent = this.#trace?.traceparent;
    if (traceparent === undefined || job.labels?.[traceLabel] !== undefined) return job;
    return { ...job, labels: { ...job.labels, [traceLabel]: traceparent } };
  }

  #traced(tracing: Tracing): TraceSpan {
    const { jobId, attempt } = this.lease;
    const { kind, queue, labels } = this.#offer;
    return tracing.attempt({ kind, jobId, attempt, queue, traceparent: labels[traceLabel] });
  }

  #caller(): Caller {
    return { lease: this.lease, jobToken: this.#offer.jobToken, signal: this.signal };
  }
}

const parentStates: Readonly<Partial<Record<JobState, ParentResult["state"]>>> = {
  [JobState.SUCCEEDED]: "SUCCEEDED",
  [JobState.CANCELLED]: "CANCELLED",
  [JobState.DEAD]: "DEAD",
};

function parentOf({ jobId, state, kind, externalId, result }: ParentMessage): ParentResult {
  return {
    jobId,
    state: parentStates[state] ?? "GONE",
    kind,
    externalId: externalId === "" ? undefined : externalId,
    result: state === JobState.SUCCEEDED ? decodePayload(result) : undefined,
  };
}

// The handler says what it expects; nothing checks it, as with the payload.
function ofType<R>(parents: Promise<readonly ParentResult[]>): Promise<readonly ParentResult<R>[]> {
  return parents as Promise<readonly ParentResult<R>[]>;
}

function jobInfoOf({ jobId: id, attempt }: LeaseRef, offer: OfferedLease): JobInfo {
  const { kind, title, failures, maxAttempts, labels, queue, points, requiredSkills } = offer;
  const timeouts = { softTimeoutMs: msOf(offer.softTimeout), hardTimeoutMs: msOf(offer.hardTimeout) };
  const size = { labels, queue, points, requiredSkills };
  return { id, kind, title, attempt, failures, maxAttempts, ...size, ...timeouts };
}

function msOf(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : durationMs(duration);
}
