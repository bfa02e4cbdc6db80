import { type Job, JobState } from "@muster/client/v1/job";
import { JobAction, JobService } from "@muster/client/v1/job_service";
import { showPriority } from "../../input/values.ts";
import { isTerminal } from "../../output/states.ts";
import { showCount } from "../../output/time.ts";
import { type Choice, paletteOverlay } from "../overlays/palette.ts";
import type { Equal, KeyBinding } from "../shell/bindings.ts";
import type { Shell } from "../shell/screen.ts";
import { actOnJobs, askJobs, type JobsTarget } from "./job-acts.ts";
import { openJobEdit } from "./job-form.ts";
import { openLogs } from "./job-logs.ts";
import { createWhy } from "./job-why.ts";

/** What the keys of jobs are about. */
export interface JobKeysOptions {
  /** The job under the cursor. */
  readonly current: () => Job | undefined;
  /** Marked jobs; undefined when none are marked. */
  readonly marked?: () => JobsTarget | undefined;
  /** How many are marked, if known. */
  readonly markedCount?: () => bigint | undefined;
  /** Called after an action on marked jobs. */
  readonly after?: () => void;
}

const bulk = (command: string): Equal => ({ command, method: "JobService.ActOnJobs" });

/** What can be done to a job, or to the marked ones: the same keys in lists, in the detail and beside it. */
export function jobKeys(shell: Shell, options: JobKeysOptions): KeyBinding[] {
  const { current } = options;
  const target = (): JobsTarget | undefined => {
    const job = current();
    return options.marked?.() ?? (job === undefined ? undefined : { kind: "ids", ids: [job.jobId] });
  };
  const isMany = (): boolean => options.marked?.() !== undefined;
  const count = (): string => {
    const marked = options.marked?.();
    if (marked === undefined) return "";
    const known = marked.kind === "ids" ? marked.ids.length : options.markedCount?.();
    return known === undefined ? " all" : ` ${showCount(known)}`;
  };
  // Marked jobs are checked by the server; for one job the console knows.
  const needs =
    (isRight: (job: Job) => boolean, why: string, scope: "operate" | "submit" = "operate") =>
    (): string | undefined => {
      const job = current();
      if (target() === undefined) return "nothing is selected";
      if (!isMany() && job !== undefined && !isRight(job)) return why;
      return shell.barrier(scope);
    };
  const ask = (action: JobAction, priority?: number): void => {
    const jobs = target();
    if (jobs === undefined) return;
    const more = priority === undefined ? {} : { priority };
    askJobs(shell, action, jobs, { ...more, after: () => options.after?.() });
  };
  const canRetry = (job: Job): boolean =>
    [JobState.DEAD, JobState.CANCELLED].includes(job.state) ||
    (job.state === JobState.SCHEDULED && job.failures > 0);
  const isWaiting = (job: Job): boolean =>
    [JobState.BLOCKED, JobState.SCHEDULED, JobState.READY].includes(job.state);

  return [
    {
      id: "job.cancel",
      keys: ["x"],
      label: () => `cancel${count()}`,
      group: "act",
      danger: "moderate",
      equal: bulk("job cancel"),
      hint: 3,
      when: needs((job) => !isTerminal(job.state), "it has ended"),
      run: () => ask(JobAction.CANCEL),
    },
    {
      id: "job.retry",
      keys: ["r"],
      label: () => `retry${count()}`,
      group: "act",
      danger: "mild",
      equal: { command: "job retry", method: "JobService.RetryJob" },
      hint: 4,
      when: needs(canRetry, "only dead, cancelled, or waiting for its next try"),
      run: () => {
        if (isMany()) ask(JobAction.RETRY);
        else void retry(shell, current());
      },
    },
    {
      id: "job.priority.raise",
      keys: ["+", "="],
      label: () => `raise priority${count()}`,
      group: "act",
      danger: "mild",
      equal: { command: "job edit", method: "JobService.UpdateJob" },
      when: needs((job) => !isTerminal(job.state), "it has ended"),
      run: () =>
        changePriority(shell, isMany(), current(), 1, (priority) => ask(JobAction.SET_PRIORITY, priority)),
    },
    {
      id: "job.priority.lower",
      keys: ["-"],
      label: () => `lower priority${count()}`,
      group: "act",
      danger: "mild",
      equal: { command: "job edit", method: "JobService.UpdateJob" },
      when: needs((job) => !isTerminal(job.state), "it has ended"),
      run: () =>
        changePriority(shell, isMany(), current(), -1, (priority) => ask(JobAction.SET_PRIORITY, priority)),
    },
    {
      id: "job.park",
      keys: ["p"],
      label: () => (current()?.state === JobState.PARKED ? `unpark${count()}` : `park${count()}`),
      group: "act",
      danger: "mild",
      equal: bulk("job park"),
      when: needs((job) => isWaiting(job) || job.state === JobState.PARKED, "it does not wait"),
      run: () => {
        const job = current();
        const action = job?.state === JobState.PARKED ? JobAction.UNPARK : JobAction.PARK;
        if (isMany()) ask(action);
        else if (job !== undefined) void parkOne(shell, job.jobId, action);
      },
    },
    {
      id: "job.delete",
      keys: ["X", "delete"],
      label: () => `delete${count()}`,
      group: "act",
      danger: "severe",
      equal: bulk("job delete"),
      when: needs((job) => isTerminal(job.state), "it has not ended"),
      run: () => ask(JobAction.DELETE),
    },
    {
      id: "job.edit",
      keys: ["e"],
      label: "edit",
      group: "act",
      danger: "mild",
      equal: { command: "job edit", method: "JobService.UpdateJob" },
      when: () => (isMany() ? "one job at a time" : needs((job) => !isTerminal(job.state), "it has ended")()),
      run: () => {
        const job = current();
        if (job !== undefined) openJobEdit(shell, job);
      },
    },
    {
      id: "job.why",
      keys: ["w"],
      label: "why?",
      group: "look",
      danger: "none",
      equal: { command: "job explain", method: "ExplainService.ExplainJob" },
      hint: 5,
      when: () => (current() === undefined ? "nothing is selected" : undefined),
      run: () => {
        const job = current();
        if (job !== undefined) shell.push(createWhy(shell, job.jobId));
      },
    },
    {
      id: "job.logs",
      keys: ["L"],
      label: "logs",
      group: "look",
      danger: "none",
      equal: { command: "job logs", method: "JobService.WatchJob" },
      hint: 2,
      when: () => (current() === undefined ? "nothing is selected" : undefined),
      run: () => {
        const job = current();
        if (job !== undefined) openLogs(shell, job);
      },
    },
    {
      id: "job.related",
      keys: ["o"],
      label: "go to worker, batch, parent...",
      group: "go",
      danger: "none",
      when: () => (current() === undefined ? "nothing is selected" : undefined),
      run: () => {
        const job = current();
        if (job !== undefined) openRelated(shell, job);
      },
    },
  ];
}

