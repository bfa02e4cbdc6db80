import type { Fence } from "../domain/leases.ts";
import type { StoredLease } from "../domain/links.ts";
import type { ParentResult } from "../domain/parent-results.ts";
import {
  attachedAt,
  type LinkEvent,
  type LinkLife,
  type LinkPhase,
  nextLife,
} from "../domain/rules/liveness.ts";
import type { PublishedProject, PublishedSession } from "../domain/rules/publications.ts";
import type { InternedShape, Shape } from "../domain/rules/shapes.ts";
import type { NamedDocument } from "../domain/skill-documents.ts";
import type { StoredCommand } from "../store/commands.ts";

/** A lease that was just granted, with all that its worker needs. */
export interface Grant {
  readonly fence: Fence;
  readonly shape: InternedShape;
  readonly kind: string;
  readonly title: string;
  readonly payload: Uint8Array;
  readonly queue: string;
  readonly points: number;
  readonly failures: number;
  readonly maxAttempts: number;
  readonly softTimeoutMs: number | null;
  readonly hardTimeoutMs: number | null;
  readonly leaseTtlMs: number;
  readonly isExclusive: boolean;
  readonly isAlone: boolean;
  readonly labels: Record<string, string>;
  readonly project: string | null;
  readonly sessionId: string | null;
  readonly skills: readonly string[];
  /** Skills whose documents it names. */
  readonly instructions: readonly string[];
  /** Those documents, and those of its required skills. */
  readonly documents: readonly NamedDocument[];
  /** Jobs that it depends on. */
  readonly parents: readonly string[];
  /** What all of them left, in their order; or nothing, and the worker asks for it. */
  readonly parentResults: readonly ParentResult[];
}

/** What dispatch says to a worker; the link layer puts it into frames. None of them waits. */
export interface LinkPort {
  offer(sequence: number, grants: readonly Grant[]): void;
  cancel(fence: Fence, reason: string): void;
  command(command: StoredCommand): void;
  goAway(reason: "restart" | "revoked" | "replaced" | "too-slow", detail: string): void;
}

/** A lease that this link's worker has. */
export interface Held {
  readonly fence: Fence;
  /** Null: the link took it over, and does not know. */
  readonly shape: InternedShape | null;
  readonly points: number;
  readonly offerSequence: number;
  readonly offeredAtMs: number;
  readonly isExclusive: boolean;
  /** It runs without neighbours. */
  readonly isAlone: boolean;
  /**
   * offered → accepted (the worker said so) → running (committed). A result
   * may come at any time; it leaves the table when it is committed.
   */
  state: "offered" | "accepted" | "running" | "result";
  /** Heartbeats since the accept that did not list it. */
  missed: number;
  /** Last heartbeat that the worker had sent before its accept. */
  acceptedAtHeartbeat: number;
  /** When the worker was first told to stop it; null before. */
  cancelSentMs: number | null;
  isCancelAcknowledged: boolean;
  hasProgress: boolean;
  /** Resolves when the accept is committed: whether the lease was current then. Null before the accept. */
  accepted: Promise<boolean> | null;
  /** What its handler said and is not committed yet; a result waits for it, so that it is the last word. */
  reporting: Promise<unknown> | null;
}

/** A lease that the store says a worker has, as its link takes it over. */
export function storedHeld(lease: StoredLease, workerId: string, nowMs: number): Held {
  const { jobId, attempt, leaseId, points, isRunning, isAlone } = lease;
  return {
    fence: { jobId, attempt, leaseId, workerId },
    shape: null,
    points,
    offerSequence: 0,
    offeredAtMs: nowMs,
    isExclusive: false,
    isAlone,
    state: isRunning ? "running" : "offered",
    missed: 0,
    acceptedAtHeartbeat: 0,
    cancelSentMs: null,
    isCancelAcknowledged: false,
    // Not known: the row is looked for when the run ends.
    hasProgress: true,
    accepted: isRunning ? Promise.resolve(true) : null,
    reporting: null,
  };
}

