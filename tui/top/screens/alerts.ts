import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { AlertService } from "@muster/client/v1/alert_service";
import { placeOf, thresholdText } from "../../commands/alert-show.ts";
import { conditionWords } from "../../commands/alert-words.ts";
import { showDuration } from "../../output/time.ts";
import type { Piece } from "../lines.ts";
import { commandLine } from "../shell/command-line.ts";
import type { FilterTerm } from "../shell/filter-terms.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame, Shell } from "../shell/screen.ts";
import { knownTerms, readTerms } from "../shell/term-values.ts";
import { pagedSources } from "../sources/paged.ts";
import { type AlertRow, alertKeys } from "./alert-keys.ts";
import { alertLines } from "./alert-view.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import type { ColumnSpec } from "./list-view.ts";

const terms: readonly FilterTerm[] = [
  { name: "show", about: "rules, channels or silences alone", values: ["rules", "channels", "silences"] },
];

const columns: readonly ColumnSpec<AlertRow>[] = [
  { id: "sort", title: "WHAT", width: 7, cell: ({ sort }) => ({ text: sort, style: "dim" }) },
  { id: "name", title: "NAME", width: 22, cell: ({ name }) => ({ text: name || "all rules" }) },
  { id: "state", title: "STATE", width: 11, cell: (row, frame) => stateOf(row, frame) },
  {
    id: "last",
    title: "LAST",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    rank: 1,
    cell: (row, frame) => {
      const time = lastOf(row);
      return { text: time === undefined ? "never" : showMoment(time, frame) };
    },
  },
  { id: "about", title: "ABOUT", width: 0, cell: (row) => ({ text: aboutOf(row) }) },
];

/** The rules and the channels of alerts, and the silences that hold: the rules first. */
export function createAlerts(shell: Shell): ListScreen<AlertRow> {
  const client = shell.client(AlertService);
  return createListScreen<AlertRow>(shell, {
    id: "alerts",
    title: () => "Alerts",
    idOf: (row) => [row.sort, row.name, row.sort === "silence" ? row.silence.group : ""].join(" "),
    columns,
    source: pagedSources<AlertRow>(
      async ({ filter }, _, signal) => {
        const shown = readTerms(filter, terms).get("show");
        const options = { signal, timeoutMs: 30_000 };
        // An org has 200 rules and 100 channels at most.
        const [{ rules }, { channels }, { silences }] = await Promise.all([
          client.listAlertRules({ pageSize: 1_000 }, options),
          client.listAlertChannels({ pageSize: 1_000 }, options),
          client.listAlertSilences({}, options),
        ]);
        const isSilent = (name: string): boolean =>
          silences.some(({ rule, group }) => group === "" && (rule === "" || rule === name));
        const rows: AlertRow[] = [
          ...rules.map(
            (rule) => ({ sort: "rule", name: rule.name, rule, isSilent: isSilent(rule.name) }) as const,
          ),
          ...silences.map((silence) => ({ sort: "silence", name: silence.rule, silence }) as const),
          ...channels.map((channel) => ({ sort: "channel", name: channel.name, channel }) as const),
        ];
        return {
          rows: rows.filter(({ sort }) => shown === undefined || `${sort}s` === shown),
          nextPageToken: "",
        };
      },
      { everyMs: 3_000 },
    ),
    terms,
    none: "There are none: c creates rules and channels.",
    preview: (row, frame) => alertLines(row, frame),
    keys: (list) => alertKeys(shell, list.current),
    equals: [
      { command: "alert list", method: "AlertService.ListAlertRules" },
      { command: "channel list", method: "AlertService.ListAlertChannels" },
      { command: "alert silences", method: "AlertService.ListAlertSilences" },
    ],
    command: ({ filter }) => commandLine(commandOf(filter)),
    copies: ({ name }) => [["name", name]],
  });
}

function commandOf(filter: string): string {
  const shown = knownTerms(filter, terms).get("show");
  return shown === "channels" ? "channel list" : shown === "silences" ? "alert silences" : "alert list";
}

function lastOf(row: AlertRow): Timestamp | undefined {
  switch (row.sort) {
    case "rule":
      return row.rule.lastFireTime;
    case "channel":
      return row.channel.lastSendTime;
    case "silence":
      return row.silence.createTime;
  }
}

function stateOf(row: AlertRow, { nowMs }: ScreenFrame): Piece {
  switch (row.sort) {
    case "rule": {
      const { disabled, firing } = row.rule;
      if (disabled) return { text: "disabled", style: "dim" };
      if (firing > 0) return { text: `FIRING ${firing}`, style: "bold-yellow" };
      return row.isSilent ? { text: "silent", style: "yellow" } : { text: "quiet", style: "green" };
    }
    case "channel": {
      if (row.channel.disabled) return { text: "disabled", style: "dim" };
      const isFailing = row.channel.failingSince !== undefined;
      return isFailing ? { text: "FAILING", style: "red" } : { text: "ok", style: "green" };
    }
    case "silence": {
      const leftMs = row.silence.endTime === undefined ? 0 : timestampMs(row.silence.endTime) - nowMs;
      return { text: leftMs <= 0 ? "over" : `${showDuration(Math.ceil(leftMs / 1_000) * 1_000)} left` };
    }
  }
}

function aboutOf(row: AlertRow): string {
  if (row.sort === "channel") return `${row.channel.target.case ?? ""} ${placeOf(row.channel)}`;
  if (row.sort === "silence") {
    const { group, creator, reason } = row.silence;
    return [group, reason, `by ${creator}`].filter((part) => part !== "").join(", ");
  }
  const { rule, isSilent } = row;
  if (isSilent) return `silent; ${conditionWords.get(rule.condition) ?? ""} at ${thresholdText(rule)}`;
  const to = rule.channels.length === 0 ? "nobody is told" : `to ${rule.channels.join(" ")}`;
  return `${conditionWords.get(rule.condition) ?? ""} at ${thresholdText(rule)}, ${to}`;
}
