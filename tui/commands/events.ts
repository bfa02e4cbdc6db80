import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type Event,
  EventSchema,
  EventService,
  type WatchEventsResponse,
} from "@muster/client/v1/event_service";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { listOption, pairOption, wholeOption } from "../input/options.ts";
import { pastTimeOption } from "../input/past-time.ts";
import { timeFromMs } from "../input/values.ts";
import { sanitize } from "../output/sanitize.ts";
import { showTime } from "../output/time.ts";
import { followStream } from "../stream/reconnect.ts";
import { reconnecting } from "./job-watch.ts";

interface EventOptions {
  readonly follow?: boolean;
  /** In milliseconds since 1970. */
  readonly since?: number;
  readonly revision?: string;
  readonly type?: readonly string[];
  readonly queue?: string;
  readonly kind?: string;
  readonly project?: string;
  readonly job?: string;
  readonly batch?: string;
  readonly worker?: string;
  readonly session?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly limit?: number;
}

/** Registers `muster events`. */
export function registerEvents(cli: Cli): void {
  cli.program
    .command("events")
    .alias("event")
    .description("See what happens, event by event, as other services are told.")
    .examples(
      "muster events --follow",
      "muster events --since 30m --type job.dead --type job.cancelled",
      "muster events --follow --type 'job.*' --project acme/web -o jsonl",
      "muster events --revision 1.7342.1.0 -o jsonl",
    )
    .option("-f, --follow", "go on with each new event, until you end it")
    .option(
      "--since <time>",
      "begin there: 10m, 14:02; what is older than an hour is gone",
      pastTimeOption(cli.surroundings.now),
    )
    .option("--revision <revision>", "begin after this event: its id, or where an earlier answer ended")
    .option("--type <type>", "only this type, e.g. job.dead, or job.* (repeatable)", listOption)
    .option("--queue <name>", "only of this queue")
    .option("--kind <kind>", "only of this kind")
    .option("--project <name>", "only of this project")
    .option("--job <job>", "only of this job")
    .option("--batch <batch>", "only of this batch")
    .option("--worker <worker>", "only of this worker: its id")
    .option("--session <session>", "only of this session")
    .option("--label <key=value>", "only of jobs with this label (repeatable)", pairOption)
    .option("-n, --limit <number>", "end after so many", wholeOption(1, 1_000_000))
    .action(cli.action((call, options: EventOptions) => printEvents(call, options)));
}

/** Without a place to begin, what happened so long ago is told. */
const standardSinceMs = 600_000;

async function printEvents(call: Call, options: EventOptions): Promise<number> {
  const { follow = false, limit = Number.POSITIVE_INFINITY } = options;
  let printed = 0;
  for await (const page of follow ? following(call, options) : reading(call, options)) {
    if (page.resetCause !== "") call.output.warn(`${resetTexts[page.resetCause] ?? page.resetCause}`);
    for (const event of page.events) {
      call.output.printOne({
        schema: EventSchema,
        message: event,
        text: () => [eventLine(event)],
        names: () => [event.eventId],
      });
      printed += 1;
      if (printed >= limit) return exitCodes.done;
    }
  }
  return follow ? exitCodes.interrupted : exitCodes.done;
}

const resetTexts: Readonly<Record<string, string>> = {
  "too-old": "events were missed: that revision is older than what is kept (1 h)",
  "other-epoch": "events may be missing: the database lost commits, or was restored",
};

type Page = Pick<WatchEventsResponse, "resetCause" | "events" | "revision">;

/** How long a stream may take for its first message before it is asked for by the unary twin. */
const firstMs = 10_000;

async function* following(call: Call, options: EventOptions): AsyncGenerator<Page> {
  const filter = filterOf(options);
  let { revision = "" } = options;
  const since = revision === "" ? startOf(options.since) : {};
  const events = call.client(EventService);
  let hasCome = false;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), firstMs);
  const signal = AbortSignal.any([call.signal, late.signal]);
  const open = (signal: AbortSignal) => events.watchEvents({ filter, revision, ...since }, { signal });
  try {
    for await (const page of followStream(open, { ...reconnecting(call), signal, isComplete: () => false })) {
      clearTimeout(timer);
      hasCome = true;
      revision = page.revision;
      yield page;
    }
  } catch (error) {
    if (hasCome || ConnectError.from(error).code !== Code.Unimplemented) throw error;
  } finally {
    clearTimeout(timer);
  }
  if (hasCome || call.signal.aborted) return;
  call.output.note("Streams do not pass here; asking again and again.");
  async function* poll(signal: AbortSignal): AsyncGenerator<Page> {
    for (;;) {
      const page = await events.readEvents(
        { filter, revision, ...since, wait: durationFromMs(20_000), pageSize: 500 },
        { signal, timeoutMs: 30_000 },
      );
      revision = page.revision;
      yield page;
      // A coordinator that does not wait is not to be asked without end.
      if (page.events.length === 0) await delay(200, undefined, { signal });
    }
  }
  yield* followStream(poll, { ...reconnecting(call), isComplete: () => false });
}

async function* reading(call: Call, options: EventOptions): AsyncGenerator<Page> {
  const filter = filterOf(options);
  const since = startOf(options.since ?? call.surroundings.now() - standardSinceMs);
  let { revision = "" } = options;
  for (;;) {
    const page = await call
      .client(EventService)
      .readEvents({ filter, revision, ...(revision === "" ? since : {}), pageSize: 500 }, call.once());
    yield page;
    if (!page.hasMore) return;
    revision = page.revision;
  }
}

function startOf(sinceMs: number | undefined) {
  return sinceMs === undefined ? {} : { since: timeFromMs(sinceMs) };
}

function filterOf(options: EventOptions) {
  const { queue = "", kind = "", project = "", job = "", batch = "", worker = "", session = "" } = options;
  return {
    ...{ queue, kind, project, jobId: job, batchId: batch, workerId: worker, sessionId: session },
    types: [...(options.type ?? [])],
    labels: { ...options.label },
  };
}

/** One line: when, what, about what, and what is known besides. */
function eventLine(event: Event): string {
  const { type, jobId, attempt, kind, queue, project, workerId, data } = event;
  const facts = { attempt: attempt > 0 ? attempt : "", kind, queue, project, worker: workerId, ...data };
  const shown = Object.entries(facts)
    .filter(([, value]) => value !== "" && value !== null)
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
  return [showTime(event.time), type, jobId || "-", shown].map(sanitize).join("\t");
}
