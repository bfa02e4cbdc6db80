import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type EventAckItemSchema,
  type Report,
  type Result,
  type ResultAckItemSchema,
  ResultStatus,
} from "@muster/client/v1/link";
import type { Link } from "../dispatch/link.ts";
import type { ResultAnswer } from "../domain/leases.ts";
import { fenceOf, readEvent, readLease, readProgress, readResult } from "./frames-in.ts";
import { leaseRef } from "./frames-out.ts";
import type { LinkParts } from "./parts.ts";

/** Whose frames they are. Without a link the fence alone decides. */
export interface Sender {
  readonly orgId: string;
  readonly workerId: string;
  readonly link: Link | undefined;
}

/** What became of a result. */
export type ResultAckInit = MessageInitShape<typeof ResultAckItemSchema>;

/** How far what an attempt said is durable. */
export type EventAckInit = MessageInitShape<typeof EventAckItemSchema>;

/**
 * Commits results and answers those that have an answer. A result that could
 * not be committed now is left without one: the worker sends it again.
 */
export async function commitResults(
  parts: LinkParts,
  sender: Sender,
  results: readonly Result[],
): Promise<ResultAckInit[]> {
  const answers = await Promise.all(
    results.map(async (result): Promise<ResultAckInit | null> => {
      try {
        return await commitResult(parts, sender, result);
      } catch (error) {
        parts.log.warn({ err: error, resultId: result.resultId }, "a result could not be committed");
        return null;
      }
    }),
  );
  parts.dispatcher.wake(sender.orgId);
  return answers.filter((answer) => answer !== null);
}

/** Keeps what attempts said; resolves when it is durable. What is refused is acknowledged too: again would not help. */
export async function commitReport(
  parts: LinkParts,
  sender: Sender,
  report: Report,
): Promise<EventAckInit[]> {
  const timeMs = parts.coordinator.nowMs();
  const byLease = Map.groupBy(report.items, (item) => item.lease?.leaseId ?? "");
  const acks = await Promise.all(
    [...byLease.values()].map(async (items): Promise<EventAckInit | null> => {
      const lease = readLease(items[0]?.lease);
      if (!lease) {
        parts.refused("report", "malformed");
        return null;
      }
      const events = items.flatMap((item) => readEvent(item, timeMs) ?? []);
      const progress = items.map(readProgress).findLast((one) => one !== null) ?? null;
      const held = sender.link?.held.get(lease.leaseId);
      if (held && progress) held.hasProgress = true;
      const fence = fenceOf(lease, sender.workerId);
      const committing = parts.reports.add(sender.orgId, { fence, events, progress });
      if (held) held.reporting = committing.catch(() => {});
      const isCurrent = await committing;
      if (!isCurrent) parts.refused("report", "superseded");
      const last = items.reduce((highest, { sequence }) => (sequence > highest ? sequence : highest), 0n);
      return last > 0n ? { lease: leaseRef(lease), sequence: last } : null;
    }),
  );
  return acks.filter((ack) => ack !== null);
}

async function commitResult(parts: LinkParts, sender: Sender, result: Result): Promise<ResultAckInit> {
  const read = readResult(result, sender.workerId, parts.config);
  if ("malformed" in read) {
    parts.refused("result", "malformed");
    const detail = `the result ${read.malformed}`;
    return { resultId: result.resultId, status: ResultStatus.REJECTED, detail };
  }
  const held = sender.link?.held.get(read.fence.leaseId);
  if (held) held.state = "result";
  if (held?.reporting) await held.reporting;
  // A link that has just taken over does not know: the row is looked for then.
  const hasProgress = held?.hasProgress ?? true;
  const answer = await parts.results.add(sender.orgId, { ...read, hasProgress });
  if (answer.status === "superseded") parts.refused("result", "superseded");
  sender.link?.drop(read.fence.leaseId);
  return { resultId: result.resultId, ...ackOf(answer) };
}

function ackOf(answer: ResultAnswer): ResultAckInit {
  switch (answer.status) {
    case "committed":
      return { status: ResultStatus.COMMITTED };
    case "duplicate":
      return { status: ResultStatus.DUPLICATE };
    case "superseded":
      return {
        status: ResultStatus.SUPERSEDED,
        currentAttempt: answer.currentAttempt,
        detail: "the lease is no longer current; the result is kept and not applied",
      };
  }
}
