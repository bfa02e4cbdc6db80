import { freemem, loadavg, totalmem } from "node:os";
import { create } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import type { LeaseRef } from "@muster/client/v1/job_service";
import {
  type CommandAction,
  type ConnectRequest,
  type ConnectResponse,
  type Demand,
  type EventAck,
  type GoingAway,
  HeartbeatSchema,
  type LinksChanged,
  type ResultAck,
  type Welcome,
} from "@muster/client/v1/link";
import type { LinkConflict } from "@muster/client/v1/session";
import type { Clock } from "../clock.ts";
import type { Link } from "../transport/transport.ts";
import type { FreeCapacity, Leases } from "./leases.ts";
import type { LoopDelay } from "./loop-delay.ts";
import type { ToHandlers } from "./messages.ts";
import type { PendingResults } from "./pending-results.ts";
import type { Reports } from "./reports.ts";

/** A frame is split at so many bytes of items. */
const frameBytes = 1024 * 1024;

/** What a link works on. */
export interface AttachedLinkOptions {
  readonly clock: Clock;
  readonly leases: Leases;
  readonly results: PendingResults;
  readonly reports: Reports;
  readonly loopDelay: LoopDelay;
  /** Results were acknowledged. */
  readonly acknowledged: (ack: ResultAck) => void;
  /** What was published and not taken over. */
  readonly conflicted: (conflicts: readonly LinkConflict[]) => void;
  /** The worker ends: every heartbeat is a goodbye. */
  readonly isLeaving: () => boolean;
  /** The coordinator wants something of the worker itself. */
  readonly commanded: (action: CommandAction) => void;
  /** When the Hello was sent: from then on exclusive handlers count their deadline. Default: now. */
  readonly helloSentMs?: number;
  /** A heartbeat was echoed. */
  readonly alive: (sequence: bigint) => void;
}

/** Why a link is over. */
export type LinkEnd =
  | { readonly kind: "going away"; readonly frame: GoingAway }
  | { readonly kind: "broken"; readonly error: unknown }
  | { readonly kind: "silent"; readonly staleMs: number }
  | { readonly kind: "improve" }
  | { readonly kind: "closed" };

/**
 * One link from its Welcome to its end. Frames go at once when nothing is under way; what comes up in one turn
 * of the loop travels together. Results and reports wait while earlier ones are being written; heartbeats and
 * answers never wait. Life is the time at which the last echoed heartbeat was sent: without one for
 * `stale_after` the link is taken for dead, whatever else arrives.
 */
export class AttachedLink {
  readonly #link: Link;
  readonly #options: AttachedLinkOptions;
  readonly #heartbeatMs: number;
  readonly #staleMs: number;
  readonly #sentAtMs = new Map<bigint, number>();
  #sequence = 0n;
  #lifeMs: number;
  #nextBeatMs: number;
  #told: FreeCapacity;
  #end: LinkEnd | undefined;
  #isScheduled = false;
  #bulkUnderWay = 0;
  #wasFrozen = false;
  #callOffBeat = () => {};
  #callOffStale = () => {};
  #callOffProgress: (() => void) | undefined;
  #callOffImprove = () => {};

  /** `told`: the demand of the Hello. */
  constructor(link: Link, told: FreeCapacity, options: AttachedLinkOptions) {
    this.#link = link;
    this.#options = options;
    this.#told = told;
    this.#heartbeatMs = positiveMs(link.welcome.heartbeatInterval) ?? 5000;
    this.#staleMs = positiveMs(link.welcome.staleAfter) ?? 15_000;
    this.#lifeMs = options.clock.nowMs();
    this.#nextBeatMs = this.#lifeMs + this.#heartbeatMs;
  }

  /** This process did not run for a while, and no heartbeat was echoed since. */
  get wasFrozen(): boolean {
    return this.#wasFrozen;
  }

  /** Lives until the link ends. */
  async run(): Promise<LinkEnd> {
    const { improveAfterMs } = this.#link;
    this.#renew(this.#lifeMs);
    this.#watchExclusive(this.#options.helloSentMs ?? this.#lifeMs);
    this.#scheduleBeat();
    if (improveAfterMs !== undefined) {
      this.#callOffImprove = this.#options.clock.after(improveAfterMs, () =>
        this.#finish({ kind: "improve" }),
      );
    }
    this.wake();
    try {
      for await (const frame of this.#link.frames) {
        this.#receive(frame);
        if (this.#end !== undefined) break;
      }
      this.#finish({ kind: "closed" });
    } catch (error) {
      this.#finish({ kind: "broken", error });
    }
    return this.#end ?? { kind: "closed" };
  }

