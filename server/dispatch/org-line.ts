import { GateBook } from "./gates.ts";
import { ReadyLine, type ReadyNews } from "./lines.ts";
import type { Link } from "./link.ts";

/** What dispatch knows of an org. */
export interface OrgLine {
  readonly links: Map<string, Link>;
  /** Grows when links come or go. */
  fleet: number;
  /** Shapes that may have ready jobs: a hint, made right by the poll. */
  readonly ready: Map<bigint, ReadyLine>;
  readonly gates: GateBook;
  gateTimer: NodeJS.Timeout | undefined;
  inFlight: number;
  /** When it last claimed something. */
  claimedMs: number;
  isScheduled: boolean;
  /** Something changed while claims were under way. */
  isDirty: boolean;
  /** The store is being asked; `again`: something changed since. */
  refreshing: { readonly done: Promise<void>; again: boolean } | null;
}

/** An org without links. */
export function newOrgLine(): OrgLine {
  return {
    links: new Map(),
    fleet: 0,
    ready: new Map(),
    gates: new GateBook(),
    gateTimer: undefined,
    inFlight: 0,
    claimedMs: Number.NEGATIVE_INFINITY,
    isScheduled: false,
    isDirty: false,
    refreshing: null,
  };
}

/** Notes news of its lines. */
export function hearNews({ ready }: OrgLine, all: Iterable<ReadyNews>): void {
  for (const news of all) {
    const line = ready.get(news.shape.shapeId);
    if (line) line.hear(news);
    else ready.set(news.shape.shapeId, new ReadyLine(news.shape, news.count));
  }
}

/** For how long an org counts as claiming after it did, in milliseconds. */
const claimingMs = 1_000;

/** Whether another org claims too. */
export function isShared(orgs: Iterable<OrgLine>, own: OrgLine, nowMs: number): boolean {
  for (const org of orgs) if (org !== own && org.claimedMs > nowMs - claimingMs) return true;
  return false;
}
