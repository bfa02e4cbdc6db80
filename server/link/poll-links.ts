import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ConnectResponse,
  Heartbeat,
  HeartbeatAckSchema,
  Hello,
  OfferAckSchema,
  OfferReply,
  Result,
  Welcome,
} from "@muster/client/v1/link";
import type { Caller } from "../domain/context.ts";
import { DomainError, failedPrecondition } from "../domain/errors.ts";
import { readHello } from "./frames-in.ts";
import { leaseRef } from "./frames-out.ts";
import { commitResults, type ResultAckInit } from "./intake.ts";
import { Mailbox } from "./mailbox.ts";
import type { LinkParts } from "./parts.ts";
import { LinkSession } from "./session.ts";

/** A link whose frames are fetched. */
export interface PollLink {
  readonly session: LinkSession;
  fetch(waitMs: number, signal: AbortSignal): Promise<ConnectResponse[]>;
  answer(reply: OfferReply): Promise<MessageInitShape<typeof OfferAckSchema>>;
  renew(heartbeat: Heartbeat): Promise<MessageInitShape<typeof HeartbeatAckSchema>>;
}

/**
 * The polling links of this coordinator, by worker. They have no stream whose
 * end would be seen: one that is not heard of for long is dropped, and its
 * worker attaches again. Leases are not touched by that.
 */
export class PollLinks {
  readonly #parts: LinkParts;
  readonly #links = new Map<string, PollLink>();

  constructor(parts: LinkParts) {
    this.#parts = parts;
  }

  /** Opens a polling link. */
  async attach(caller: Caller, frame: Hello): Promise<Welcome> {
    const hello = readHello(frame, "poll");
    let session: LinkSession | undefined;
    const mailbox = new Mailbox(this.#parts.nowMs, () =>
      session?.goAway("too-slow", "the worker polls too seldom"),
    );
    session = await LinkSession.open(this.#parts, caller, mailbox, hello, frame.demand);
    const [welcome] = mailbox.take().filter((one) => one.frame.case === "welcome");
    this.#links.set(session.link.workerId, pollLink(session, mailbox));
    if (welcome?.frame.case !== "welcome") throw new Error("a link begins with its Welcome");
    return welcome.frame.value;
  }

  /** The link of a worker at an epoch. Throws LINK_NOT_ATTACHED: attach again, here or elsewhere. */
  of(caller: Caller, linkEpoch: bigint): PollLink {
    const found = this.find(caller);
    if (!found || BigInt(found.session.link.linkEpoch) !== linkEpoch) {
      throw failedPrecondition("LINK_NOT_ATTACHED", { linkEpoch: String(linkEpoch) });
    }
    return found;
  }

  /** The link of a worker, if it has one here. */
  find(caller: Caller): PollLink | undefined {
    const found = caller.workerId === null ? undefined : this.#links.get(caller.workerId);
    if (found?.session.isEnded) {
      this.#links.delete(found.session.link.workerId);
      return undefined;
    }
    return found;
  }

  /** Commits results, with a link or without: the fence alone decides. */
  submitResults(caller: Caller, results: readonly Result[]): Promise<ResultAckInit[]> {
    if (caller.workerId === null) throw new DomainError("SCOPE_MISSING");
    const { orgId, workerId } = caller;
    const link = this.#parts.dispatcher.linksOf(orgId).get(workerId);
    return commitResults(this.#parts, { orgId, workerId, link }, results);
  }

  /** Ends the links that were not heard of for three stale times. Called each second. */
  prune(): void {
    const nowMs = this.#parts.nowMs();
    for (const [workerId, { session }] of this.#links) {
      const isSilent = nowMs - session.link.lastBeatMs > 3 * this.#parts.config.staleMs;
      if (isSilent) session.end();
      if (session.isEnded) this.#links.delete(workerId);
    }
  }
}

function pollLink(session: LinkSession, mailbox: Mailbox): PollLink {
  return {
    session,
    async fetch(waitMs, signal) {
      await mailbox.waitForFrame(waitMs, signal);
      return mailbox.take();
    },
    async answer(reply) {
      const { leases, superseded } = await session.commitAnswers(reply);
      return { leases: leases.map(leaseRef), superseded: superseded.map(leaseRef) };
    },
    async renew(heartbeat) {
      await session.renew(heartbeat);
      return session.heartbeatAck(Number(heartbeat.sequence));
    },
  };
}
