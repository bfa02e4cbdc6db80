import { durationFromMs, timestampNow } from "@bufbuild/protobuf/wkt";
import type {
  CancelStatus,
  ConnectRequest,
  ConnectResponse,
  Demand,
  Heartbeat,
  OfferReply,
  Report,
  Result,
  Results,
} from "@muster/client/v1/link";
import type { Held } from "../dispatch/link.ts";
import { hasResult, Link, storedHeld } from "../dispatch/link.ts";
import type { Caller } from "../domain/context.ts";
import { endLeases, type Fence } from "../domain/leases.ts";
import { type Attached, attachLink, type Hello, type StoredLease } from "../domain/links.ts";
import type { LeaseEvent } from "../domain/rules/transitions.ts";
import type { Lease } from "../domain/submit.ts";
import { closeLink } from "../store/links.ts";
import { Draining } from "./draining.ts";
import { fenceOf, readCoolDown, readLease } from "./frames-in.ts";
import { frame, goingAway, leaseRef, offersOf, welcomeOf } from "./frames-out.ts";
import { commitReport, commitResults, type EventAckInit, type Sender } from "./intake.ts";
import type { LinkParts } from "./parts.ts";
import { untilDone } from "./until-done.ts";

/** Where frames go: a stream's mailbox, or what a poll fetches. Never waits. */
export interface FrameSink {
  send(frame: ConnectResponse): void;
  /** Ends the link after what was sent. */
  end(): void;
}

/**
 * One link of a worker, from Hello to its end: frames in, verbs called,
 * frames out. The same for a stream and for the unary twins. A lease's path
 * here: offered → accepted → running → result; it leaves at the commit.
 */
export class LinkSession {
  readonly link: Link;
  readonly welcome: ConnectResponse;
  readonly caller: Caller;
  readonly #parts: LinkParts;
  readonly #sink: FrameSink;
  readonly #draining: Draining;
  readonly #doubtful = new Map<string, { readonly fence: Fence; readonly untilMs: number }>();
  #lost: Lease[] = [];
  #isEnded = false;

  private constructor(parts: LinkParts, caller: Caller, sink: FrameSink, attached: Attached, hello: Hello) {
    this.#parts = parts;
    this.#sink = sink;
    this.caller = caller;
    const { slots, points, kinds, skills } = hello.declared;
    this.link = new Link({
      orgId: caller.orgId,
      workerId: attached.workerId,
      workerName: attached.workerName,
      linkEpoch: attached.linkEpoch,
      skills: skills.map((skill) => skill.name),
      kinds,
      slots,
      points,
      isDraining: hello.isDraining || attached.isDrainWanted,
      nowMs: parts.nowMs(),
      port: {
        offer: (sequence, grants) => {
          for (const one of offersOf(sequence, grants, parts.config.offerTtlMs)) this.#sink.send(one);
        },
        cancel: (fence, reason) => this.#sendCancel(fence, reason),
        command: (command) => this.#draining.tell(command),
        goAway: (reason, detail) => this.goAway(reason, detail),
      },
    });
    this.#draining = new Draining(parts, this.link, sink, hello.isDraining, attached.isDrainWanted);
    this.welcome = frame({ case: "welcome", value: welcomeOf(attached, parts) });
  }

  /** Attaches a worker: its link row, its leases, its place in dispatch. The Welcome is the first frame. */
  static async open(
    parts: LinkParts,
    caller: Caller,
    sink: FrameSink,
    hello: Hello,
    demand: Demand | undefined,
  ) {
    const attached = await attachLink(parts.coordinator, caller, hello);
    const session = new LinkSession(parts, caller, sink, attached, hello);
    session.#resume(attached, hello);
    if (demand) session.#setDemand(demand);
    sink.send(session.welcome);
    if (attached.command) session.#draining.tell(attached.command);
    parts.sessions.add(session);
    parts.dispatcher.attach(session.link);
    await session.#giveBack(attached);
    return session;
  }

