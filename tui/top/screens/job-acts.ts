import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { JobState } from "@muster/client/v1/job";
import {
  type ActOnJobsRequestSchema,
  type ActOnJobsResponse,
  JobAction,
  type JobCounts,
  JobIdsSchema,
  JobService,
} from "@muster/client/v1/job_service";
import { jobLooks } from "../../output/states.ts";
import { showClock, showCount, showCounted } from "../../output/time.ts";
import { type Checked, confirmOverlay } from "../overlays/confirm.ts";
import { type ActProgress, progressOverlay } from "../overlays/progress.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";

/** Which jobs an action is about: some by id, or all that match. */
export type JobsTarget =
  | { readonly kind: "ids"; readonly ids: readonly string[] }
  | { readonly kind: "filter"; readonly filter: string };

/** What an action on many jobs needs besides them. */
export interface JobsActOptions {
  readonly priority?: number;
  /** The jobs in words: `all jobs of batch …`. */
  readonly what?: string;
  /** The command with its words for which jobs, where it is not one of `job`: `batch cancel bat_…`. */
  readonly command?: string;
  /** Called when it is over and something was done. */
  readonly after?: () => void;
}

/** From how many on the count must be typed. */
const severeFrom = 50;

interface ActWords {
  /** `cancel`. */
  readonly verb: string;
  /** `cancelled`. */
  readonly done: string;
  /** What happens, after the count. */
  readonly effect: string;
  readonly command: string;
  /** It takes the count even for one. */
  readonly isSevere: boolean;
}

const words: Readonly<Record<JobAction, ActWords | undefined>> = {
  [JobAction.UNSPECIFIED]: undefined,
  [JobAction.CANCEL]: {
    verb: "Cancel",
    done: "cancelled",
    effect: "Those that wait end at once, those that run are asked to stop. It cannot be undone.",
    command: "job cancel",
    isSevere: false,
  },
  [JobAction.RETRY]: {
    verb: "Retry",
    done: "retried",
    effect: "They run again, with their attempts counted from 0.",
    command: "job retry",
    isSevere: false,
  },
  [JobAction.PARK]: {
    verb: "Park",
    done: "parked",
    effect: "They are held, without spending an attempt, until they are unparked.",
    command: "job park",
    isSevere: false,
  },
  [JobAction.UNPARK]: {
    verb: "Unpark",
    done: "unparked",
    effect: "They go on where they were.",
    command: "job unpark",
    isSevere: false,
  },
  [JobAction.SET_PRIORITY]: {
    verb: "Change",
    done: "changed",
    effect: "They get another priority.",
    command: "job edit",
    isSevere: false,
  },
  [JobAction.DISCARD]: {
    verb: "Discard",
    done: "discarded",
    effect: "They leave the dead letters without running again.",
    command: "dlq discard",
    isSevere: true,
  },
  [JobAction.DELETE]: {
    verb: "Delete",
    done: "deleted",
    effect: "They go with their attempts, logs and artifacts. It cannot be undone.",
    command: "job delete",
    isSevere: true,
  },
};

/** Asks, with the server's own count, and then acts on jobs: at most 1,000 a call, until all are seen. */
export function askJobs(
  shell: Shell,
  action: JobAction,
  target: JobsTarget,
  options: JobsActOptions = {},
): void {
  const known = words[action];
  if (known === undefined) return;
  const request = requestOf(action, target, options);
  const what =
    options.what ??
    (target.kind === "ids" ? showCounted(target.ids.length, "job") : `all jobs matching "${target.filter}"`);
  shell.open((close) =>
    confirmOverlay(
      {
        title: `${known.verb} ${what}?`,
        lines: [known.effect],
        verb: `${known.verb} ${target.kind === "ids" && target.ids.length === 1 ? "it" : "them"}`,
        check: async (signal) => {
          const answer = await shell
            .client(JobService)
            .actOnJobs({ ...request, dryRun: true }, { signal, timeoutMs: 30_000 });
          return checkedOf(answer, target, known, shell.now());
        },
        command: (reason, checked) => commandOf(known, target, options, reason, checked),
        act: (reason, checked) => {
          void actOnJobs(shell, action, target, options, reason, checked?.count ?? 0);
        },
      },
      () => shell.changed(),
      close,
    ),
  );
}

