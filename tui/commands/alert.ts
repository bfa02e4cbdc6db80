import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  AlertGroupBy,
  type AlertRule,
  type AlertRuleSchema,
  AlertService,
  DeleteAlertRuleResponseSchema,
  GetAlertRuleResponseSchema,
  ListAlertRulesResponseSchema,
  PutAlertRuleResponseSchema,
  SetAlertRuleEnabledResponseSchema,
} from "@muster/client/v1/alert_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { durationOption, listOption, orThrow, wholeOption } from "../input/options.ts";
import { durationFromMs, readAmount } from "../input/values.ts";
import { sanitize } from "../output/sanitize.ts";
import { registerHistory } from "./alert-history.ts";
import { ruleFacts, ruleTable } from "./alert-show.ts";
import { conditionWords, groupWords, ofWord, ownGroup, severityWords } from "./alert-words.ts";
import { registerChannel } from "./channel.ts";
import { createOfFiles, fileOptionWords, needWords, ownOptions } from "./from-file.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { forEachId } from "./several.ts";

interface RuleOptions {
  readonly file?: readonly string[];
  readonly on?: string;
  readonly threshold?: number | "default";
  readonly window?: number;
  readonly least?: number;
  readonly queue?: string;
  readonly kind?: string;
  readonly project?: string;
  readonly channel?: readonly string[] | false;
  readonly throttle?: number;
  readonly groupBy?: string;
  readonly resolve?: boolean;
  readonly severity?: string;
  readonly note?: string;
  readonly reason?: string;
  readonly dryRun?: boolean;
}

/** Registers `muster alert` and `muster channel`. */
export function registerAlerts(cli: Cli): void {
  const alert = cli.program
    .command("alert")
    .alias("alerts")
    .description("Say when to tell whom that something is wrong, and look at what was told.");
  registerLooks(alert, cli);
  registerPuts(alert, cli);
  registerSwitches(alert, cli);
  registerHistory(alert, cli);
  registerChannel(cli);
}

function registerLooks(alert: MusterCommand, cli: Cli): void {
  withPages(alert.command("list").alias("ls"))
    .description("List alert rules by name, with how they stand.")
    .examples("muster alert list", "muster alert list -o json")
    .action(
      cli.action(async (call, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const response = await call
            .client(AlertService)
            .listAlertRules({ pageSize, pageToken }, call.once());
          return { rows: response.rules, nextPageToken: response.nextPageToken };
        });
        call.output.print({
          schema: ListAlertRulesResponseSchema,
          message: create(ListAlertRulesResponseSchema, {
            rules: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () => ruleTable(page.rows, call.output, call.surroundings.now()),
          names: () => page.rows.map(({ name }) => name),
        });
        notePage(call.output, page, "alert rules");
        return exitCodes.done;
      }),
    );
  alert
    .command("get <rule>")
    .description("Show everything about an alert rule.")
    .examples("muster alert get dead-jobs")
    .action(
      cli.action(async (call, name: string) => {
        const response = await call.client(AlertService).getAlertRule({ name }, call.once());
        const { rule } = response;
        call.output.print({
          schema: GetAlertRuleResponseSchema,
          message: response,
          text: () => (rule === undefined ? [] : ruleFacts(rule, call.output, call.surroundings.now())),
          names: () => [name],
        });
        return exitCodes.done;
      }),
    );
}

