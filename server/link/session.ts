import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type {
  CancelStatus,
  ConnectRequest,
  ConnectResponse,
  Demand,
  Heartbeat,
  LinksAckSchema,
  LinksChanged,
  OfferReply,
  Report,
  Result,
  Results,
} from "@muster/client/v1/link";
import { Link } from "../dispatch/link.ts";
import type { Caller } from "../domain/context.ts";
import type { Fence } from "../domain/leases.ts";
import {
  type Attached,
  attachLink,
  type Hello,
  type Process,
  processName,
  type StoredLease,
} from "../domain/links.ts";
import type { Lease } from "../domain/submit.ts";
import { closeLink, readLinkHolder } from "../store/links.ts";
import { Draining } from "./draining.ts";
import { readLease } from "./frames-in.ts";
import { frame, goingAway, leaseRef, offersOf, welcomeOf } from "./frames-out.ts";
import { commitReport, commitResults, type EventAckInit, type Sender } from "./intake.ts";
import { LinkCancels } from "./link-cancels.ts";
import { LinkLeases } from "./link-leases.ts";
import type { LinkParts } from "./parts.ts";
import { Publications } from "./publications.ts";
import { conflictMessages } from "./published.ts";
import { untilDone } from "./until-done.ts";

/** Where frames go: a stream's mailbox, or what a poll fetches. Never waits. */
export interface FrameSink {
  send(frame: ConnectResponse): void;
  /** Called each second: cuts a worker off that does not read. */
  check(): void;
  /** Ends the link after what was sent. */
  end(): void;
}

/** Reports of a link that may wait; who sends more starts anew over its next link. */
const maxReports = 256;

/**
 * One link of a worker, from Hello to its end: frames in, verbs called,
 * frames out. The same for a stream and for the unary twins. A lease's path
 * here: offered → accepted → running → result; it leaves at the commit.
 */
export class LinkSession {
  readonly link: Link;
  readonly welcome: ConnectResponse;
  readonly caller: Caller;
  /** What runs at the other end. */
  readonly process: Process;
  /** Why it was ended; empty while it lives. */
  lastWord = "";
  readonly #parts: LinkParts;
  readonly #sink: FrameSink;
  readonly #draining: Draining;
  readonly #leases: LinkLeases;
  readonly #cancels: LinkCancels;
  readonly #publications: Publications;
  readonly #reports: { readonly report: Report; readonly resolve: () => void }[] = [];
  #isEnded = false;
  #unlist: () => void = () => {};

