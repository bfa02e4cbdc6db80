import type { Shape } from "./shapes.ts";
import { nearestWord } from "./spelling.ts";

/** What decides whether a worker gets a job, as the store has it. */
export interface WorkerFacts {
  readonly workerId: string;
  readonly name: string;
  readonly isAttached: boolean;
  /** Its last heartbeat is late. */
  readonly isStale: boolean;
  readonly isDisabled: boolean;
  readonly isDraining: boolean;
  readonly isQuarantined: boolean;
  /** It waits for approval. */
  readonly isPending: boolean;
  readonly isOffHours: boolean;
  /** When it may get offers, for people; null: always. */
  readonly hours: string | null;
  /** Open pull requests of its jobs, and how many may be; null: as many as come. */
  readonly openPrs: number;
  readonly maxOpenPrs: number | null;
  /** What it says of itself and does not get, for people. */
  readonly refusals: readonly string[];
  /** It leaves a cancel without an answer. */
  readonly isSuspect: boolean;
  /** What it has handlers for; null: anything. */
  readonly kinds: ReadonlySet<string> | null;
  readonly skills: ReadonlySet<string>;
  readonly slots: number;
  readonly points: number;
  /** Leases that it holds, and their points. */
  readonly slotsUsed: number;
  readonly pointsUsed: number;
  /** One of them is to have no neighbours. */
  readonly runsAlone: boolean;
}

/** Why a worker does not run jobs of a shape, in the order in which it is judged. Clients rely on the words. */
export const unfitReasons = [
  "offline",
  "stale",
  "disabled",
  "draining",
  "quarantined",
  "pending",
  "off-hours",
  "open-prs",
  "suspect",
  "kind",
  "skills",
  "points",
  "target",
  "avoided",
  "slots-full",
  "points-full",
] as const;

/** One of them. */
export type UnfitReason = (typeof unfitReasons)[number];

/** Where the target of a shape leads now: to any worker, to one, or nowhere. */
export type Route =
  | { readonly kind: "any" }
  | { readonly kind: "worker"; readonly workerId: string; readonly sessionId: string | null }
  | { readonly kind: "none"; readonly detail: string };

/** The route of shapes without a target. */
export const anyRoute: Route = { kind: "any" };

/** What of a shape decides who may run it. */
export type RoutedShape = Pick<Shape, "kind" | "skills" | "points" | "avoid" | "isAlone">;

/** The first reason why a worker could not be offered one more job of a shape now; null: it could. */
export function unfitReason(worker: WorkerFacts, shape: RoutedShape, route: Route): UnfitReason | null {
  return closedReason(worker) ?? incapableReason(worker, shape, route) ?? fullReason(worker, shape);
}

/** Why a worker gets no offers at all; null: it gets some. */
export function closedReason(worker: WorkerFacts): UnfitReason | null {
  if (!worker.isAttached) return "offline";
  if (worker.isStale) return "stale";
  if (worker.isDisabled) return "disabled";
  if (worker.isDraining) return "draining";
  if (worker.isQuarantined) return "quarantined";
  if (worker.isPending) return "pending";
  if (worker.isOffHours) return "off-hours";
  if (worker.maxOpenPrs !== null && worker.openPrs >= worker.maxOpenPrs) return "open-prs";
  return worker.isSuspect ? "suspect" : null;
}

/** Why a worker could not run jobs of a shape if it held nothing; null: it could. */
export function incapableReason(worker: WorkerFacts, shape: RoutedShape, route: Route): UnfitReason | null {
  if (worker.kinds !== null && !worker.kinds.has(shape.kind)) return "kind";
  if (!shape.skills.every((skill) => worker.skills.has(skill))) return "skills";
  if (shape.points > worker.points) return "points";
  if (route.kind === "none" || (route.kind === "worker" && route.workerId !== worker.workerId)) {
    return "target";
  }
  return shape.avoid.includes(worker.workerId) ? "avoided" : null;
}

