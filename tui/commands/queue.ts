import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  GetQueueResponseSchema,
  ListQueuesResponseSchema,
  PauseQueueResponseSchema,
  type QueueLimits,
  type QueueLimitsSchema,
  QueueService,
  QueueType,
  ResumeQueueResponseSchema,
  SetQueueLimitsResponseSchema,
} from "@muster/client/v1/queue_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { durationOption, rateOption, timeOption, wholeOrNoneOption } from "../input/options.ts";
import { durationFromMs, type Rate, timeFromMs } from "../input/values.ts";
import { sanitize } from "../output/sanitize.ts";
import { registerKindNew } from "./kind-new.ts";
import { kindFacts, kindTable } from "./kind-show.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { queueFacts, queueTable, showPause } from "./queue-show.ts";
import { forEachId } from "./several.ts";

/** What the commands of a noun are about. */
interface Noun {
  readonly type: QueueType;
  readonly noun: "queue" | "kind" | "pool";
  readonly plural: string;
  /** A name for examples. */
  readonly name: string;
  readonly description: string;
}

const nouns: readonly Noun[] = [
  {
    type: QueueType.QUEUE,
    noun: "queue",
    plural: "queues",
    name: "renders",
    description: "Pause, limit and look at queues: every job is in one.",
  },
  {
    type: QueueType.KIND,
    noun: "kind",
    plural: "kinds",
    name: "agent.prompt",
    description: "Pause and limit kinds of jobs, whatever queue they are in.",
  },
  {
    type: QueueType.POOL,
    noun: "pool",
    plural: "pools",
    name: "acme-api",
    description: "Pause and limit pools: quotas of providers that jobs draw on.",
  },
];

interface SetOptions {
  readonly running?: number | "none";
  readonly rate?: Rate | "none";
  readonly reason?: string;
}

interface PauseOptions {
  readonly until?: number;
  readonly for?: number;
  readonly reason?: string;
}

/** Registers `muster queue`, `muster kind` and `muster pool`. */
export function registerQueues(cli: Cli): void {
  for (const noun of nouns) {
    const command = cli.program.command(noun.noun).alias(noun.plural).description(noun.description);
    registerLooks(command, cli, noun);
    registerChanges(command, cli, noun);
    if (noun.type === QueueType.KIND) registerKindNew(command, cli);
  }
}

function registerLooks(command: MusterCommand, cli: Cli, { type, noun, plural, name }: Noun): void {
  const isKind = type === QueueType.KIND;
  withPages(command.command("list").alias("ls"))
    .description(
      isKind
        ? "List kinds by name: built in, registered by workers or seen in jobs; who serves them, how they went."
        : `List ${plural} by name, with their limits${noun === "queue" ? " and counts" : ""}.`,
    )
    .examples(`muster ${noun} list`, `muster ${noun} list -o json`)
    .action(
      cli.action(async (call, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const response = await call
            .client(QueueService)
            .listQueues({ type, pageSize, pageToken, withKindFacts: isKind }, call.once());
          return { rows: response.queues, nextPageToken: response.nextPageToken };
        });
        call.output.print({
          schema: ListQueuesResponseSchema,
          message: create(ListQueuesResponseSchema, {
            queues: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () =>
            isKind
              ? kindTable(page.rows, call.output, call.surroundings.now())
              : queueTable(page.rows, noun, call.output, call.surroundings.now()),
          names: () => page.rows.map((one) => one.name),
        });
        notePage(call.output, page, plural);
        return exitCodes.done;
      }),
    );
  command
    .command("get <name>")
    .description(`Show everything about a ${noun}.`)
    .examples(`muster ${noun} get ${name}`)
    .action(
      cli.action(async (call, given: string) => {
        const response = await call.client(QueueService).getQueue({ type, name: given }, call.once());
        const { queue } = response;
        call.output.print({
          schema: GetQueueResponseSchema,
          message: response,
          text: () =>
            queue === undefined
              ? []
              : [
                  ...queueFacts(queue, noun, call.output, call.surroundings.now()),
                  ...kindFacts(response.kind, call.output),
                ],
          names: () => [queue?.name ?? given],
        });
        return exitCodes.done;
      }),
    );
}

