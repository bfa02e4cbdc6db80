import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type AlertChannelSchema,
  AlertService,
  DeleteAlertChannelResponseSchema,
  GetAlertChannelResponseSchema,
  ListAlertChannelsResponseSchema,
  PutAlertChannelResponseSchema,
  SetAlertChannelEnabledResponseSchema,
} from "@muster/client/v1/alert_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { readText } from "../input/files.ts";
import { listOption } from "../input/options.ts";
import { didYouMean } from "../input/suggest.ts";
import { sanitize } from "../output/sanitize.ts";
import { channelFacts, channelTable } from "./alert-show.ts";
import { testChannel } from "./channel-test.ts";
import { createOfFiles, fileOptionWords, needWords } from "./from-file.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { forEachId } from "./several.ts";

interface CreateOptions {
  readonly file?: readonly string[];
  readonly urlFile?: string;
  readonly tokenFile?: string;
  readonly secretFile?: string;
  readonly url?: string;
  readonly channel?: string;
  readonly to?: readonly string[];
  readonly reason?: string;
  readonly dryRun?: boolean;
}

const types = ["slack", "discord", "email", "webhook"] as const;

/** Registers `muster channel`. */
export function registerChannel(cli: Cli): void {
  const channel = cli.program
    .command("channel")
    .alias("channels")
    .description("Keep the channels that alerts go to: Slack, Discord, e-mail, webhooks.");
  registerLooks(channel, cli);
  registerCreate(channel, cli);
  registerSwitches(channel, cli);
  channel
    .command("test <channel>")
    .description("Show a sample message of a channel, then send it.")
    .examples("muster channel test ops", "muster channel test ops --dry-run")
    .option("--dry-run", "show it only")
    .action(
      cli.action((call, name: string, options: { readonly dryRun?: boolean }) =>
        testChannel(call, name, { rule: "", dryRun: options.dryRun === true }),
      ),
    );
}

function registerLooks(channel: MusterCommand, cli: Cli): void {
  withPages(channel.command("list").alias("ls"))
    .description("List channels by name, with how they stand.")
    .examples("muster channel list", "muster channel list -o json")
    .action(
      cli.action(async (call, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const response = await call
            .client(AlertService)
            .listAlertChannels({ pageSize, pageToken }, call.once());
          return { rows: response.channels, nextPageToken: response.nextPageToken };
        });
        call.output.print({
          schema: ListAlertChannelsResponseSchema,
          message: create(ListAlertChannelsResponseSchema, {
            channels: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () => channelTable(page.rows, call.output, call.surroundings.now()),
          names: () => page.rows.map(({ name }) => name),
        });
        notePage(call.output, page, "channels");
        return exitCodes.done;
      }),
    );
  channel
    .command("get <channel>")
    .description("Show everything about a channel but its secret.")
    .examples("muster channel get ops")
    .action(
      cli.action(async (call, name: string) => {
        const response = await call.client(AlertService).getAlertChannel({ name }, call.once());
        const found = response.channel;
        call.output.print({
          schema: GetAlertChannelResponseSchema,
          message: response,
          text: () => (found === undefined ? [] : channelFacts(found, call.output, call.surroundings.now())),
          names: () => [name],
        });
        return exitCodes.done;
      }),
    );
}

function registerCreate(channel: MusterCommand, cli: Cli): void {
  channel
    .command("create [channel] [type]")
    .alias("add")
    .description("Make a channel, or replace the one of that name: slack, discord, email or webhook.")
    .examples(
      "muster channel create ops slack --url-file slack-webhook.txt",
      "muster channel create ops slack --token-file bot.txt --channel '#ops'",
      "muster channel create chat discord --url-file -",
      "muster channel create mail email --to ada@example.com,grace@example.com",
      "muster channel create pager webhook --url https://pager.example/hook",
      "muster channel create -f channels.yaml",
    )
    .notes(
      "Secrets come from files, or from stdin by -. A secret that is left out stays as it is; a webhook without one gets one, which is printed this once.",
    )
    .option("-f, --file <path>", fileOptionWords, listOption)
    .option("--url-file <path>", "file with the incoming webhook of Slack or Discord, a secret")
    .option("--token-file <path>", "file with the token of a bot of Slack")
    .option("--channel <channel>", "with a bot: the id of the channel, or #name")
    .option("--to <address>", "an address; repeat or use commas for more", listOption)
    .option("--url <url>", "where a webhook is posted to")
    .option("--secret-file <path>", "file with the secret of a webhook, whsec_…")
    .option("--reason <text>", "for people")
    .option("--dry-run", "check it only")
    .action(
      cli.action((call, name: string | undefined, type: string | undefined, options: CreateOptions) => {
        if (options.file !== undefined) return createOfFiles(call, "channel", [name, type], options);
        const words = needWords({ channel: name, type });
        return put(call, words.channel, words.type, options);
      }),
    );
  channel
    .command("edit <channel>")
    .description("Change a channel as text, in your editor. Secrets are not there, and stay unless written.")
    .examples("muster channel edit ops", "muster channel edit ops --dry-run")
    .option("--reason <text>", "for people")
    .option("--dry-run", "show what would change; change nothing")
    .action(
      cli.action(
        async (call, name: string, options: { readonly dryRun?: boolean; readonly reason?: string }) => {
          const { editChannel } = await import("../apply/edited.ts");
          const { dryRun: isDryRun = false, reason = "" } = options;
          return editChannel(call, name, { isDryRun, reason });
        },
      ),
    );
}

