import type { AlertChannel, AlertRule, AlertSilence } from "@muster/client/v1/alert_service";
import { placeOf, thresholdText } from "../../commands/alert-show.ts";
import { conditionWords, groupWords, severityWords } from "../../commands/alert-words.ts";
import { durationToMs, showDuration, showTime } from "../../output/time.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import type { AlertRow } from "./alert-keys.ts";
import { type Fact, factLines, whenText } from "./facts.ts";

/** A row of the list of alerts beside it: everything about it but secrets. */
export function alertLines(row: AlertRow, frame: ScreenFrame): string[] {
  switch (row.sort) {
    case "rule":
      return ruleLines(row.rule, row.isSilent, frame);
    case "channel":
      return channelLines(row.channel, frame);
    case "silence":
      return silenceLines(row.silence, frame);
  }
}

function ruleLines(rule: AlertRule, isSilent: boolean, frame: ScreenFrame): string[] {
  const { filter, window, throttle } = rule;
  const filtered = [filter?.queue, filter?.kind, filter?.project].filter((text) => text).join(" ");
  const facts: Fact[] = [
    ["rule", rule.name],
    ["silent", isSilent ? "nobody is told" : ""],
    ["on", conditionWords.get(rule.condition) ?? ""],
    ["threshold", thresholdText(rule)],
    ["window", window === undefined ? "" : showDuration(durationToMs(window))],
    ["least", rule.least === 0 ? "" : String(rule.least)],
    ["filter", filtered],
    ["grouped by", groupWords.get(rule.groupBy) ?? "what it is about"],
    ["throttle", throttle === undefined ? "" : showDuration(durationToMs(throttle))],
    ["when over", rule.resolveMessage === false ? "no message" : "a message"],
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

function silenceLines(silence: AlertSilence, frame: ScreenFrame): string[] {
  const { rule, group, endTime, createTime, creator, reason } = silence;
  const facts: Fact[] = [
    ["silence of", rule || "all rules"],
    ["group", group || "all groups"],
    ["why", reason],
    ["by", creator],
    ["since", createTime === undefined ? "" : whenText(createTime, frame)],
    ["until", endTime === undefined ? "" : showTime(endTime)],
  ];
  return factLines(facts, frame);
}
