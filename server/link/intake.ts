import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type EventAckItemSchema,
  type Report,
  type Result,
  type ResultAckItem,
  type ResultAckItemSchema,
  ResultStatus,
} from "@muster/client/v1/link";
import type { Link } from "../dispatch/link.ts";
import type { LeaseResult, ResultAnswer } from "../domain/leases.ts";
import { ownSessions } from "../domain/publications.ts";
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
 * Commits results and answers those that have an answer. Results that could
 * not be committed now are left without one: the worker sends them again.
 */
export async function commitResults(
  parts: LinkParts,
  sender: Sender,
  results: readonly Result[],
): Promise<ResultAckInit[]> {
  const acks: ResultAckInit[] = [];
  const read: LeaseResult[] = [];
  const rejected: { readonly failure: LeaseResult; readonly ack: ResultAckInit }[] = [];
  const reporting: Promise<unknown>[] = [];
  for (const result of results) {
    const one = readResult(result, sender.workerId, parts.config);
    if ("malformed" in one) {
      parts.refused("result", "malformed");
      const detail = `the result ${one.malformed}`;
      const ack = { resultId: result.resultId, status: ResultStatus.REJECTED, detail };
      if (one.failure) rejected.push({ failure: one.failure, ack });
      else acks.push(ack);
      continue;
    }
    const held = sender.link?.find(one.fence);
    if (held) sender.link?.ended(held);
    if (held?.reporting) reporting.push(held.reporting);
    // A link that has just taken over does not know of progress: the row is looked for then.
    read.push({ ...one, hasProgress: held?.hasProgress ?? true });
  }
  if (rejected.length > 0) {
    const failures = rejected.map(({ failure }) => failure);
    const settled = await parts.results.addAll(sender.orgId, failures);
    for (const [index, { failure, ack }] of rejected.entries()) {
      const one = settled[index];
      // Not committed: without an answer it is sent again.
      if (!one || !("value" in one)) continue;
      if (sender.link?.find(failure.fence)) sender.link.drop(failure.fence.leaseId);
      acks.push(ack);
    }
  }
  if (read.length === 0) return acks;
  await dropForeignSessions(parts, sender, read);
  // What a handler said is on record before its end.
  if (reporting.length > 0) await Promise.all(reporting);
  const settled = await parts.results.addAll(sender.orgId, read);
  for (const [index, { fence, resultId }] of read.entries()) {
    const one = settled[index];
    if (one && "value" in one) {
      if (one.value.status === "superseded") parts.refused("result", "superseded");
      sender.link?.drop(fence.leaseId);
      acks.push(ackOf(resultId, one.value));
    } else parts.log.warn({ err: one?.error, resultId }, "a result could not be committed");
  }
  parts.dispatcher.wake(sender.orgId);
  return acks;
}

// A worker sends a job back to a session of its own alone. One that it does not have is as if it had named none.
async function dropForeignSessions(
  { coordinator, refused }: LinkParts,
  { orgId, workerId }: Sender,
  results: LeaseResult[],
): Promise<void> {
  const named = results.flatMap(({ event }) => (event.type === "parked" ? (event.sessionId ?? []) : []));
  if (named.length === 0) return;
  const own = await ownSessions(coordinator, orgId, workerId, named);
  for (const [index, result] of results.entries()) {
    const { event } = result;
    if (event.type !== "parked" || event.sessionId === undefined || own.has(event.sessionId)) continue;
    refused("result", "foreign-session");
    const { sessionId, ...parked } = event;
    results[index] = { ...result, event: parked };
  }
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
      const held = sender.link?.find(lease);
      if (held && progress) held.hasProgress = true;
      const fence = fenceOf(lease, sender.workerId);
      const committing = parts.reports.add(sender.orgId, { fence, events, progress });
      const answer = await committing;
      if (answer.status !== "kept") parts.refused("report", answer.status);
      const sequence = items.reduce(
        (highest, item) => (item.sequence > highest ? item.sequence : highest),
        0n,
      );
      if (answer.status === "superseded") {
        const { currentAttempt } = answer;
        return { lease: leaseRef(lease), sequence, superseded: true, currentAttempt };
      }
      return sequence > 0n ? { lease: leaseRef(lease), sequence } : null;
    }),
  );
  return acks.filter((ack) => ack !== null);
}

function ackOf(resultId: string, answer: ResultAnswer): ResultAckItem {
  const ack = { $typeName: "muster.v1.ResultAckItem" as const, resultId, detail: "", currentAttempt: 0 };
  switch (answer.status) {
    case "committed":
      return { ...ack, status: ResultStatus.COMMITTED };
    case "duplicate":
      return { ...ack, status: ResultStatus.DUPLICATE };
    case "superseded":
      return {
        ...ack,
        status: ResultStatus.SUPERSEDED,
        currentAttempt: answer.currentAttempt,
        detail: "the lease is no longer current; the result is kept and not applied",
      };
  }
}
