import type { ViewEntry } from "../shell/screen.ts";
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
