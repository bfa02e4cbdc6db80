import { create } from "@bufbuild/protobuf";
import {
  AlertService,
  ListAlertSilencesResponseSchema,
  ListAlertsResponseSchema,
  SilenceAlertsResponseSchema,
  UnsilenceAlertsResponseSchema,
} from "@muster/client/v1/alert_service";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { durationOption } from "../input/options.ts";
import { durationFromMs } from "../input/values.ts";
import { sanitize } from "../output/sanitize.ts";
import { alertTable, silenceTable } from "./alert-show.ts";
import { testChannel } from "./channel-test.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

interface SilenceOptions {
  readonly group?: string;
  readonly for?: number;
  readonly reason?: string;
}

/** Registers what alerts did: `history`, `silence`, `unsilence`, `silences`, `test`. */
export function registerHistory(alert: MusterCommand, cli: Cli): void {
  withPages(alert.command("history [rule]"))
    .description("List alerts, newest first, with what became of their messages.")
    .examples("muster alert history", "muster alert history dead-jobs --all", "muster alert history --firing")
    .option("--firing", "those alone that fire now")
    .action(
      cli.action(
        async (call, rule: string | undefined, options: PageOptions & { readonly firing?: true }) => {
          const page = await collectPages(options, async (pageSize, pageToken) => {
            const request = { pageSize, pageToken, rule: rule ?? "", firing: options.firing === true };
            const response = await call.client(AlertService).listAlerts(request, call.once());
            return { rows: response.alerts, nextPageToken: response.nextPageToken };
          });
          call.output.print({
            schema: ListAlertsResponseSchema,
            message: create(ListAlertsResponseSchema, {
              alerts: page.rows,
              nextPageToken: page.nextPageToken,
            }),
            text: () => alertTable(page.rows, call.output, call.surroundings.now()),
            names: () => page.rows.map(({ alertId }) => alertId),
          });
          notePage(call.output, page, "alerts");
          return exitCodes.done;
        },
      ),
    );
  registerSilences(alert, cli);
  alert
    .command("test <channel> [rule]")
    .description("Show a sample message of a channel, then send it.")
    .examples("muster alert test ops", "muster alert test ops dead-jobs --dry-run")
    .option("--dry-run", "show it only")
    .action(
      cli.action((call, name: string, rule: string | undefined, options: { readonly dryRun?: boolean }) =>
        testChannel(call, name, { rule: rule ?? "", dryRun: options.dryRun === true }),
      ),
    );
}

function registerSilences(alert: MusterCommand, cli: Cli): void {
  alert
    .command("silence [rule]")
    .description("Send no messages of a rule, or of all rules, for a while.")
    .examples(
      "muster alert silence flaky --for 4h",
      'muster alert silence --for 1h --reason "the database moves"',
      "muster alert silence stale --group wrk_01jd9y3f4k8qkx2m0000000001 --for 7d",
    )
    .option("--group <group>", "of this group alone, as alerts name it")
    .option("--for <duration>", "how long, 1m to 30d (1h)", durationOption)
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, rule: string | undefined, options: SilenceOptions) => {
        const { group = "", for: ms, reason = "" } = options;
        const time = ms === undefined ? {} : { duration: durationFromMs(ms) };
        const request = { rule: rule ?? "", group, reason, ...time };
        const response = await call.client(AlertService).silenceAlerts(request, call.once());
        const until = call.output.timeAndAge(response.silence?.endTime, call.surroundings.now());
        call.output.print({
          schema: SilenceAlertsResponseSchema,
          message: response,
          text: () => [`${sanitize(rule ?? "all rules")}\tsilent until ${until}`],
          names: () => [rule ?? ""],
        });
        return exitCodes.done;
      }),
    );
  alert
    .command("unsilence [rule]")
    .description("End a silence. What still fires and was not told is told then.")
    .examples("muster alert unsilence flaky", "muster alert unsilence")
    .option("--group <group>", "as it was silenced")
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, rule: string | undefined, options: SilenceOptions) => {
        const { group = "", reason = "" } = options;
        const request = { rule: rule ?? "", group, reason };
        const response = await call.client(AlertService).unsilenceAlerts(request, call.once());
        call.output.print({
          schema: UnsilenceAlertsResponseSchema,
          message: response,
          text: () => [`${sanitize(rule ?? "all rules")}\tno longer silent`],
          names: () => [rule ?? ""],
        });
        return exitCodes.done;
      }),
    );
  alert
    .command("silences")
    .description("List the silences that hold.")
    .examples("muster alert silences")
    .action(
      cli.action(async (call) => {
        const response = await call.client(AlertService).listAlertSilences({}, call.once());
        call.output.print({
          schema: ListAlertSilencesResponseSchema,
          message: response,
          text: () => silenceTable(response.silences, call.output, call.surroundings.now()),
          names: () => response.silences.map(({ rule }) => rule),
        });
        return exitCodes.done;
      }),
    );
}
