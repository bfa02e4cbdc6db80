import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { EventFilter } from "@muster/client/v1/event_service";
import {
  CreateWebhookResponseSchema,
  DeleteWebhookResponseSchema,
  ListWebhooksResponseSchema,
  ReadWebhookResponseSchema,
  RotateWebhookSecretResponseSchema,
  UpdateWebhookResponseSchema,
  type Webhook,
  WebhookService,
} from "@muster/client/v1/webhook_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { keepNewKey } from "../input/key-file.ts";
import { durationOption, listOption, pairOption } from "../input/options.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { showCounted, showTime } from "../output/time.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { registerDeliveries, registerReplay, registerTest } from "./webhook-deliveries.ts";

interface FilterOptions {
  readonly type?: readonly string[];
  readonly queue?: string;
  readonly kind?: string;
  readonly project?: string;
  readonly job?: string;
  readonly batch?: string;
  readonly worker?: string;
  readonly session?: string;
  readonly label?: Readonly<Record<string, string>>;
}

interface ReasonOption {
  readonly reason?: string;
}

/** Registers `muster webhook`. */
export function registerWebhook(cli: Cli): void {
  const webhook = cli.program
    .command("webhook")
    .alias("webhooks")
    .description("Send events to other services: signed, tried again for a day, replayed at will.");
  registerList(webhook, cli);
  registerGet(webhook, cli);
  registerCreate(webhook, cli);
  registerEdit(webhook, cli);
  registerRotate(webhook, cli);
  registerDelete(webhook, cli);
  registerTest(webhook, cli);
  registerDeliveries(webhook, cli);
  registerReplay(webhook, cli);
}

function withFilters(command: MusterCommand): MusterCommand {
  return command
    .option("--type <type>", "these types, e.g. job.dead, job.*; repeat or use commas for more", listOption)
    .option("--queue <name>", "only of this queue")
    .option("--kind <kind>", "only of this kind")
    .option("--project <name>", "only of this project")
    .option("--job <job>", "only of this job")
    .option("--batch <batch>", "only of this batch")
    .option("--worker <worker>", "only of this worker: its id")
    .option("--session <session>", "only of this session")
    .option("--label <key=value>", "only of jobs with this label (repeatable)", pairOption);
}

function filterOf(options: FilterOptions) {
  const { queue = "", kind = "", project = "", job = "", batch = "", worker = "", session = "" } = options;
  return {
    ...{ queue, kind, project, jobId: job, batchId: batch, workerId: worker, sessionId: session },
    types: [...(options.type ?? [])],
    labels: { ...options.label },
  };
}

function registerList(webhook: MusterCommand, cli: Cli): void {
  withPages(webhook.command("list").alias("ls"))
    .description("List webhooks by name; never their secrets.")
    .examples("muster webhook list", "muster webhook list --json")
    .action(
      cli.action(async (call, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const response = await call
            .client(WebhookService)
            .listWebhooks({ pageSize, pageToken }, call.once());
          return { rows: response.webhooks, nextPageToken: response.nextPageToken };
        });
        call.output.print({
          schema: ListWebhooksResponseSchema,
          message: create(ListWebhooksResponseSchema, {
            webhooks: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () => webhookTable(page.rows, call.output, call.surroundings.now()),
          names: () => page.rows.map(({ name }) => name),
        });
        notePage(call.output, page, "webhooks");
        return exitCodes.done;
      }),
    );
}

function registerGet(webhook: MusterCommand, cli: Cli): void {
  webhook
    .command("get <name>")
    .description("Show a webhook: where it goes, what it is told, and how it fares.")
    .examples("muster webhook get billing")
    .action(
      cli.action(async (call, name: string) => {
        const response = await call.client(WebhookService).readWebhook({ name }, call.once());
        call.output.print({
          schema: ReadWebhookResponseSchema,
          message: response,
          text: () => (response.webhook ? webhookFacts(response.webhook, call) : []),
          names: () => [name],
        });
        return exitCodes.done;
      }),
    );
}

/** What a webhook is told unless its maker says: how runs end. */
const standardTypes = ["job.succeeded", "job.cancelled", "job.dead"];