function registerChanges(command: MusterCommand, cli: Cli, noun: Noun): void {
  const { name } = noun;
  command
    .command("set <name>")
    .description(
      `Limit a ${noun.noun}: how many of its jobs may run, and how many may start. What is not given stays.`,
    )
    .examples(
      `muster ${noun.noun} set ${name} --running 20`,
      `muster ${noun.noun} set ${name} --rate 10/1m --reason "their limit"`,
      `muster ${noun.noun} set ${name} --running none --rate none`,
    )
    .option(
      "--running <number>",
      "jobs that may run at once, 1 to 1,000,000; none: no limit",
      wholeOrNoneOption(1, 1_000_000),
    )
    .option(
      "--rate <jobs/time>",
      "jobs that may start in a time, like 10/1m or 5/s; none: no limit",
      rateOption,
    )
    .option("--reason <text>", "for people")
    .action(cli.action((call, given: string, options: SetOptions) => setLimits(call, noun, given, options)));
  command
    .command("pause <name...>")
    .description(
      `Offer none of its jobs until a time, or until it is resumed. Offers that nobody has accepted are withdrawn; what runs goes on.`,
    )
    .examples(
      `muster ${noun.noun} pause ${name} --reason "bad deploy"`,
      `muster ${noun.noun} pause ${name} --for 2h`,
      `muster ${noun.noun} pause ${name} --until 2026-11-23T08:00:00Z`,
    )
    .option("--until <time>", "go on by itself then: RFC 3339, or 'in 10m'", timeOption(cli.surroundings.now))
    .option("--for <duration>", "go on by itself after this long, like 2h", durationOption)
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, names: string[], options: PauseOptions) => {
        const until = untilOf(noun, options, cli.surroundings.now());
        return forEachId(call, names, (one) => pause(call, noun, one, options.reason ?? "", until));
      }),
    );
  command
    .command("resume <name...>")
    .description(
      noun.type === QueueType.POOL
        ? "Let its jobs start again, also those that were parked because the quota was spent."
        : "Let its jobs start again.",
    )
    .examples(`muster ${noun.noun} resume ${name}`)
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, names: string[], options: { reason?: string }) =>
        forEachId(call, names, (one) => resume(call, noun, one, options.reason ?? "")),
      ),
    );
}

async function setLimits(call: Call, { type, noun, name: example }: Noun, name: string, options: SetOptions) {
  if (options.running === undefined && options.rate === undefined) {
    throw usageError("give --running, --rate, or both", `Like: muster ${noun} set ${example} --running 20`);
  }
  const limits = changed(await readLimits(call, type, name), options);
  const request = { type, name, limits, reason: options.reason ?? "" };
  const response = await call.client(QueueService).setQueueLimits(request, call.once());
  const { queue } = response;
  call.output.print({
    schema: SetQueueLimitsResponseSchema,
    message: response,
    text: () => (queue === undefined ? [] : queueFacts(queue, noun, call.output, call.surroundings.now())),
    names: () => [queue?.name ?? name],
  });
  return exitCodes.done;
}

// What is not named yet has no limits.
async function readLimits(call: Call, type: QueueType, name: string): Promise<QueueLimits | undefined> {
  try {
    return (await call.client(QueueService).getQueue({ type, name }, call.once())).queue?.limits;
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.NotFound) return undefined;
    throw error;
  }
}

function changed(
  before: QueueLimits | undefined,
  { running = before?.running, rate }: SetOptions,
): MessageInitShape<typeof QueueLimitsSchema> {
  const startRate =
    rate === undefined
      ? before?.startRate
      : rate === "none"
        ? undefined
        : { jobs: rate.jobs, per: durationFromMs(rate.periodMs) };
  return {
    ...(running === undefined || running === "none" ? {} : { running }),
    ...(startRate === undefined ? {} : { startRate }),
  };
}

function untilOf({ noun, name }: Noun, options: PauseOptions, nowMs: number): number | null {
  if (options.until !== undefined && options.for !== undefined) {
    throw usageError("give --until or --for, not both", `Like: muster ${noun} pause ${name} --for 2h`);
  }
  if (options.for === 0) throw usageError("--for must be longer than nothing", "Like: --for 2h");
  return options.for === undefined ? (options.until ?? null) : nowMs + options.for;
}

async function pause(call: Call, { type }: Noun, name: string, reason: string, until: number | null) {
  const time = until === null ? {} : { until: timeFromMs(until) };
  const response = await call.client(QueueService).pauseQueue({ type, name, reason, ...time }, call.once());
  const { queue, withdrawn } = response;
  const offers = withdrawn > 0 ? `; ${withdrawn} offers withdrawn` : "";
  call.output.printOne({
    schema: PauseQueueResponseSchema,
    message: response,
    text: () => [
      `${sanitize(name)}\t${queue === undefined ? "" : showPause(queue, call.surroundings.now())}${offers}`,
    ],
    names: () => [name],
  });
}

async function resume(call: Call, { type }: Noun, name: string, reason: string) {
  const response = await call.client(QueueService).resumeQueue({ type, name, reason }, call.once());
  call.output.printOne({
    schema: ResumeQueueResponseSchema,
    message: response,
    text: () => [`${sanitize(name)}\tresumed`],
    names: () => [name],
  });
}
