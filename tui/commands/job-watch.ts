import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type AttemptEvent, AttemptEventSchema, LogStream } from "@muster/client/v1/event";
import type { Job } from "@muster/client/v1/job";
import { JobService, type WatchJobResponse, WatchJobResponseSchema } from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import { exitCodes } from "../exit-codes.ts";
import { textOfPayload } from "../input/payload.ts";
import { sanitize, sanitizeLines } from "../output/sanitize.ts";
import { isTerminal, lookOfJob } from "../output/states.ts";
import { showClock, showDuration } from "../output/time.ts";
import type { ReconnectOptions } from "../stream/reconnect.ts";
import { watchJob } from "../stream/watch-job.ts";
import { jobLine, progressText } from "./job-show.ts";
import { failedJob } from "./job-wait.ts";

/** What `job watch` shows, and how it ends. */
export interface WatchOptions {
  readonly logs?: boolean;
  /** Exit code 9 when the run did not succeed. */
  readonly exitStatus?: boolean;
}

/** What `job logs` shows. */
export interface LogsOptions {
  readonly follow?: boolean;
  readonly timestamps?: boolean;
  readonly attempt?: number;
}

/** Prints what becomes of a job until its run has ended. Answers with the exit code. */
export async function printWatch(call: Call, jobId: string, options: WatchOptions): Promise<number> {
  const stream = watchJob(call.client(JobService), jobId, { ...reconnecting(call), events: true });
  let last: Job | undefined;
  let printed = "";
  for await (const response of stream) {
    if (response.body.case === "job") last = response.body.value;
    if (response.body.case === "alive") continue;
    const line = watchLine(response, options, call);
    // A job comes again after each connection; only what is new is said.
    const isNew = response.body.case !== "job" || line !== printed;
    if (response.body.case === "job") printed = line;
    if (call.output.format === "text" ? !isNew || line === "" : false) continue;
    call.output.printOne({
      schema: WatchJobResponseSchema,
      message: response,
      text: () => [response.body.case === "job" ? `${stamp(call.surroundings.now(), call)} ${line}` : line],
    });
  }
  if (call.signal.aborted) return exitCodes.interrupted;
  if (options.exitStatus === true && (last === undefined || lookOfJob(last).word !== "SUCCEEDED")) {
    throw failedJob(last);
  }
  return exitCodes.done;
}

/** Prints what the attempts of a job logged; with --follow until its run has ended. */
export async function printLogs(call: Call, jobId: string, options: LogsOptions): Promise<number> {
  const writer = makeLogWriter(call, options);
  const jobs = call.client(JobService);
  if (options.follow === true) {
    for await (const { body } of watchJob(jobs, jobId, { ...reconnecting(call), events: true })) {
      if (body.case === "event") writer(body.value);
      if (body.case === "job" && isTerminal(body.value.state))
        call.output.note(`Job ${jobId}: ${jobLine(body.value)}`);
    }
    return call.signal.aborted ? exitCodes.interrupted : exitCodes.done;
  }
  let after: { attempt: number; sequence: bigint } | undefined;
  do {
    const request = {
      jobId,
      ...(after === undefined ? {} : { after: { attempt: after.attempt, sequence: after.sequence } }),
    };
    const page = await jobs.listJobEvents(request, call.once());
    for (const event of page.events) writer(event);
    after = page.events.length === 0 ? undefined : page.next;
  } while (after !== undefined);
  return exitCodes.done;
}

/** Says on stderr when a stream is lost and when it is back. */
export function reconnecting(call: Call): Pick<ReconnectOptions, "signal" | "onLost" | "onBack"> {
  return {
    signal: call.signal,
    onLost: (error, delayMs, attempt) => {
      if (attempt > 1) return;
      call.output.note(
        `Lost the coordinator (${error.rawMessage}); trying again in ${showDuration(delayMs)}.`,
      );
    },
    onBack: () => call.output.note("Connected again."),
  };
}

function watchLine({ body }: WatchJobResponse, options: WatchOptions, call: Call): string {
  if (body.case === "job") {
    const look = lookOfJob(body.value);
    const progress = sanitize(progressText(body.value));
    const glyph = call.output.isTty ? `${call.output.glyphs === "ascii" ? look.ascii : look.glyph} ` : "";
    const line = call.output.paint(look.style, `${glyph}${jobLine(body.value)}`);
    return progress === "" || isTerminal(body.value.state) ? line : `${line}  ${progress}`;
  }
  if (body.case !== "event" || (body.value.body.case === "log" && options.logs !== true)) return "";
  return eventLines(body.value, call, true).join("\n");
}

function makeLogWriter(call: Call, options: LogsOptions): (event: AttemptEvent) => void {
  const { output } = call;
  let attempt = 0;
  return (event) => {
    if (options.attempt !== undefined && event.attempt !== options.attempt) return;
    if (event.attempt !== attempt && attempt !== 0) output.note(`--- attempt ${event.attempt} ---`);
    attempt = event.attempt;
    if (output.format !== "text") {
      output.printOne({ schema: AttemptEventSchema, message: event, text: () => [] });
      return;
    }
    if (event.body.case === "gap") output.note(eventLines(event, call, false).join("\n"));
    else if (event.body.case === "log") {
      for (const line of eventLines(event, call, options.timestamps === true)) output.data(line);
    }
  };
}

function eventLines(event: AttemptEvent, call: Call, isStamped: boolean): string[] {
  const { body } = event;
  const at = event.time === undefined ? call.surroundings.now() : timestampMs(event.time);
  const stamped = (source: string, text: string): string[] => {
    const lines = sanitizeLines(text.replace(/\r?\n$/, "")).split("\n");
    return isStamped
      ? lines.map((line) => `${stamp(at, call)} ${call.output.paint("dim", source)} ${line}`)
      : lines;
  };
  switch (body.case) {
    case "log":
      return stamped(sourceWord(body.value.stream, body.value.level), body.value.text);
    case "partial":
      return stamped("part", textOfPayload(body.value) ?? "null");
    case "message":
      return stamped("says", body.value);
    case "gap": {
      const { fromSequence, toSequence, cause } = body.value;
      return stamped("gap ", `(records ${fromSequence} to ${toSequence} are missing: ${cause})`);
    }
    case undefined:
      return [];
  }
}

function sourceWord(stream: LogStream, level: string): string {
  switch (stream) {
    case LogStream.STDOUT:
      return "out ";
    case LogStream.STDERR:
      return "err ";
    case LogStream.SYSTEM:
      return "sys ";
    case LogStream.LOG:
    case LogStream.UNSPECIFIED:
      return sanitize(level || "log")
        .slice(0, 5)
        .padEnd(4);
  }
}

function stamp(ms: number, call: Call): string {
  return call.output.paint("dim", showClock(ms));
}
