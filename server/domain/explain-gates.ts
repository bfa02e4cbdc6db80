import type { LiveJobRow } from "../store/explain.ts";
import { encodeId } from "./ids.ts";
import type { JobView } from "./job-views.ts";
import { keysInOrder, type Routing, standingOf } from "./routing.ts";
import { timeText } from "./rules/durations.ts";
import { type GateStanding, gateParts } from "./rules/gate-standing.ts";
import { listed } from "./rules/routing.ts";
import type { TargetRoute } from "./rules/session-routes.ts";
import { type Shape, targetParts } from "./rules/shapes.ts";
import { shellWord } from "./rules/shell-words.ts";
import { JobState, stateName } from "./rules/states.ts";

/** Something that a job must pass before it is offered. */
export interface GateView {
  readonly name:
    | "state"
    | "time"
    | "dependencies"
    | "queue"
    | "kind"
    | "pool"
    | "project"
    | "target"
    | "cancel";
  readonly isOpen: boolean;
  /** For people: how it stands. */
  readonly detail: string;
  /** What would open it; empty when it is open. */
  readonly fix: string;
  /** When it opens by itself, where that is known. */
  readonly openAt: Date | null;
}

/** What is known of a job that waits. */
export interface WaitingJob {
  readonly job: JobView;
  readonly live: LiveJobRow;
  readonly shape: Shape;
  /** The first jobs that it waits for; a null state is an end that is on its way to those that wait. */
  readonly parents: readonly { readonly jobId: string; readonly state: JobState | null }[];
  /** Who parked it: a handler, an operator, or nobody. */
  readonly parkedBy: string | null;
  readonly target: TargetRoute;
  /** False when its project was deleted. */
  readonly hasProject: boolean;
}

/** All gates of a job that waits, in the order in which they are passed. */
export function gatesOf(waiting: WaitingJob, routing: Routing): GateView[] {
  const { job, shape } = waiting;
  return [
    stateGate(waiting),
    timeGate(waiting, routing.now),
    dependencyGate(waiting),
    ...keysInOrder(shape).map((key) => limitGate(key, standingOf(routing, key), waiting)),
    ...(shape.target === null ? [] : [targetGate(waiting, routing)]),
    ...(job.isCancelRequested ? [shut("cancel", "somebody wants it cancelled", "")] : []),
  ];
}

/** The only gate of a job that does not wait. */
export function stateGateOf(job: JobView): GateView {
  return shut("state", stateName(job.state), "");
}

/** What brings jobs to a session again, and the command for it, where there is one. */
export function targetFix({ problem, nearest }: TargetRoute): {
  readonly text: string;
  readonly command: string;
} {
  const id = nearest === null ? "" : shellWord(nearest.sessionId);
  switch (problem) {
    case null:
      return { text: "", command: "" };
    case "archived":
      return nearest?.isArchivedByOperator
        ? { text: "Take the session out of the archive", command: `muster session unarchive ${id}` }
        : { text: "Take the session out of the archive at its worker", command: `muster session get ${id}` };
    case "owner":
      return {
        text: "Let the worker of the session take jobs again",
        command: nearest === null ? "" : `muster worker get ${encodeId("worker", nearest.workerId)}`,
      };
    case "not-resumable":
      return {
        text: "Start the agent session at its worker: jobs go there as soon as it is known",
        command: `muster session get ${id}`,
      };
    case "missing":
    case "unpublished":
    case "ended":
      return {
        text: "Publish a session at its worker: jobs start by themselves when one appears",
        command: "muster session list",
      };
  }
}

function stateGate({ job, parkedBy, live }: WaitingJob): GateView {
  if (job.state !== JobState.parked) {
    const since = job.state === JobState.ready && live.readyAt ? ` since ${timeText(live.readyAt)}` : "";
    return pass("state", `${stateName(job.state)}${since}`);
  }
  const by = parkedBy === null ? "" : ` by ${parkedBy}`;
  const until = job.wakeAt === null ? "until somebody unparks it" : `until ${timeText(job.wakeAt)}`;
  const why = job.reason ? `: ${job.reason}` : "";
  const command = `muster job unpark ${encodeId("job", job.jobId)}`;
  return {
    name: "state",
    isOpen: false,
    detail: `PARKED${by} ${until}${why}`,
    fix: job.wakeAt === null ? `Unpark it: ${command}` : `Wait, or unpark it now: ${command}`,
    openAt: job.wakeAt,
  };
}