function registerPuts(alert: MusterCommand, cli: Cli): void {
  withRule(
    alert
      .command("create [rule]")
      .description("Make an alert rule.")
      .examples(
        "muster alert create dead-jobs --on job-dead --channel ops",
        "muster alert create flaky --on failure-rate --threshold 20 --group-by kind --channel ops",
        "muster alert create stuck --on queue-age --threshold 900 --queue renders --severity critical",
        "muster alert create slow --on job-slow --threshold 3 --kind 'agent.*' --dry-run",
        "muster alert create -f alerts.yaml",
      )
      .option("-f, --file <path>", fileOptionWords, listOption)
      .notes(`Conditions: ${[...conditionWords.values()].join(", ")}.`),
  ).action(
    cli.action(async (call, given: string | undefined, options: RuleOptions) => {
      if (options.file !== undefined) return createOfFiles(call, "alert", [given], options);
      const { rule: name } = needWords({ rule: given });
      if (options.on === undefined) {
        throw usageError("--on is missing", `Give one of ${[...conditionWords.values()].join(", ")}.`);
      }
      if (await isThere(call, name)) {
        throw usageError(`there is a rule ${name}`, "Change it with `muster alert edit`.");
      }
      return put(call, { name, ...ruleOf(options) }, options);
    }),
  );
  withRule(
    alert
      .command("edit <rule>")
      .description("Change an alert rule. What is not given stays. Without options: as text, in your editor.")
      .examples(
        "muster alert edit dead-jobs",
        "muster alert edit dead-jobs --throttle 1h",
        "muster alert edit flaky --threshold 30 --channel ops,mail --dry-run",
      ),
  ).action(
    cli.action(async (call, name: string, options: RuleOptions) => {
      if (ownOptions(options).length === 0) {
        const { editRule } = await import("../apply/edited.ts");
        const { dryRun: isDryRun = false, reason = "" } = options;
        return editRule(call, name, { isDryRun, reason });
      }
      const { rule } = await call.client(AlertService).getAlertRule({ name }, call.once());
      const { $typeName: _, filter, threshold, ...before } = rule ?? emptyRule;
      const kept = threshold === undefined || options.threshold === "default" ? {} : { threshold };
      const after = ruleOf(options);
      const { queue = filter?.queue, kind = filter?.kind, project = filter?.project } = options;
      const filtered = { queue: queue ?? "", kind: kind ?? "", project: project ?? "" };
      return put(call, { ...before, ...kept, ...after, filter: filtered, name }, options);
    }),
  );
  alert
    .command("delete <rules...>")
    .alias("rm")
    .description("Delete alert rules. Their alerts end without a message.")
    .examples('muster alert delete flaky --reason "too loud" --yes')
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, names: string[], { reason = "" }: { readonly reason?: string }) => {
        await confirmDanger(call, {
          level: "moderate",
          what: `Delete ${names.length === 1 ? `the alert rule ${names[0]}` : `${names.length} alert rules`}`,
          command: `muster alert delete ${names.map(quote).join(" ")}`,
        });
        return forEachId(call, names, async (name) => {
          const response = await call.client(AlertService).deleteAlertRule({ name, reason }, call.once());
          call.output.print({
            schema: DeleteAlertRuleResponseSchema,
            message: response,
            text: () => [`${sanitize(name)}\tdeleted`],
            names: () => [name],
          });
        });
      }),
    );
}

function registerSwitches(alert: MusterCommand, cli: Cli): void {
  for (const [verb, isEnabled] of [
    ["enable", true],
    ["disable", false],
  ] as const) {
    alert
      .command(`${verb} <rules...>`)
      .description(
        isEnabled
          ? "Enable alert rules: they count from now on."
          : "Disable alert rules. What they counted is forgotten, and their alerts end without a message.",
      )
      .examples(`muster alert ${verb} dead-jobs`)
      .option("--reason <text>", "for people")
      .action(
        cli.action((call, names: string[], { reason = "" }: { readonly reason?: string }) =>
          forEachId(call, names, async (name) => {
            const request = { name, enabled: isEnabled, reason };
            const response = await call.client(AlertService).setAlertRuleEnabled(request, call.once());
            call.output.print({
              schema: SetAlertRuleEnabledResponseSchema,
              message: response,
              text: () => [`${sanitize(name)}\t${verb}d`],
              names: () => [name],
            });
          }),
        ),
      );
  }
}