/** What a worker brings to the matcher. */
export interface LinkOptions {
  readonly orgId: string;
  readonly workerId: string;
  readonly workerName: string;
  readonly linkEpoch: number;
  readonly skills: readonly string[];
  readonly kinds: readonly string[];
  readonly slots: number;
  readonly points: number;
  readonly port: LinkPort;
  readonly isDraining: boolean;
  /** Absent: it is not. */
  readonly isHeldBack?: boolean;
  /** Pull requests of its jobs that may be open, and are. Absent: as many as come. */
  readonly maxOpenPrs?: number | null;
  readonly openPrs?: number;
  readonly nowMs: number;
}

/** A session that a worker has. */
export type OwnedSession = PublishedSession & { readonly isPrimary: boolean };

/**
 * One attached worker, as this coordinator counts it. Capacity is the smaller
 * of what the store says (held leases, given back at commit) and what the
 * worker says (absolute demand, less the offers that it had not seen).
 */
export class Link {
  readonly orgId: string;
  readonly workerId: string;
  readonly workerName: string;
  readonly linkEpoch: number;
  readonly slots: number;
  readonly points: number;
  readonly port: LinkPort;
  readonly held = new Map<string, Held>();
  /** Where its working copies are, by project. */
  projectRoots: ReadonlyMap<string, string> = new Map();
  /** The sessions that it has, by id. */
  publishedSessions: ReadonlyMap<string, OwnedSession> = new Map();
  isDraining: boolean;
  /** Quarantined, or something else lets it have nothing. The database is the authority: a claim refuses it there too. */
  isHeldBack: boolean;
  /** Null: as many as come. */
  readonly maxOpenPrs: number | null;
  /** At most 1 s old: the claim counts anew. */
  openPrs: number;
  /** It leaves a cancel without an answer. */
  isSuspect = false;
  /** An offer was not answered in time: nothing more before the next heartbeat. */
  isMuted = false;
  heartbeatSequence = 0;
  offerSequence = 0;
  /** Slots and points of claims that are under way. */
  reservedSlots = 0;
  reservedPoints = 0;
  /** The shape of a job that is to run alone here: until it does, nothing else comes. Null: none. */
  keptFor: bigint | null = null;
  /** Jobs that run alone: held, and of claims that are under way. */
  #alone = 0;
  #life: LinkLife;
  #heldPoints = 0;
  /** Offers that the worker had not seen when it said what is free; null: to be counted again. */
  #unseenCount: { slots: number; points: number } | null = null;
  #demand: { slots: number; points: number; offerSequence: number };
  readonly #skills: ReadonlySet<string>;
  readonly #kinds: ReadonlySet<string>;

  constructor(options: LinkOptions) {
    this.orgId = options.orgId;
    this.workerId = options.workerId;
    this.workerName = options.workerName;
    this.linkEpoch = options.linkEpoch;
    this.slots = options.slots;
    this.points = options.points;
    this.port = options.port;
    this.isDraining = options.isDraining;
    this.isHeldBack = options.isHeldBack ?? false;
    this.maxOpenPrs = options.maxOpenPrs ?? null;
    this.openPrs = options.openPrs ?? 0;
    this.#life = attachedAt(options.nowMs);
    this.#skills = new Set(options.skills);
    this.#kinds = new Set(options.kinds);
    this.#demand = { slots: options.slots, points: options.points, offerSequence: 0 };
  }