function registerCreate(webhook: MusterCommand, cli: Cli): void {
  withFilters(webhook.command("create <name>"))
    .description("Make a webhook. Its secret is shown this once: stdout has nothing else.")
    .examples(
      "muster webhook create billing --url https://billing.example/hooks --secret-file billing.secret",
      "muster webhook create pager --url https://pager.example/in --type job.dead --project acme/web",
    )
    .requiredOption("--url <url>", "where events are sent to: https, a public host")
    .option("--off", "make it, and send nothing yet")
    .option("--secret-file <path>", "write it to this new file, for your user alone, instead of stdout")
    .action(
      cli.action(
        async (
          call,
          name: string,
          options: FilterOptions & {
            readonly url: string;
            readonly off?: boolean;
            readonly secretFile?: string;
          },
        ) => {
          const filter = filterOf(options);
          if (filter.types.length === 0) filter.types = standardTypes;
          const { url, off: disabled = false, secretFile } = options;
          refuseName(call, secretFile);
          const response = await keptSecret(call, secretFile, `the webhook ${name} is made`, name, () =>
            call
              .client(WebhookService)
              .createWebhook({ webhook: { name, url, filter, disabled } }, call.once()),
          );
          call.output.print({
            schema: CreateWebhookResponseSchema,
            message: create(CreateWebhookResponseSchema, hidden(response, secretFile)),
            text: () => (secretFile === undefined ? [sanitize(response.secret)] : []),
            names: () => [name],
          });
          call.output.note(`Made the webhook ${name} for ${filter.types.join(", ")}. ${where(secretFile)}`);
          return exitCodes.done;
        },
      ),
    );
}

function registerEdit(webhook: MusterCommand, cli: Cli): void {
  withFilters(webhook.command("edit <name>"))
    .description("Change a webhook, or turn it off and on. Filters that are given replace all of them.")
    .examples(
      "muster webhook edit billing --url https://new.example/hooks",
      "muster webhook edit billing --type job.dead,job.parked",
      "muster webhook edit billing --off --reason maintenance",
      "muster webhook edit billing --on",
    )
    .option("--url <url>", "where events are sent to")
    .option("--on", "go on from now; what was not told can be replayed")
    .option("--off", "send nothing, and give up what waits")
    .option("--reason <text>", "for people")
    .action(
      cli.action(
        async (
          call,
          name: string,
          options: FilterOptions &
            ReasonOption & { readonly url?: string; readonly on?: boolean; readonly off?: boolean },
        ) => {
          const { url, on = false, off = false, reason = "" } = options;
          if (on && off) throw usageError("--on and --off contradict each other", "Give one of the two.");
          const { type, queue, kind, project, job, batch, worker, session, label } = options;
          const given = [type, queue, kind, project, job, batch, worker, session, label];
          const isFiltered = given.some((one) => one !== undefined);
          if (url === undefined && !on && !off && !isFiltered) {
            throw usageError(
              "nothing is to be changed",
              "Give --url, --on, --off, --type or another filter.",
            );
          }
          const response = await call.client(WebhookService).updateWebhook(
            {
              ...{ name, reason },
              ...(url === undefined ? {} : { url }),
              ...(on || off ? { disabled: off } : {}),
              ...(isFiltered ? { filter: filterOf(options) } : {}),
            },
            call.once(),
          );
          call.output.print({
            schema: UpdateWebhookResponseSchema,
            message: response,
            text: () => (response.webhook ? webhookFacts(response.webhook, call) : []),
            names: () => [name],
          });
          return exitCodes.done;
        },
      ),
    );
}

function registerRotate(webhook: MusterCommand, cli: Cli): void {
  webhook
    .command("rotate <name>")
    .description("Give a webhook another secret, shown this once. The one before signs, too, for a while.")
    .examples(
      "muster webhook rotate billing --secret-file billing.secret",
      "muster webhook rotate billing --overlap 0s --reason leaked",
    )
    .option("--overlap <duration>", "how long the one before signs, too, up to 7d (24h)", durationOption)
    .option("--secret-file <path>", "write it to this new file, for your user alone, instead of stdout")
    .option("--reason <text>", "for people")
    .action(
      cli.action(
        async (
          call,
          name: string,
          options: ReasonOption & { readonly overlap?: number; readonly secretFile?: string },
        ) => {
          const { overlap, secretFile, reason = "" } = options;
          refuseName(call, secretFile);
          const time = overlap === undefined ? {} : { overlap: durationFromMs(overlap) };
          const response = await keptSecret(
            call,
            secretFile,
            `the webhook ${name} has a new secret`,
            name,
            () => call.client(WebhookService).rotateWebhookSecret({ name, reason, ...time }, call.once()),
          );
          call.output.print({
            schema: RotateWebhookSecretResponseSchema,
            message: create(RotateWebhookSecretResponseSchema, hidden(response, secretFile)),
            text: () => (secretFile === undefined ? [sanitize(response.secret)] : []),
            names: () => [name],
          });
          const until = showTime(response.webhook?.previousSecretExpireTime);
          const before = until === "" ? "" : ` The one before signs, too, until ${until}.`;
          call.output.note(`The webhook ${name} has a new secret. ${where(secretFile)}${before}`);
          return exitCodes.done;
        },
      ),
    );
}