  /** There may be something to send. */
  wake(): void {
    if (this.#isScheduled || this.#end !== undefined) return;
    this.#isScheduled = true;
    setImmediate(this.#flush);
  }

  /** Sends a heartbeat now; answers with its sequence. */
  beat(): bigint {
    const { clock, leases, results } = this.#options;
    const nowMs = clock.nowMs();
    this.#sequence += 1n;
    this.#sentAtMs.set(this.#sequence, nowMs);
    this.#told = leases.free();
    leases.hasRisen = false;
    const lateMs = Math.max(0, nowMs - this.#nextBeatMs, this.#options.loopDelay.take());
    const heartbeat = create(HeartbeatSchema, {
      sequence: this.#sequence,
      demand: this.#told,
      heldLeases: leases.held(),
      outboxLeases: results.leases(),
      draining: leases.isDraining,
      linkEpoch: this.#link.welcome.linkEpoch,
      leaving: this.#options.isLeaving(),
      load: {
        loadAverage: loadavg()[0] ?? 0,
        memoryUsedBytes: BigInt(totalmem() - freemem()),
        memoryTotalBytes: BigInt(totalmem()),
        loopDelay: durationFromMs(Math.floor(lateMs)),
      },
    });
    void this.#link.send(frameOf({ case: "heartbeat", value: heartbeat }));
    return this.#sequence;
  }

  /** Publishes linked projects and sessions, instead of those before. */
  publish(links: LinksChanged): void {
    if (this.#end === undefined) void this.#link.send(frameOf({ case: "linksChanged", value: links }));
  }

  /** Ends the link, after what is ready to be sent. */
  close(): void {
    this.#flush();
    this.#finish({ kind: "closed" });
  }

  #receive({ frame }: ConnectResponse): void {
    const { leases, reports, clock } = this.#options;
    switch (frame.case) {
      case "heartbeatAck":
        this.#echoed(frame.value.sequence);
        leases.lost(frame.value.lost);
        return;
      case "offer": {
        // One that was on its way over an earlier link would start what has long ended.
        const { linkEpoch } = frame.value;
        if (linkEpoch === 0n || linkEpoch === this.#link.welcome.linkEpoch) leases.offered(frame.value);
        return;
      }
      case "offerAck":
        leases.confirmed(frame.value);
        return;
      case "cancel": {
        const { lease, reason, grace } = frame.value;
        if (lease !== undefined)
          leases.cancel(lease, reason, grace === undefined ? undefined : durationMs(grace));
        return;
      }
      case "message": {
        const { lease, messageId, text } = frame.value;
        if (lease !== undefined) leases.message(lease, messageId, text);
        return;
      }
      case "eventAck":
        reports.acknowledge(frame.value, clock.nowMs());
        leases.lost(supersededBy(frame.value), "another attempt took over");
        this.wake();
        return;
      case "resultAck":
        this.#options.acknowledged(frame.value);
        return;
      case "linksAck":
        this.#options.conflicted(frame.value.conflicts);
        return;
      case "command":
        this.#options.commanded(frame.value.action);
        return;
      case "goingAway":
        this.#finish({ kind: "going away", frame: frame.value });
        return;
      // A second Welcome means nothing; what a newer coordinator adds is not for us.
      case "welcome":
      case undefined:
        return;
    }
  }

  readonly #flush = (): void => {
    this.#isScheduled = false;
    if (this.#end !== undefined) return;
    const { leases, results, reports, clock } = this.#options;
    const nowMs = clock.nowMs();
    const frames: ConnectRequest[] = [];
    for (const status of leases.answers.takeCancels())
      frames.push(frameOf({ case: "cancelStatus", value: status }));
    const reply = leases.answers.takeReply(this.#sequence);
    if (reply !== undefined) frames.push(frameOf({ case: "offerReply", value: reply }));
    const bulkFrom = frames.length;
    if (this.#bulkUnderWay === 0) {
      const items = reports.take(frameBytes, nowMs);
      if (items.length > 0)
        frames.push(frameOf({ case: "report", value: { $typeName: "muster.v1.Report", items } }));
      const ended = results.take(frameBytes, nowMs);
      if (ended !== undefined) frames.push(frameOf({ case: "results", value: ended }));
      this.#watchProgress(nowMs);
    }
    this.#send(frames, bulkFrom);
  };

  #send(frames: readonly ConnectRequest[], bulkFrom: number): void {
    const { leases } = this.#options;
    const last = frames.at(-1);
    if (last === undefined) {
      if (leases.hasRisen) this.beat();
      return;
    }
    // Of the twins only SubmitResults has room for it.
    if (this.#link.transport === "stream" || last.frame.case === "results") {
      const free = leases.free();
      if (!isSame(free, this.#told)) last.demand = demandOf(free);
      this.#told = free;
      leases.hasRisen = false;
    }
    if (leases.hasRisen) this.beat();
    for (const [index, frame] of frames.entries()) {
      if (index < bulkFrom) void this.#link.send(frame);
      else {
        this.#bulkUnderWay++;
        void this.#link.send(frame).then(this.#bulkWritten);
      }
    }
  }

  readonly #bulkWritten = (): void => {
    this.#bulkUnderWay--;
    if (this.#bulkUnderWay === 0) this.wake();
  };

  #echoed(sequence: bigint): void {
    const sentAtMs = this.#sentAtMs.get(sequence);
    for (const sent of this.#sentAtMs.keys()) {
      if (sent <= sequence) this.#sentAtMs.delete(sent);
    }
    if (sentAtMs !== undefined) {
      this.#wasFrozen = false;
      this.#renew(sentAtMs);
    }
    this.#options.alive(sequence);
  }

  #renew(lifeMs: number): void {
    const { clock } = this.#options;
    this.#lifeMs = lifeMs;
    this.#callOffStale();
    const leftMs = lifeMs + this.#staleMs - clock.nowMs();
    this.#callOffStale = clock.after(leftMs, () => this.#finish({ kind: "silent", staleMs: this.#staleMs }));
    this.#watchExclusive(lifeMs);
  }

  // A second before the coordinator may think of the lease as lost.
  #watchExclusive(lifeMs: number): void {
    this.#options.leases.renewed(lifeMs + this.#staleMs - Math.min(1000, this.#staleMs / 4));
  }

  #scheduleBeat(): void {
    const { clock, leases, reports, results } = this.#options;
    this.#callOffBeat = clock.after(this.#nextBeatMs - clock.nowMs(), () => {
      this.#lookForFreeze();
      this.beat();
      const nowMs = clock.nowMs();
      this.#nextBeatMs = nowMs + this.#heartbeatMs;
      leases.sweep(nowMs);
      reports.sweep(nowMs);
      results.repeat(nowMs - this.#staleMs);
      reports.repeat(nowMs - this.#staleMs);
      this.wake();
      this.#scheduleBeat();
    });
  }

  #watchProgress(nowMs: number): void {
    const dueMs = this.#options.reports.dueInMs(nowMs);
    if (dueMs === undefined || this.#callOffProgress !== undefined) return;
    this.#callOffProgress = this.#options.clock.after(dueMs, () => {
      this.#callOffProgress = undefined;
      this.wake();
    });
  }

