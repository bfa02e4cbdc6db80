import { AttentionCause, type AttentionItem } from "@muster/client/v1/explain_service";
import { JobAction } from "@muster/client/v1/job_service";
import { ProjectService } from "@muster/client/v1/project_service";
import type { QueueType } from "@muster/client/v1/queue_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import type { Equal } from "../shell/bindings.ts";
import type { Shell } from "../shell/screen.ts";
import { writeTerm } from "../shell/term-values.ts";
import { lookUp } from "./ask.ts";
import { goTo, goToJobs } from "./go.ts";
import { askJobs } from "./job-acts.ts";
import { openJob } from "./job-detail.ts";
import { createWhy } from "./job-why.ts";
import { openCap, openProjectCreate } from "./project-keys.ts";
import { createProjectPage } from "./projects.ts";
import { resumeQueue } from "./queue-keys.ts";
import { nounOf, queueNouns } from "./queue-view.ts";
import { createQueuePage } from "./queues.ts";
import { createSessionPage, unarchiveById } from "./sessions.ts";
import { resumeWorker } from "./worker-keys.ts";
import { createWorkerWhy } from "./worker-why.ts";
import { createWorkerPage } from "./workers.ts";

/** What an item, or an audit entry, is about. */
export type Target =
  | { readonly kind: "job" | "worker" | "project" | "session" | "batch"; readonly id: string }
  | { readonly kind: "queue"; readonly type: QueueType; readonly id: string };

/** Reads `job_…`, `wrk_…`, `project:name`, `session:id`, `queue:name` and so on; undefined when it is none of them. */
export function readTarget(target: string): Target | undefined {
  if (target.startsWith("job_")) return { kind: "job", id: target };
  if (target.startsWith("wrk_")) return { kind: "worker", id: target };
  if (target.startsWith("bat_")) return { kind: "batch", id: target };
  const at = target.indexOf(":");
  const [word, id] = [target.slice(0, at), target.slice(at + 1)];
  if (at < 0 || id === "") return undefined;
  if (word === "project" || word === "session") return { kind: word, id };
  const type = queueNouns.find(([noun]) => noun === word)?.[1];
  return type === undefined ? undefined : { kind: "queue", type, id };
}

/** Goes to what something is about. */
export function goToTarget(shell: Shell, target: Target): void {
  switch (target.kind) {
    case "job":
      return openJob(shell, target.id);
    case "worker":
      return shell.push(createWorkerPage(shell, target.id));
    case "project":
      return shell.push(createProjectPage(shell, target.id));
    case "session":
      return shell.push(createSessionPage(shell, target.id));
    case "batch":
      return goTo(shell, "jobs", writeTerm("batch", target.id));
    case "queue":
      return shell.push(createQueuePage(shell, target.type, target.id));
  }
}

/** Asks why: of a job that it holds, else of the worker that it is about. Answers false where there is nobody to ask. */
export function openWhy(shell: Shell, item: AttentionItem): boolean {
  const [jobId = item.target.startsWith("job_") ? item.target : ""] = item.jobIds;
  if (item.target.startsWith("wrk_") && item.cause !== AttentionCause.NO_ROUTE) {
    shell.push(createWorkerWhy(shell, item.target, ""));
    return true;
  }
  if (jobId === "") return false;
  shell.push(createWhy(shell, jobId));
  return true;
}

/** A fix that the console can make. */
export interface Fix {
  readonly label: string;
  readonly equal: Equal;
  readonly run: () => void;
}

/** The fixes of causes that the console can make itself; the other causes need a person at a machine. */
export const fixEquals: readonly [Equal, ...Equal[]] = [
  { command: "worker resume", method: "WorkerAdminService.ResumeWorker" },
  { command: "queue resume", method: "QueueService.ResumeQueue" },
  { command: "project set-cap", method: "ProjectService.PutProject" },
  { command: "project create", method: "ProjectService.PutProject" },
  { command: "session unarchive", method: "SessionService.UnarchiveSession" },
  { command: "job park", method: "JobService.ActOnJobs" },
];

/** The fix of an item, where it is an action of ours. */
export function fixOf(shell: Shell, item: AttentionItem): Fix | undefined {
  const target = readTarget(item.target);
  const fix = (command: string, label: string, run: () => void): Fix | undefined => {
    const equal = fixEquals.find((one) => one.command === command);
    return equal === undefined ? undefined : { label, equal, run };
  };
  // What the server suggests is the fix, where it is one of our verbs on an id that it names.
  const resumed = /^muster worker resume (wrk_\S+)$/.exec(item.command)?.[1];
  if (resumed !== undefined)
    return fix("worker resume", "resume the worker", () => void resumeById(shell, resumed));
  switch (item.cause) {
    case AttentionCause.QUEUE_PAUSED:
      if (target?.kind !== "queue") return undefined;
      return fix("queue resume", `resume the ${nounOf(target.type)}`, () => {
        void resumeQueue(shell, { type: target.type, name: target.id, pauseReason: "" });
      });
    case AttentionCause.PROJECT_CAP:
      if (target?.kind !== "project") return undefined;
      return fix("project set-cap", "change the cap", () => void capById(shell, target.id));
    case AttentionCause.PROJECT_MISSING:
      if (target?.kind !== "project") return undefined;
      return fix("project create", "create the project again", () => openProjectCreate(shell, target.id));
    case AttentionCause.SESSION_MISSING:
      if (target?.kind !== "session" || !item.command.startsWith("muster session unarchive"))
        return undefined;
      return fix("session unarchive", "unarchive the session", () => void unarchiveById(shell, target.id));
    case AttentionCause.JOB_TROUBLE:
      return fix("job park", "park the job until the cause is known", () =>
        askJobs(shell, JobAction.PARK, { kind: "ids", ids: [...item.jobIds] }),
      );
    default:
      return undefined;
  }
}

async function resumeById(shell: Shell, workerId: string): Promise<void> {
  const found = await lookUp(shell, (call) => shell.client(WorkerAdminService).getWorker({ workerId }, call));
  if (found?.worker !== undefined) await resumeWorker(shell, found.worker);
}

async function capById(shell: Shell, name: string): Promise<void> {
  const found = await lookUp(shell, (call) => shell.client(ProjectService).getProject({ name }, call));
  if (found?.project !== undefined) openCap(shell, found.project);
}

/** The jobs that an item holds, as a filter. */
export function goToJobsOf(shell: Shell, item: AttentionItem): boolean {
  const target = readTarget(item.target);
  if (target === undefined) return false;
  if (target.kind === "job") openJob(shell, target.id);
  else if (target.kind === "worker") goToJobs(shell, `state:running,offered worker:${target.id}`);
  else if (target.kind === "queue")
    goToJobs(shell, `state:ready ${writeTerm(nounOf(target.type), target.id)}`);
  else goToJobs(shell, writeTerm(target.kind, target.id));
  return true;
}
