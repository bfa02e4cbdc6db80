import { setTimeout as delay } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { type Job, JobState } from "@muster/client/v1/job";
import { JobService, type WaitJobResponse, WaitJobResponseSchema } from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { textOfPayload } from "../input/payload.ts";
import { durationFromMs } from "../input/values.ts";
import { sanitizeLines } from "../output/sanitize.ts";
import { jobLooks } from "../output/states.ts";
import { showDuration } from "../output/time.ts";
import { isPassing } from "../stream/reconnect.ts";
import { newsOf, whyWaiting } from "./job-waiting.ts";

/** Answers of a call that waits at the server for a while at a time. */
export interface Waiting {
  readonly done: boolean;
}

/**
 * Waits until a run has ended; `wasReached` says that the coordinator has answered before. Prints the result and answers with the exit code, 0 if it succeeded. Throws with
 * exit code 9 if it did not, 7 when --timeout was up first.
 */
export async function waitForJob(call: Call, jobId: string, wasReached = false): Promise<number> {
  const jobs = call.client(JobService);
  let said: string | undefined;
  const sayWhy = async ({ job }: WaitJobResponse): Promise<void> => {
    const why = job === undefined ? undefined : await whyWaiting(call, job);
    const news = why === undefined ? undefined : newsOf(why);
    if (why !== undefined && news !== said) call.output.note(why);
    said = news;
  };
  const response = await waitUntilDone<WaitJobResponse>(
    call,
    `job ${jobId}`,
    wasReached,
    (timeoutMs, options) => jobs.waitJob({ jobId, timeout: durationFromMs(timeoutMs) }, options),
    sayWhy,
  );
  return printEnd(call, response);
}

/** Prints how a run ended, and answers with the exit code; throws with exit code 9 if it did not succeed. */
export function printEnd(call: Call, response: WaitJobResponse): number {
  const { job } = response;
  const text = (): string[] => {
    const result = job?.state === JobState.SUCCEEDED ? textOfPayload(job.result) : undefined;
    return result === undefined ? [] : [sanitizeLines(result)];
  };
  call.output.print({
    schema: WaitJobResponseSchema,
    message: response,
    text,
    names: () => [job?.jobId ?? ""],
  });
  if (job?.state === JobState.SUCCEEDED) return exitCodes.done;
  throw failedJob(call, job);
}

/** The error of a run that ended without success. */
export function failedJob(call: Call, job: Job | undefined): CliError {
  const word = job === undefined ? "gone" : jobLooks[job.state].word;
  const id = job?.jobId ?? "";
  const { addressFlag } = call.context();
  const why = job?.error === undefined ? [] : [{ field: job.error.code, message: job.error.message }];
  const reason = job?.reason ? [{ field: "reason", message: job.reason }] : [];
  return new CliError(`job ${id} ended ${word}`, {
    reason: `JOB_${word}`,
    exitCode: exitCodes.jobFailed,
    violations: [...why, ...reason],
    suggestion: `See more with: muster job get ${id}${addressFlag}, or muster job logs ${id}${addressFlag}`,
  });
}

/**
 * Repeats a call that waits up to so many milliseconds at the server, until it is done. Once the coordinator was
 * reached, a lost connection is waited out. Throws with exit code 7 when --timeout is up.
 */
export async function waitUntilDone<Response extends Waiting>(
  call: Call,
  what: string,
  wasReached: boolean,
  wait: (timeoutMs: number, options: { signal: AbortSignal; timeoutMs: number }) => Promise<Response>,
  /** Called when it goes on for longer than one would wait without asking why. */
  still?: (response: Response) => Promise<void>,
): Promise<Response> {
  const { timeout } = call.globals;
  const endMs = timeout === undefined ? Number.POSITIVE_INFINITY : call.surroundings.now() + timeout;
  let lostAttempts = 0;
  let isReached = wasReached;
  let slices = 0;
  for (;;) {
    const leftMs = Math.max(0, endMs - call.surroundings.now());
    // The first answer comes at once: whether it is there at all must not show only after a long wait.
    const sliceMs = isReached ? Math.max(1, Math.min(slices < 8 ? firstSliceMs : longestSliceMs, leftMs)) : 1;
    try {
      const response = await wait(sliceMs, { signal: call.signal, timeoutMs: sliceMs + answerMs });
      if (lostAttempts > 0) call.output.note("Connected again.");
      [isReached, lostAttempts] = [true, 0];
      if (response.done) return response;
      if (slices++ > 0) await still?.(response).catch(() => {});
      if (call.surroundings.now() >= endMs) throw timedOut(what, timeout ?? 0);
    } catch (error) {
      call.signal.throwIfAborted();
      if (error instanceof CliError || !isReached || !isPassing(error)) throw error;
      if (call.surroundings.now() >= endMs) throw timedOut(what, timeout ?? 0, error);
      if (lostAttempts === 0)
        call.output.note(`Lost the coordinator (${ConnectError.from(error).rawMessage}); trying again.`);
      lostAttempts += 1;
      const pauseMs = Math.min(
        30_000,
        500 * 2 ** Math.min(lostAttempts - 1, 10),
        Math.max(0, endMs - call.surroundings.now()),
      );
      await delay(pauseMs, undefined, { signal: call.signal });
    }
  }
}

// At first often enough to say why it waits; then short enough that proxies do not end the call.
const firstSliceMs = 3_000;
const longestSliceMs = 50_000;
const answerMs = 10_000;

/** The error of a wait whose --timeout is up: exit code 7. */
export function timedOut(what: string, timeoutMs: number, cause?: unknown): CliError {
  return new CliError(`${what} has not ended after ${showDuration(timeoutMs)}`, {
    reason: "WAIT_TIMED_OUT",
    exitCode: exitCodes.timedOut,
    suggestion: "It goes on; wait again, longer with --timeout.",
    cause,
  });
}
