import { create } from "@bufbuild/protobuf";
import { AuditEntrySchema } from "@muster/client/v1/audit_service";
import { QueueType } from "@muster/client/v1/queue_service";
import type { Screen, Shell, ViewEntry } from "../shell/screen.ts";
import { forgetfulKeeper, type Keeper } from "../store/snoozes.ts";
import { createAlerts } from "./alerts.ts";
import { createAttention } from "./attention.ts";
import { createAttribution } from "./attribution.ts";
import { createAudit, createEntry } from "./audit.ts";
import { createBatches } from "./batches.ts";
import { type ContextChoice, createContexts } from "./contexts.ts";
import { createDlq } from "./dlq.ts";
import { createJobDetail } from "./job-detail.ts";
import { createLogs, recordOf } from "./job-logs.ts";
import { createWhy } from "./job-why.ts";
import { createJobs } from "./jobs.ts";
import { createKeys } from "./keys.ts";
import { createLeases } from "./leases.ts";
import { createOverview } from "./overview.ts";
import { createProjectPage, createProjects } from "./projects.ts";
import { createQueuePage, createQueues } from "./queues.ts";
import { createSchedulePage, createSchedules } from "./schedules.ts";
import { createSessionPage, createSessions } from "./sessions.ts";
import { createStats } from "./stats.ts";
import { createSystem } from "./system.ts";
import { createWorkerWhy } from "./worker-why.ts";
import { createWorkerPage, createWorkers } from "./workers.ts";

/** What some views need of this machine. */
export interface Outside {
  /** Keeps what is snoozed between two starts. Default: it is forgotten. */
  readonly snoozes?: Keeper;
  /** Absent: there is no other context to go to. */
  readonly contexts?: ContextChoice;
}

/**
 * The views, in the order of their keys; views without a key are reached
 * by the palette.
 */
export function createViews({ snoozes = forgetfulKeeper(), contexts }: Outside = {}): readonly ViewEntry[] {
  return [
    { id: "overview", key: "1", title: "Overview", aliases: ["home", "status"], open: createOverview },
    { id: "jobs", key: "2", title: "Jobs", open: createJobs },
    { id: "workers", key: "3", title: "Workers", open: createWorkers },
    {
      id: "attention",
      key: "4",
      title: "Attention",
      aliases: ["problems"],
      open: (shell) => createAttention(shell, snoozes),
    },
    { id: "queues", key: "5", title: "Queues", aliases: ["kinds", "pools"], open: createQueues },
    {
      id: "schedules",
      key: "6",
      title: "Cron",
      aliases: ["schedules"],
      open: createSchedules,
    },
    { id: "dlq", key: "7", title: "DLQ", aliases: ["dead letters"], open: (shell) => createDlq(shell) },
    { id: "alerts", key: "8", title: "Alerts", aliases: ["channels", "rules"], open: createAlerts },
    { id: "audit", key: "9", title: "Audit", open: createAudit },
    {
      id: "system",
      key: "0",
      title: "System",
      aliases: ["coordinators", "database", "doctor"],
      open: createSystem,
    },
    { id: "stats", key: "", title: "Statistics", aliases: ["history", "percentiles"], open: createStats },
    {
      id: "attribution",
      key: "",
      title: "Attribution",
      aliases: ["contributors", "who"],
      open: createAttribution,
    },
    { id: "projects", key: "", title: "Projects", aliases: ["repositories"], open: createProjects },
    { id: "leases", key: "", title: "Leases", open: createLeases },
    { id: "sessions", key: "", title: "Sessions", open: createSessions },
    { id: "batches", key: "", title: "Batches", open: createBatches },
    { id: "keys", key: "", title: "Keys", open: createKeys },
    ...(contexts === undefined
      ? []
      : [
          {
            id: "contexts",
            key: "",
            title: "Contexts",
            aliases: ["ctx"],
            open: (shell) => createContexts(shell, contexts),
          } satisfies ViewEntry,
        ]),
  ];
}

/** The views without anything of this machine. */
export const views: readonly ViewEntry[] = createViews();

/** Every screen there is, about nothing in particular: for lists of keys and of all that the console can do. */
export function everyScreen(shell: Shell): Screen[] {
  const nowhere = { list: () => [], use: () => undefined };
  return [
    ...createViews({ contexts: nowhere }).map((view) => view.open(shell)),
    createJobDetail(shell, "job_"),
    createLogs(shell, recordOf(shell, "job_")),
    createWhy(shell, "job_"),
    createWorkerPage(shell, "wrk_"),
    createWorkerWhy(shell, "wrk_", ""),
    createQueuePage(shell, QueueType.QUEUE, "queue"),
    createProjectPage(shell, "project"),
    createSchedulePage(shell, "schedule"),
    createSessionPage(shell, "session"),
    createEntry(shell, create(AuditEntrySchema, {})),
  ];
}