function withRule<Command extends MusterCommand>(command: Command): Command {
  return command
    .option("--on <condition>", "what it looks at")
    .option("--threshold <number>", "when it fires, in the condition's unit, or default", thresholdOption)
    .option("--window <duration>", "over how long is counted, 1m to 24h (5m)", durationOption)
    .option("--least <number>", "runs before a rate means anything (10)", wholeOption(1, 100_000))
    .option("--queue <name>", "of this queue alone; * at the end: all that begin so")
    .option("--kind <name>", "of this kind alone, likewise")
    .option("--project <name>", "of this project alone, likewise")
    .option("--channel <name>", "where to; repeat or use commas for more", listOption)
    .option("--no-channel", "tell nobody: alerts are only kept (so it is for a new rule)")
    .option("--throttle <duration>", "time between two messages of a group (15m)", durationOption)
    .option("--group-by <what>", "what is counted apart: none, kind, queue, project, or own (own)")
    .option("--resolve", "send a message when it is over (so it is for a new rule)")
    .option("--no-resolve", "send none")
    .option("--severity <severity>", "notice, warning or critical (warning)")
    .option("--note <text>", "goes with each message: what to do, where to look")
    .option("--reason <text>", "for people")
    .option("--dry-run", "check it only");
}

type RuleInit = MessageInitShape<typeof AlertRuleSchema> & { readonly $typeName?: never };

// Only what was given.
function ruleOf(options: RuleOptions): RuleInit {
  const { on, threshold, window, least, queue, kind, project, channel, throttle, groupBy, ...rest } = options;
  const filter = withoutUndefined({ queue, kind, project });
  return {
    ...withoutUndefined({ least, resolveMessage: rest.resolve, note: rest.note }),
    ...(threshold === undefined || threshold === "default" ? {} : { threshold }),
    ...(channel === undefined ? {} : { channels: channel === false ? [] : [...channel] }),
    ...(on === undefined ? {} : { condition: ofWord(conditionWords, on, "condition") }),
    ...(window === undefined ? {} : { window: durationFromMs(window) }),
    ...(throttle === undefined ? {} : { throttle: durationFromMs(throttle) }),
    ...(Object.keys(filter).length === 0 ? {} : { filter }),
    ...(groupBy === undefined ? {} : { groupBy: groupOf(groupBy) }),
    ...(rest.severity === undefined ? {} : { severity: ofWord(severityWords, rest.severity, "severity") }),
  };
}

function groupOf(word: string): AlertGroupBy {
  return word === ownGroup ? AlertGroupBy.UNSPECIFIED : ofWord(groupWords, word, "way to group");
}

async function put(
  call: Call,
  rule: RuleInit,
  { reason = "", dryRun = false }: RuleOptions,
): Promise<number> {
  const response = await call.client(AlertService).putAlertRule({ rule, reason, dryRun }, call.once());
  const name = sanitize(response.rule?.name ?? "");
  call.output.print({
    schema: PutAlertRuleResponseSchema,
    message: response,
    text: () => (dryRun ? [`${name}\twould be kept`] : [`${name}\tkept`]),
    names: () => [response.rule?.name ?? ""],
  });
  if (response.rule?.channels.length === 0) {
    call.output.note("It has no channels: its alerts are kept, and nobody is told (--channel).");
  }
  return exitCodes.done;
}

async function isThere(call: Call, name: string): Promise<boolean> {
  try {
    await call.client(AlertService).getAlertRule({ name }, call.once());
    return true;
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.NotFound) return false;
    throw error;
  }
}

function thresholdOption(text: string): number | "default" {
  return text === "default" ? text : orThrow(readAmount(text));
}

const emptyRule: Partial<AlertRule> = {};

function withoutUndefined<Fields extends object>(
  fields: Fields,
): { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> } {
  const kept = Object.entries(fields).filter(([, value]) => value !== undefined);
  // What is undefined is left out, the rest is as it was.
  return Object.fromEntries(kept) as { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> };
}