function timeGate(waiting: WaitingJob, now: Date): GateView {
  const { job } = waiting;
  const at = timeOf(waiting);
  if (at === null || at <= now) return pass("time", at === null ? "no time set" : "its time has come");
  const why = job.failures > 0 ? `the next try after ${times(job.failures, "failure")}` : "its run time";
  const fix =
    job.state === JobState.scheduled
      ? `Wait, or try it now: muster job retry ${encodeId("job", job.jobId)}`
      : "Wait for it";
  return { name: "time", isOpen: false, detail: `waits until ${timeText(at)}: ${why}`, fix, openAt: at };
}

// A parked job keeps its own time in ready_at.
function timeOf({ job, live }: WaitingJob): Date | null {
  switch (job.state) {
    case JobState.scheduled:
      return job.wakeAt;
    case JobState.parked:
      return live.readyAt;
    default:
      return job.spec.runAt;
  }
}

function dependencyGate({ live, parents }: WaitingJob): GateView {
  if (live.waitingOn === 0) return pass("dependencies", "waits for no other job");
  const shown = parents.map(
    ({ jobId, state }) => `${encodeId("job", jobId)} (${state === null ? "ending" : stateName(state)})`,
  );
  const more = live.waitingOn - shown.length;
  const names = more > 0 ? [...shown, `${more} more`] : shown;
  const [first] = parents;
  return shut(
    "dependencies",
    `waits for ${times(live.waitingOn, "job")}${names.length === 0 ? "" : `: ${listed(names)}`}`,
    first === undefined
      ? "Wait for them to end"
      : `Wait for them to end; see why one does not: muster job explain ${encodeId("job", first.jobId)}`,
  );
}

function limitGate(key: string, standing: GateStanding, { hasProject }: WaitingJob): GateView {
  const { type, name } = gateParts(key);
  const gate = asGateName(type);
  const { closedBy, openAt } = standing;
  const gone = gate === "project" && !hasProject ? "; the project was deleted" : "";
  const detail = `${name}: ${standing.detail}${gone}`;
  if (closedBy === null) return pass(gate, detail);
  return { name: gate, isOpen: false, detail, fix: limitFix(gate, shellWord(name), closedBy), openAt };
}

/** What opens the gate of a queue, kind, pool or project. */
export function limitFix(
  gate: string,
  name: string,
  closedBy: NonNullable<GateStanding["closedBy"]>,
): string {
  if (gate === "project") {
    return `Merge or close a pull request, or raise the cap: muster project set-cap ${name} <number>`;
  }
  switch (closedBy) {
    case "paused":
      return `Resume it: muster ${gate} resume ${name}`;
    case "limit":
      return `Wait for one to end, or raise the limit: muster ${gate} set ${name} --running <number>`;
    case "rate":
      return `Wait, or raise the rate: muster ${gate} set ${name} --rate <jobs>/<time>`;
  }
}

function targetGate({ shape, target }: WaitingJob, { workersById }: Routing): GateView {
  const { type, name } = targetParts(shape.target ?? "worker:");
  const { route } = target;
  if (route.kind === "none") {
    const { text, command } = targetFix(target);
    return shut("target", route.detail, `${text}: ${command}`);
  }
  const workerId = route.kind === "worker" ? route.workerId : name;
  const worker = workersById.get(workerId)?.name ?? "a worker that is not there";
  if (type === "worker") return pass("target", `worker ${worker}`);
  const session = route.kind === "worker" ? (route.sessionId ?? "") : "";
  const of = type === "project" ? ` of project ${name}` : "";
  return pass("target", `session ${session}${of} on worker ${worker}`);
}

function pass(name: GateView["name"], detail: string): GateView {
  return { name, isOpen: true, detail, fix: "", openAt: null };
}

function shut(name: GateView["name"], detail: string, fix: string): GateView {
  return { name, isOpen: false, detail, fix, openAt: null };
}

function asGateName(type: string): "queue" | "kind" | "pool" | "project" {
  return type === "queue" || type === "kind" || type === "pool" ? type : "project";
}

function times(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
