import type { readContestedSessions, readLeasesBy, readTroubledJobs } from "../store/attention.ts";
import type { WorkerFactsRow } from "../store/explain.ts";
import type { ReadyLineRow } from "../store/ready-lines.ts";
import { encodeId } from "./ids.ts";
import { keysInOrder, type Routing, standingOf } from "./routing.ts";
import { AttentionCause, type AttentionItem, AttentionSeverity } from "./rules/attention.ts";
import { durationText } from "./rules/durations.ts";
import { gateParts } from "./rules/gate-standing.ts";
import { type ShapeTarget, targetParts } from "./rules/shapes.ts";
import { shellWord } from "./rules/shell-words.ts";

/** The ready jobs of one shape, with since when the one that waits longest is ready. */
export interface WaitingLine extends ReadyLineRow {
  readonly oldestAt: Date;
}

/** A problem whose jobs are those of some ready lines: they are counted later. */
export interface LineItem extends Omit<AttentionItem, "jobs" | "jobIds"> {
  readonly lines: readonly WaitingLine[];
}

type Rows<Read extends (...args: never[]) => Promise<readonly unknown[]>> = Awaited<ReturnType<Read>>;

/** Since when the job that waits longest in some lines is ready. */
export function oldestOf(lines: readonly WaitingLine[]): Date {
  return new Date(Math.min(...lines.map(({ oldestAt }) => oldestAt.getTime())));
}

/** Projects at their cap, and queues, kinds and pools that are paused, while jobs wait. */
export function heldGateItems(routing: Routing, lines: readonly WaitingLine[]): LineItem[] {
  const byKey = new Map<string, WaitingLine[]>();
  for (const line of lines) {
    for (const key of keysInOrder(line.shape)) {
      if (!routing.gates.has(key)) continue;
      const of = byKey.get(key) ?? [];
      byKey.set(key, of);
      of.push(line);
    }
  }
  return [...byKey].flatMap(([key, of]): LineItem[] => {
    const { type, name } = gateParts(key);
    const { closedBy, detail } = standingOf(routing, key);
    if (closedBy === "paused") {
      return [
        {
          id: `queue-paused ${key}`,
          cause: AttentionCause.queuePaused,
          severity: AttentionSeverity.notice,
          target: key,
          summary: `The ${type} ${name} is ${detail}`,
          effect: "None of its jobs is offered; what runs goes on",
          fix: "Resume it when what it was paused for is over",
          command: `muster ${type} resume ${shellWord(name)}`,
          since: routing.gates.get(key)?.pausedAt ?? oldestOf(of),
          lines: of,
        },
      ];
    }
    if (closedBy !== "limit" || type !== "project") return [];
    return [
      {
        id: `project-cap ${key}`,
        cause: AttentionCause.projectCap,
        severity: AttentionSeverity.warning,
        target: key,
        summary: `Project ${name} is at its cap: ${detail.replace("full: ", "")}`,
        effect: "Its jobs wait until a pull request is merged or closed, or one that runs ends without one",
        fix: "Review and merge its open pull requests, or raise its cap",
        command: `muster project prs ${shellWord(name)}`,
        since: oldestOf(of),
        lines: of,
      },
    ];
  });
}

/** Deleted projects that ready jobs name. */
export function lostProjectItems(lines: readonly WaitingLine[], projects: ReadonlySet<string>): LineItem[] {
  const lost = Map.groupBy(
    lines.flatMap((line) => projectsOf(line.shape).map((project) => ({ project, line }))),
    ({ project }) => project,
  );
  return [...lost].flatMap(([project, found]) => {
    if (projects.has(project)) return [];
    const of = [...new Set(found.map(({ line }) => line))];
    return [
      {
        id: `project-missing project:${project}`,
        cause: AttentionCause.projectMissing,
        severity: AttentionSeverity.warning,
        target: `project:${project}`,
        summary: `Ready jobs belong to project ${project}, which was deleted`,
        effect:
          "They run without a cap on open pull requests, or wait for a session that nobody will publish",
        fix: "Create the project again, or cancel its jobs",
        command: `muster job list --project ${shellWord(project)}`,
        since: oldestOf(of),
        lines: of,
      },
    ];
  });
}

/** The projects that jobs of a shape belong to. */
export function projectsOf({
  project,
  target,
}: {
  readonly project: string | null;
  readonly target: ShapeTarget | null;
}): string[] {
  const parts = target === null ? null : targetParts(target);
  const ofTarget = parts?.type === "project" ? [parts.name] : [];
  return [...new Set([...(project === null ? [] : [project]), ...ofTarget])];
}

/** Jobs that fail or are lost again and again. */
export function troubleItems(rows: Rows<typeof readTroubledJobs>): AttentionItem[] {
  return rows.map(({ jobId, failures, losses, kind, createdAt, endedAt, errorCode }) => {
    const id = encodeId("job", jobId);
    const why = failures >= 3 ? `failed ${failures} times` : `was lost ${losses} times`;
    const last = errorCode ? `, last with ${errorCode}` : "";
    return {
      id: `job-trouble ${id}`,
      cause: AttentionCause.jobTrouble,
      severity: AttentionSeverity.warning,
      target: id,
      summary: `A job of kind ${kind} ${why}${last}`,
      effect: "It is tried again by itself, and takes a worker's time each time",
      fix: "Stop and inspect before retrying: read its attempts and its log; park it until the cause is known",
      command: `muster job attempts ${id}`,
      since: endedAt ?? createdAt,
      jobs: 1,
      jobIds: [jobId],
    };
  });
}