  /** Takes a frame of the worker. Never rejects: what fails is logged, and the worker sends it again. */
  receive(request: ConnectRequest): void {
    if (this.#isEnded) return;
    if (request.demand) this.#setDemand(request.demand);
    const { frame: incoming } = request;
    switch (incoming.case) {
      case "heartbeat":
        return this.#heartbeat(incoming.value);
      case "offerReply":
        return this.#answer(incoming.value);
      case "report":
        return this.#report(incoming.value);
      case "results":
        return this.#results(incoming.value);
      case "cancelStatus":
        return this.acknowledgeCancel(incoming.value);
      case "linksChanged":
        return;
      case "hello":
        return this.goAway("protocol", "a link has one Hello");
      case undefined:
        return;
    }
  }

  /** Takes a heartbeat; resolves when the link's life is committed. Rejects when it could not be. */
  async renew(beat: Heartbeat): Promise<void> {
    this.#takeBeat(beat);
    const isCurrent = await this.#parts.renewals.renew(this.link);
    if (!isCurrent) this.goAway("replaced", "a newer link of this worker took over");
  }

  /** Answers to offers: T5 and T6. Resolves when they are committed, with the exclusive jobs that may start or not. */
  async commitAnswers(reply: OfferReply): Promise<{ leases: Lease[]; superseded: Lease[] }> {
    const declines: { fence: Fence; event: LeaseEvent; reason: string }[] = [];
    const accepts: Promise<{ held: Held; isCurrent: boolean }>[] = [];
    const superseded: Lease[] = [];
    for (const answer of reply.answers) {
      const lease = readLease(answer.lease);
      const held = lease && this.link.held.get(lease.leaseId);
      if (!lease || !held) {
        if (lease) superseded.push(lease);
        this.#parts.refused("offer-reply", lease ? "superseded" : "malformed");
      } else if (answer.decline) {
        const coolDownMs = readCoolDown(answer.decline.retryAfter);
        const reason = answer.decline.reason.slice(0, 200);
        declines.push({ fence: held.fence, event: { type: "declined", coolDownMs }, reason });
      } else accepts.push(this.#accept(held, Number(answer.heartbeatSequence)));
    }
    this.#lost.push(...superseded);
    if (declines.length > 0) {
      await endLeases(this.#parts.coordinator, this.link.orgId, declines);
      for (const { fence } of declines) this.link.drop(fence.leaseId);
      this.#parts.dispatcher.wake(this.link.orgId);
    }
    const exclusive = (await Promise.all(accepts)).filter(({ held }) => held.isExclusive);
    return {
      leases: exclusive.filter((one) => one.isCurrent).map((one) => one.held.fence),
      superseded: [...superseded, ...exclusive.filter((one) => !one.isCurrent).map((one) => one.held.fence)],
    };
  }

  /** Keeps what attempts said; resolves when it is durable. */
  commitReport(report: Report): Promise<EventAckInit[]> {
    return commitReport(this.#parts, this.#sender(), report);
  }

  /** How far a cancel is at the worker. */
  acknowledgeCancel(status: CancelStatus): void {
    const lease = readLease(status.lease);
    const held = lease && this.link.held.get(lease.leaseId);
    if (held) held.isCancelAcknowledged = true;
  }

  /** Says a last word and ends the link; what the worker holds stays its own. */
  goAway(reason: Parameters<typeof goingAway>[0], detail: string): void {
    if (this.#isEnded) return;
    this.#sink.send(goingAway(reason, detail, this.#parts.reconnectAfterMs()));
    this.end();
  }

  /** Ends the link. Leases are not touched: silence is not death. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#parts.sessions.delete(this);
    this.#parts.dispatcher.detach(this.link);
    this.#sink.end();
    const { coordinator } = this.#parts;
    void this.#parts.attempt("mark a link as closed", () =>
      closeLink(coordinator.db, this.link.orgId, this.link),
    );
  }

  /** Called each second: offers that were not answered, leases of a boot that is not proven dead. */
  check(): void {
    const nowMs = this.#parts.nowMs();
    const { offerTtlMs, staleMs } = this.#parts.config;
    this.link.isStale = nowMs - this.link.lastBeatMs > staleMs;
    const unanswered = [...this.link.held.values()].filter(
      (held) => held.state === "offered" && nowMs - held.offeredAtMs > offerTtlMs,
    );
    if (unanswered.length > 0) {
      this.link.isMuted = true;
      const event = { type: "offer-timed-out" } as const;
      void this.#endHeld(unanswered, event, "the worker did not answer the offer");
    }
    const dead = [...this.#doubtful.values()].filter((one) => nowMs > one.untilMs);
    for (const { fence } of dead) this.#doubtful.delete(fence.leaseId);
    const held = dead.flatMap(({ fence }) => this.link.held.get(fence.leaseId) ?? []);
    if (held.length > 0) {
      const event = { type: "lost", isFleetEvent: false } as const;
      void this.#endHeld(held, event, "the worker restarted without it");
    }
  }

  /** A lease is no longer the worker's: told with the next heartbeat, and by a cancel at once. */
  revoke(leaseId: string, reason: string): void {
    const held = this.link.drop(leaseId);
    if (!held) return;
    this.#lost.push(held.fence);
    this.#sendCancel(held.fence, reason);
    this.#parts.dispatcher.wake(this.link.orgId);
  }

  /** The store has a lease of this worker that is not counted here: an offer that was never sent goes back. */
  async adopt(lease: StoredLease): Promise<void> {
    if (this.link.held.has(lease.leaseId) || this.#isEnded) return;
    const held = storedHeld(lease, this.link.workerId, this.#parts.nowMs());
    this.link.hold(held);
    if (lease.isRunning) return;
    await this.#endHeld([held], { type: "offer-timed-out" }, "the offer was not sent");
  }

  /** The echo of a heartbeat whose commit was awaited. */
  heartbeatAck(sequence: number) {
    const lost = this.#lost.map(leaseRef);
    this.#lost = [];
    return { sequence: BigInt(sequence), serverTime: timestampNow(), lost };
  }

  /** Nothing comes in or goes out any more. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  #resume(attached: Attached, hello: Hello): void {
    const dropped = new Set([...attached.unseen, ...attached.dead].map((lease) => lease.leaseId));
    const inOutbox = new Set(hello.outbox.map((lease) => lease.leaseId));
    const nowMs = this.#parts.nowMs();
    for (const lease of attached.leases) {
      if (dropped.has(lease.leaseId)) continue;
      const held = storedHeld(lease, attached.workerId, nowMs);
      this.link.hold(held);
      // A Hello that lists a lease accepts it.
      if (!lease.isRunning && !inOutbox.has(lease.leaseId)) {
        void this.#parts.attempt("commit an accept", () => this.#accept(held, 0));
      }
    }
    for (const { lease, waitMs } of attached.doubtful) {
      const fence = fenceOf(lease, attached.workerId);
      this.#doubtful.set(lease.leaseId, { fence, untilMs: nowMs + waitMs });
    }
  }

  async #giveBack(attached: Attached): Promise<void> {
    const back = (leases: Attached["unseen"], event: LeaseEvent, reason: string) =>
      leases.map((lease) => ({ fence: fenceOf(lease, attached.workerId), event, reason }));
    await this.#parts.attempt("give leases back", () =>
      endLeases(this.#parts.coordinator, this.link.orgId, [
        ...back(attached.unseen, { type: "offer-timed-out" }, "the worker attached without it"),
        ...back(attached.dead, { type: "lost", isFleetEvent: false }, "the worker restarted"),
      ]),
    );
  }

  #setDemand({ slots, points, offerSequence }: Demand): void {
    this.link.setDemand({ slots, points, offerSequence: Number(offerSequence) });
    this.#parts.dispatcher.wake(this.link.orgId);
  }

  #heartbeat(beat: Heartbeat): void {
    void this.#parts.attempt("renew a link", async () => {
      await this.renew(beat);
      this.#sink.send(frame({ case: "heartbeatAck", value: this.heartbeatAck(Number(beat.sequence)) }));
    });
  }

  #takeBeat(beat: Heartbeat): void {
    const { link } = this;
    const sequence = Number(beat.sequence);
    link.lastBeatMs = this.#parts.nowMs();
    link.heartbeatSequence = Math.max(link.heartbeatSequence, sequence);
    link.isStale = false;
    link.isMuted = false;
    this.#draining.hear(beat.draining);
    const listed = new Set<string>();
    for (const { lease: ref } of beat.heldLeases) {
      const lease = readLease(ref);
      if (!lease) continue;
      listed.add(lease.leaseId);
      const held = link.held.get(lease.leaseId);
      if (!held) this.#lost.push(lease);
      else if (held.state === "offered") {
        void this.#parts.attempt("commit an accept", () => this.#accept(held, sequence));
      }
    }
    for (const ref of beat.outboxLeases) {
      const lease = readLease(ref);
      if (lease) listed.add(lease.leaseId);
    }
    this.#loseUnlisted(listed, sequence);
    if (beat.demand) this.#setDemand(beat.demand);
    else this.#parts.dispatcher.wake(link.orgId);
  }

  // T13: its live worker lists it neither as held nor as in the outbox in two heartbeats sent after its accept.
  #loseUnlisted(listed: ReadonlySet<string>, sequence: number): void {
    const lost: Held[] = [];
    for (const held of this.link.held.values()) {
      const isJudged = held.state === "running" || held.state === "accepted";
      if (!isJudged || this.#doubtful.has(held.fence.leaseId)) continue;
      if (listed.has(held.fence.leaseId)) held.missed = 0;
      else if (sequence > held.acceptedAtHeartbeat && ++held.missed >= 2) lost.push(held);
    }
    const event = { type: "lost", isFleetEvent: false } as const;
    if (lost.length > 0) void this.#endHeld(lost, event, "the worker no longer has it");
  }

  // Resolves when the accept is committed, or skipped because the result is there already. However often
  // and by whatever frame a lease is accepted, it is committed once, and all wait for that.
  async #accept(held: Held, heartbeatSequence: number): Promise<{ held: Held; isCurrent: boolean }> {
    held.accepted ??= this.#commitAccept(held, heartbeatSequence);
    return { held, isCurrent: await held.accepted };
  }

  async #commitAccept(held: Held, heartbeatSequence: number): Promise<boolean> {
    if (held.state === "offered") held.state = "accepted";
    held.acceptedAtHeartbeat = Math.max(heartbeatSequence, this.link.heartbeatSequence);
    const accept = { ...held.fence, isDone: () => hasResult(held) };
    let isCurrent = true;
    await untilDone(this, this.#parts.log, async () => {
      isCurrent = await this.#parts.accepts.add(this.link.orgId, accept);
      return true;
    });
    if (held.state === "accepted") held.state = "running";
    if (!isCurrent && !hasResult(held)) this.revoke(held.fence.leaseId, "superseded");
    return isCurrent;
  }

  #answer(reply: OfferReply): void {
    void this.#parts.attempt("commit answers to offers", async () => {
      const { leases, superseded } = await this.commitAnswers(reply);
      if (leases.length + superseded.length === 0) return;
      const value = { leases: leases.map(leaseRef), superseded: superseded.map(leaseRef) };
      this.#sink.send(frame({ case: "offerAck", value }));
    });
  }

  async #endHeld(held: readonly Held[], event: LeaseEvent, reason: string): Promise<void> {
    await this.#parts.attempt("end leases", async () => {
      const ends = held.map(({ fence }) => ({ fence, event, reason }));
      const ended = await endLeases(this.#parts.coordinator, this.link.orgId, ends);
      for (const leaseId of ended) this.revoke(leaseId, reason);
    });
  }

  #report(report: Report): void {
    void this.#parts.attempt("commit a report", () =>
      untilDone(this, this.#parts.log, async () => {
        const items = await this.commitReport(report);
        if (items.length > 0) this.#sink.send(frame({ case: "eventAck", value: { items } }));
        return true;
      }),
    );
  }

  // A worker sends its results once a link. What the database cannot take now is tried again here: without an
  // answer the worker's slot would stay taken.
  #results({ results }: Results): void {
    let left: readonly Result[] = results;
    void this.#parts.attempt("commit results", () =>
      untilDone(this, this.#parts.log, async () => {
        const items = await commitResults(this.#parts, this.#sender(), left);
        if (items.length > 0) this.#sink.send(frame({ case: "resultAck", value: { items } }));
        const answered = new Set(items.map((item) => item.resultId));
        left = left.filter((result) => !answered.has(result.resultId));
        return left.length === 0;
      }),
    );
  }

  #sender(): Sender {
    return { orgId: this.link.orgId, workerId: this.link.workerId, link: this.link };
  }

  #sendCancel(fence: Fence, reason: string): void {
    const grace = durationFromMs(this.#parts.config.killGraceMs);
    this.#sink.send(frame({ case: "cancel", value: { lease: leaseRef(fence), reason, grace } }));
  }
}
