import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  GetStatusResponseSchema,
  type Status,
  StatusService,
  WatchStatusResponseSchema,
} from "@muster/client/v1/status_service";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { durationOption } from "../input/options.ts";
import { durationFromMs } from "../input/values.ts";
import type { Output } from "../output/output.ts";
import { jobLooks } from "../output/states.ts";
import { type Cell, layFacts } from "../output/table.ts";
import { durationToMs, showAge, showClock, showCount, showCounted, showDuration } from "../output/time.ts";
import { followStream } from "../stream/reconnect.ts";
import { reconnecting } from "./job-watch.ts";

interface StatusOptions {
  readonly watch?: boolean;
  readonly detail?: boolean;
  readonly interval?: number;
}

/** Registers `muster status`. */
export function registerStatus(cli: Cli): void {
  cli.program
    .command("status")
    .description(
      "Show the whole at a glance: coordinators, workers, jobs by state, flow, pull requests by project.",
    )
    .examples(
      "muster status",
      "muster status --watch",
      "muster status --detail --json",
      "muster status --watch -o jsonl",
    )
    .option("-w, --watch", "go on: a line each second (jsonl: the whole status)")
    .option("--detail", "in JSON: the workers and the running jobs, too")
    .option("--interval <duration>", "time between two lines of --watch, 200ms to 1m (1s)", durationOption)
    .action(
      cli.action((call, options: StatusOptions) =>
        options.watch === true ? watchStatus(call, options) : printStatus(call, options),
      ),
    );
}

/** Streams the status until the user ends it. Answers with the exit code. */
export async function watchStatus(call: Call, options: StatusOptions): Promise<number> {
  const client = call.client(StatusService);
  const request = { detail: options.detail === true, interval: durationFromMs(options.interval ?? 1000) };
  const open = (signal: AbortSignal) => client.watchStatus(request, { signal });
  for await (const response of followStream(open, { ...reconnecting(call), isComplete: () => false })) {
    call.output.printOne({
      schema: WatchStatusResponseSchema,
      message: response,
      text: () => (response.status === undefined ? [] : [statusLine(response.status)]),
    });
  }
  return exitCodes.interrupted;
}

/** One page about the whole, for people. */
export function statusPage(status: Status, output: Output): string[] {
  const { workers, flow } = status;
  const [first] = status.coordinators;
  const versions = [...new Set(status.coordinators.map(({ version }) => version))].join(", ");
  const nowMs = status.time === undefined ? 0 : timestampMs(status.time);
  const facts: [string, Cell | undefined][] = [
    ["org", status.org === "" ? status.orgId : status.org],
    [
      "coordinators",
      `${status.coordinators.length} (version ${versions || "-"}, up ${showAge(first?.startTime, nowMs)})`,
    ],
    [
      "database",
      status.databaseTime === undefined
        ? undefined
        : `answers in ${showDuration(durationToMs(status.databaseTime))}`,
    ],
    [
      "workers",
      workers === undefined
        ? "0 online"
        : `${showCount(workers.online)} online (${workers.busy} busy, ${workers.idle} idle), ${workers.draining} draining, ${workers.stale} stale, ${workers.offline} offline`,
    ],
    [
      "capacity",
      workers === undefined
        ? undefined
        : `${showCount(workers.slotsUsed)}/${showCount(workers.slots)} slots, ${showCount(workers.pointsUsed)}/${showCount(workers.points)} points`,
    ],
    ["jobs", jobCounts(status) || "none"],
    [
      "flow",
      flow === undefined
        ? undefined
        : `${showCount(flow.submittedLastMinute)} submitted, ${showCount(flow.succeededLastMinute)} succeeded in the last minute`,
    ],
    [
      "in all",
      flow === undefined
        ? undefined
        : `${showCount(flow.submitted)} submitted, ${showCount(flow.succeeded)} succeeded, ${showCount(flow.cancelled)} cancelled, ${showCount(flow.dead)} dead`,
    ],
    ...status.projects.map((one): [string, Cell] => [
      "project",
      `${one.project}: ${one.openPrs}${one.maxOpenPrs === undefined ? "" : ` of ${one.maxOpenPrs}`} pull requests open`,
    ]),
  ];
  return layFacts(facts, output.layout);
}

async function printStatus(call: Call, options: StatusOptions): Promise<number> {
  const response = await call
    .client(StatusService)
    .getStatus({ detail: options.detail === true }, call.once());
  const message = create(GetStatusResponseSchema, response);
  call.output.print({
    schema: GetStatusResponseSchema,
    message,
    text: () => (response.status === undefined ? [] : statusPage(response.status, call.output)),
  });
  return exitCodes.done;
}

function statusLine(status: Status): string {
  const { workers, flow } = status;
  return [
    showClock(status.time === undefined ? Number.NaN : timestampMs(status.time)),
    jobCounts(status) || "no jobs",
    `${showCounted(workers?.online ?? 0, "worker")}, ${showCount(workers?.slotsUsed ?? 0n)}/${showCount(workers?.slots ?? 0n)} slots`,
    `${showCount(flow?.succeededLastMinute ?? 0n)}/min`,
  ].join("  ");
}

function jobCounts(status: Status): string {
  return status.jobs
    .filter(({ count }) => count > 0n)
    .map(({ state, count }) => `${jobLooks[state].word} ${showCount(count)}`)
    .join(", ");
}
