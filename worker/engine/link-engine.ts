import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { readError } from "@muster/client/errors";
import {
  CommandAction,
  type GoingAway,
  GoingAwayReason,
  type Hello,
  HelloSchema,
  type LinksChanged,
  type ResultAck,
  ResultStatus,
} from "@muster/client/v1/link";
import type { LinkConflict } from "@muster/client/v1/session";
import { type Clock, waitMs } from "../clock.ts";
import type { LogLevel } from "../logger.ts";
import { conflictsOf } from "../published.ts";
import { isReplaced, refusalOf, retryAfterMs } from "../transport/refusal.ts";
import { GoingAwayError, type Link, type Transport } from "../transport/transport.ts";
import { AttachedLink, attachedMessage, type LinkEnd } from "./attached-link.ts";
import { reconnectDelayMs } from "./backoff.ts";
import { Leases } from "./leases.ts";
import { LoopDelay } from "./loop-delay.ts";
import type { AttemptEnd, CloseReason, LogFields, Port, ToEngine, ToHandlers } from "./messages.ts";
import type { PendingResults } from "./pending-results.ts";
import { Reports } from "./reports.ts";
import { Resend, type Retention } from "./resend.ts";
import { isRejection, outcomeName, rejectedResultOf } from "./result.ts";
import { Shutdown } from "./shutdown.ts";
import type { SpillFolder } from "./spill.ts";

/** What a worker is: plain data, as its Hello says it. */
export interface WorkerIdentity {
  readonly bootId: string;
  readonly hostBootId: string;
  readonly orphansDead: boolean;
  /** Earlier boots that ended by themselves. */
  readonly endedBoots: readonly string[];
  readonly skills: readonly string[];
  readonly kinds: readonly string[];
  readonly slots: number;
  readonly points: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly version: string;
  readonly host: string;
  /** The handlers' side wants to know how each attempt ended in the end. */
  readonly tellsEnds: boolean;
  /** Take one job and end. `idleMs`: end without one after so long. */
  readonly once: { readonly idleMs: number } | undefined;
}

/** What the engine is made of. */
export interface LinkEngineOptions {
  readonly identity: WorkerIdentity;
  readonly transport: Transport;
  readonly results: PendingResults;
  /** What the worker publishes, until it publishes something else. Absent: nothing. */
  readonly links?: LinksChanged | undefined;
  /** Absent: results are forgotten when they are acknowledged. */
  readonly retention?: Retention | undefined;
  /** Where reports wait that memory has no room for. Absent: they give way to a gap. */
  readonly spill?: SpillFolder | undefined;
  readonly port: Port<ToHandlers, ToEngine>;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

const protocol = { major: 1, minor: 0 };
/** The longest wait between tries to connect of a worker that ends. */
const endingRetryMs = 500;
const windowBytes = 256 * 1024;
// More than the largest partial result, so that one never pushes itself out.
const waitingBytes = 2 * 1024 * 1024;

/**
 * The worker's side of the protocol, from the first try to connect to the end of the worker. Keeps its leases,
 * results and reports over any number of links; talks with the handlers through `port` only, so it can run in
 * a thread that no handler blocks.
 */
export class LinkEngine {
  readonly #options: LinkEngineOptions;
  readonly #reports: Reports;
  readonly #resend: Resend;
  readonly #loopDelay: LoopDelay;
  readonly #leases: Leases;
  readonly #shutdown: Shutdown;
  readonly #over = new AbortController();
  /** Ends the wait for the next try to connect. */
  #hurry = new AbortController();
  #link: AttachedLink | undefined;
  #reason: CloseReason | undefined;
  #links: LinksChanged | undefined;
  #failures = 0;
  #address: string | undefined;