function registerDelete(webhook: MusterCommand, cli: Cli): void {
  webhook
    .command("delete <name>")
    .alias("rm")
    .description("Remove a webhook, its secret and its deliveries.")
    .examples("muster webhook delete billing --yes")
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, name: string, { reason = "" }: ReasonOption) => {
        await confirmDanger(call, {
          level: "moderate",
          what: `Remove the webhook ${name} and its deliveries`,
          command: `muster webhook delete ${quote(name)}${reason === "" ? "" : ` --reason ${quote(reason)}`}`,
        });
        const response = await call.client(WebhookService).deleteWebhook({ name, reason }, call.once());
        call.output.print({
          schema: DeleteWebhookResponseSchema,
          message: response,
          text: () => [`${sanitize(name)}\tdeleted`],
          names: () => [name],
        });
        return exitCodes.done;
      }),
    );
}

function refuseName(call: Call, secretFile: string | undefined): void {
  if (call.output.format !== "name" || secretFile !== undefined) return;
  throw usageError(
    "-o name prints the name alone, and the secret is never shown again",
    "Give --secret-file, or leave -o name out.",
  );
}

async function keptSecret<Response extends { readonly secret: string }>(
  call: Call,
  secretFile: string | undefined,
  made: string,
  name: string,
  make: () => Promise<Response>,
): Promise<Response> {
  if (secretFile === undefined) return make();
  const suggestion = `Give it another one: muster webhook rotate ${quote(name)} --secret-file …`;
  const keep = async () => {
    const answer = await make();
    return { answer, key: answer.secret, made, suggestion };
  };
  return keepNewKey(call.surroundings, secretFile, keep, "--secret-file");
}

function hidden<Response extends { readonly secret: string }>(
  response: Response,
  secretFile: string | undefined,
): Response {
  return secretFile === undefined ? response : { ...response, secret: "" };
}

function where(secretFile: string | undefined): string {
  return secretFile === undefined
    ? "This is its secret; it is not shown again."
    : `Its secret is in ${secretFile}.`;
}

function webhookTable(rows: readonly Webhook[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "WEBHOOK" },
    { title: "STATE" },
    { title: "WAITING", align: "right" },
    { title: "SENT", align: "right", drop: 2 },
    { title: "EVENTS", drop: 3 },
    { title: "URL", drop: 1 },
  ] as const;
  const cells = rows.map((one): Cell[] => [
    sanitize(one.name),
    stateOf(one),
    String(one.pending),
    output.age(one.lastSentTime, nowMs),
    sanitize(filterText(one.filter)),
    sanitize(one.url),
  ]);
  return layTable(columns, cells, output.layout);
}

function webhookFacts(one: Webhook, { output, surroundings }: Call): string[] {
  const nowMs = surroundings.now();
  return layFacts(
    [
      ["Webhook", sanitize(one.name)],
      ["State", stateOf(one)],
      ["URL", sanitize(one.url)],
      ["Events", sanitize(filterText(one.filter))],
      ["Waiting", showCounted(one.pending, "delivery", "deliveries")],
      ["Last sent", output.timeAndAge(one.lastSentTime, nowMs)],
      ["Failing since", output.timeAndAge(one.failingSince, nowMs)],
      ["Failures", one.failures === 0 ? "" : `${one.failures}: ${sanitize(one.lastError)}`],
      ["Told up to", one.revision],
      ["Secret before ends", output.timeAndAge(one.previousSecretExpireTime, nowMs)],
      ["Made", output.timeAndAge(one.createTime, nowMs)],
    ],
    output.layout,
  );
}

function stateOf({ disabled, disabledReason, failures }: Webhook): string {
  if (disabled) return disabledReason === "" ? "off" : `off: ${sanitize(disabledReason)}`;
  return failures > 0 ? "failing" : "on";
}

function filterText(filter: EventFilter | undefined): string {
  if (filter === undefined) return "all";
  const { types, queue, kind, project, jobId, batchId, workerId, sessionId, labels } = filter;
  const facts = { queue, kind, project, job: jobId, batch: batchId, worker: workerId, session: sessionId };
  const others = Object.entries(facts).flatMap(([name, value]) => (value === "" ? [] : [`${name}:${value}`]));
  const labelled = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return [types.join(",") || "all", ...others, ...labelled].join(" ");
}
