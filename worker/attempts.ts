import type { OfferedLease } from "@muster/client/v1/link";
import type { Api } from "./api.ts";
import { Attempt, type AttemptOptions } from "./attempt.ts";
import { withinMs } from "./clock.ts";
import type { Handler } from "./context.ts";
import type { Attachment, Outcome, Port, ToEngine, ToHandlers } from "./engine/messages.ts";
import { JobFailure } from "./failure.ts";
import { encodeJson } from "./json.ts";
import { thrownOutcome } from "./outcome.ts";
import type { LinkedProject } from "./published.ts";
import type { Tracing } from "./tracing.ts";

/** What the attempts of a worker need. */
export interface AttemptsOptions {
  /** By kind. */
  readonly handlers: Readonly<Record<string, Handler>>;
  readonly port: Port<ToEngine, ToHandlers>;
  readonly api: Api;
  /** The working copy of a project that this machine has. */
  readonly linkedProject: (project: string) => LinkedProject | undefined;
  /** The documents of skills. */
  readonly documents: AttemptOptions["documents"];
  /** Makes spans of OpenTelemetry; undefined: nobody wants them. */
  readonly tracing: Tracing | undefined;
}

/** The attempts that run: starts handlers, tells them what the engine says, and tells the engine how they end. */
export class Attempts {
  readonly #handlers: ReadonlyMap<string, Handler>;
  readonly #port: Port<ToEngine, ToHandlers>;
  readonly #running = new Map<string, Attempt>();
  /** Those that have ended since somebody asked who ran. */
  #endedSinceLook: string[] = [];
  #options: AttemptOptions;
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(options: AttemptsOptions) {
    this.#handlers = new Map(Object.entries(options.handlers));
    this.#port = options.port;
    this.#options = {
      api: options.api,
      linkedProject: options.linkedProject,
      documents: options.documents,
      payloadBytes: 1024 * 1024,
      logChunkBytes: 64 * 1024,
      report: (leaseId, body) => this.#port.post({ type: "report", leaseId, body }),
      ...(options.tracing === undefined ? {} : { tracing: options.tracing }),
    };
  }

  /** The coordinator named its limits. */
  limit(attachment: Attachment): void {
    const { payloadBytes, logChunkBytes } = attachment;
    this.#options = { ...this.#options, payloadBytes, logChunkBytes };
  }

  /** Runs the handler of a lease. Never throws. */
  start(offer: OfferedLease): void {
    const { lease } = offer;
    if (lease === undefined) return;
    const attempt = new Attempt(lease, offer, this.#options);
    this.#running.set(lease.leaseId, attempt);
    let value: unknown;
    try {
      const handler = this.#handlers.get(offer.kind);
      if (handler === undefined)
        throw new JobFailure(`there is no handler for ${offer.kind}`, { retryable: false });
      value = attempt.within(() => handler(attempt));
      if (isThenable(value)) {
        value.then(
          (result) => this.#returned(attempt, result),
          (thrown: unknown) => this.#threw(attempt, thrown),
        );
        return;
      }
    } catch (thrown) {
      this.#threw(attempt, thrown);
      return;
    }
    this.#returned(attempt, value);
  }

  /** The attempt of a lease, while its handler runs. */
  get(leaseId: string): Attempt | undefined {
    return this.#running.get(leaseId);
  }

  /** The attempts that ran at some time since the last call: `job_…#2`. */
  ranSinceLook(): string[] {
    const ended = this.#endedSinceLook;
    this.#endedSinceLook = [];
    return [...ended, ...this.#running.values().map(nameOf)];
  }

  /** Asks every handler to stop: there is no engine any more that could. Resolves when they have, or in time. */
  async stopAll(reason: string, waitMs: number): Promise<void> {
    for (const attempt of this.#running.values()) attempt.stop({ kind: "superseded", reason, graceMs: 2000 });
    if (this.#running.size === 0) return;
    this.#drained ??= Promise.withResolvers<void>();
    await withinMs(waitMs, this.#drained.promise, undefined);
  }

  #returned(attempt: Attempt, value: unknown): void {
    this.#end(attempt);
    const outcome = this.#success(attempt, value);
    attempt.endTrace();
    this.#settle(attempt, outcome);
  }

  #threw(attempt: Attempt, thrown: unknown): void {
    this.#end(attempt);
    const outcome = thrownOutcome(thrown, attempt.isStopping, attempt.redaction);
    attempt.endTrace(outcome.kind === "failed" ? { thrown } : undefined);
    this.#settle(attempt, outcome);
  }

  #success(attempt: Attempt, value: unknown): Outcome {
    try {
      const encoded = encodeJson(value, "RESULT", this.#options.payloadBytes);
      const result = attempt.redaction.redactJson(encoded);
      return { kind: "succeeded", result, prUrl: attempt.prUrl };
    } catch (thrown) {
      return thrownOutcome(thrown, false, attempt.redaction);
    }
  }

  // From here on the attempt says nothing more, also while its outcome is made.
  #end(attempt: Attempt): void {
    this.#running.delete(attempt.lease.leaseId);
    if (this.#endedSinceLook.length < maxEnded) this.#endedSinceLook.push(nameOf(attempt));
    attempt.end();
  }

  #settle(attempt: Attempt, ended: Outcome): void {
    const { lease, isolation } = attempt;
    const profile = attempt.profile();
    const isPlain = isolation === undefined && profile === undefined;
    const outcome: Outcome = isPlain
      ? ended
      : { ...ended, ...(isolation && { isolation }), ...(profile && { profile }) };
    this.#port.post({ type: "settled", leaseId: lease.leaseId, outcome });
    if (this.#running.size === 0) this.#drained?.resolve();
  }
}

const maxEnded = 100;

function nameOf({ lease: { jobId, attempt } }: Attempt): string {
  return `${jobId}#${attempt}`;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
