import type { Heartbeat, OfferReply } from "@muster/client/v1/link";
import { type Held, hasResult, type Link, storedHeld } from "../dispatch/link.ts";
import { unavailable } from "../domain/errors.ts";
import { endLeases, type Fence } from "../domain/leases.ts";
import { type Attached, type Hello, leaveLink, type StoredLease } from "../domain/links.ts";
import type { LeftEvent } from "../domain/rules/lifecycle.ts";
import type { LeaseEvent } from "../domain/rules/transitions.ts";
import type { Lease } from "../domain/submit.ts";
import { cleanText, fenceOf, readCoolDown, readLease } from "./frames-in.ts";
import type { LinkParts } from "./parts.ts";
import { untilDone } from "./until-done.ts";

/** The link whose leases they are. */
export interface LeaseOwner {
  readonly link: Link;
  /** Nothing comes in or goes out any more. */
  readonly isEnded: boolean;
  /** Tells the worker to stop a lease. */
  stop(fence: Fence, reason: string): void;
}

/** What a heartbeat says of leases. */
interface Listed {
  readonly held: readonly Lease[];
  readonly outbox: readonly Lease[];
  readonly sequence: number;
  /** Those of `held` that were not the worker's when it came. */
  readonly unknown: ReadonlySet<Lease>;
}

/** A lease of an earlier boot, until the store has ended it. */
interface Doubtful {
  readonly fence: Fence;
  readonly untilMs: number;
  readonly event: LeaseEvent | LeftEvent;
}

const lost = { type: "lost", isFleetEvent: false } as const;
const drained = { type: "left", isProven: true } as const;

/**
 * The leases of one link, from the offer to the commit of what ends them. What is no longer the worker's is told
 * with the next heartbeat, and by a cancel at once.
 */
export class LinkLeases {
  readonly #parts: LinkParts;
  readonly #owner: LeaseOwner;
  /** Of an earlier boot that is not proven dead. */
  readonly #doubtful = new Map<string, Doubtful>();
  #lost: Lease[] = [];

  constructor(parts: LinkParts, owner: LeaseOwner) {
    this.#parts = parts;
    this.#owner = owner;
  }

