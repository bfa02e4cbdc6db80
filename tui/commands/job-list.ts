import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Job, JobState } from "@muster/client/v1/job";
import { type JobFilterSchema, JobService, ListJobsResponseSchema } from "@muster/client/v1/job_service";
import {
  type WatchJobsResponse,
  WatchJobsResponseSchema,
  WatchService,
} from "@muster/client/v1/watch_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { listOption, pairOption } from "../input/options.ts";
import { didYouMean } from "../input/suggest.ts";
import { sanitize } from "../output/sanitize.ts";
import { lookOfJob } from "../output/states.ts";
import { showClock } from "../output/time.ts";
import { watchJobs } from "../stream/watch-jobs.ts";
import { jobLine, jobTable } from "./job-show.ts";
import { reconnecting } from "./job-watch.ts";
import { collectPages, notePage, type PageOptions, type Total, withPages } from "./pages.ts";

interface ListOptions extends PageOptions {
  readonly filter?: string;
  readonly watch?: boolean;
  readonly state?: readonly string[];
  readonly kind?: string;
  readonly queue?: string;
  readonly batch?: string;
  readonly project?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly worker?: string;
  readonly parent?: string;
  readonly runnableBy?: string;
}

/** Registers `muster job list`. */
export function registerJobList(job: MusterCommand, cli: Cli): void {
  withPages(job.command("list").alias("ls"))
    .description("List jobs, newest first. All conditions must hold.")
    .examples(
      "muster job list",
      "muster job list --filter 'state:running skill:gpu age>10m'",
      "muster job list --state running,offered --kind shell.run",
      "muster job list --state running --watch",
      "muster job list --label team=web --all --json",
      "muster job list --runnable-by gpu-1",
      "muster job list --state dead -o name | xargs -n 20 muster job retry",
    )
    .option("--filter <filter>", "terms as in `muster help filter`")
    .option("-w, --watch", "go on: show what becomes of the list, until Ctrl-C")
    .option("--state <state>", "only in this state; repeat or use commas for more", listOption)
    .option("--kind <kind>", "only this kind")
    .option("--queue <name>", "only this queue")
    .option("--batch <batch>", "only jobs of this batch")
    .option("--project <name>", "only this project")
    .option("--label <key=value>", "only with this label; repeat for more", pairOption)
    .option("--worker <worker>", "only what this worker holds now (its id, wrk_...)")
    .option("--parent <job>", "only children of this job")
    .option(
      "--runnable-by <worker>",
      "only ready jobs that this worker (name or id) could run if it were free, the first to be offered first",
    )
    .action(
      cli.action((call, options: ListOptions) =>
        options.watch === true ? printWatchedJobs(call, options) : printJobs(call, options),
      ),
    );
}

async function printJobs(call: Call, options: ListOptions): Promise<number> {
  const filter = {
    states: (options.state ?? []).map(readState),
    kind: options.kind ?? "",
    queue: options.queue ?? "",
    batchId: options.batch ?? "",
    project: options.project ?? "",
    labels: { ...options.label },
    workerId: options.worker ?? "",
    parentJobId: options.parent ?? "",
    runnableBy: options.runnableBy ?? "",
  };
  const filterText = options.filter ?? "";
  const page = await collectPages(options, async (pageSize, pageToken) => {
    const request = { filter, filterText, pageSize, pageToken };
    const response = await call.client(JobService).listJobs(request, call.once());
    return { rows: response.jobs, nextPageToken: response.nextPageToken };
  });
  call.output.print({
    schema: ListJobsResponseSchema,
    message: create(ListJobsResponseSchema, { jobs: page.rows, nextPageToken: page.nextPageToken }),
    text: () => jobTable(page.rows, call.output, call.surroundings.now()),
    names: () => page.rows.map((one) => one.jobId),
  });
  const isCounted = page.nextPageToken !== "" && call.output.format === "text";
  notePage(call.output, page, "jobs", isCounted ? await countJobs(call, filter, filterText) : undefined);
  return exitCodes.done;
}

// Counts are by state, whatever states were asked for; what a filter's own words say of states is not taken apart here.
async function countJobs(
  call: Call,
  filter: MessageInitShape<typeof JobFilterSchema>,
  filterText: string,
): Promise<Total | undefined> {
  if (filter.runnableBy || /(^|[\s-])state:/.test(filterText)) return undefined;
  const request = { filter, filterText, pageSize: 1, counted: true };
  const { counts } = await call.client(JobService).listJobs(request, call.once());
  if (counts === undefined || counts.states.length === 0) return undefined;
  const states = filter.states ?? [];
  const wanted = counts.states.filter(({ state }) => states.length === 0 || states.includes(state));
  return { count: wanted.reduce((sum, { count }) => sum + count, 0n), isAtLeast: counts.atLeast };
}

