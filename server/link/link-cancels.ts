import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { CancelStatus } from "@muster/client/v1/link";
import type { Link } from "../dispatch/link.ts";
import type { Fence } from "../domain/leases.ts";
import { suspectLink } from "../store/links.ts";
import { readLease } from "./frames-in.ts";
import { frame, leaseRef } from "./frames-out.ts";
import type { LinkParts } from "./parts.ts";
import type { FrameSink } from "./session.ts";

/**
 * The cancels of one link, lease by lease: told until acknowledged by a status or a result. A live worker that
 * leaves one without an answer is suspect: it gets nothing new until it answers or attaches anew.
 */
export class LinkCancels {
  readonly #parts: LinkParts;
  readonly #link: Link;
  readonly #sink: FrameSink;

  constructor(parts: LinkParts, link: Link, sink: FrameSink) {
    this.#parts = parts;
    this.#link = link;
    this.#sink = sink;
  }

  /** Asks the worker to stop a lease. */
  send(fence: Fence, reason: string): void {
    const held = this.#link.held.get(fence.leaseId);
    if (held) held.cancelSentMs ??= this.#parts.nowMs();
    const grace = durationFromMs(this.#parts.config.killGraceMs);
    this.#sink.send(frame({ case: "cancel", value: { lease: leaseRef(fence), reason, grace } }));
  }

  /** How far a cancel is at the worker. */
  acknowledge(status: CancelStatus): void {
    const lease = readLease(status.lease);
    const held = lease && this.#link.find(lease);
    if (!held) return this.#parts.refused("cancel-status", lease ? "not-held" : "malformed");
    held.isCancelAcknowledged = true;
    this.check();
  }

  /** Called each second, and at each answer. */
  check(): void {
    const isSuspect = this.#link.phase === "attached" && this.#isUnanswered();
    // Silence is another matter: a stale link gets nothing new anyhow, and stays what it was.
    if (isSuspect === this.#link.isSuspect || this.#link.phase !== "attached") return;
    this.#link.isSuspect = isSuspect;
    const { coordinator, log } = this.#parts;
    const { orgId, workerId, workerName, linkEpoch } = this.#link;
    if (isSuspect) {
      log.warn({ orgId, worker: workerName }, "a worker leaves a cancel without an answer: no new offers");
      coordinator.counters.addOf(orgId, "muster_suspects_total");
    } else {
      log.info({ orgId, worker: workerName }, "a suspect worker answered");
      this.#parts.dispatcher.wake(orgId);
    }
    void this.#parts.attempt("note a suspect", () =>
      suspectLink(coordinator.db, orgId, { workerId, linkEpoch, isSuspect }),
    );
  }

  #isUnanswered(): boolean {
    const sinceMs = this.#parts.nowMs() - this.#parts.config.cancelSuspectMs;
    for (const { state, cancelSentMs, isCancelAcknowledged } of this.#link.held.values()) {
      const isOpen = state !== "result" && !isCancelAcknowledged;
      if (isOpen && cancelSentMs !== null && cancelSentMs < sinceMs) return true;
    }
    return false;
  }
}
