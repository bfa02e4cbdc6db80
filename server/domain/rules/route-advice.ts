import {
  closedReason,
  closeness,
  incapableReason,
  listed,
  missingSkills,
  type Route,
  type RoutedShape,
  serves,
  type UnfitReason,
  unfitDetail,
  unfitReason,
  type WorkerFacts,
} from "./routing.ts";

/** One thing that would bring a worker to jobs of a shape. */
export interface RouteFix {
  /** For people. */
  readonly text: string;
  /** The verb of `muster worker` that does it, and whom it is done to; null: no command does. */
  readonly command: {
    readonly verb: "resume" | "enable" | "approve" | "get";
    readonly workerId: string;
  } | null;
}

/** Why no worker takes jobs of a shape, and what would change that: the nearest first. */
export interface RouteAdvice {
  /** For people, one sentence without its end. */
  readonly summary: string;
  readonly fixes: readonly RouteFix[];
}

/**
 * What to do about a shape that no connected worker serves. A worker that could run it and does not take jobs comes
 * first: a link is repaired sooner than a machine is found. Then who is nearest, and what to start.
 */
export function routeAdvice(shape: RoutedShape, workers: readonly WorkerFacts[], route: Route): RouteAdvice {
  const capable = workers.filter((one) => isCapable(incapableReason(one, shape, route)));
  const closed = capable.flatMap((worker) => {
    const reason = closedReason(worker);
    return reason === null ? [] : [{ worker, reason }];
  });
  const groups = repairOrder.flatMap((reason) => {
    const of = closed.filter((one) => one.reason === reason).map(({ worker }) => worker);
    return of.length === 0 ? [] : [{ reason, of }];
  });
  const repairs = groups.map(({ reason, of }) => repair(reason, of));
  const [first] = groups;
  if (first !== undefined) {
    const names = listed(first.of.map(({ name }) => name));
    return {
      summary: `${of(first.of.length, "worker")} could run it but ${first.of.length === 1 ? "is" : "are"} ${closedWords[first.reason] ?? "closed"}: ${names}`,
      fixes: [...repairs, starting(shape, route)],
    };
  }
  const connected = workers.filter((one) => one.isAttached);
  const near = nearest(connected.length > 0 ? connected : workers, shape, route);
  return {
    summary: near === null ? "there is no worker" : nearestText(near, shape, route, connected.length > 0),
    fixes: [starting(shape, route)],
  };
}

/** Whether some connected worker serves a shape: now, or when it has room. */
export function isServed(shape: RoutedShape, workers: readonly WorkerFacts[], route: Route): boolean {
  return workers.some((one) => serves(unfitReason(one, shape, route)));
}

const repairOrder: readonly UnfitReason[] = [
  "offline",
  "stale",
  "draining",
  "suspect",
  "off-hours",
  "open-prs",
  "pending",
  "quarantined",
  "disabled",
];

const closedWords: Readonly<Partial<Record<UnfitReason, string>>> = {
  offline: "not connected",
  stale: "silent",
  draining: "draining",
  suspect: "leaving a cancel unanswered",
  "off-hours": "outside of their hours",
  "open-prs": "at their limit of open pull requests",
  pending: "waiting for approval",
  quarantined: "quarantined",
  disabled: "disabled",
};

function isCapable(reason: UnfitReason | null): boolean {
  return reason === null || reason === "avoided";
}

function repair(reason: UnfitReason, workers: readonly WorkerFacts[]): RouteFix {
  const names = listed(workers.map(({ name }) => name));
  const [first] = workers;
  const command = (verb: "resume" | "enable" | "approve" | "get") =>
    first === undefined ? null : { verb, workerId: first.workerId };
  switch (reason) {
    case "offline":
      return { text: `Repair the link of ${names}: connected, it could run it`, command: command("get") };
    case "stale":
      return { text: `Look at the machine of ${names}: its heartbeat is late`, command: command("get") };
    case "draining":
      return { text: `Resume ${names}, which drains`, command: command("resume") };
    case "pending":
      return { text: `Approve ${names}, which a person enrolled`, command: command("approve") };
    case "off-hours":
      return { text: `Wait for the hours of ${names}`, command: command("get") };
    case "open-prs":
      return { text: `Merge or close the pull requests of ${names}`, command: command("get") };
    case "quarantined":
      return { text: `Find out why ${names} is quarantined, then resume it`, command: command("resume") };
    case "suspect":
      return { text: `Look at ${names}: it leaves a cancel without an answer`, command: command("get") };
    default:
      return { text: `Enable ${names}`, command: command("enable") };
  }
}

function starting(shape: RoutedShape, route: Route): RouteFix {
  const needs = [`a handler for ${shape.kind}`];
  if (shape.skills.length > 0) {
    needs.push(`the ${shape.skills.length === 1 ? "skill" : "skills"} ${listed(shape.skills)}`);
  }
  if (shape.points > 1) needs.push(`at least ${shape.points} points`);
  const who = route.kind === "any" ? "Start a worker" : "Start the worker that it is for";
  return { text: `${who} with ${listed(needs)}`, command: null };
}

// Of those whose first reason comes latest, the one that lacks the fewest skills.
function nearest(workers: readonly WorkerFacts[], shape: RoutedShape, route: Route): WorkerFacts | null {
  let best: { worker: WorkerFacts; closeness: number; missing: number } | null = null;
  for (const worker of workers) {
    const close = closeness(incapableReason(worker, shape, route));
    const missing = missingSkills(worker, shape).length;
    const isNearer =
      best === null || close > best.closeness || (close === best.closeness && missing < best.missing);
    if (isNearer) best = { worker, closeness: close, missing };
  }
  return best?.worker ?? null;
}

function nearestText(worker: WorkerFacts, shape: RoutedShape, route: Route, isConnected: boolean): string {
  const detail = unfitDetail(incapableReason(worker, shape, route), worker, shape, { route });
  const who = isConnected ? "no connected worker" : "no worker";
  return `${who} can run it; the nearest, ${worker.name}, ${detail}`;
}

function of(count: number, noun: string): string {
  return count === 1 ? `one ${noun}` : `${count} ${noun}s`;
}
