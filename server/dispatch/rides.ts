import type { ReadyCount, Ride } from "../domain/submit.ts";
import { type ClaimContext, type Claimed, claimCalls, loseOutcome, readClaim } from "./claims.ts";
import { ReadyLine } from "./lines.ts";
import { assignLine, candidates, keepFree, type PlannedClaim } from "./matcher.ts";
import type { OrgLine } from "./org-line.ts";

/*
 * A claim that rides with a submission: in one transaction a job is inserted and leased, which saves a commit and a
 * round trip of its way to a handler. It is the claim of always, on the one ordered line: what it delivers is the head
 * of the line, so a backlog that nobody knew of goes first. It rides only where nothing else is to be claimed.
 */

/** Jobs that a claim with their submission takes at most: what many are submitted with waits for no claim. */
const mostRiders = 32;

/** Deals new jobs to links before they are inserted; null: they are to be announced, and claimed in their turn. */
export function planRide(org: OrgLine, ready: readonly ReadyCount[]): PlannedClaim[] | null {
  const [news, ...others] = ready;
  if (!news || others.length > 0 || news.count > mostRiders) return null;
  const { shape, count } = news;
  const isIdle = org.inFlight === 0 && !org.isScheduled && !org.refreshing && org.ready.size === 0;
  if (!isIdle || shape.isAlone || shape.target !== null) return null;
  const { gates } = org;
  if (gates.version === null || gates.isHeldBack || gates.keysOf(shape).length > 0) return null;
  const links = [...org.links.values()];
  const line = new ReadyLine(shape, count);
  const served = { line, servers: line.servers(org.fleet, () => candidates(shape, links)), gates: [] };
  keepFree([served], links);
  const plan = assignLine(
    served,
    links.filter((link) => link.freeSlots() > 0),
    count,
  );
  return plan.length > 0 ? plan : null;
}

/** What a dispatcher does for a ride. */
export interface RideEnds {
  /** Offers what was claimed. Never rejects. */
  readonly deliver: (claimed: Claimed) => Promise<void>;
  /** Called once, when all is done: its place and its capacity are free. */
  readonly ended: () => void;
}

/** Makes the ride of a plan. */
export function rideOf(
  context: ClaimContext,
  plan: readonly PlannedClaim[],
  ready: readonly ReadyCount[],
  jobIds: readonly string[],
  { deliver, ended }: RideEnds,
): Ride {
  const end = () => {
    for (const { line, slots } of plan) for (const link of slots) link.unreserve(line.shape);
    ended();
  };
  return {
    // The first change of the transaction is that of the jobs.
    calls: claimCalls(context, plan, [], 2),
    committed: (rows) => {
      const claimed = readOrEnd(() => readClaim(context, plan, rows), end);
      void deliver(claimed).finally(end);
      return ready.flatMap((news) => leftBehind(news, new Set(jobIds), claimed));
    },
    failed: (error) => {
      loseOutcome(error, plan);
      end();
    },
  };
}

// What cannot be read is a defect; the place in the line must not stay taken for it.
function readOrEnd<T>(read: () => T, end: () => void): T {
  try {
    return read();
  } catch (error) {
    end();
    throw error;
  }
}

// What is to be claimed in its turn: the jobs that found no slot, or nobody knows how many.
function leftBehind(
  news: ReadyCount,
  jobIds: ReadonlySet<string>,
  { plan, grants }: Claimed,
): readonly ReadyCount[] {
  const asked = plan.reduce((sum, { slots }) => sum + slots.length, 0);
  const isAsPlanned = grants.length === asked && grants.every(({ fence }) => jobIds.has(fence.jobId));
  // Others were before them, or their workers went away.
  if (!isAsPlanned) return [{ ...news, count: Number.POSITIVE_INFINITY, priority: 255 }];
  return news.count > asked ? [{ ...news, count: news.count - asked }] : [];
}
