import { create } from "@bufbuild/protobuf";
import {
  ListWebhookDeliveriesResponseSchema,
  ReplayWebhookDeliveriesResponseSchema,
  TestWebhookResponseSchema,
  type WebhookDelivery,
  WebhookDeliveryState,
  WebhookService,
} from "@muster/client/v1/webhook_service";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { pastTimeOption } from "../input/past-time.ts";
import { timeFromMs } from "../input/values.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layTable } from "../output/table.ts";
import { durationToMs, showCounted, showDuration } from "../output/time.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

interface DeliveryOptions extends PageOptions {
  readonly failed?: boolean;
  readonly waiting?: boolean;
  readonly bodies?: boolean;
}

/** Registers `muster webhook deliveries`. */
export function registerDeliveries(webhook: MusterCommand, cli: Cli): void {
  withPages(webhook.command("deliveries <name>"))
    .description("List what was sent to a webhook, newest first, and what came of it. Kept for 7 days.")
    .examples(
      "muster webhook deliveries billing --failed",
      "muster webhook deliveries billing --bodies -o jsonl",
    )
    .option("--failed", "only those that were given up")
    .option("--waiting", "only those that wait for a try")
    .option("--bodies", "with what is sent, in JSON")
    .action(
      cli.action(async (call, name: string, options: DeliveryOptions) => {
        const { failed = false, waiting = false, bodies = false } = options;
        if (failed && waiting)
          throw usageError("--failed and --waiting contradict each other", "Give one of the two.");
        const state = failed ? WebhookDeliveryState.FAILED : waiting ? WebhookDeliveryState.PENDING : 0;
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const request = { name, state, bodies, pageSize: Math.min(pageSize, 500), pageToken };
          const response = await call.client(WebhookService).listWebhookDeliveries(request, call.once());
          return { rows: response.deliveries, nextPageToken: response.nextPageToken };
        });
        call.output.print({
          schema: ListWebhookDeliveriesResponseSchema,
          message: create(ListWebhookDeliveriesResponseSchema, {
            deliveries: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () => deliveryTable(page.rows, call.output, call.surroundings.now()),
          names: () => page.rows.map(({ deliveryId }) => deliveryId),
        });
        notePage(call.output, page, "deliveries");
        return exitCodes.done;
      }),
    );
}

/** Registers `muster webhook replay`. */
export function registerReplay(webhook: MusterCommand, cli: Cli): void {
  webhook
    .command("replay <name> [delivery]")
    .description("Send deliveries again, with the same ids: one, or all since a time or an event.")
    .examples(
      "muster webhook replay billing dlv_01m82r1twhe6evt5tx2c7en6h1",
      "muster webhook replay billing --since 2h --failed",
      "muster webhook replay billing --after 1.7342.1.0",
    )
    .option("--since <time>", "those since then: 2h, 14:02, 2026-11-22", pastTimeOption(cli.surroundings.now))
    .option("--after <event>", "those whose events come after this one")
    .option("--failed", "of them only those that were given up")
    .option("--reason <text>", "for people")
    .action(
      cli.action(
        async (
          call,
          name: string,
          delivery: string | undefined,
          options: {
            readonly since?: number;
            readonly after?: string;
            readonly failed?: boolean;
            readonly reason?: string;
          },
        ) => {
          const { since, after = "", failed = false, reason = "" } = options;
          if ([delivery, since, options.after].filter((one) => one !== undefined).length !== 1) {
            throw usageError(
              "it is not clear what to send again",
              "Give a delivery, or --since, or --after.",
            );
          }
          const request = {
            ...{ name, deliveryId: delivery ?? "", revision: after, failedOnly: failed, reason },
            ...(since === undefined ? {} : { since: timeFromMs(since) }),
          };
          const client = call.client(WebhookService);
          const response = await client.replayWebhookDeliveries(request, call.once());
          call.output.print({
            schema: ReplayWebhookDeliveriesResponseSchema,
            message: response,
            text: () => [`${showCounted(response.deliveries, "delivery is", "deliveries are")} sent again`],
          });
          if (response.hasMore) call.output.note("There are more: repeat it when these have been sent.");
          return exitCodes.done;
        },
      ),
    );
}

/** Registers `muster webhook test`. */
export function registerTest(webhook: MusterCommand, cli: Cli): void {
  webhook
    .command("test <name>")
    .description("Send an event of the type webhook.test, once. Exits with 12 when it was not taken.")
    .examples("muster webhook test billing")
    .action(
      cli.action(async (call, name: string) => {
        const response = await call.client(WebhookService).testWebhook({ name }, call.once());
        const { status, error, took } = response;
        const time = took === undefined ? "" : ` in ${showDuration(durationToMs(took))}`;
        call.output.print({
          schema: TestWebhookResponseSchema,
          message: response,
          text: () => [
            sanitize(response.body),
            error === "" ? `taken: it answered ${status}${time}` : `not taken: ${sanitize(error)}${time}`,
          ],
        });
        return error === "" ? exitCodes.done : exitCodes.partFailed;
      }),
    );
}

function deliveryTable(rows: readonly WebhookDelivery[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "DELIVERY" },
    { title: "TYPE" },
    { title: "STATE" },
    { title: "TRIES", align: "right" },
    { title: "STATUS", align: "right" },
    { title: "MADE", align: "right" },
    { title: "EVENT", isWide: true },
    { title: "ERROR", drop: 1 },
  ] as const;
  const cells = rows.map((one): Cell[] => [
    one.deliveryId,
    sanitize(one.type),
    stateWords[one.state],
    String(one.tries),
    one.status === 0 ? "-" : String(one.status),
    output.age(one.createTime, nowMs),
    sanitize(one.eventId),
    sanitize(one.error || "-"),
  ]);
  return layTable(columns, cells, output.layout);
}

const stateWords: Readonly<Record<WebhookDeliveryState, string>> = {
  [WebhookDeliveryState.UNSPECIFIED]: "unknown",
  [WebhookDeliveryState.PENDING]: "waiting",
  [WebhookDeliveryState.SENT]: "sent",
  [WebhookDeliveryState.FAILED]: "failed",
};
