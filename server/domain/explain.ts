import { readAudited } from "../store/attention.ts";
import type { Tx } from "../store/database.ts";
import {
  existingProjects,
  type LiveJobRow,
  readAsked,
  readLiveJob,
  readParents,
  type WorkerFactsRow,
} from "../store/explain.ts";
import { findJobByExternalId, readJobs } from "../store/job-views.ts";
import { countAhead } from "../store/ready-lines.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, notFound } from "./errors.ts";
import { type GateView, gatesOf, stateGateOf, type WaitingJob } from "./explain-gates.ts";
import { encodeId } from "./ids.ts";
import { checkedState, type JobView, jobView } from "./job-views.ts";
import { type Routing, readLineShapes, readRouting, routesOf } from "./routing.ts";
import { timeText } from "./rules/durations.ts";
import { routeAdvice } from "./rules/route-advice.ts";
import {
  closeness,
  incapableReason,
  type Route,
  serves,
  type UnfitReason,
  unfitDetail,
  unfitReason,
} from "./rules/routing.ts";
import { type InternedShape, type Shape, shapeTarget } from "./rules/shapes.ts";
import { isLeased, JobState, Outcome, stateName } from "./rules/states.ts";

/** Workers that an explanation names at most. */
const mostNamed = 1_000;

/** Jobs that are counted ahead of a job at most. */
const mostAhead = 10_000;

/** Jobs that a job waits for of which the state is told. */
const mostParents = 10;

/** Entries of the audit log that are looked through for who parked a job. */
const mostAudited = 1_000;

/** Why a worker does not run a job; null reason: it could be offered the job now. */
export interface WorkerReasonView {
  readonly workerId: string;
  readonly name: string;
  readonly reason: UnfitReason | null;
  readonly detail: string;
}

/** Why a job is not running. */
export interface JobExplanation {
  readonly job: JobView;
  /** In one sentence. */
  readonly summary: string;
  /** In the order in which they are passed; of a job that does not wait its state alone. */
  readonly gates: readonly GateView[];
  /** Connected workers first, those that come closest before the others; at most 1,000. */
  readonly workers: readonly WorkerReasonView[];
  /** Workers by reason; `qualifies` for those that do. */
  readonly workerCounts: Readonly<Record<string, number>>;
  /** What would release it, the nearest first. */
  readonly releases: readonly string[];
  /** Ready jobs that go before it in the lines that its workers serve; counted up to 10,000. */
  readonly jobsAhead: number;
  /** When it will start as far as can be told; null: it cannot. */
  readonly estimatedStartAt: Date | null;
}

/** Explains why a job is not running, as of one moment. Exactly one of the two ids is given. */
export async function explainJob(
  c: Pick<Coordinator, "db" | "config">,
  { orgId }: Pick<Caller, "orgId">,
  { jobId, externalId }: { readonly jobId: string | null; readonly externalId: string | null },
): Promise<JobExplanation> {
  if ((jobId === null) === (externalId === null)) {
    throw invalidArgument([{ field: "jobId", message: "or externalId must be given, and not both" }]);
  }
  return readOrgByIndex(c.db.app, orgId, async (tx) => {
    // Text with NUL is refused by the database; no job has such an id.
    const text = externalId?.includes("\0") ? null : externalId;
    const id = jobId ?? (text === null ? null : await findJobByExternalId(tx, orgId, text));
    const [row] = id === null ? [] : await readJobs(tx, orgId, [id], { isFull: false });
    if (row === undefined) {
      throw notFound("JOB_NOT_FOUND", jobId === null ? (externalId ?? "") : encodeId("job", jobId));
    }
    const job = jobView(row);
    const live = await readLiveJob(tx, orgId, job.jobId);
    if (live === null || isLeased(job.state)) return explainStarted(job);
    return explainWaiting(tx, orgId, { job, live, staleMs: c.config.staleMs });
  });
}

/** The explanation of a job that runs or has ended. */
function explainStarted(job: JobView): JobExplanation {
  const id = encodeId("job", job.jobId);
  const isReplayable = job.state === JobState.dead || job.state === JobState.cancelled;
  return {
    job,
    summary: startedSummary(job),
    gates: [stateGateOf(job)],
    workers: [],
    workerCounts: {},
    releases: isReplayable ? [`Run it again: muster job retry ${id}`] : [],
    jobsAhead: 0,
    estimatedStartAt: null,
  };
}