  private constructor(parts: LinkParts, caller: Caller, sink: FrameSink, attached: Attached, hello: Hello) {
    this.#parts = parts;
    this.#sink = sink;
    this.caller = caller;
    this.process = { host: hello.declared.host, bootId: hello.bootId };
    const { slots, points, kinds, skills } = attached.declared;
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
      ...{ isHeldBack: attached.isHeldBack, maxOpenPrs: attached.maxOpenPrs, openPrs: attached.openPrs },
      nowMs: parts.nowMs(),
      port: {
        offer: (sequence, grants) => {
          for (const one of offersOf(this.link, sequence, grants, parts.config.offerTtlMs))
            this.#sink.send(one);
        },
        cancel: (fence, reason) => this.#cancels.send(fence, reason),
        command: (command) => this.#draining.tell(command),
        goAway: (reason, detail) => this.goAway(reason, detail),
      },
    });
    this.#draining = new Draining(parts, this.link, sink, hello.isDraining, attached.isDrainWanted);
    this.#cancels = new LinkCancels(parts, this.link, sink);
    this.#leases = new LinkLeases(parts, this);
    this.#publications = new Publications(parts, this.link);
    this.link.publish(hello.published.projects, attached.publication.sessions);
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
    // A verdict to go on lets an exclusive job start: what the Hello accepts is committed first.
    await session.#leases.resume(attached, hello);
    if (demand) session.#setDemand(demand);
    sink.send(session.welcome);
    if (attached.command) session.#draining.tell(attached.command);
    parts.sessions.add(session);
    session.#unlist = parts.streams.open({ caller, end: (cause) => session.#outlived(cause) });
    const older = parts.dispatcher.linksOf(caller.orgId).get(attached.workerId);
    if (older && older.linkEpoch < attached.linkEpoch) {
      older.port.goAway("replaced", replacedDetail(attached.replaced, session.process));
    }
    parts.dispatcher.attach(session.link);
    await session.#leases.giveBack(attached);
    return session;
  }

  /** Takes a frame of the worker. Never rejects: what fails is logged, and the worker sends it again. */
  receive(request: ConnectRequest): void {
    if (this.#isEnded) return;
    this.link.apply({ type: "heard", nowMs: this.#parts.nowMs() });
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
        return this.#changeLinks(incoming.value);
      case "hello":
        this.#parts.refused("hello", "protocol");
        return this.goAway("protocol", "a link has one Hello");
      case undefined:
        return;
    }
  }

  /** Takes a heartbeat; resolves when the link's life is committed: false when a newer link took over. */
  async renew(beat: Heartbeat): Promise<boolean> {
    if (this.#isEnded) return false;
    // One that was on its way over an earlier link tells of leases as they were.
    if (beat.linkEpoch !== 0n && beat.linkEpoch !== BigInt(this.link.linkEpoch)) {
      this.#parts.refused("heartbeat", "other-link");
      return false;
    }
    this.link.apply({ type: "heard", nowMs: this.#parts.nowMs() });
    this.#takeBeat(beat);
    const judge = this.#leases.hear(beat);
    const [isRenewed] = await Promise.all([this.#parts.renewals.renew(this.link), this.#draining.note()]);
    const isCurrent = isRenewed && (!beat.leaving || (await this.#leases.leave(beat)));
    if (!isCurrent) {
      await this.#replaced();
      return false;
    }
    // Only what is echoed is life, and only the present link judges what its worker has.
    this.link.apply({ type: "echoed", nowMs: this.#parts.nowMs() });
    judge();
    return true;
  }

  /** Answers to offers: T5 and T6. Resolves when they are committed, with the exclusive jobs that may start or not. */
  commitAnswers(reply: OfferReply): Promise<{ leases: Lease[]; superseded: Lease[] }> {
    return this.#leases.commitAnswers(reply);
  }

  /** Keeps what attempts said; resolves when it is durable. */
  commitReport(report: Report): Promise<EventAckInit[]> {
    const committing = commitReport(this.#parts, this.#sender(), report);
    for (const item of report.items) {
      const lease = readLease(item.lease);
      const held = lease && this.link.find(lease);
      if (held) held.reporting = committing.catch(() => {});
    }
    return committing;
  }

  /** Publishes linked projects and sessions; resolves with the answer once they are committed: null after the link. */
  async commitLinks(links: LinksChanged): Promise<MessageInitShape<typeof LinksAckSchema> | null> {
    const conflicts = await this.#publications.change(links);
    return conflicts && { conflicts: conflictMessages(conflicts) };
  }

  /** How far a cancel is at the worker. */
  acknowledgeCancel(status: CancelStatus): void {
    this.#cancels.acknowledge(status);
  }

  /** The worker reads too slowly: its link ends, its leases stay its own. */
  tooSlow(detail: string): void {
    const { coordinator, log } = this.#parts;
    coordinator.counters.addOf(this.link.orgId, "muster_mailbox_overflows_total");
    log.warn(
      { orgId: this.link.orgId, worker: this.link.workerName },
      "a link is closed: its worker reads too slowly",
    );
    this.goAway("too-slow", detail);
  }

  /** Says a last word and ends the link; what the worker holds stays its own. */
  goAway(reason: Parameters<typeof goingAway>[0], detail: string): void {
    if (this.#isEnded) return;
    this.lastWord = detail;
    this.#sink.send(goingAway(reason, detail, this.#parts.reconnectAfterMs()));
    this.end();
  }

  // What it holds stays its own: whoever ended the key has said what becomes of that.
  #outlived(cause: "key" | "org"): void {
    if (cause === "key") this.goAway("revoked", "the key of the link has ended");
    else this.goAway("restart", "the org may do nothing now");
  }

  /** Asks the worker to stop a lease. */
  stop(fence: Fence, reason: string): void {
    this.#cancels.send(fence, reason);
  }

  /** Ends the link. Leases are not touched: silence is not death. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#parts.sessions.delete(this);
    this.#unlist();
    this.#parts.dispatcher.detach(this.link);
    this.#sink.end();
    const { coordinator } = this.#parts;
    void this.#parts.attempt("mark a link as closed", async () => {
      await closeLink(coordinator.db, this.link.orgId, this.link);
      if (this.link.publishedSessions.size > 0) coordinator.wakes.routes(this.link.orgId);
    });
  }

  /** Called each second: how the link lives, and what was left without an answer. */
  check(): void {
    const nowMs = this.#parts.nowMs();
    const phase = this.link.apply({ type: "tick", nowMs, staleMs: this.#parts.config.staleMs });
    // Nobody is there: its worker has another link, or comes back with one.
    if (phase === "silent") return this.end();
    this.#sink.check();
    this.#leases.check(nowMs);
    this.#cancels.check();
  }

  /** A lease is no longer the worker's: told with the next heartbeat, and by a cancel at once. */
  revoke(leaseId: string, reason: string): void {
    this.#leases.revoke(leaseId, reason);
  }

  /** Takes offers of these leases back that the worker has not accepted. Resolves with their number. */
  withdraw(leases: ReadonlySet<string>): Promise<number> {
    return this.#leases.withdraw(leases);
  }

  /** The store has a lease of this worker that is not counted here: an offer that was never sent goes back. */
  adopt(lease: StoredLease): Promise<void> {
    return this.#leases.adopt(lease);
  }

  /** The echo of a heartbeat whose commit was awaited. */
  heartbeatAck(sequence: number) {
    const lost = this.#leases.takeLost().map(leaseRef);
    return { sequence: BigInt(sequence), serverTime: timestampNow(), lost };
  }

  /** Nothing comes in or goes out any more. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  #setDemand({ slots, points, offerSequence }: Demand): void {
    this.link.setDemand({ slots, points, offerSequence: Number(offerSequence) });
    this.#parts.dispatcher.wake(this.link.orgId);
  }

  #changeLinks(links: LinksChanged): void {
    void this.#parts.attempt("publish sessions", () =>
      untilDone(this, this.#parts.log, async () => {
        const ack = await this.commitLinks(links);
        if (ack) this.#sink.send(frame({ case: "linksAck", value: ack }));
        return true;
      }),
    );
  }

  #heartbeat(beat: Heartbeat): void {
    void this.#parts.attempt("renew a link", async () => {
      if (!(await this.renew(beat))) return;
      this.#sink.send(frame({ case: "heartbeatAck", value: this.heartbeatAck(Number(beat.sequence)) }));
    });
  }

  #takeBeat(beat: Heartbeat): void {
    const { link } = this;
    const sequence = Number(beat.sequence);
    link.heartbeatSequence = Math.max(link.heartbeatSequence, sequence);
    link.isMuted = false;
    this.#draining.hear(beat.draining);
    if (beat.demand) this.#setDemand(beat.demand);
    else this.#parts.dispatcher.wake(link.orgId);
  }

  // The newer link may be anywhere: who holds it is read, so that people find the other process.
  async #replaced(): Promise<void> {
    const { coordinator } = this.#parts;
    const { orgId, workerId } = this.link;
    const holder = await readLinkHolder(coordinator.db, orgId, workerId).catch(() => null);
    this.goAway("replaced", replacedDetail(this.process, holder));
  }

  #answer(reply: OfferReply): void {
    void this.#parts.attempt("commit answers to offers", async () => {
      const { leases, superseded } = await this.commitAnswers(reply);
      if (leases.length + superseded.length === 0) return;
      const value = { leases: leases.map(leaseRef), superseded: superseded.map(leaseRef) };
      this.#sink.send(frame({ case: "offerAck", value }));
    });
  }

  // In the order in which they came: an acknowledgement says that all before it is durable. A result waits for what
  // its handler said before.
  #report(report: Report): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const lease of new Map(report.items.map((item) => [item.lease?.leaseId, item.lease])).values()) {
      const named = readLease(lease);
      const held = named && this.link.find(named);
      if (held) held.reporting = promise;
    }
    this.#reports.push({ report, resolve });
    if (this.#reports.length > maxReports)
      this.goAway("restart", "reports come faster than they can be kept");
    if (this.#reports.length === 1) void this.#parts.attempt("commit reports", () => this.#commitReports());
  }

  async #commitReports(): Promise<void> {
    for (let [next] = this.#reports; next; [next] = this.#reports) {
      const { report, resolve } = next;
      await untilDone(this, this.#parts.log, async () => {
        const items = await commitReport(this.#parts, this.#sender(), report);
        if (items.length > 0) this.#sink.send(frame({ case: "eventAck", value: { items } }));
        return true;
      });
      resolve();
      this.#reports.shift();
    }
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
}

// To the older of two processes; without names when it is the same one, over a newer link.
function replacedDetail(older: Process | null, newer: Process | null): string {
  if (!older || !newer || older.bootId === newer.bootId) return "a newer link of this worker took over";
  return `another process runs under the identity of this worker (${processName(newer)}); this one is ${processName(older)}`;
}
