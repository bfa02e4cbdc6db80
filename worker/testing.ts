import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { JobState } from "@muster/client/v1/job";
import { type OfferedLease, OfferedLeaseSchema, ParentResultSchema } from "@muster/client/v1/link";
import { type Payload, PayloadSchema } from "@muster/client/v1/payload";
import { Attempt, type AttemptApi } from "./attempt.ts";
import type { ChildJob, Handler } from "./context.ts";
import type { Outcome, ReportBody } from "./engine/messages.ts";
import { encodeJson } from "./json.ts";
import { thrownOutcome } from "./outcome.ts";

/** The job that a handler is tried with; what is absent has the default of a job. */
export interface TriedJob {
  /** What is asked: any JSON value. Default: null. */
  readonly payload?: unknown;
  /** Default: `test`. */
  readonly kind?: string;
  readonly title?: string;
  /** Default: 1. */
  readonly attempt?: number;
  /** Attempts that failed before. Default: 0. */
  readonly failures?: number;
  readonly labels?: Readonly<Record<string, string>>;
  /** What the jobs left that this one depends on: the results of as many that succeeded. */
  readonly parentResults?: readonly unknown[];
  /** Documents of skills that it is given: Markdown by the name of the skill. */
  readonly skills?: Readonly<Record<string, string>>;
  /** The name of its project, and where the working copy is. */
  readonly project?: { readonly name: string; readonly root?: string };
  /** Asks the handler to stop when it aborts, as a cancel does. */
  readonly cancel?: AbortSignal;
}

/** How a handler ended, and all that it said and did. */
export interface TriedRun<R = unknown> {
  /** As the worker tells the coordinator: `succeeded`, `failed`, `stopped`, `released` or `parked`, and why. */
  readonly outcome: Outcome;
  /** What it returned, as the coordinator keeps it; undefined when it did not succeed. */
  readonly result: R | undefined;
  /** Lines of its log, without its secrets. */
  readonly logs: readonly string[];
  /** How far it said that it was. */
  readonly progress: readonly { readonly fraction: number | undefined; readonly message: string }[];
  /** Its partial results. */
  readonly partials: readonly unknown[];
  /** What it said to people and services. */
  readonly messages: readonly string[];
  /** Events of its own that it told. */
  readonly events: readonly { readonly name: string; readonly body: unknown }[];
  /** Jobs that it submitted; each was answered with `job_1`, `job_2`, … */
  readonly submitted: readonly ChildJob[];
  /** Files that it kept. Nothing was read or uploaded. */
  readonly artifacts: readonly { readonly name: string; readonly content: Uint8Array | string }[];
}

/**
 * Runs a handler on one job as a worker does, without a coordinator: the same context, limits, redaction and outcome.
 * Nothing leaves this process; the first try of a handler in its test. What no fake can answer, a job token, rejects.
 *
 *     const { result } = await tryHandler(greet, { payload: { name: "Ada" } });
 */
export async function tryHandler<P, R>(handler: Handler<P, R>, job: TriedJob = {}): Promise<TriedRun<R>> {
  const said: ReportBody[] = [];
  const submitted: ChildJob[] = [];
  const artifacts: { name: string; content: Uint8Array | string }[] = [];
  const api: AttemptApi = {
    async submit(_, child) {
      const { payload } = child;
      encodeJson(payload, "PAYLOAD", payloadBytes);
      submitted.push(child);
      return { jobId: `job_${submitted.length}`, replayed: false };
    },
    async artifact(_, name, content) {
      artifacts.push({ name, content });
      const sizeBytes = typeof content === "string" ? 0 : content.byteLength;
      return { artifactId: `art_${artifacts.length}`, name, sizeBytes, sha256: "" };
    },
    jobToken: () => Promise.reject(new Error("a handler that is tried has no job token")),
    parents: async () => [],
  };
  const lease = {
    $typeName: "muster.v1.LeaseRef",
    jobId: "job_tried",
    attempt: 1,
    leaseId: "lse_tried",
  } as const;
  const attempt = new Attempt({ ...lease, attempt: job.attempt ?? 1 }, offerOf(job), {
    api,
    payloadBytes,
    logChunkBytes: 64 * 1024,
    linkedProject: () => undefined,
    documents: { read: () => Promise.reject(new Error("nothing is fetched for a handler that is tried")) },
    report: (_, body) => {
      said.push(body);
    },
  });
  const stop = (): void =>
    attempt.stop({ kind: "cancelled", reason: "cancelled by the test", graceMs: 10_000 });
  if (job.cancel?.aborted === true) stop();
  job.cancel?.addEventListener("abort", stop, { once: true });
  const outcome = await outcomeOf(handler, attempt);
  job.cancel?.removeEventListener("abort", stop);
  attempt.end();
  return {
    outcome,
    result: outcome.kind === "succeeded" ? asResult<R>(read(outcome.result)) : undefined,
    logs: said.flatMap((one) => (one.kind === "log" ? one.text : [])),
    progress: said.flatMap((one) => {
      return one.kind === "progress" ? { fraction: one.fraction, message: one.message } : [];
    }),
    partials: said.flatMap((one) => (one.kind === "partial" ? [read(one.data)] : [])),
    messages: said.flatMap((one) => (one.kind === "message" ? one.text : [])),
    events: said.flatMap((one) => (one.kind === "event" ? { name: one.name, body: read(one.data) } : [])),
    submitted,
    artifacts,
  };
}

const payloadBytes = 1024 * 1024;

async function outcomeOf<P, R>(handler: Handler<P, R>, attempt: Attempt): Promise<Outcome> {
  try {
    const returned = await handler(asContext<P>(attempt));
    const value = attempt.redaction.redactJson(encodeJson(returned, "RESULT", payloadBytes));
    return { kind: "succeeded", result: value, prUrl: attempt.prUrl };
  } catch (thrown) {
    return thrownOutcome(thrown, attempt.isStopping, attempt.redaction);
  }
}

function offerOf({ payload, project, parentResults = [], skills = {}, ...job }: TriedJob): OfferedLease {
  return create(OfferedLeaseSchema, {
    kind: job.kind ?? "test",
    title: job.title ?? "",
    payload: payloadOf(encodeJson(payload, "PAYLOAD", payloadBytes)),
    queue: "default",
    points: 1,
    failures: job.failures ?? 0,
    maxAttempts: 3,
    idempotencyKey: "job_tried",
    labels: { ...job.labels },
    project: project?.name ?? "",
    projectRoot: project?.root ?? "",
    skillDocuments: Object.entries(skills).map(([skill, text]) => ({
      ...{ skill, text },
      digest: createHash("sha256").update(text).digest("hex"),
    })),
    parentCount: parentResults.length,
    parentResults: parentResults.map((result, index) =>
      create(ParentResultSchema, {
        jobId: `job_parent_${index + 1}`,
        state: JobState.SUCCEEDED,
        kind: "test",
        result: payloadOf(encodeJson(result, "RESULT", payloadBytes)),
      }),
    ),
  });
}

function payloadOf(value: Uint8Array): Payload {
  return create(PayloadSchema, { content: { case: "data", value } });
}

function read(bytes: Uint8Array): unknown {
  return JSON.parse(Buffer.from(bytes).toString("utf8"));
}

// A handler says which payload it expects; nothing checks it, here as in a worker.
function asContext<P>(attempt: Attempt): Parameters<Handler<P>>[0] {
  return attempt as Parameters<Handler<P>>[0];
}

// What was returned has been through JSON: the type is what the handler claims.
function asResult<R>(value: unknown): R {
  return value as R;
}