/** Why a worker has no room for one more job of a shape; null: it has. */
export function fullReason(
  worker: WorkerFacts,
  shape: Pick<Shape, "points" | "isAlone">,
): "slots-full" | "points-full" | null {
  const isHeldAlone = worker.runsAlone || (shape.isAlone && worker.slotsUsed > 0);
  if (isHeldAlone || worker.slotsUsed >= worker.slots) return "slots-full";
  return worker.points - worker.pointsUsed < shape.points ? "points-full" : null;
}

/** Whether the worker will run jobs of the shape by itself, now or when it has room. */
export function serves(reason: UnfitReason | null): boolean {
  return reason === null || reason === "avoided" || reason === "slots-full" || reason === "points-full";
}

/** How many of the reasons come before this one: the larger, the closer a worker is. */
export function closeness(reason: UnfitReason | null): number {
  return reason === null ? unfitReasons.length : unfitReasons.indexOf(reason);
}

/** A reason for people. `avoidedUntil` is when the job forgets whom it avoids, as text. */
export function unfitDetail(
  reason: UnfitReason | null,
  worker: WorkerFacts,
  shape: RoutedShape,
  { route, avoidedUntil = null }: { readonly route: Route; readonly avoidedUntil?: string | null },
): string {
  switch (reason) {
    case null:
      return "could run it now";
    case "offline":
      return "is not connected";
    case "stale":
      return "its heartbeat is late";
    case "disabled":
      return "was disabled by an operator";
    case "draining":
      return "takes nothing new: it drains";
    case "quarantined":
      return "gets no offers until an operator resumes it";
    case "pending":
      return "gets no offers until an operator approves it";
    case "off-hours":
      return `gets no offers outside of its hours (${worker.hours ?? ""})`;
    case "open-prs":
      return `has ${worker.openPrs} open pull requests of the ${worker.maxOpenPrs ?? 0} that it may have`;
    case "suspect":
      return "leaves a cancel without an answer";
    case "kind":
      return `${kindDetail(worker, shape.kind)}${refusedDetail(worker, "kind")}`;
    case "skills":
      return `lacks ${listed(missingSkills(worker, shape))}${refusedDetail(worker, "skill")}`;
    case "points":
      return `has ${worker.points} points, the job needs ${shape.points}${refusedDetail(worker, "points")}`;
    case "target":
      return route.kind === "none" ? route.detail : "the job is for another worker";
    case "avoided": {
      const until = avoidedUntil === null ? "" : ` until ${avoidedUntil}`;
      return `declined or lost the job, which avoids it${until} unless nobody else can run it`;
    }
    case "slots-full":
      if (worker.runsAlone) return "holds a job that runs alone";
      if (worker.slotsUsed < worker.slots) return "holds other jobs, and this one runs alone";
      return `all ${worker.slots} slots are taken`;
    case "points-full":
      return `has ${Math.max(0, worker.points - worker.pointsUsed)} of ${worker.points} points free, the job needs ${shape.points}`;
  }
}

/** The skills of a shape that a worker lacks. */
export function missingSkills(worker: WorkerFacts, { skills }: Pick<Shape, "skills">): string[] {
  return skills.filter((skill) => !worker.skills.has(skill));
}

/** A list for people: `a`, `a and b`, `a, b and c`; of more than ten the rest is counted. */
export function listed(words: readonly string[]): string {
  const shown = words.length > 10 ? [...words.slice(0, 9), `${words.length - 9} more`] : words;
  return shown.length < 2 ? shown.join("") : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

// What it says of itself may be enough, and not be allowed.
function refusedDetail({ refusals }: WorkerFacts, of: "kind" | "skill" | "points"): string {
  const refusal = refusals.find((text) => text.includes(of));
  return refusal === undefined ? "" : `; it ${refusal}`;
}

function kindDetail({ kinds }: WorkerFacts, kind: string): string {
  const near = nearestWord(kind, [...(kinds ?? [])]);
  return near === undefined ? `has no handler for ${kind}` : `has no handler for ${kind}; it has ${near}`;
}