/** Acts on jobs without asking: for what can be undone. Answers whether it was done to any. */
export async function actOnJobs(
  shell: Shell,
  action: JobAction,
  target: JobsTarget,
  options: JobsActOptions,
  reason: string,
  total: number,
): Promise<boolean> {
  const known = words[action];
  if (known === undefined) return false;
  const request = { ...requestOf(action, target, options), reason };
  const stopping = new AbortController();
  let progress: ActProgress = { done: 0, skipped: 0, total };
  let failure: string | undefined;
  let closeProgress: (() => void) | undefined;
  let pageToken = "";
  do {
    const token = pageToken;
    // What a person confirmed: more of them than were counted are refused.
    const confirmed = target.kind === "filter" && total > 0 ? { confirmed: BigInt(total) } : {};
    const answer = await shell.act(({ requestId, options: call }) =>
      shell.client(JobService).actOnJobs({ ...request, ...confirmed, requestId, pageToken: token }, call),
    );
    if (answer === undefined) break;
    progress = { ...progress, done: progress.done + answer.done, skipped: progress.skipped + answer.skipped };
    failure ??= answer.failures[0]?.message;
    pageToken = answer.nextPageToken;
    if (pageToken !== "" && closeProgress === undefined) {
      shell.open((close) => {
        closeProgress = close;
        return progressOverlay(
          `${known.verb}: ${showCounted(total, "job")}`,
          () => progress,
          () => stopping.abort(),
        );
      });
    }
    shell.changed();
    if (pageToken === "" || stopping.signal.aborted) {
      const more = pageToken === "" ? "" : ", stopped before the rest";
      const skipped =
        progress.skipped === 0
          ? ""
          : `, ${showCount(progress.skipped)} skipped${failure === undefined ? "" : `: ${failure}`}`;
      shell.say({
        text: `${known.done} ${showCounted(progress.done, "job")}${skipped}${more}`,
        kind: progress.done === 0 ? "warning" : "done",
      });
      break;
    }
  } while (pageToken !== "");
  (closeProgress as (() => void) | undefined)?.();
  if (progress.done > 0) options.after?.();
  return progress.done > 0;
}

function requestOf(
  action: JobAction,
  target: JobsTarget,
  { priority }: JobsActOptions,
): MessageInitShape<typeof ActOnJobsRequestSchema> {
  return {
    action,
    jobs:
      target.kind === "ids"
        ? { case: "ids", value: create(JobIdsSchema, { jobIds: [...target.ids] }) }
        : { case: "filter", value: target.filter },
    ...(priority === undefined ? {} : { priority }),
  };
}

function checkedOf(answer: ActOnJobsResponse, target: JobsTarget, known: ActWords, nowMs: number): Checked {
  const matched = sumOf(answer.matched);
  const count = target.kind === "ids" ? answer.done : Math.max(matched, answer.done);
  const isSevere = known.isSevere || count > severeFrom || target.kind === "filter";
  const [failure] = answer.failures;
  return {
    count: answer.done === 0 && answer.nextPageToken === "" ? 0 : count,
    lines: [
      `${showCounted(count, "job")}: ${statesText(answer.matched)}.`,
      ...(answer.skipped === 0
        ? []
        : [
            `${showCounted(answer.skipped, "job")} of them skipped${failure === undefined ? "" : `: ${failure.message}`}.`,
          ]),
      `Counted by the server at ${showClock(nowMs)}; what changes meanwhile is skipped.`,
    ],
    ...(isSevere ? { typed: String(count) } : {}),
  };
}

function sumOf(counts: JobCounts | undefined): number {
  return Number((counts?.states ?? []).reduce((sum, { count }) => sum + count, 0n));
}

function statesText(counts: JobCounts | undefined): string {
  const known = (counts?.states ?? []).filter(({ count }) => count > 0n);
  if (known.length === 0) return "none";
  return known.map(({ state, count }) => `${showCount(count)} ${stateWord(state)}`).join(", ");
}

function stateWord(state: JobState): string {
  return jobLooks[state].word.toLowerCase();
}

/** Ids that are written out in a command line; more are counted. */
const shownIds = 3;

function commandOf(
  { command }: ActWords,
  target: JobsTarget,
  { priority, command: own }: JobsActOptions,
  reason: string,
  checked: Checked | undefined,
): string {
  const jobs =
    target.kind === "filter"
      ? `--filter ${shellWord(target.filter)}`
      : target.ids.length > shownIds
        ? `${target.ids.slice(0, shownIds).join(" ")} ...`
        : target.ids.join(" ");
  return commandLine(
    own ?? `${command} ${jobs}`,
    ["--priority", priority === undefined ? "" : String(priority)],
    ["--reason", reason],
    ["--confirm", checked?.typed ?? ""],
  );
}