  constructor(options: LinkEngineOptions) {
    this.#options = options;
    const { identity, clock, results, port, retention, spill } = options;
    this.#links = options.links;
    const wake = () => this.#link?.wake();
    this.#reports = new Reports({ windowBytes, waitingBytes, spill }, wake);
    this.#loopDelay = new LoopDelay(clock, () => port.post({ type: "ping" }));
    const log = (level: LogLevel, message: string, fields: LogFields) => this.#log(level, message, fields);
    this.#resend = new Resend({ retention, results, changed: wake, log });
    this.#leases = new Leases({
      slots: identity.slots,
      points: identity.points,
      kinds: new Set(identity.kinds),
      maxLeases: identity.once === undefined ? Number.POSITIVE_INFINITY : 1,
      clock,
      results,
      reports: this.#reports,
      post: (message) => port.post(message),
      changed: () => {
        this.#link?.wake();
        this.#shutdown.check();
      },
    });
    this.#shutdown = new Shutdown({
      clock,
      leases: this.#leases,
      results,
      reports: this.#reports,
      once: identity.once,
      finish: (kind, detail) => this.#finish({ kind, detail, errorReason: "", errorCode: 0 }),
      beat: () => this.#link?.beat(),
    });
  }

  /** Runs until the worker is stopped or sent away for good; never rejects. */
  async run(): Promise<CloseReason> {
    this.#options.port.listen(this.#listen);
    while (this.#reason === undefined) {
      const delayMs = await this.#connect();
      if (this.#reason === undefined && delayMs > 0) await this.#wait(delayMs);
    }
    this.#shutdown.close();
    const isDone = this.#shutdown.isDone;
    this.#leases.close();
    await Promise.all([this.#reports.close(), this.#resend.idle]);
    this.#options.port.post({ type: "closed", reason: this.#reason, isDone });
    this.#options.port.close();
    return this.#reason;
  }

  // A worker that ends has little time, and something to say.
  async #wait(delayMs: number): Promise<void> {
    const most = this.#shutdown.isEnding ? endingRetryMs : Number.POSITIVE_INFINITY;
    this.#hurry = new AbortController();
    const signal = AbortSignal.any([this.#over.signal, this.#hurry.signal]);
    await waitMs(this.#options.clock, Math.min(delayMs, most), signal);
  }

  /** One link, from the Hello to its end. Answers how long to wait before the next. */
  async #connect(): Promise<number> {
    const { transport, results } = this.#options;
    const said = this.#links;
    const hello = this.#hello();
    const helloSentMs = this.#options.clock.nowMs();
    let opened: Link;
    try {
      opened = await transport.open(hello, { signal: this.#over.signal, address: this.#address });
    } catch (error) {
      return error instanceof GoingAwayError ? this.#sentAway(error.frame) : this.#broken(error);
    }
    if (this.#over.signal.aborted) {
      opened.close();
      return 0;
    }
    results.rewind();
    this.#reports.rewind();
    const { welcome } = opened;
    if (welcome.killGrace !== undefined) this.#leases.killGraceMs = durationMs(welcome.killGrace);
    const window = Number(welcome.limits?.logWindowBytes ?? 0n);
    if (window > 0) this.#reports.setWindow(window);
    const told = { slots: hello.demand?.slots ?? 0, points: hello.demand?.points ?? 0, offerSequence: 0n };
    const link = new AttachedLink(opened, told, {
      clock: this.#options.clock,
      helloSentMs,
      leases: this.#leases,
      results,
      reports: this.#reports,
      loopDelay: this.#loopDelay,
      acknowledged: (ack) => this.#acknowledged(ack),
      commanded: (action) => this.#commanded(action),
      conflicted: (conflicts) => this.#conflicted(conflicts),
      isLeaving: () => this.#shutdown.isLeaving,
      alive: (sequence) => {
        this.#failures = 0;
        this.#shutdown.echoed(sequence);
      },
    });
    this.#link = link;
    this.#post(attachedMessage(welcome, opened.transport));
    this.#conflicted(welcome.conflicts);
    if (welcome.refusals.length > 0) {
      const refusals = welcome.refusals.join("; ");
      this.#log("warn", "the coordinator does not allow all that this worker says of itself", { refusals });
    }
    const running = link.run();
    if (this.#links !== undefined && this.#links !== said) link.publish(this.#links);
    this.#leases.attached(welcome.verdicts);
    this.#resend.welcomed(welcome.clusterEpoch);
    this.#shutdown.attached();
    const end = await running;
    this.#link = undefined;
    return this.#ended(end, link.wasFrozen);
  }

  #ended(end: LinkEnd, wasFrozen: boolean): number {
    // After a freeze no crowd comes back, and what runs here may be another worker's by now.
    const afterMs = wasFrozen ? 0 : undefined;
    switch (end.kind) {
      case "going away":
        return this.#sentAway(end.frame);
      case "broken":
        return this.#broken(end.error, afterMs);
      case "silent":
        return this.#retry(`no heartbeat was echoed for ${end.staleMs} ms`, afterMs);
      case "closed":
        return this.#reason === undefined ? this.#retry("the coordinator closed the link", afterMs) : 0;
      case "improve":
        return 0;
    }
  }

  #sentAway({ reason, detail, reconnectAfter, address }: GoingAway): number {
    switch (reason) {
      case GoingAwayReason.REVOKED:
        return this.#expelled(
          "revoked",
          detail === "" ? "the key was revoked or the worker disabled" : detail,
        );
      case GoingAwayReason.REPLACED:
        return this.#expelled("replaced", detail === "" ? replacedDetail : detail);
      case GoingAwayReason.RESTART:
      case GoingAwayReason.PROTOCOL:
      case GoingAwayReason.TOO_SLOW:
      case GoingAwayReason.UNSPECIFIED: {
        this.#address = address === "" ? undefined : address;
        const afterMs = reconnectAfter === undefined ? undefined : durationMs(reconnectAfter);
        return this.#retry(
          `the coordinator ended the link: ${GoingAwayReason[reason]} ${detail}`.trim(),
          afterMs,
        );
      }
    }
  }

  #broken(error: unknown, afterMs?: number): number {
    if (this.#over.signal.aborted) return 0;
    if (isReplaced(error)) return this.#expelled("replaced", replacedDetail);
    const refusal = refusalOf(error);
    if (refusal !== undefined) {
      const { detail, errorReason, errorCode } = refusal;
      return this.#expelled("refused", detail, errorReason, errorCode);
    }
    // A place that a coordinator named may be gone as well.
    this.#address = undefined;
    return this.#retry(readError(error).message, retryAfterMs(error) ?? afterMs);
  }

  #retry(reason: string, afterMs?: number): number {
    this.#failures++;
    const random = this.#options.random();
    const delayMs =
      afterMs === undefined ? reconnectDelayMs(this.#failures, random) : afterMs * (1 + random / 5);
    this.#log("warn", "not attached", { reason, retryInMs: Math.round(delayMs) });
    return delayMs;
  }

  #expelled(
    kind: "refused" | "revoked" | "replaced",
    detail: string,
    errorReason = "",
    errorCode = 0,
  ): number {
    this.#leases.supersedeAll(detail);
    this.#finish({ kind, detail, errorReason, errorCode });
    return 0;
  }

  #hello(): Hello {
    const { identity, results } = this.#options;
    return create(HelloSchema, {
      protocol,
      bootId: identity.bootId,
      hostBootId: identity.hostBootId,
      orphansDead: identity.orphansDead,
      endedBootIds: [...identity.endedBoots],
      skills: identity.skills.map((name) => ({ name })),
      kinds: [...identity.kinds],
      capacity: { slots: identity.slots, points: identity.points },
      labels: { ...identity.labels },
      heldLeases: this.#leases.held().flatMap(({ lease }) => (lease === undefined ? [] : [lease])),
      outboxLeases: [...results.leases(), ...this.#resend.leases()],
      draining: this.#leases.isDraining,
      version: identity.version,
      host: identity.host,
      demand: { ...this.#leases.free(), offerSequence: 0n },
      linkedProjects: this.#links?.linkedProjects ?? [],
      sessions: this.#links?.sessions ?? [],
    });
  }

  readonly #listen = (messages: readonly ToEngine[]): void => {
    for (const message of messages) {
      switch (message.type) {
        case "settled":
          this.#leases.settled(message.leaseId, message.outcome);
          break;
        case "report":
          this.#leases.report(message.leaseId, message.body);
          break;
        case "pong":
          this.#loopDelay.pong(message.delayMs);
          break;
        case "publish":
          this.#links = message.links;
          this.#link?.publish(message.links);
          break;
        case "stop":
          this.#shutdown.stop(message.graceMs);
          this.#hurry.abort();
          break;
      }
    }
  };

  #acknowledged(ack: ResultAck): void {
    const { results, clock, identity } = this.#options;
    const known: string[] = [];
    for (const { resultId, status, detail } of ack.items) {
      const pending = results.acknowledge(resultId);
      if (pending === undefined) continue;
      known.push(resultId);
      const isAgain = this.#resend.acknowledged(pending);
      const { jobId, attempt, leaseId } = pending.lease ?? noLease;
      if (status === ResultStatus.SUPERSEDED) this.#reports.drop(leaseId);
      else this.#reports.ended(leaseId, clock.nowMs());
      if (status === ResultStatus.REJECTED) {
        this.#log("error", "the coordinator rejected a result", { jobId, attempt, detail });
        // Without an end the job would be lost and tried elsewhere, to be rejected there as well.
        const result = results.resultOf(pending);
        if (!isRejection(result)) results.add(rejectedResultOf(result, detail), () => this.#link?.wake());
      }
      if (identity.tellsEnds && !isAgain) {
        const outcome = outcomeName(pending.outcome);
        const end: AttemptEnd = { jobId, attempt, outcome, status: statusNames[status] };
        this.#post({ type: "ended", end });
      }
    }
    results.forget(known);
    this.#shutdown.check();
  }

  #commanded(action: CommandAction): void {
    if (action === CommandAction.DRAIN) this.#leases.drain("draining");
    else if (action === CommandAction.RESUME) this.#leases.resume();
    else
      this.#log("warn", "a command that this worker does not know", {
        action: CommandAction[action] ?? action,
      });
  }

  #conflicted(conflicts: readonly LinkConflict[]): void {
    if (conflicts.length > 0) this.#post({ type: "conflicts", conflicts: conflictsOf(conflicts) });
  }

  #finish(reason: CloseReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#over.abort();
    this.#link?.close();
  }

  #post(message: ToHandlers): void {
    this.#options.port.post(message);
  }

  #log(level: LogLevel, message: string, fields: LogFields): void {
    this.#post({ type: "log", level, message, fields });
  }
}

const noLease = { jobId: "", attempt: 0, leaseId: "" };

const replacedDetail = "another process runs under the identity of this worker";

const statusNames: Readonly<Record<ResultStatus, AttemptEnd["status"]>> = {
  [ResultStatus.UNSPECIFIED]: "committed",
  [ResultStatus.COMMITTED]: "committed",
  [ResultStatus.DUPLICATE]: "duplicate",
  [ResultStatus.SUPERSEDED]: "superseded",
  [ResultStatus.REJECTED]: "rejected",
};