/** Rows that the coordinator watches at most. */
const mostWatched = 250;

async function printWatchedJobs(call: Call, options: ListOptions): Promise<number> {
  const { output } = call;
  if (options.all === true || options.pageToken !== undefined || options.runnableBy !== undefined) {
    throw usageError(
      "--watch goes without --all, --page-token and --runnable-by",
      `Watch the first rows: --watch --limit ${mostWatched}, narrowed by --filter.`,
    );
  }
  const pageSize = options.limit ?? 30;
  if (pageSize > mostWatched) {
    throw usageError(`--watch shows at most ${mostWatched} rows`, "Narrow the list by --filter.");
  }
  const clients = { jobs: call.client(JobService), watch: call.client(WatchService) };
  const watching = {
    ...reconnecting(call),
    filterText: filterTextOf(options),
    pageSize,
    onPolling: (why: string) =>
      output.note(`Streams do not pass here (${why}): asking again and again instead.`),
  };
  const rows: Job[] = [];
  for await (const message of watchJobs(clients, watching)) {
    const { body } = message;
    if (body.case === "reset") output.note(`The list is read anew (${body.value.cause}).`);
    if (body.case === "snapshotBegin") rows.length = 0;
    if (body.case === "rows") rows.push(...body.value.jobs);
    if (body.case === "snapshotEnd" && output.format === "text") {
      for (const line of jobTable(rows, output, call.surroundings.now())) output.data(line);
      if (rows.length === 0) output.note("No jobs yet.");
    }
    for (const change of changesOf(message)) {
      output.printOne({
        schema: WatchJobsResponseSchema,
        message: change,
        text: () => changeLines(call, change),
        names: () => jobsOf(change).map((one) => one.jobId),
      });
    }
  }
  return call.signal.aborted ? exitCodes.interrupted : exitCodes.done;
}

// One message a change.
function changesOf({ body }: WatchJobsResponse): WatchJobsResponse[] {
  switch (body.case) {
    case "rows":
      return body.value.jobs.map((job) =>
        create(WatchJobsResponseSchema, { body: { case: "rows", value: { jobs: [job] } } }),
      );
    case "delta": {
      const { revision, jobs, leftJobIds } = body.value;
      const delta = (value: { jobs?: Job[]; leftJobIds?: string[] }) =>
        create(WatchJobsResponseSchema, { body: { case: "delta", value: { revision, ...value } } });
      return [
        ...leftJobIds.map((id) => delta({ leftJobIds: [id] })),
        ...jobs.map((job) => delta({ jobs: [job] })),
      ];
    }
    default:
      return [];
  }
}

function jobsOf({ body }: WatchJobsResponse): readonly Job[] {
  return body.case === "rows" || body.case === "delta" ? body.value.jobs : [];
}

// The rows of a snapshot are a table.
function changeLines(call: Call, { body }: WatchJobsResponse): string[] {
  if (body.case !== "delta") return [];
  const { paint, isTty, glyphs } = call.output;
  const at = paint("dim", showClock(call.surroundings.now()));
  return [
    ...body.value.leftJobIds.map((id) => `${at} ${sanitize(id)} left the list`),
    ...body.value.jobs.map((job) => {
      const look = lookOfJob(job);
      const glyph = isTty ? `${glyphs === "ascii" ? look.ascii : look.glyph} ` : "";
      return `${at} ${sanitize(job.jobId)} ${paint(look.style, `${glyph}${jobLine(job)}`)}`;
    }),
  ];
}

// The options as terms of a filter, before those that were written.
function filterTextOf(options: ListOptions): string {
  const states = (options.state ?? []).map((word) => JobState[readState(word)]);
  const terms = [
    states.length === 0 ? "" : `state:${states.join(",").toLowerCase()}`,
    ...(["kind", "queue", "project"] as const).map((key) => term(key, options[key])),
    term("batch", options.batch),
    term("worker", options.worker),
    term("parent", options.parent),
    ...Object.entries(options.label ?? {}).map(([key, value]) => term("label", `${key}=${value}`)),
    options.filter ?? "",
  ];
  return terms.filter((one) => one !== "").join(" ");
}

function term(key: string, value: string | undefined): string {
  return value === undefined ? "" : `${key}:"${value.replace(/["\\]/g, "\\$&")}"`;
}

function readState(word: string): JobState {
  const states = Object.entries(JobState).filter(([name]) => /^[A-Z]+$/.test(name) && name !== "UNSPECIFIED");
  const found = states.find(([name]) => name === word.toUpperCase());
  if (found !== undefined && typeof found[1] === "number") return found[1];
  const names = states.map(([name]) => name.toLowerCase());
  throw usageError(
    `--state has no state ${JSON.stringify(word)}`,
    `${didYouMean(word.toLowerCase(), names) ?? ""} States are: ${names.join(", ")}.`.trim(),
  );
}
