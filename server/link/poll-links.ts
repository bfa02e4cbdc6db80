import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ConnectResponse,
  Heartbeat,
  HeartbeatAckSchema,
  Hello,
  LinksAckSchema,
  LinksChanged,
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
  changeLinks(links: LinksChanged): Promise<MessageInitShape<typeof LinksAckSchema>>;
  /** Its last word was fetched, or nobody fetches it any more. */
  isDone(): boolean;
}

/**
 * The polling links of this coordinator, by worker. They have no stream whose
 * end would be seen: one that is not heard of for long is dropped, and its
 * worker attaches again. Leases are not touched by that.
 */
export class PollLinks {
  readonly #parts: LinkParts;
  readonly #links = new Map<string, PollLink>();
  /** Ended, with a last word that was not fetched yet. */
  readonly #leaving = new Map<string, PollLink>();

  constructor(parts: LinkParts) {
    this.#parts = parts;
  }

  /** Opens a polling link. */
  async attach(caller: Caller, frame: Hello): Promise<Welcome> {
    const hello = readHello(frame, "poll");
    this.#parts.admission.admit(caller, hello);
    let session: LinkSession | undefined;
    const mailbox = new Mailbox(this.#parts.nowMs, () => session?.tooSlow("the worker polls too seldom"));
    session = await LinkSession.open(this.#parts, caller, mailbox, hello, frame.demand);
    const [welcome] = mailbox.take().filter((one) => one.frame.case === "welcome");
    // What the attachment replaced may have a last word.
    this.find(caller);
    this.#links.set(session.link.workerId, pollLink(session, mailbox));
    if (welcome?.frame.case !== "welcome") throw new Error("a link begins with its Welcome");
    return welcome.frame.value;
  }

  /**
   * The link of a worker at an epoch; one that has ended, too, until its last word is fetched. Throws
   * LINK_NOT_ATTACHED: attach again, here or elsewhere.
   */
  of(caller: Caller, linkEpoch: bigint): PollLink {
    const attached = this.find(caller);
    const leaving = caller.workerId === null ? undefined : this.#leaving.get(caller.workerId);
    const found = [attached, leaving].find((one) => one && BigInt(one.session.link.linkEpoch) === linkEpoch);
    if (!found) throw failedPrecondition("LINK_NOT_ATTACHED", { linkEpoch: String(linkEpoch) });
    return found;
  }

  /** The link of a worker, if it has one here. */
  find(caller: Caller): PollLink | undefined {
    const { workerId } = caller;
    const found = workerId === null ? undefined : this.#links.get(workerId);
    if (!found?.session.isEnded) return found;
    this.#leave(found);
    return undefined;
  }

  /** Commits results, with a link or without: the fence alone decides. */
  submitResults(caller: Caller, results: readonly Result[]): Promise<ResultAckInit[]> {
    if (caller.workerId === null) throw new DomainError("SCOPE_MISSING");
    const { orgId, workerId } = caller;
    const link = this.#parts.dispatcher.linksOf(orgId).get(workerId);
    return commitResults(this.#parts, { orgId, workerId, link }, results);
  }

  /** Lets go of the links that have ended. Called each second. */
  prune(): void {
    for (const [workerId, one] of this.#leaving) if (one.isDone()) this.#leaving.delete(workerId);
    for (const one of this.#links.values()) if (one.session.isEnded) this.#leave(one);
  }

  #leave(ended: PollLink): void {
    const { workerId } = ended.session.link;
    if (this.#links.get(workerId) === ended) this.#links.delete(workerId);
    if (!ended.isDone()) this.#leaving.set(workerId, ended);
  }
}

function pollLink(session: LinkSession, mailbox: Mailbox): PollLink {
  // Its worker is elsewhere, or told another way.
  const refuseEnded = () => {
    if (session.isEnded) throw new DomainError("LINK_NOT_ATTACHED");
  };
  return {
    session,
    async fetch(waitMs, signal) {
      await mailbox.waitForFrame(waitMs, signal);
      return mailbox.take();
    },
    async answer(reply) {
      refuseEnded();
      const { leases, superseded } = await session.commitAnswers(reply);
      return { leases: leases.map(leaseRef), superseded: superseded.map(leaseRef) };
    },
    async renew(heartbeat) {
      refuseEnded();
      if (!(await session.renew(heartbeat)))
        throw new DomainError("LINK_REPLACED", { message: session.lastWord });
      return session.heartbeatAck(Number(heartbeat.sequence));
    },
    async changeLinks(links) {
      refuseEnded();
      const ack = await session.commitLinks(links);
      if (ack === null) throw new DomainError("LINK_REPLACED");
      return ack;
    },
    isDone: () => mailbox.size === 0 || mailbox.isOld,
  };
}