function startedSummary(job: JobView): string {
  const worker = job.workerName ?? "a worker";
  const at = (time: Date | null): string => (time === null ? "" : ` ${timeText(time)}`);
  switch (job.state) {
    case JobState.offered:
      return `It is offered to ${worker} since${at(job.startedAt)}, which has not accepted yet.`;
    case JobState.running: {
      const cancel = job.isCancelRequested ? "; its cancel waits for the worker to stop" : "";
      return `It runs on ${worker} since${at(job.startedAt)} (attempt ${job.attempt})${cancel}.`;
    }
    case JobState.succeeded:
      return `It has run: it succeeded${at(job.endedAt)} on ${worker}.`;
    case JobState.cancelled:
      return `It was cancelled${at(job.endedAt)}${job.reason ? `: ${job.reason}` : ""}.`;
    case JobState.dead: {
      const error = job.error === null ? "" : `: ${job.error.message || job.error.code}`;
      const counts = [counted(job.failures, "failure"), counted(job.losses, "loss", "losses")];
      return `It died${at(job.endedAt)} after ${counts.filter(Boolean).join(" and ") || "no attempt"}${error}.`;
    }
    default:
      return `It is ${stateName(job.state)}.`;
  }
}

async function explainWaiting(
  tx: Tx,
  orgId: string,
  { job, live, staleMs }: { readonly job: JobView; readonly live: LiveJobRow; readonly staleMs: number },
): Promise<JobExplanation> {
  const askedFor = readAsked(tx, orgId, job.jobId);
  const shape = live.shape ?? shapeOf(job, (await askedFor)?.target ?? null);
  const projects = shape.project === null ? [] : [shape.project];
  const [asked, routing, parents, known, lines] = await Promise.all([
    askedFor,
    readRouting(tx, orgId, [shape], { staleMs }),
    live.waitingOn === 0 ? [] : readParents(tx, orgId, job.jobId, mostParents),
    existingProjects(tx, orgId, projects),
    live.state === JobState.ready ? readLineShapes(tx, orgId) : [],
  ]);
  const target = routesOf(routing)(shape.target);
  const { route } = target;
  const waiting: WaitingJob = {
    job,
    live,
    shape,
    target,
    parents: parents.map((one) => ({ ...one, state: one.state === null ? null : checkedState(one.state) })),
    parkedBy: job.state === JobState.parked ? await parkedBy(tx, orgId, job, asked) : null,
    hasProject: projects.length === known.size,
  };
  const gates = gatesOf(waiting, routing);
  const judged = judge(routing.workers, shape, route);
  const jobsAhead = await aheadOf(tx, orgId, { jobId: job.jobId, routing, judged, lines });
  const isOpen = gates.every((gate) => gate.isOpen);
  const isServed = judged.some(({ reason }) => serves(reason));
  const advice = isServed || target.problem !== null ? null : routeAdvice(shape, routing.workers, route);
  const closed = gates.filter((gate) => !gate.isOpen && gate.fix !== "");
  return {
    job,
    summary: waitingSummary({ gates, judged, jobsAhead, noRoute: advice?.summary ?? null }),
    gates,
    workers: judged.slice(0, mostNamed).map(({ worker, reason }) => ({
      workerId: worker.workerId,
      name: worker.name,
      reason,
      detail: unfitDetail(reason, worker, shape, {
        route,
        avoidedUntil: live.wakeAt === null ? null : timeText(live.wakeAt),
      }),
    })),
    workerCounts: countsOf(judged),
    releases: [
      ...closed.map(({ fix, openAt }) => (openAt === null ? fix : `${fix} (by itself ${timeText(openAt)})`)),
      ...(advice?.fixes ?? []).map(({ text, command }) =>
        command === null
          ? text
          : `${text}: muster worker ${command.verb} ${encodeId("worker", command.workerId)}`,
      ),
      ...(isOpen && isServed && !judged.some(({ reason }) => reason === null)
        ? ["Wait for a worker to have room, or start one more"]
        : []),
    ],
    jobsAhead,
    estimatedStartAt: isServed ? estimate(gates, judged, jobsAhead, routing.now) : null,
  };
}

interface Judged {
  readonly worker: WorkerFactsRow;
  readonly reason: UnfitReason | null;
}

// Connected workers first, those that come closest before the others.
function judge(workers: readonly WorkerFactsRow[], shape: Shape, route: Route): Judged[] {
  const judged = workers.map((worker) => ({ worker, reason: unfitReason(worker, shape, route) }));
  return judged.sort(
    (a, b) =>
      Number(b.worker.isAttached) - Number(a.worker.isAttached) ||
      closeness(b.reason) - closeness(a.reason) ||
      (a.worker.name < b.worker.name ? -1 : 1),
  );
}

