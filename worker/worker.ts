import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { join } from "node:path";
import { Api } from "./api.ts";
import { Attempts } from "./attempts.ts";
import { type BootRecord, openBootRecord } from "./boot-record.ts";
import { withinMs } from "./clock.ts";
import { startInlineEngine, startThreadedEngine } from "./engine/host.ts";
import type { WorkerIdentity } from "./engine/link-engine.ts";
import type { Attachment, AttemptEnd, CloseReason, Port, ToEngine, ToHandlers } from "./engine/messages.ts";
import type { EngineOptions } from "./engine/start-engine.ts";
import { type Isolation, type IsolationSetup, openIsolation, strongerKinds } from "./isolation.ts";
import { type Logger, lineLogger } from "./logger.ts";
import { LoopWatch } from "./loop-watch.ts";
import { drainTimeMs, type ResolvedOptions, resolveOptions, type WorkerOptions } from "./options.ts";
import { readHostBootId } from "./process-table.ts";
import { linksOf, type Publication, type PublishConflict } from "./published.ts";
import { SkillDocuments } from "./skill-documents.ts";
import { openTracing } from "./tracing.ts";
import {
  defaultApiAddress,
  defaultApiPort,
  defaultWorkerPort,
  isLoopback,
  parseAddress,
  parseAddresses,
} from "./transport/address.ts";

/** Version of the worker software, as the Hello says it. */
export const workerVersion = "0.1.0";

/** How long a worker waits, before its first Hello, for the processes of its last boot to be dead. */
const orphansWaitMs = 5000;
const welcomeTimeoutMs = 10_000;
/** How long handlers have to stop once the engine has ended; by a `stop()` they had their time before. */
const expelledWaitMs = 12_000;
const stoppedWaitMs = 1000;
/** Handlers that block their event loop for so long are named. */
const slowLoopMs = 1000;
const slowLoopMessage =
  "the event loop of the handlers was blocked: neither cancels nor timeouts reach a handler meanwhile";

/** The worker ended before it was ever attached. */
export class WorkerRefusedError extends Error {
  override readonly name = "WorkerRefusedError";
  /** Why, as `closed` says it too. */
  readonly reason: CloseReason;

  constructor(reason: CloseReason) {
    super(`the worker could not attach (${reason.kind}): ${reason.detail}`);
    this.reason = reason;
  }
}

/**
 * A worker: attaches to a coordinator, takes jobs of the kinds that it has handlers for, and keeps its link
 * through any outage until it is stopped, or sent away for good.
 *
 *     const worker = new Worker({ address: "127.0.0.1:7071", key, handlers: { greet: (ctx) => `hello` } });
 *     await worker.start();
 */
export class Worker implements AsyncDisposable {
  /** Resolves when the worker has ended for good, with why; never rejects. */
  readonly closed: Promise<CloseReason>;
  readonly #options: WorkerOptions;
  readonly #closing = Promise.withResolvers<CloseReason>();
  readonly #attaching = Promise.withResolvers<void>();
  readonly #endListeners: ((end: AttemptEnd) => void)[] = [];
  #logger: Logger = () => {};
  #attachment: Attachment | undefined;
  #attempts: Attempts | undefined;
  #port: Port<ToEngine, ToHandlers> | undefined;
  #bootRecord: BootRecord | undefined;
  #isDone = false;
  #isolation: Isolation | undefined;
  #starting: Promise<void> | undefined;
  #stopGraceMs: number | undefined;
  #published: Publication;
  #loopWatch: LoopWatch | undefined;