  /** The worker said what is free, counted after all offers up to a sequence. */
  setDemand(demand: { slots: number; points: number; offerSequence: number }): void {
    if (demand.offerSequence < this.#demand.offerSequence) return;
    this.#demand = demand;
    this.#unseenCount = null;
  }

  /** Notes what the worker publishes now. */
  publish(projects: readonly PublishedProject[], sessions: readonly OwnedSession[]): void {
    this.projectRoots = new Map(projects.map((one) => [one.project, one.root]));
    this.publishedSessions = new Map(sessions.map((one) => [one.sessionId, one]));
  }

  /** Notes a lease that the worker has; what was known of it is replaced. */
  hold(held: Held): void {
    this.drop(held.fence.leaseId);
    this.held.set(held.fence.leaseId, held);
    this.#heldPoints += held.points;
    if (held.isAlone) this.#alone++;
    this.#unseenCount = null;
  }

  /** Forgets a lease that is no longer the worker's. */
  drop(leaseId: string): Held | undefined {
    const held = this.held.get(leaseId);
    if (held && this.held.delete(leaseId)) {
      this.#heldPoints -= held.points;
      if (held.isAlone) this.#alone--;
    }
    this.#unseenCount = null;
    return held;
  }

  /** The lease of this link that a frame names, whole: its job and attempt too. */
  find(lease: {
    readonly jobId: string;
    readonly attempt: number;
    readonly leaseId: string;
  }): Held | undefined {
    const held = this.held.get(lease.leaseId);
    const isSame = held?.fence.jobId === lease.jobId && held.fence.attempt === lease.attempt;
    return isSame ? held : undefined;
  }

  /** Something happened to the link; only what it was told here decides its phase. */
  apply(event: LinkEvent): LinkPhase {
    this.#life = nextLife(this.#life, event);
    return this.#life.phase;
  }

  /** Where it is in its life. */
  get phase(): LinkPhase {
    return this.#life.phase;
  }

  /** It is no longer the worker's link; that cannot be taken back. */
  get isClosed(): boolean {
    return this.phase === "closed" || this.phase === "replaced";
  }

  /** Whether it takes offers at all. */
  get isOpen(): boolean {
    const isClosed = this.isDraining || this.isHeldBack || this.isSuspect || this.isMuted;
    return this.phase === "attached" && !isClosed;
  }

  /** Slots that may be claimed now. */
  freeSlots(): number {
    if (!this.isOpen) return 0;
    const { slots: unseen } = this.#unseen();
    return Math.max(
      0,
      Math.min(this.#mostHeld() - this.held.size, this.#demand.slots - unseen) - this.reservedSlots,
    );
  }

  /** Points that may be claimed now. */
  freePoints(): number {
    const { points: unseen } = this.#unseen();
    return Math.min(this.points - this.#heldPoints, this.#demand.points - unseen) - this.reservedPoints;
  }

  /** Whether the worker could run a shape when it holds nothing. */
  canServe(shape: Shape): boolean {
    return (
      this.#kinds.has(shape.kind) &&
      shape.points <= this.points &&
      shape.skills.every((skill) => this.#skills.has(skill))
    );
  }

  /** Whether the worker may get one more job of a shape now. */
  fits(shape: InternedShape): boolean {
    if (this.freeSlots() < 1 || this.freePoints() < shape.points || this.#alone > 0) return false;
    if (this.keptFor !== null && this.keptFor !== shape.shapeId) return false;
    const isEmpty = this.held.size === 0 && this.reservedSlots === 0;
    return !shape.isAlone || isEmpty;
  }

  /** Takes capacity for a claim that is under way. */
  reserve({ points, isAlone }: Shape): void {
    this.reservedSlots += 1;
    this.reservedPoints += points;
    if (isAlone) this.#alone++;
  }

  /** Gives it back when the claim is done. */
  unreserve({ points, isAlone }: Shape): void {
    this.reservedSlots -= 1;
    this.reservedPoints -= points;
    if (isAlone) this.#alone--;
  }

  /** A result has come: its slot is free once it is committed. */
  ended(held: Held): void {
    held.state = "result";
    this.#unseenCount = null;
  }

  // Each job that it holds may open one more.
  #mostHeld(): number {
    return this.maxOpenPrs === null ? this.slots : Math.min(this.slots, this.maxOpenPrs - this.openPrs);
  }

  #unseen(): { slots: number; points: number } {
    this.#unseenCount ??= this.#countUnseen();
    return this.#unseenCount;
  }

  #countUnseen(): { slots: number; points: number } {
    const unseen = { slots: 0, points: 0 };
    if (this.offerSequence === this.#demand.offerSequence) return unseen;
    for (const held of this.held.values()) {
      if (held.offerSequence <= this.#demand.offerSequence || held.state === "result") continue;
      unseen.slots += 1;
      unseen.points += held.points;
    }
    return unseen;
  }
}

/** Whether the result has come. A function: the state may change while a promise is awaited. */
export function hasResult(held: Held): boolean {
  return held.state === "result";
}