/** Workers that are silent, quarantined, wait for approval or do not answer, and the leases of silent ones. */
export function workerItems({ workers, now }: Routing, leases: Rows<typeof readLeasesBy>): AttentionItem[] {
  const held = new Map(leases.map((row) => [row.workerId, row]));
  return workers.flatMap((worker) => {
    const of = held.get(worker.workerId);
    return [
      ...(worker.isAttached && worker.isStale && !worker.isDisabled ? [staleItem(worker, now)] : []),
      ...(of === undefined ? [] : [staleLeaseItem(worker, of, now)]),
      ...(worker.isQuarantined && !worker.isDisabled ? [quarantinedItem(worker, now)] : []),
      ...(worker.isPending && !worker.isDisabled ? [pendingItem(worker)] : []),
      ...(worker.isAttached && worker.suspectAt !== null ? [suspectItem(worker, worker.suspectAt)] : []),
    ];
  });
}

/** Sessions that two workers published. */
export function contestedItems(
  { workersById }: Routing,
  rows: Rows<typeof readContestedSessions>,
): AttentionItem[] {
  const nameOf = (workerId: string | null) =>
    workersById.get(workerId ?? "")?.name ?? (workerId === null ? "another" : encodeId("worker", workerId));
  return rows.flatMap(({ sessionId, workerId, contestedBy, contestedAt }) => {
    if (contestedAt === null) return [];
    return [
      {
        id: `session-conflict session:${sessionId}`,
        cause: AttentionCause.sessionConflict,
        severity: AttentionSeverity.warning,
        target: `session:${sessionId}`,
        summary: `Worker ${nameOf(contestedBy)} published session ${sessionId}, which worker ${nameOf(workerId)} has`,
        effect: `Its jobs go to ${nameOf(workerId)} alone; what the other one has of it gets none`,
        fix: "End the session on one of the two, or remove it so that the other can publish it",
        command: `muster session get ${shellWord(sessionId)}`,
        since: contestedAt,
        jobs: 0,
        jobIds: [],
      },
    ];
  });
}

function staleItem(worker: WorkerFactsRow, now: Date): AttentionItem {
  const { workerId, name, slotsUsed, seenAt } = worker;
  const id = encodeId("worker", workerId);
  return {
    id: `worker-stale ${id}`,
    cause: AttentionCause.workerStale,
    severity: AttentionSeverity.warning,
    target: id,
    summary: `Worker ${name} is silent${silence(seenAt, now)}`,
    effect: "It gets no jobs; those that it holds are given to others when it stays silent",
    fix: "Look at the machine before requeueing anything: what it holds may still run there",
    command: `muster worker get ${id}`,
    since: seenAt ?? now,
    jobs: slotsUsed,
    jobIds: [],
  };
}

function staleLeaseItem(
  worker: WorkerFactsRow,
  { leases, jobIds }: Rows<typeof readLeasesBy>[number],
  now: Date,
): AttentionItem {
  const { workerId, name, seenAt } = worker;
  const id = encodeId("worker", workerId);
  const jobs = leases === 1 ? "a job" : `${leases} jobs`;
  return {
    id: `lease-stale ${id}`,
    cause: AttentionCause.leaseStale,
    severity: AttentionSeverity.warning,
    target: id,
    summary: `Worker ${name} holds ${jobs} and is silent${silence(seenAt, now)}`,
    effect: "Nobody knows how far they are; each goes to another worker when its reclaim time is over",
    fix: "Look at the machine before requeueing: two executions at once may be worse than a wait",
    command: `muster job list --worker ${id}`,
    since: seenAt ?? now,
    jobs: leases,
    jobIds,
  };
}

function quarantinedItem(worker: WorkerFactsRow, now: Date): AttentionItem {
  const { workerId, name, quarantinedAt, quarantineReason } = worker;
  const id = encodeId("worker", workerId);
  return {
    id: `worker-quarantined ${id}`,
    cause: AttentionCause.workerQuarantined,
    severity: AttentionSeverity.warning,
    target: id,
    summary: `Worker ${name} is quarantined${quarantineReason ? `: ${quarantineReason}` : ""}`,
    effect: "It gets no jobs until an operator resumes it",
    fix: "Find out why it lost its jobs, or which two processes share its identity; then resume it",
    command: `muster worker resume ${id}`,
    since: quarantinedAt ?? now,
    jobs: worker.slotsUsed,
    jobIds: [],
  };
}

function pendingItem({ workerId, name, owner, createdAt }: WorkerFactsRow): AttentionItem {
  const id = encodeId("worker", workerId);
  return {
    id: `worker-pending ${id}`,
    cause: AttentionCause.workerPending,
    severity: AttentionSeverity.notice,
    target: id,
    summary: `Worker ${name}${owner === "" ? "" : ` of ${owner}`} waits for approval`,
    effect: "It gets no jobs until an operator approves it",
    fix: "Approve it, or reject it: muster worker reject",
    command: `muster worker approve ${id}`,
    since: createdAt,
    jobs: 0,
    jobIds: [],
  };
}

function suspectItem({ workerId, name, slotsUsed }: WorkerFactsRow, suspectAt: Date): AttentionItem {
  const id = encodeId("worker", workerId);
  return {
    id: `worker-suspect ${id}`,
    cause: AttentionCause.workerSuspect,
    severity: AttentionSeverity.warning,
    target: id,
    summary: `Worker ${name} leaves a cancel without an answer`,
    effect: "It gets no jobs until it answers; the job that was cancelled still has its slot",
    fix: "Look at the handler that does not stop; restart the worker if it does not come back",
    command: `muster job list --worker ${id}`,
    since: suspectAt,
    jobs: slotsUsed,
    jobIds: [],
  };
}

function silence(seenAt: Date | null, now: Date): string {
  return seenAt === null ? "" : ` for ${durationText(now.getTime() - seenAt.getTime())}`;
}