  #lookForFreeze(): void {
    const lateMs = this.#options.clock.nowMs() - this.#nextBeatMs;
    if (lateMs > this.#heartbeatMs) this.#wasFrozen = true;
  }

  #finish(end: LinkEnd): void {
    if (this.#end !== undefined) return;
    this.#lookForFreeze();
    this.#end = end;
    this.#callOffBeat();
    this.#callOffStale();
    this.#callOffProgress?.();
    this.#callOffImprove();
    this.#link.close(end.kind === "improve" ? "improve" : undefined);
  }
}

/** What the handlers' side is told of a link that stands. */
export function attachedMessage(welcome: Welcome, transport: "stream" | "poll"): ToHandlers {
  const { workerId, workerName, apiAddress, limits } = welcome;
  const payloadBytes = Number(limits?.payloadBytes ?? 0n) || 1024 * 1024;
  const logChunkBytes = Number(limits?.logChunkBytes ?? 0n) || 64 * 1024;
  return {
    type: "attached",
    attachment: { workerId, workerName, transport, apiAddress, payloadBytes, logChunkBytes },
  };
}

function supersededBy({ items }: EventAck): LeaseRef[] {
  return items.flatMap(({ lease, superseded }) => (superseded && lease !== undefined ? [lease] : []));
}

function frameOf(frame: ConnectRequest["frame"]): ConnectRequest {
  return { $typeName: "muster.v1.ConnectRequest", frame };
}

function demandOf(free: FreeCapacity): Demand {
  return { $typeName: "muster.v1.Demand", ...free };
}

function isSame(one: FreeCapacity, other: FreeCapacity): boolean {
  return (
    one.slots === other.slots && one.points === other.points && one.offerSequence === other.offerSequence
  );
}

function positiveMs(duration: Duration | undefined): number | undefined {
  const ms = duration === undefined ? 0 : durationMs(duration);
  return ms > 0 ? ms : undefined;
}