function countsOf(judged: readonly Judged[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { reason } of judged) {
    const key = reason ?? "qualifies";
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

// Of the ready lines, those that compete for the workers which would take the job.
async function aheadOf(
  tx: Tx,
  orgId: string,
  {
    jobId,
    routing,
    judged,
    lines,
  }: {
    readonly jobId: string;
    readonly routing: Routing;
    readonly judged: readonly Judged[];
    readonly lines: readonly InternedShape[];
  },
): Promise<number> {
  const takers = judged.filter(({ reason }) => serves(reason)).map(({ worker }) => worker);
  const routes = routesOf(routing);
  // Most workers of a fleet can the same: of those one is enough, unless it matters who it is.
  const distinct = [...new Map(takers.map((worker) => [abilityOf(worker), worker])).values()];
  const shapeIds = lines
    .filter((shape) => {
      const { route } = routes(shape.target);
      const able = shape.target === null ? distinct : takers;
      return able.some((worker) => {
        const reason = incapableReason(worker, shape, route);
        return reason === null || reason === "avoided";
      });
    })
    .map(({ shapeId }) => shapeId);
  return countAhead(tx, orgId, { shapeIds, jobId, most: mostAhead });
}

function abilityOf({ kinds, skills, points }: WorkerFactsRow): string {
  return JSON.stringify([[...(kinds ?? [])], [...skills], points]);
}

function waitingSummary({
  gates,
  judged,
  jobsAhead,
  noRoute,
}: {
  readonly gates: readonly GateView[];
  readonly judged: readonly Judged[];
  readonly jobsAhead: number;
  readonly noRoute: string | null;
}): string {
  const closed = gates.find((gate) => !gate.isOpen);
  if (closed !== undefined) {
    const others = gates.filter((gate) => !gate.isOpen).length - 1;
    const more = others === 0 ? "" : ` (and ${counted(others, "more gate")} closed)`;
    return `${gateSentence(closed)}${more}.`;
  }
  if (noRoute !== null) return `No worker takes it: ${noRoute}.`;
  const free = judged.filter(({ reason }) => reason === null).length;
  const able = judged.filter(({ reason }) => serves(reason)).length;
  const ahead =
    jobsAhead === 0
      ? ""
      : `; ${counted(jobsAhead, "ready job")} ${jobsAhead === 1 ? "goes" : "go"} before it`;
  if (free > 0 && isSoon(judged, jobsAhead)) {
    return `It is about to start: ${counted(free, "worker")} can take it now${ahead}.`;
  }
  if (free > 0) return `Its turn has not come: ${counted(free, "worker")} can take it now${ahead}.`;
  return `It waits for room on ${able === 1 ? "the one worker" : `one of the ${able} workers`} that can run it${ahead}.`;
}

function gateSentence({ name, detail }: GateView): string {
  switch (name) {
    case "state":
      return `It is ${detail}`;
    case "time":
    case "dependencies":
      return `It ${detail}`;
    case "target":
      return `It cannot go where it is to go: ${detail}`;
    case "cancel":
      return `It is being cancelled: ${detail}`;
    default:
      return `The ${name} ${detail.replace(": ", " is ")}`;
  }
}

// Latest of the times at which the gates open; now when all are open and somebody has room before others need it.
function estimate(
  gates: readonly GateView[],
  judged: readonly Judged[],
  jobsAhead: number,
  now: Date,
): Date | null {
  const closed = gates.filter((gate) => !gate.isOpen);
  if (closed.length > 0) {
    const times = closed.flatMap(({ openAt }) => (openAt === null ? [] : [openAt.getTime()]));
    return times.length === closed.length ? new Date(Math.max(now.getTime(), ...times)) : null;
  }
  return isSoon(judged, jobsAhead) ? now : null;
}

// Whether those who could take it now have free slots for all that go before it, too.
function isSoon(judged: readonly Judged[], jobsAhead: number): boolean {
  const room = judged
    .filter(({ reason }) => reason === null)
    .reduce((sum, { worker }) => sum + worker.slots - worker.slotsUsed, 0);
  // There may be more than were counted.
  return jobsAhead < Math.min(room, mostAhead);
}

async function parkedBy(
  tx: Tx,
  orgId: string,
  job: JobView,
  asked: Awaited<ReturnType<typeof readAsked>>,
): Promise<string> {
  const isHandlers = asked?.outcome === Outcome.parked && (asked.reason ?? "") === (job.reason ?? "");
  if (isHandlers) return asked.workerName === null ? "its handler" : `its handler on ${asked.workerName}`;
  const target = encodeId("job", job.jobId);
  const parkers = await readAudited(tx, orgId, { action: "job.park", targets: [target], most: mostAudited });
  return parkers.get(target) ?? "an operator";
}

// The shape of a live row may be gone for a moment; what was asked is the same but for whom it avoids.
function shapeOf({ spec }: JobView, target: string | null): Shape {
  return {
    kind: spec.kind,
    queue: spec.queue,
    skills: [...new Set(spec.skills)].sort(),
    points: spec.points,
    pool: spec.pool,
    project: spec.opensPullRequest ? spec.project : null,
    target: shapeTarget(target),
    avoid: [],
    isAlone: false,
  };
}

function counted(number: number, noun: string, plural = `${noun}s`): string {
  return number === 0 ? "" : `${count(number)} ${number === 1 ? noun : plural}`;
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}
