import type { Screen, Shell, ViewEntry } from "../shell/screen.ts";
import { createJobDetail } from "./job-detail.ts";
import { createLogs, recordOf } from "./job-logs.ts";
import { createWhy } from "./job-why.ts";
import { createJobs } from "./jobs.ts";
import { createOverview } from "./overview.ts";

/**
 * The views, in the order of their keys. 6 and 8 are kept for schedules and alerts; views without a key are reached
 * by the palette.
 */
export const views: readonly ViewEntry[] = [
  { id: "overview", key: "1", title: "Overview", aliases: ["home", "status"], open: createOverview },
  { id: "jobs", key: "2", title: "Jobs", open: createJobs },
];

/** Every screen there is, about nothing in particular: for lists of keys and of all that the console can do. */
export function everyScreen(shell: Shell): Screen[] {
  return [
    ...views.map((view) => view.open(shell)),
    createJobDetail(shell, "job_"),
    createLogs(shell, recordOf(shell, "job_")),
    createWhy(shell, "job_"),
  ];
}