async function put(call: Call, name: string, type: string, options: CreateOptions): Promise<number> {
  const { reason = "", dryRun = false } = options;
  const channel = { name, target: await targetOf(call, type, options) };
  const response = await call.client(AlertService).putAlertChannel({ channel, reason, dryRun }, call.once());
  call.output.print({
    schema: PutAlertChannelResponseSchema,
    message: response,
    text: () => {
      const kept = `${sanitize(name)}\t${dryRun ? "would be kept" : "kept"}`;
      return response.secret === "" ? [kept] : [sanitize(response.secret)];
    },
    names: () => [name],
  });
  if (response.secret !== "") call.output.note("This is its secret; it is not shown again.");
  if (!dryRun) call.output.note(`Try it: muster channel test ${sanitize(name)}`);
  return exitCodes.done;
}

async function targetOf(
  call: Call,
  type: string,
  options: CreateOptions,
): Promise<NonNullable<MessageInitShape<typeof AlertChannelSchema>["target"]>> {
  const { urlFile, tokenFile, secretFile, url = "", channel = "", to = [] } = options;
  const read = async (path: string | undefined, flag: string) =>
    path === undefined ? "" : (await readText(path, flag, call.surroundings)).trim();
  switch (type) {
    case "slack": {
      const [webhookUrl, botToken] = [
        await read(urlFile, "--url-file"),
        await read(tokenFile, "--token-file"),
      ];
      return { case: type, value: { webhookUrl, botToken, channel } };
    }
    case "discord":
      return { case: type, value: { webhookUrl: await read(urlFile, "--url-file") } };
    case "email":
      return { case: type, value: { to: [...to] } };
    case "webhook":
      return { case: type, value: { url, secret: await read(secretFile, "--secret-file") } };
    default:
      throw usageError(
        `there is no type ${JSON.stringify(type)}`,
        didYouMean(type, types) ?? `Use one of ${types.join(", ")}.`,
      );
  }
}

function registerSwitches(channel: MusterCommand, cli: Cli): void {
  for (const [verb, isEnabled] of [
    ["enable", true],
    ["disable", false],
  ] as const) {
    channel
      .command(`${verb} <channels...>`)
      .description(
        isEnabled
          ? "Enable channels: what waited is sent."
          : "Disable channels. What comes meanwhile waits until they are enabled again.",
      )
      .examples(`muster channel ${verb} ops`)
      .option("--reason <text>", "for people")
      .action(
        cli.action((call, names: string[], { reason = "" }: { readonly reason?: string }) =>
          forEachId(call, names, async (name) => {
            const request = { name, enabled: isEnabled, reason };
            const response = await call.client(AlertService).setAlertChannelEnabled(request, call.once());
            call.output.print({
              schema: SetAlertChannelEnabledResponseSchema,
              message: response,
              text: () => [`${sanitize(name)}\t${verb}d`],
              names: () => [name],
            });
          }),
        ),
      );
  }
  channel
    .command("delete <channels...>")
    .alias("rm")
    .description("Delete channels that no rule sends to, with what waits for them.")
    .examples("muster channel delete chat --yes")
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, names: string[], { reason = "" }: { readonly reason?: string }) => {
        await confirmDanger(call, {
          level: "moderate",
          what: `Delete ${names.length === 1 ? `the channel ${names[0]}` : `${names.length} channels`}`,
          command: `muster channel delete ${names.map(quote).join(" ")}`,
        });
        return forEachId(call, names, async (name) => {
          const response = await call.client(AlertService).deleteAlertChannel({ name, reason }, call.once());
          call.output.print({
            schema: DeleteAlertChannelResponseSchema,
            message: response,
            text: () => [`${sanitize(name)}\tdeleted`],
            names: () => [name],
          });
        });
      }),
    );
}