  /** Starts nothing yet, and checks nothing: `start` does. */
  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#published = { linkedProjects: options.linkedProjects ?? [], sessions: options.sessions ?? [] };
    this.closed = this.#closing.promise;
    this.#attaching.promise.catch(() => {});
  }

  /** The link, since it first stood. */
  get attachment(): Attachment | undefined {
    return this.#attachment;
  }

  /** The record of this boot in the state directory; undefined before the start, and with a shared outbox. */
  get bootRecord(): BootRecord | undefined {
    return this.#bootRecord;
  }

  /** How the programs of jobs are isolated; undefined before the start. */
  get isolation(): Isolation | undefined {
    return this.#isolation;
  }

  /**
   * Resolves when the worker is first attached, however long the coordinator is out of reach. Rejects with a
   * WorkerOptionsError, and with a WorkerRefusedError when the coordinator does not take this worker, when
   * the state directory cannot be used, or when the worker is stopped before.
   */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  /**
   * Ends the worker: takes nothing new, lets running jobs end for `graceMs` (default `drainGraceMs`), gives back
   * the rest, which costs them no attempt, and resolves when results are acknowledged or safe in the outbox.
   * A second call may shorten the grace: 0 gives back at once.
   */
  async stop(options: { readonly graceMs?: number } = {}): Promise<CloseReason> {
    const graceMs = options.graceMs ?? drainTimeMs(this.#options);
    this.#stopGraceMs = graceMs;
    if (this.#starting === undefined) void this.#close(notStarted);
    this.#port?.post({ type: "stop", graceMs });
    return await this.closed;
  }

  /**
   * Publishes the linked projects and sessions of this machine, instead of all that was published before; at any
   * time, over any number of links. What is not taken over is logged, and given to `onConflict`.
   */
  publish(publication: Publication): void {
    this.#published = publication;
    this.#port?.post({ type: "publish", links: linksOf(publication) });
  }

  /** Calls `listen` for each attempt whose end is known: its result acknowledged, or its lease lost. Before `start`. */
  onAttemptEnd(listen: (end: AttemptEnd) => void): void {
    this.#endListeners.push(listen);
  }

  /** As `stop`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #start(): Promise<void> {
    try {
      const env = this.#options.env ?? process.env;
      const resolved = resolveOptions(this.#options, env);
      this.#logger = this.#options.logger ?? lineLogger((line) => process.stderr.write(line), "warn");
      this.#warnOfPlainText();
      this.#isolation = await openIsolation(this.#isolationSetup(resolved));
      const identity = await this.#identity(resolved);
      const engineOptions = this.#engineOptions(resolved, identity);
      const { port, ended } = resolved.isThreaded
        ? startThreadedEngine(engineOptions)
        : startInlineEngine(engineOptions, this.#options.outbox);
      this.#port = port;
      const api = this.#api();
      this.#attempts = new Attempts({
        handlers: this.#options.handlers,
        port,
        api,
        documents: new SkillDocuments({
          // A state directory that several workers share is not theirs to write.
          directory: this.#options.outbox === undefined ? join(resolved.stateDir, "skills") : undefined,
          fetch: (name) => api.skillDocument(name),
        }),
        linkedProject: (project) => this.#published.linkedProjects.find((one) => one.project === project),
        tracing: await openTracing(),
      });
      if (resolved.isThreaded) this.#loopWatch = new LoopWatch();
      port.listen((messages) => {
        for (const message of messages) this.#receive(message);
      });
      void ended.then((reason) => this.#close(reason));
      if (this.#stopGraceMs !== undefined) port.post({ type: "stop", graceMs: this.#stopGraceMs });
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      void this.#close({ kind: "failed", detail, errorReason: "", errorCode: 0 });
      throw error;
    }
    await this.#attaching.promise;
  }

  async #identity(resolved: ResolvedOptions): Promise<WorkerIdentity> {
    const { skills, kinds, slots, points, labels, stateDir } = resolved;
    const isShared = this.#options.outbox !== undefined;
    this.#bootRecord = isShared ? undefined : await openBootRecord(stateDir);
    const record = this.#bootRecord;
    const orphansDead =
      record === undefined ? false : await withinMs(orphansWaitMs, record.orphansDead, false);
    return {
      bootId: record?.bootId ?? randomUUID(),
      hostBootId: (record === undefined ? readHostBootId() : record.hostBootId) ?? "",
      orphansDead,
      endedBoots: record?.endedBoots ?? [],
      skills,
      kinds,
      slots,
      points,
      labels,
      version: workerVersion,
      host: hostname(),
      once: this.#options.once,
      tellsEnds: this.#endListeners.length > 0,
    };
  }

  #isolationSetup({ kinds: kindNames, slots }: ResolvedOptions): IsolationSetup {
    const { isolation = {}, handlers } = this.#options;
    const asked = Object.entries(handlers).map(
      ([kind, handler]) => [kind, { ...handler.isolation }] as const,
    );
    const kinds = strongerKinds(Object.fromEntries(asked), isolation.kinds ?? {});
    const writableRoots = () => this.#published.linkedProjects.map(({ root }) => root);
    return { ...isolation, kinds, kindNames, slots, writableRoots };
  }

  #engineOptions(resolved: ResolvedOptions, identity: WorkerIdentity): EngineOptions {
    const { address, apiAddress, key, ca, certificate, outbox } = this.#options;
    return {
      identity,
      links: linksOf(this.#published),
      transport: {
        address,
        apiAddress,
        key,
        ca,
        certificate,
        choice: resolved.transport,
        welcomeTimeoutMs,
      },
      stateDirectory: outbox === undefined ? resolved.stateDir : undefined,
      resultRetentionMs: resolved.resultRetentionMs,
      owner: resolved.identity,
    };
  }

  #api(): Api {
    const { address, apiAddress, key, ca, certificate } = this.#options;
    const fallback = apiAddress ?? defaultApiAddress(parseAddresses(address, defaultWorkerPort)[0]).url;
    const named = () => apiAddress ?? (this.#attachment?.apiAddress || fallback);
    return new Api({ address: () => parseAddress(named(), defaultApiPort).url, key, ca, certificate });
  }

  #receive(message: ToHandlers): void {
    const attempts = this.#attempts;
    switch (message.type) {
      case "start":
        attempts?.start(message.offer);
        break;
      case "stop":
        attempts?.get(message.leaseId)?.stop(message.order);
        break;
      case "softTimeout":
        attempts?.get(message.leaseId)?.late();
        break;
      case "message":
        attempts?.get(message.leaseId)?.incoming({ messageId: message.messageId, text: message.text });
        break;
      case "attached":
        this.#attachment = message.attachment;
        attempts?.limit(message.attachment);
        this.#attaching.resolve();
        this.#logger("info", "attached", { ...message.attachment });
        break;
      case "ping":
        this.#port?.post({ type: "pong", delayMs: this.#lookAtLoop() });
        break;
      case "ended":
        for (const listen of this.#endListeners) listen(message.end);
        break;
      case "conflicts":
        for (const conflict of message.conflicts) this.#conflict(conflict);
        break;
      case "log":
        this.#logger(message.level, message.message, message.fields);
        break;
      // The engine closes its outbox after it says so; `ended` comes after that.
      case "closed":
        this.#isDone = message.isDone;
        break;
    }
  }

  #conflict(conflict: PublishConflict): void {
    this.#logger("warn", "something that this worker publishes was not taken over", { ...conflict });
    this.#options.onConflict?.(conflict);
  }

  /** The worst delay of this event loop since the last look; a long one is worth a warning. */
  #lookAtLoop(): number {
    const delayMs = this.#loopWatch?.takeMs() ?? 0;
    const attempts = this.#attempts?.ranSinceLook() ?? [];
    if (delayMs >= slowLoopMs) {
      const shown = [...attempts.slice(0, 10), ...(attempts.length > 10 ? ["…"] : [])].join(" ");
      this.#logger("warn", slowLoopMessage, { delayMs: Math.round(delayMs), attempts: shown });
    }
    return delayMs;
  }

  async #close(reason: CloseReason): Promise<void> {
    this.#loopWatch?.stop();
    this.#attaching.reject(new WorkerRefusedError(reason));
    // Whoever awaits the end may exit then, and would leave the processes of handlers behind.
    const waitMs = reason.kind === "stopped" ? stoppedWaitMs : expelledWaitMs;
    await this.#attempts?.stopAll(reason.detail, waitMs);
    if (this.#isDone) await this.#noteEnd();
    this.#isolation?.close();
    this.#closing.resolve(reason);
    if (reason.kind !== "stopped")
      this.#logger("info", "closed", { kind: reason.kind, detail: reason.detail });
  }

  // So that what this boot was still offered is given back when the next one attaches, instead of lost.
  async #noteEnd(): Promise<void> {
    try {
      await this.#bootRecord?.end();
    } catch (error) {
      this.#logger("warn", "the end of this worker could not be written down", { error: String(error) });
    }
  }

  #warnOfPlainText(): void {
    for (const address of parseAddresses(this.#options.address, defaultWorkerPort)) {
      if (address.isTls || isLoopback(address)) continue;
      this.#logger("warn", "the key travels in plain text: use an https:// address", {
        address: address.target,
      });
    }
  }
}

const notStarted: CloseReason = {
  kind: "stopped",
  detail: "the worker was stopped before it started",
  errorReason: "",
  errorCode: 0,
};
