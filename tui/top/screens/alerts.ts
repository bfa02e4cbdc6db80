import { type AlertChannel, type AlertRule, AlertService } from "@muster/client/v1/alert_service";
import { placeOf, thresholdText } from "../../commands/alert-show.ts";
import { conditionWords, groupWords, severityWords } from "../../commands/alert-words.ts";
import { durationToMs, showDuration } from "../../output/time.ts";
import { commandLine } from "../shell/command-line.ts";
import type { FilterTerm } from "../shell/filter-terms.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame, Shell } from "../shell/screen.ts";
import { readTerms } from "../shell/term-values.ts";
import { pagedSources } from "../sources/paged.ts";
import { type AlertRow, alertKeys } from "./alert-keys.ts";
import { type Fact, factLines, whenText } from "./facts.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import type { ColumnSpec } from "./list-view.ts";

const terms: readonly FilterTerm[] = [
  { name: "show", about: "rules alone, or channels", values: ["rules", "channels"] },
];

const columns: readonly ColumnSpec<AlertRow>[] = [
  { id: "sort", title: "WHAT", width: 7, cell: ({ sort }) => ({ text: sort, style: "dim" }) },
  { id: "name", title: "NAME", width: 22, cell: ({ name }) => ({ text: name }) },
  { id: "state", title: "STATE", width: 10, cell: (row) => stateOf(row) },
  {
    id: "last",
    title: "LAST",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    rank: 1,
    cell: (row, frame) => {
      const time = row.sort === "rule" ? row.rule.lastFireTime : row.channel.lastSendTime;
      return { text: time === undefined ? "never" : showMoment(time, frame) };
    },
  },
  { id: "about", title: "ABOUT", width: 0, cell: (row) => ({ text: aboutOf(row) }) },
];

/** The rules and the channels of alerts: the rules first. */
export function createAlerts(shell: Shell): ListScreen<AlertRow> {
  const client = shell.client(AlertService);
  return createListScreen<AlertRow>(shell, {
    id: "alerts",
    title: () => "Alerts",
    idOf: ({ sort, name }) => `${sort} ${name}`,
    columns,
    source: pagedSources<AlertRow>(
      async ({ filter }, _, signal) => {
        const shown = readTerms(filter, terms).get("show");
        const options = { signal, timeoutMs: 30_000 };
        // An org has 200 rules and 100 channels at most.
        const [{ rules }, { channels }] = await Promise.all([
          client.listAlertRules({ pageSize: 1_000 }, options),
          client.listAlertChannels({ pageSize: 1_000 }, options),
        ]);
        const rows: AlertRow[] = [
          ...rules.map((rule) => ({ sort: "rule" as const, name: rule.name, rule })),
          ...channels.map((channel) => ({ sort: "channel" as const, name: channel.name, channel })),
        ];
        return {
          rows: rows.filter(({ sort }) => shown === undefined || `${sort}s` === shown),
          nextPageToken: "",
        };
      },
      { everyMs: 3_000 },
    ),
    terms,
    none: "There are no alert rules and no channels: muster channel add, then muster alert create.",
    preview: (row, frame) =>
      row.sort === "rule" ? ruleLines(row.rule, frame) : channelLines(row.channel, frame),
    keys: (list) => alertKeys(shell, list.current),
    equals: [
      { command: "alert list", method: "AlertService.ListAlertRules" },
      { command: "channel list", method: "AlertService.ListAlertChannels" },
    ],
    command: () => commandLine("alert list"),
    copies: ({ name }) => [["name", name]],
  });
}

function stateOf(row: AlertRow) {
  if (row.sort === "rule") {
    const { disabled, firing } = row.rule;
    if (disabled) return { text: "disabled", style: "dim" as const };
    return firing > 0
      ? { text: `FIRING ${firing}`, style: "bold-yellow" as const }
      : { text: "quiet", style: "green" as const };
  }
  const { disabled, failingSince } = row.channel;
  if (disabled) return { text: "disabled", style: "dim" as const };
  return failingSince === undefined
    ? { text: "ok", style: "green" as const }
    : { text: "FAILING", style: "red" as const };
}

function aboutOf(row: AlertRow): string {
  if (row.sort === "channel") return `${row.channel.target.case ?? ""} ${placeOf(row.channel)}`;
  const { rule } = row;
  const to = rule.channels.length === 0 ? "nobody is told" : `to ${rule.channels.join(" ")}`;
  return `${conditionWords.get(rule.condition) ?? ""} at ${thresholdText(rule)}, ${to}`;
}

function ruleLines(rule: AlertRule, frame: ScreenFrame): string[] {
  const { filter, window, throttle } = rule;
  const filtered = [filter?.queue, filter?.kind, filter?.project].filter((text) => text).join(" ");
  const facts: Fact[] = [
    ["rule", rule.name],
    ["on", conditionWords.get(rule.condition) ?? ""],
    ["threshold", thresholdText(rule)],
    ["window", window === undefined ? "" : showDuration(durationToMs(window))],
    ["filter", filtered],
    ["grouped by", groupWords.get(rule.groupBy) ?? "what it is about"],
    ["throttle", throttle === undefined ? "" : showDuration(durationToMs(throttle))],
    ["severity", severityWords.get(rule.severity) ?? ""],
    ["channels", rule.channels.join(" ")],
    ["note", rule.note],
    ["last fired", rule.lastFireTime === undefined ? "never" : whenText(rule.lastFireTime, frame)],
  ];
  return factLines(facts, frame);
}

function channelLines(channel: AlertChannel, frame: ScreenFrame): string[] {
  const { failingSince, lastSendTime } = channel;
  const facts: Fact[] = [
    ["channel", channel.name],
    ["type", channel.target.case ?? ""],
    ["to", placeOf(channel)],
    ["secret", channel.secretHint === "" ? "" : `…${channel.secretHint}`],
    ["waiting", String(channel.pending)],
    ["last sent", lastSendTime === undefined ? "never" : whenText(lastSendTime, frame)],
    ["failing", failingSince === undefined ? "" : whenText(failingSince, frame)],
    ["last error", channel.lastError],
  ];
  return factLines(facts, frame);
}
