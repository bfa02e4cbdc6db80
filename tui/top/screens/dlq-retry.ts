import { create } from "@bufbuild/protobuf";
import {
  type DeadLetterGroup,
  JobAction,
  JobIdsSchema,
  JobOrder,
  JobService,
} from "@muster/client/v1/job_service";
import { type Rate, readRate } from "../../input/values.ts";
import { showCounted } from "../../output/time.ts";
import { confirmOverlay } from "../overlays/confirm.ts";
import { paletteOverlay } from "../overlays/palette.ts";
import { commandLine } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";
import { writeTerm } from "../shell/term-values.ts";
import type { PacedRetry } from "./dlq-view.ts";
import { askJobs } from "./job-acts.ts";

/** Retries of groups: at once, or at a rate while the console runs. */
export interface GroupRetries {
  /** Asks at which rate, then asks with the server's count, and then does it. */
  readonly open: (group: DeadLetterGroup) => void;
  readonly stop: () => void;
  /** What goes on now. */
  readonly running: () => PacedRetry | undefined;
}

/** Waits; ends early, without an error, when the signal says so. */
export type Wait = (ms: number, signal: AbortSignal) => Promise<unknown>;

const rates = ["10/1m", "60/1m", "10/1s"] as const;

/** Makes them. One goes on at a time. */
export function createGroupRetries(shell: Shell, wait: Wait): GroupRetries {
  let running: (PacedRetry & { readonly stopping: AbortController }) | undefined;
  const client = shell.client(JobService);

  const begin = async (group: DeadLetterGroup, rate: Rate, text: string, reason: string, total: number) => {
    const stopping = new AbortController();
    const { fingerprint, kind } = group;
    running = { fingerprint, rate: text, done: 0, total, stopping };
    const { chunk, everyMs } = paceOf(rate);
    let pageToken = "";
    let done = 0;
    let failure = "";
    do {
      const token = pageToken;
      // By the ids of a page at a time: what dies again is behind the page already.
      const answer = await shell.act(async ({ requestId, options }) => {
        const page = await client.listJobs(
          {
            filterText: `fingerprint:${fingerprint} ${writeTerm("kind", kind)}`,
            order: JobOrder.OLDEST_FIRST,
            pageSize: chunk,
            pageToken: token,
          },
          options,
        );
        const jobIds = page.jobs.map(({ jobId }) => jobId);
        if (jobIds.length === 0) return { next: "", done: 0, failure: "" };
        const acted = await client.actOnJobs(
          {
            action: JobAction.RETRY,
            jobs: { case: "ids", value: create(JobIdsSchema, { jobIds }) },
            reason,
            requestId,
          },
          options,
        );
        return { next: page.nextPageToken, done: acted.done, failure: acted.failures[0]?.message ?? "" };
      });
      if (answer === undefined) {
        failure = "stopped by an error";
        break;
      }
      done += answer.done;
      failure ||= answer.failure;
      pageToken = answer.next;
      running = { ...running, done };
      shell.changed();
      if (pageToken !== "") await wait(everyMs, stopping.signal);
    } while (pageToken !== "" && !stopping.signal.aborted && done < total);
    running = undefined;
    const left = pageToken === "" ? "" : `, of ${total}`;
    shell.say({
      text: `retried ${showCounted(done, "job")}${left}${failure === "" ? "" : `: ${failure}`}`,
      kind: failure === "" ? "done" : "warning",
    });
    shell.restart();
  };

  const ask = (group: DeadLetterGroup, text: string): void => {
    const { fingerprint, kind } = group;
    const command = `dlq retry --group ${fingerprint}`;
    const reading = readRate(text);
    if (reading.kind === "wrong") {
      return askJobs(
        shell,
        JobAction.RETRY,
        { kind: "filter", filter: `fingerprint:${fingerprint} ${writeTerm("kind", kind)}` },
        { what: `dead letters of ${kind} with this error`, command, after: shell.restart },
      );
    }
    shell.open((close) =>
      confirmOverlay(
        {
          title: `Retry dead letters of ${kind} with this error, ${text}?`,
          lines: [
            "They run again, with their attempts counted from 0.",
            "The console sends them one after the other: leaving it, or X, stops it, and the rest stays dead.",
          ],
          verb: "Retry them",
          check: async (signal) => {
            const counted = await client.actOnJobs(
              {
                action: JobAction.RETRY,
                jobs: { case: "filter", value: `fingerprint:${fingerprint} ${writeTerm("kind", kind)}` },
                dryRun: true,
              },
              { signal, timeoutMs: 30_000 },
            );
            const all = (counted.matched?.states ?? []).reduce((sum, { count }) => sum + count, 0n);
            const count = Math.max(Number(all), counted.done);
            return {
              count,
              lines: [`${showCounted(count, "job")}, counted by the server.`],
              typed: String(count),
            };
          },
          command: (reason, checked) =>
            commandLine(command, ["--rate", text], ["--reason", reason], ["--confirm", checked?.typed ?? ""]),
          act: (reason, checked) => void begin(group, reading.value, text, reason, checked?.count ?? 0),
        },
        () => shell.changed(),
        close,
      ),
    );
  };

  return {
    open: (group) =>
      shell.open((close) =>
        paletteOverlay(
          {
            id: "rate",
            title: `Retry ${showCounted(group.count, "dead letter")}`,
            choices: [
              { label: "all at once", about: "as fast as workers take them", run: () => ask(group, "") },
              ...rates.map((rate) => ({
                label: `at ${rate}`,
                about: "while this console runs",
                run: () => ask(group, rate),
              })),
            ],
            isMenu: true,
          },
          close,
        ),
      ),
    stop: () => running?.stopping.abort(),
    running: () => running,
  };
}

/** How many at a time, and the time between: about a second, or what one takes. */
export function paceOf({ jobs, periodMs }: Rate): { readonly chunk: number; readonly everyMs: number } {
  const chunk = Math.min(1_000, Math.max(1, Math.floor((jobs * 1_000) / periodMs)));
  return { chunk, everyMs: (chunk * periodMs) / jobs };
}
