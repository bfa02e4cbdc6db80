import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type AttemptEvent, AttemptEventSchema } from "@muster/client/v1/event";
import type { Job } from "@muster/client/v1/job";
import { JobService, type WatchJobResponse, WatchJobResponseSchema } from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import { exitCodes } from "../exit-codes.ts";
import { textOfPayload } from "../input/payload.ts";
import { type LogLine, makeLogLines } from "../output/log-lines.ts";
import { sanitize, sanitizeLines } from "../output/sanitize.ts";
import { isTerminal, lookOfJob } from "../output/states.ts";
import { showClock, showDuration } from "../output/time.ts";
import type { ReconnectOptions } from "../stream/reconnect.ts";
import { watchJob } from "../stream/watch-job.ts";
import { jobLine, progressText } from "./job-show.ts";
import { failedJob, timedOut } from "./job-wait.ts";

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
  const { output } = call;
  const until = untilTimeout(call);
  const watching = { ...reconnecting(call), signal: until.signal, events: true };
  const stream = watchJob(call.client(JobService), jobId, watching);
  const textOf = makeWatchText(call, options);
  let last: Job | undefined;
  for await (const response of stream) {
    if (response.body.case === "job") last = response.body.value;
    if (response.body.case === "alive") continue;
    output.printOne({ schema: WatchJobResponseSchema, message: response, text: () => textOf(response) });
  }
  if (call.signal.aborted) return exitCodes.interrupted;
  until.check(`job ${jobId}`);
  if (options.exitStatus === true && (last === undefined || lookOfJob(last).word !== "SUCCEEDED")) {
    throw failedJob(call, last);
  }
  return exitCodes.done;
}

/** Prints what the attempts of a job logged; with --follow until its run has ended. */
export async function printLogs(call: Call, jobId: string, options: LogsOptions): Promise<number> {
  const { output } = call;
  const writer = makeLogWriter(call, options);
  const jobs = call.client(JobService);
  if (options.follow === true) {
    const until = untilTimeout(call);
    const watching = { ...reconnecting(call), signal: until.signal, events: true };
    for await (const { body } of watchJob(jobs, jobId, watching)) {
      if (body.case === "event") writer.write(body.value);
      if (body.case !== "job" || !isTerminal(body.value.state)) continue;
      writer.end();
      output.note(`Job ${jobId}: ${jobLine(body.value)}`);
    }
    writer.end();
    if (call.signal.aborted) return exitCodes.interrupted;
    until.check(`job ${jobId}`);
    return exitCodes.done;
  }
  let after: { readonly attempt: number; readonly sequence: bigint } | undefined;
  do {
    const cursor = after === undefined ? {} : { after: { attempt: after.attempt, sequence: after.sequence } };
    const page = await jobs.listJobEvents({ jobId, ...cursor }, call.once());
    for (const event of page.events) writer.write(event);
    after = page.events.length === 0 ? undefined : page.next;
  } while (after !== undefined);
  writer.end();
  return exitCodes.done;
}

// --timeout ends a watch too; `check` throws when it did.
function untilTimeout(call: Call): { readonly signal: AbortSignal; check(what: string): void } {
  const { timeout } = call.globals;
  if (timeout === undefined) return { signal: call.signal, check: () => {} };
  const late = AbortSignal.timeout(timeout);
  return {
    signal: AbortSignal.any([call.signal, late]),
    check(what) {
      if (late.aborted) throw timedOut(what, timeout);
    },
  };
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

// The lines of each message: a job comes again after each connection, and only what is new about it is said.
function makeWatchText(call: Call, options: WatchOptions): (response: WatchJobResponse) => string[] {
  const { paint } = call.output;
  const log = makeLogLines();
  let said = "";
  const showLog = (line: LogLine): string =>
    stampedLine(call, line.atMs, line.source, sanitize(tabless(line.text)));
  return ({ body }) => {
    if (body.case === "event" && body.value.body.case === "log") {
      return options.logs === true ? log.push(body.value).map(showLog) : [];
    }
    if (body.case === "event") return eventLines(call, body.value);
    if (body.case !== "job") return [];
    const rest = isTerminal(body.value.state) && options.logs === true ? log.flush().map(showLog) : [];
    const line = changeLine(call, body.value);
    if (line === said) return rest;
    said = line;
    return [...rest, `${paint("dim", showClock(call.surroundings.now()))} ${line}`];
  };
}

function changeLine({ output }: Call, job: Job): string {
  const look = lookOfJob(job);
  const progress = sanitize(progressText(job));
  const glyph = output.isTty ? `${output.glyphs === "ascii" ? look.ascii : look.glyph} ` : "";
  const line = output.paint(look.style, `${glyph}${jobLine(job)}`);
  return progress === "" || isTerminal(job.state) ? line : `${line}  ${progress}`;
}

function makeLogWriter(call: Call, options: LogsOptions) {
  const { output } = call;
  const lines = makeLogLines();
  let attempt = 0;
  const print = (all: readonly LogLine[]): void => {
    for (const { text, source, atMs } of all) {
      const safe = sanitize(tabless(text));
      output.data(options.timestamps === true ? stampedLine(call, atMs, source, safe) : safe);
    }
  };
  const write = (event: AttemptEvent): void => {
    if (options.attempt !== undefined && event.attempt !== options.attempt) return;
    if (output.format !== "text") {
      output.printOne({ schema: AttemptEventSchema, message: event, text: () => [] });
      return;
    }
    if (event.attempt !== attempt && attempt !== 0) {
      print(lines.flush());
      output.note(`--- attempt ${event.attempt} ---`);
    }
    attempt = event.attempt;
    if (event.body.case === "gap") output.note(gapText(event.body.value));
    else print(lines.push(event));
  };
  return { write, end: () => print(lines.flush()) };
}

// What an attempt said besides its log.
function eventLines(call: Call, event: AttemptEvent): string[] {
  const atMs = event.time === undefined ? undefined : timestampMs(event.time);
  const stamped = (source: string, text: string): string[] =>
    sanitizeLines(text)
      .split("\n")
      .map((line) => stampedLine(call, atMs, source, line));
  switch (event.body.case) {
    case "partial":
      return stamped("part", textOfPayload(event.body.value) ?? "null");
    case "message":
      return stamped("says", event.body.value);
    case "event": {
      const { name, body } = event.body.value;
      return stamped("event", `${name} ${textOfPayload(body) ?? "null"}`);
    }
    case "gap":
      return stamped("gap", gapText(event.body.value));
    case "log":
    case undefined:
      return [];
  }
}

function gapText(gap: {
  readonly fromSequence: bigint;
  readonly toSequence: bigint;
  readonly cause: string;
}): string {
  return `(records ${gap.fromSequence} to ${gap.toSequence} are missing: ${gap.cause})`;
}

function stampedLine(call: Call, atMs: number | undefined, source: string, safeText: string): string {
  const { paint } = call.output;
  const word = sanitize(source).slice(0, 5).padEnd(4);
  return `${paint("dim", showClock(atMs ?? call.surroundings.now()))} ${paint("dim", word)} ${safeText}`;
}

function tabless(text: string): string {
  return text.replaceAll("\t", "    ");
}
