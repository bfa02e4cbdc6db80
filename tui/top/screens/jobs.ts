import { toJson } from "@bufbuild/protobuf";
import { type Job, JobSchema } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { WatchService } from "@muster/client/v1/watch_service";
import { commandLine } from "../shell/command-line.ts";
import { jobTerms } from "../shell/filter-terms.ts";
import type { Shell } from "../shell/screen.ts";
import { jobsSource } from "../sources/jobs.ts";
import type { ListState } from "../store/list.ts";
import type { JobsTarget } from "./job-acts.ts";
import { jobColumns, jobTabs, stateOf, tabStates, totalOf, withState, wordOf } from "./job-columns.ts";
import { openJob } from "./job-detail.ts";
import { factLines } from "./job-detail-view.ts";
import { openJobCreate, submitFromEditor } from "./job-form.ts";
import { jobKeys } from "./job-keys.ts";
import { clearMarks } from "./list-keys.ts";
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
    total: (list) => matching(list, screen.query().filter),
    none: "No jobs match.",
    canMark: true,
    openRow: (job) => openJob(shell, job.jobId, job),
    preview: (job, frame) => factLines(job, { ...frame, layout: "compact" }),
    copies: (job) => [["JSON", JSON.stringify(toJson(JobSchema, job), null, 2)]],
    keys: (list) => [
      ...jobKeys(shell, {
        current: list.current,
        marked: () => markedOf(list.state(), screen.query().filter),
        markedCount: () => matching(list.state(), screen.query().filter),
        after: () => clearMarks(list),
      }),
      {
        id: "job.create",
        keys: ["c"],
        label: "submit a job",
        group: "act",
        danger: "none",
        equal: { command: "job submit", method: "JobService.SubmitJob" },
        when: () => shell.barrier("submit"),
        run: () => openJobCreate(shell),
      },
      {
        id: "job.create.yaml",
        keys: ["E"],
        label: "submit one like it from your editor",
        group: "act",
        danger: "none",
        equal: { command: "job submit", method: "JobService.SubmitJob" },
        when: () => shell.barrier("submit"),
        run: () => void submitFromEditor(shell, list.current()),
      },
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
    equals: [
      { command: "job list", method: "WatchService.WatchJobs" },
      { command: "job list", method: "JobService.ListJobs" },
    ],
    command: ({ filter }) => commandLine("job list", ["--filter", filter]),
  });
  return screen;
}

/** How many jobs a filter with its state matches, as the server counts. */
function matching(list: ListState<Job>, filter: string): bigint | undefined {
  const word = stateOf(filter);
  if (word === undefined) return totalOf(list);
  const state = tabStates.find((one) => wordOf(one) === word);
  return state === undefined ? undefined : list.counts?.get(state);
}

function markedOf({ marks, allMarked }: ListState<Job>, filter: string): JobsTarget | undefined {
  // All that match without a filter are all jobs: the server refuses an empty filter, so that is said in one.
  if (allMarked) return { kind: "filter", filter: filter === "" ? "age>0s" : filter };
  return marks.size === 0 ? undefined : { kind: "ids", ids: [...marks] };
}
