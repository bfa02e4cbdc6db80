import type { Alert, AlertChannel, AlertRule, AlertSilence } from "@muster/client/v1/alert_service";
import { AlertCondition, AlertSeverity } from "@muster/client/v1/alert_service";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { durationToMs, showCount, showDuration } from "../output/time.ts";
import { conditionWords, groupWords, severityWords } from "./alert-words.ts";

/** A table of rules. */
export function ruleTable(rules: readonly AlertRule[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "RULE" },
    { title: "STATE" },
    { title: "ON" },
    { title: "AT", align: "right" },
    { title: "LAST FIRED", align: "right" },
    { title: "CHANNELS", isWide: true },
  ] as const;
  const rows = rules.map((rule): Cell[] => [
    sanitize(rule.name),
    stateCell(rule),
    conditionWords.get(rule.condition) ?? "unknown",
    thresholdText(rule),
    output.age(rule.lastFireTime, nowMs),
    sanitize(rule.channels.join(" ")),
  ]);
  return layTable(columns, rows, output.layout);
}

/** Everything about a rule. */
export function ruleFacts(rule: AlertRule, output: Output, nowMs: number): string[] {
  const { filter, window, throttle } = rule;
  const parts = Object.entries({ queue: filter?.queue, kind: filter?.kind, project: filter?.project });
  const filtered = parts.flatMap(([name, text]) => (text ? [`${name}:${text}`] : [])).join(" ");
  return layFacts(
    [
      ["rule", sanitize(rule.name)],
      ["state", stateCell(rule)],
      ["on", conditionWords.get(rule.condition)],
      ["threshold", thresholdText(rule)],
      ["window", window === undefined ? undefined : showDuration(durationToMs(window))],
      ["least", String(rule.least)],
      ["filter", sanitize(filtered)],
      ["grouped by", groupWords.get(rule.groupBy) ?? "what it is about"],
      ["channels", sanitize(rule.channels.join(" ")) || "none"],
      ["throttle", throttle === undefined ? undefined : showDuration(durationToMs(throttle))],
      ["when over", rule.resolveMessage === false ? "no message" : "a message"],
      ["severity", severityWords.get(rule.severity)],
      ["note", sanitize(rule.note)],
      ["last fired", output.timeAndAge(rule.lastFireTime, nowMs)],
      ["changed", output.timeAndAge(rule.updateTime, nowMs)],
    ],
    output.layout,
  );
}

/** A table of channels. */
export function channelTable(channels: readonly AlertChannel[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "CHANNEL" },
    { title: "TYPE" },
    { title: "STATE" },
    { title: "WAITING", align: "right" },
    { title: "LAST SENT", align: "right" },
    { title: "TO", isWide: true },
  ] as const;
  const rows = channels.map((channel): Cell[] => [
    sanitize(channel.name),
    channel.target.case ?? "unknown",
    channelState(channel),
    showCount(channel.pending),
    output.age(channel.lastSendTime, nowMs),
    sanitize(placeOf(channel)),
  ]);
  return layTable(columns, rows, output.layout);
}

/** Everything about a channel. */
export function channelFacts(channel: AlertChannel, output: Output, nowMs: number): string[] {
  return layFacts(
    [
      ["channel", sanitize(channel.name)],
      ["type", channel.target.case],
      ["to", sanitize(placeOf(channel))],
      ["state", channelState(channel)],
      ["secret", channel.secretHint === "" ? undefined : `…${sanitize(channel.secretHint)}`],
      ["waiting", showCount(channel.pending)],
      ["last sent", output.timeAndAge(channel.lastSendTime, nowMs)],
      ["failing since", output.timeAndAge(channel.failingSince, nowMs)],
      ["last error", sanitize(channel.lastError)],
      ["changed", output.timeAndAge(channel.updateTime, nowMs)],
    ],
    output.layout,
  );
}

/** A table of alerts. */
export function alertTable(alerts: readonly Alert[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "RULE" },
    { title: "SEVERITY" },
    { title: "STATE" },
    { title: "SINCE", align: "right" },
    { title: "TIMES", align: "right" },
    { title: "MESSAGES" },
    { title: "SUMMARY", isWide: true },
  ] as const;
  const rows = alerts.map((alert): Cell[] => [
    sanitize(alert.rule),
    severityCell(alert.severity),
    alert.endTime === undefined ? { text: "FIRING", style: "bold-yellow" } : "over",
    output.age(alert.startTime, nowMs),
    showCount(alert.occurrences),
    alert.silenced ? "silenced" : messagesText(alert),
    sanitize(alert.group === "" ? alert.summary : `${alert.group}: ${alert.summary}`),
  ]);
  return layTable(columns, rows, output.layout);
}

/** A table of silences. */
export function silenceTable(silences: readonly AlertSilence[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "RULE" },
    { title: "GROUP" },
    { title: "ENDS" },
    { title: "BY" },
    { title: "WHY", isWide: true },
  ] as const;
  const rows = silences.map((one): Cell[] => [
    sanitize(one.rule) || "all",
    sanitize(one.group) || "all",
    output.timeAndAge(one.endTime, nowMs),
    sanitize(one.creator),
    sanitize(one.reason),
  ]);
  return layTable(columns, rows, output.layout);
}

/** The threshold with its unit. */
export function thresholdText({ condition, threshold = 0 }: AlertRule): string {
  switch (condition) {
    case AlertCondition.FAILURE_RATE:
    case AlertCondition.DISK:
      return `${threshold} %`;
    case AlertCondition.QUEUE_AGE:
      return showDuration(threshold * 1_000);
    case AlertCondition.DATABASE:
      return `${threshold} ms`;
    case AlertCondition.JOB_SLOW:
      return `${threshold} × p95`;
    default:
      return String(threshold);
  }
}

/** Where a channel leads, without its secret. */
export function placeOf({ target }: AlertChannel): string {
  switch (target.case) {
    case "slack":
      return target.value.channel === "" ? "an incoming webhook" : target.value.channel;
    case "email":
      return target.value.to.join(" ");
    case "webhook":
      return target.value.url;
    case "discord":
      return "a webhook";
    case undefined:
      return "";
  }
}

function stateCell({ disabled, firing }: AlertRule): Cell {
  if (disabled) return "disabled";
  return firing > 0 ? { text: `FIRING ${showCount(firing)}`, style: "bold-yellow" } : "quiet";
}

function channelState({ disabled, failingSince }: AlertChannel): Cell {
  if (disabled) return "disabled";
  return failingSince === undefined ? "ok" : { text: "FAILING", style: "red" };
}

function severityCell(severity: AlertSeverity): Cell {
  const text = severityWords.get(severity) ?? "warning";
  return severity === AlertSeverity.CRITICAL ? { text, style: "red" } : text;
}

function messagesText({ deliveries }: Alert): string {
  const count = (state: string) => deliveries.filter((one) => one.state === state).length;
  const parts = ["sent", "pending", "failed"].flatMap((state) =>
    count(state) > 0 ? [`${count(state)} ${state}`] : [],
  );
  return parts.join(", ") || "none";
}
