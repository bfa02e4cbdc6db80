import type { Job } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { WatchService } from "@muster/client/v1/watch_service";
import { commandLine } from "../shell/command-line.ts";
import { jobTerms } from "../shell/filter-terms.ts";
import type { Shell } from "../shell/screen.ts";
import { jobsSource } from "../sources/jobs.ts";
import { jobColumns, jobTabs, stateOf, tabStates, totalOf, withState, wordOf } from "./job-columns.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";

/** The jobs: tabs by state with the server's counts, a filter, marks, and actions on many. */
export function createJobs(shell: Shell): ListScreen<Job> {
  const clients = { watch: shell.client(WatchService), jobs: shell.client(JobService) };
  const step = (by: number): void => {
    const words = [undefined, ...tabStates.map(wordOf)];
    const at = words.indexOf(stateOf(screen.query().filter));
    const next = words[(at + by + words.length) % words.length];
    screen.setFilter(withState(screen.query().filter, next));
  };
  const screen: ListScreen<Job> = createListScreen<Job>(shell, {
    id: "jobs",
    title: () => "Jobs",
    idOf: ({ jobId }) => jobId,
    compare: (one, other) => {
      const sign = screen.query().order === "oldest" ? 1 : -1;
      return one.jobId < other.jobId ? -sign : sign;
    },
    isChanged: (before, after) => before.state !== after.state || before.attempt !== after.attempt,
    quietMs: 20_000,
    columns: jobColumns,
    source: ({ filter, order, pageToken, isLastPage }) =>
      jobsSource(clients, { filter, order: order === "oldest" ? "oldest" : "newest", pageToken, isLastPage }),
    terms: jobTerms,
    orders: [
      { id: "newest", label: "newest first" },
      { id: "oldest", label: "oldest first" },
    ],
    head: (list, frame) => [jobTabs(list, screen.query().filter, frame)],
    total: totalOf,
    none: "No jobs match.",
    canMark: true,
    keys: () => [
      {
        id: "tab.next",
        keys: ["]", "tab"],
        label: "next state",
        group: "look",
        danger: "none",
        run: () => step(1),
      },
      {
        id: "tab.previous",
        keys: ["[", "shift-tab"],
        label: "previous state",
        group: "look",
        danger: "none",
        run: () => step(-1),
      },
    ],
    command: ({ filter }) => commandLine("job list", ["--filter", filter]),
  });
  return screen;
}