async function retry(shell: Shell, job: Job | undefined): Promise<void> {
  if (job === undefined) return;
  const answer = await shell.act(({ requestId, options }) =>
    shell.client(JobService).retryJob({ jobId: job.jobId, requestId }, options),
  );
  if (answer !== undefined) shell.say({ text: `${job.jobId} runs again`, kind: "done" });
}

async function parkOne(shell: Shell, jobId: string, action: JobAction): Promise<void> {
  const done = await actOnJobs(shell, action, { kind: "ids", ids: [jobId] }, {}, "", 1);
  if (!done) return;
  const back = action === JobAction.PARK ? JobAction.UNPARK : JobAction.PARK;
  const [word, label] = action === JobAction.PARK ? ["parked", "unpark it"] : ["unparked", "park it again"];
  const undo = { label, run: () => void actOnJobs(shell, back, { kind: "ids", ids: [jobId] }, {}, "", 1) };
  shell.say({ text: `${word} ${jobId}`, kind: "done", undo });
}

/** The priorities that have names, least first. */
const steps = [64, 128, 192, 240] as const;

function changePriority(
  shell: Shell,
  isMany: boolean,
  job: Job | undefined,
  by: 1 | -1,
  askMany: (priority: number) => void,
): void {
  if (isMany) {
    const choices = [...steps].reverse().map(
      (priority): Choice => ({
        label: showPriority(priority),
        about: String(priority),
        run: () => askMany(priority),
      }),
    );
    shell.open((close) =>
      paletteOverlay({ id: "priority", title: "Priority", choices, isMenu: true }, close),
    );
    return;
  }
  if (job === undefined) return;
  const now = job.spec?.priority ?? 128;
  const next = by > 0 ? steps.find((step) => step > now) : steps.findLast((step) => step < now);
  if (next === undefined) {
    shell.say({
      text: `it has the ${by > 0 ? "highest" : "lowest"} priority with a name already`,
      kind: "warning",
    });
    return;
  }
  void setPriority(shell, job.jobId, next, now);
}

async function setPriority(shell: Shell, jobId: string, priority: number, before: number): Promise<void> {
  const answer = await shell.act(({ requestId, options }) =>
    shell.client(JobService).updateJob({ jobId, priority, requestId }, options),
  );
  if (answer === undefined) return;
  const undo = {
    label: `priority ${showPriority(before)} again`,
    run: () => void setPriority(shell, jobId, before, priority),
  };
  shell.say({ text: `priority ${showPriority(priority)}: ${jobId}`, kind: "done", undo });
}

function openRelated(shell: Shell, job: Job): void {
  const jobsWith = (label: string, filter: string): Choice => ({
    label,
    about: filter,
    run: () => shell.show("jobs", (screen) => screen.filter?.apply(filter)),
  });
  const { spec } = job;
  const isView = (id: string): boolean => shell.views.some((view) => view.id === id);
  const choices: Choice[] = [
    ...(job.workerName === "" || !isView("workers")
      ? []
      : [
          {
            label: `worker ${job.workerName}`,
            about: "its screen",
            run: () => shell.show("workers", (screen) => screen.filter?.apply(`name:${job.workerName}`)),
          },
        ]),
    ...(job.workerName === "" ? [] : [jobsWith("jobs of its worker", `worker:${job.workerName}`)]),
    ...(job.batchId === "" ? [] : [jobsWith("jobs of its batch", `batch:${job.batchId}`)]),
    ...(job.parentJobId === "" ? [] : [jobsWith("its parent", `id:${job.parentJobId}`)]),
    jobsWith("jobs that it submitted", `parent:${job.jobId}`),
    ...(spec?.project ? [jobsWith("jobs of its project", `project:${spec.project}`)] : []),
    ...(job.sessionId === "" ? [] : [jobsWith("jobs of its session", `session:${job.sessionId}`)]),
    jobsWith("jobs of its kind", `kind:${spec?.kind ?? ""}`),
    jobsWith("jobs of its queue", `queue:${spec?.queue ?? ""}`),
  ];
  shell.open((close) => paletteOverlay({ id: "related", title: "Go to", choices, isMenu: true }, close));
}