  /** Takes over what the store says the worker has. A Hello that lists a lease accepts it. */
  async resume(attached: Attached, hello: Hello): Promise<void> {
    const accepts: Promise<{ isCurrent: boolean }>[] = [];
    const listed = new Set(hello.held.map((lease) => lease.leaseId));
    const nowMs = this.#parts.nowMs();
    for (const lease of attached.leases) {
      const held = storedHeld(lease, attached.workerId, nowMs);
      this.#link.hold(held);
      if (!lease.isRunning && listed.has(lease.leaseId)) accepts.push(this.#accept(held, 0));
    }
    for (const { verdict } of attached.verdicts) {
      if (verdict === "superseded") this.#parts.refused("hello", "unknown-lease");
    }
    const over = (leases: Attached["dead"], event: LeaseEvent | LeftEvent) =>
      leases.map((lease) => ({ lease, waitMs: 0, event }));
    for (const { lease, waitMs, event } of [
      ...attached.doubtful.map((one) => ({ ...one, event: lost })),
      ...over(attached.dead, lost),
      ...over(attached.left, drained),
    ]) {
      const fence = fenceOf(lease, attached.workerId);
      this.#doubtful.set(lease.leaseId, { fence, untilMs: nowMs + waitMs, event });
    }
    const accepted = await Promise.all(accepts);
    // Ended between the Hello and now: the next Hello is told so.
    if (!accepted.every(({ isCurrent }) => isCurrent)) throw unavailable("DATABASE_UNAVAILABLE", 200);
  }

  /**
   * Gives back what the worker attached without: offers that it never saw, leases that died with an earlier boot.
   * They are counted as held until the store has ended them, or more would be granted than fits; what cannot be
   * ended now is ended by `check`.
   */
  async giveBack(attached: Attached): Promise<void> {
    const back = (leases: Attached["unseen"], event: LeaseEvent | LeftEvent, reason: string) =>
      leases.map((lease) => ({ fence: fenceOf(lease, attached.workerId), event, reason }));
    await this.#parts.attempt("give leases back", async () => {
      const ended = await endLeases(this.#parts.coordinator, this.#link.orgId, [
        ...back(attached.unseen, { type: "offer-timed-out" }, "the worker attached without it"),
        ...back(attached.left, drained, "the worker drained without it"),
        ...back(attached.dead, lost, "the worker restarted"),
      ]);
      for (const leaseId of ended) {
        this.#link.drop(leaseId);
        this.#doubtful.delete(leaseId);
      }
      if (ended.size > 0) this.#parts.dispatcher.wake(this.#link.orgId);
    });
  }

  /** Answers to offers: T5 and T6. Resolves when they are committed, with the exclusive jobs that may start or not. */
  async commitAnswers(reply: OfferReply): Promise<{ leases: Lease[]; superseded: Lease[] }> {
    const declines: { fence: Fence; event: LeaseEvent; reason: string }[] = [];
    const accepts: Promise<{ held: Held; isCurrent: boolean }>[] = [];
    const superseded: Lease[] = [];
    for (const answer of reply.answers) {
      const lease = readLease(answer.lease);
      const held = lease && this.#link.find(lease);
      if (!lease || !held) {
        if (lease) superseded.push(lease);
        this.#parts.refused("offer-reply", lease ? "superseded" : "malformed");
      } else if (answer.decline) {
        const coolDownMs = readCoolDown(answer.decline.retryAfter);
        const reason = cleanText(answer.decline.reason, 200);
        declines.push({ fence: held.fence, event: { type: "declined", coolDownMs }, reason });
      } else accepts.push(this.#accept(held, Number(answer.heartbeatSequence)));
    }
    this.#lost.push(...superseded);
    if (declines.length > 0) {
      const ended = await endLeases(this.#parts.coordinator, this.#link.orgId, declines);
      // What was accepted before is not declined: it is the worker's, and its heartbeats say whether it has it.
      for (const { fence } of declines) {
        const isOffer = this.#link.held.get(fence.leaseId)?.state === "offered";
        if (isOffer || ended.has(fence.leaseId)) this.#link.drop(fence.leaseId);
      }
      this.#parts.dispatcher.wake(this.#link.orgId);
    }
    const exclusive = (await Promise.all(accepts)).filter(({ held }) => held.isExclusive);
    return {
      leases: exclusive.filter((one) => one.isCurrent).map((one) => one.held.fence),
      superseded: [...superseded, ...exclusive.filter((one) => !one.isCurrent).map((one) => one.held.fence)],
    };
  }

  /**
   * Takes what a heartbeat lists. To call when the link's life is committed: then what was offered is accepted, and told
   * as lost what was not the worker's when the heartbeat came, and is not now. What ended since, with a result that came
   * after the heartbeat, is nobody's loss.
   */
  hear({ heldLeases, outboxLeases, sequence }: Heartbeat): () => void {
    const held = heldLeases.flatMap(({ lease }) => readLease(lease) ?? []);
    const outbox = outboxLeases.flatMap((lease) => readLease(lease) ?? []);
    const unknown = new Set(held.filter((lease) => !this.#link.find(lease)));
    return () => this.#judge({ held, outbox, unknown, sequence: Number(sequence) });
  }

  #judge({ held, outbox, sequence, unknown }: Listed): void {
    for (const lease of held) {
      const own = this.#link.find(lease);
      if (!own) {
        if (!unknown.has(lease)) continue;
        this.#lost.push(lease);
        this.#parts.refused("heartbeat", "unknown-lease");
      } else if (own.state === "offered") {
        void this.#parts.attempt("commit an accept", () => this.#accept(own, sequence));
      }
    }
    this.#loseUnlisted(new Set([...held, ...outbox].map((lease) => lease.leaseId)), sequence);
  }

  /** A lease is no longer the worker's. */
  revoke(leaseId: string, reason: string): void {
    const held = this.#link.drop(leaseId);
    if (!held) return;
    this.#lost.push(held.fence);
    this.#owner.stop(held.fence, reason);
    this.#parts.dispatcher.wake(this.#link.orgId);
  }

  /** Takes offers of these leases back that the worker has not accepted. Resolves with their number. */
  withdraw(leases: ReadonlySet<string>): Promise<number> {
    const held = [...this.#link.held.values()].filter(
      (one) => one.state === "offered" && leases.has(one.fence.leaseId),
    );
    return this.#end(held, { type: "withdrawn" }, "its queue, kind or pool was paused");
  }

  /** The store has a lease of this worker that is not counted here: an offer that was never sent goes back. */
  async adopt(lease: StoredLease): Promise<void> {
    if (this.#link.held.has(lease.leaseId) || this.#owner.isEnded) return;
    const held = storedHeld(lease, this.#link.workerId, this.#parts.nowMs());
    this.#link.hold(held);
    if (lease.isRunning) return;
    await this.#end([held], { type: "offer-timed-out" }, "the offer was not sent");
  }

  /** What the worker lost since this was asked last. */
  takeLost(): Lease[] {
    const lost = this.#lost;
    this.#lost = [];
    return lost;
  }

  /** Called each second: offers that were not answered, leases of a boot that is not proven dead. */
  check(nowMs: number): void {
    const unanswered = [...this.#link.held.values()].filter(
      (held) =>
        held.state === "offered" &&
        nowMs - held.offeredAtMs > this.#parts.config.offerTtlMs &&
        // An earlier boot may run it.
        !this.#doubtful.has(held.fence.leaseId),
    );
    if (unanswered.length > 0) {
      this.#link.isMuted = true;
      void this.#end(unanswered, { type: "offer-timed-out" }, "the worker did not answer the offer");
    }
    const dead = [...this.#doubtful.values()].filter((one) => nowMs > one.untilMs);
    for (const { fence } of dead) this.#doubtful.delete(fence.leaseId);
    for (const [event, those] of Map.groupBy(dead, (one) => one.event)) {
      const held = those.flatMap(({ fence }) => this.#link.held.get(fence.leaseId) ?? []);
      if (held.length > 0) void this.#end(held, event, "the worker restarted without it");
    }
  }

  /**
   * Its worker ends by itself: nothing more is granted to it, and what it does not list is given back. Resolves when that
   * is committed: false when the link is no longer its.
   */
  async leave({ heldLeases, outboxLeases }: Heartbeat): Promise<boolean> {
    const refs = [...heldLeases.map(({ lease }) => lease), ...outboxLeases];
    const listed = new Set(refs.flatMap((ref) => readLease(ref)?.leaseId ?? []));
    const { coordinator, dispatcher } = this.#parts;
    const { orgId, workerId } = this.#link;
    const stored = await leaveLink(coordinator, orgId, this.#link);
    if (stored === null) return false;
    const ends = stored
      .filter(({ leaseId }) => !listed.has(leaseId) && !this.#doubtful.has(leaseId))
      .map((lease) => ({
        fence: fenceOf(lease, workerId),
        event: drained,
        reason: "the worker drained without it",
      }));
    const ended = await endLeases(coordinator, orgId, ends, undefined, this.#link);
    for (const leaseId of ended) this.#link.drop(leaseId);
    if (ended.size > 0) dispatcher.wake(orgId);
    return true;
  }

  get #link(): Link {
    return this.#owner.link;
  }

  // T13: its live worker lists it neither as held nor as in the outbox in two heartbeats sent after its accept.
  #loseUnlisted(listed: ReadonlySet<string>, sequence: number): void {
    const missing: Held[] = [];
    for (const held of this.#link.held.values()) {
      const isJudged = held.state === "running" || held.state === "accepted";
      if (!isJudged || this.#doubtful.has(held.fence.leaseId)) continue;
      if (listed.has(held.fence.leaseId)) held.missed = 0;
      else if (sequence > held.acceptedAtHeartbeat && ++held.missed >= 2) missing.push(held);
    }
    if (missing.length > 0) void this.#end(missing, lost, "the worker no longer has it");
  }

  // Resolves when the accept is committed, or skipped because the result is there already. However often
  // and by whatever frame a lease is accepted, it is committed once, and all wait for that.
  async #accept(held: Held, heartbeatSequence: number): Promise<{ held: Held; isCurrent: boolean }> {
    held.accepted ??= this.#commitAccept(held, heartbeatSequence);
    return { held, isCurrent: await held.accepted };
  }

  async #commitAccept(held: Held, heartbeatSequence: number): Promise<boolean> {
    if (held.state === "offered") held.state = "accepted";
    held.acceptedAtHeartbeat = Math.max(heartbeatSequence, this.#link.heartbeatSequence);
    const accept = { ...held.fence, isDone: () => hasResult(held) };
    // Not committed, not confirmed: a link that ends meanwhile must not let an exclusive job start.
    let isCurrent: boolean | null = null;
    await untilDone(this.#owner, this.#parts.log, async () => {
      isCurrent = await this.#parts.accepts.add(this.#link.orgId, accept);
      return true;
    });
    if (held.state === "accepted") held.state = "running";
    if (isCurrent === false && !hasResult(held)) {
      this.#parts.refused("accept", "superseded");
      this.revoke(held.fence.leaseId, "superseded");
    }
    return isCurrent ?? false;
  }

  // Resolves with the number of leases that it ended.
  async #end(held: readonly Held[], event: LeaseEvent | LeftEvent, reason: string): Promise<number> {
    let count = 0;
    await this.#parts.attempt("end leases", async () => {
      const ends = held.map(({ fence }) => ({ fence, event, reason }));
      const ended = await endLeases(this.#parts.coordinator, this.#link.orgId, ends, undefined, this.#link);
      for (const leaseId of ended) this.revoke(leaseId, reason);
      count = ended.size;
    });
    return count;
  }
}
