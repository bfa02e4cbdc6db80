import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type AlertChannel,
  type AlertChannelSchema,
  type AlertCondition,
  AlertGroupBy,
  type AlertRule,
  type AlertRuleSchema,
  type AlertSchema,
  AlertSeverity,
  type AlertSilenceSchema,
} from "@muster/client/v1/alert_service";
import type { AlertChannelView } from "../domain/alert-channels.ts";
import type { AlertRuleView, NewAlertRule } from "../domain/alert-rules.ts";
import type { SilenceView } from "../domain/alert-silences.ts";
import type { AlertView } from "../domain/alerts.ts";
import { encodeId } from "../domain/ids.ts";
import { type AlertTarget, type NewAlertChannel, slackApiUrl } from "../domain/rules/alert-channels.ts";
import {
  type AlertRuleDefinition,
  alertConditions,
  type AlertCondition as ConditionName,
  conditionFacts,
  ruleDefaults,
} from "../domain/rules/alert-rules.ts";
import { type Problems, readDuration, writeTime } from "./messages.ts";

/** Reads a rule; what is absent takes its default. */
export function readRule(problems: Problems, message: AlertRule): NewAlertRule {
  const condition = conditionOf(problems, message.condition);
  const { threshold = conditionFacts[condition].threshold, filter, resolveMessage = true } = message;
  return {
    name: message.name,
    isDisabled: message.disabled,
    definition: {
      condition,
      threshold,
      windowMs: readDuration(problems, "rule.window", message.window) ?? ruleDefaults.windowMs,
      least: message.least === 0 ? ruleDefaults.least : message.least,
      filter: { queue: filter?.queue ?? "", kind: filter?.kind ?? "", project: filter?.project ?? "" },
      channels: message.channels,
      throttleMs: readDuration(problems, "rule.throttle", message.throttle) ?? ruleDefaults.throttleMs,
      groupBy: groupOf(problems, message.groupBy),
      resolveMessage,
      severity: severityOf(problems, message.severity),
      note: message.note,
    },
  };
}

/** A rule as a message. */
export function ruleMessage(view: AlertRuleView): MessageInitShape<typeof AlertRuleSchema> {
  const { condition, threshold, windowMs, least, filter, channels, throttleMs, groupBy, ...rest } =
    view.definition;
  return {
    name: view.name,
    condition: conditionNumber(condition),
    threshold,
    window: durationFromMs(windowMs),
    least,
    filter,
    channels: [...channels],
    throttle: durationFromMs(throttleMs),
    groupBy: groupNumbers[groupBy],
    resolveMessage: rest.resolveMessage,
    severity: severityNumbers[rest.severity],
    note: rest.note,
    disabled: view.isDisabled,
    firing: view.firing,
    ...(view.lastFiredAt === null ? {} : { lastFireTime: writeTime(view.lastFiredAt) }),
    createTime: writeTime(view.createdAt),
    updateTime: writeTime(view.updatedAt),
  };
}

/** Reads a channel. */
export function readChannel(problems: Problems, message: AlertChannel): NewAlertChannel {
  const { name, disabled } = message;
  return { name, isDisabled: disabled, target: readTarget(problems, message.target) };
}

/** A channel as a message, without secrets. */
export function channelMessage(view: AlertChannelView): MessageInitShape<typeof AlertChannelSchema> {
  const { name, isDisabled, secretHint, lastError, pending, failingSince, lastSentAt } = view;
  return {
    ...{ name, disabled: isDisabled, secretHint, lastError, pending },
    target: targetMessage(view.target),
    ...(failingSince === null ? {} : { failingSince: writeTime(failingSince) }),
    ...(lastSentAt === null ? {} : { lastSendTime: writeTime(lastSentAt) }),
    createTime: writeTime(view.createdAt),
    updateTime: writeTime(view.updatedAt),
  };
}

/** A silence as a message. */
export function silenceMessage(view: SilenceView): MessageInitShape<typeof AlertSilenceSchema> {
  const { rule, groupKey, reason, creator, endsAt, createdAt } = view;
  const times = { endTime: writeTime(endsAt), createTime: writeTime(createdAt) };
  return { rule, group: groupKey, reason, creator, ...times };
}

/** An alert as a message. */
export function alertMessage(view: AlertView): MessageInitShape<typeof AlertSchema> {
  const { rule, groupKey, summary, value, occurrences, startedAt, endedAt, notifiedAt } = view;
  return {
    alertId: encodeId("alert", view.alertId),
    ...{ rule, group: groupKey, summary, value, occurrences: BigInt(occurrences) },
    condition: conditionNumber(view.condition),
    severity: severityNumbers[isSeverity(view.severity) ? view.severity : "warning"],
    jobIds: view.jobIds.map((id) => encodeId("job", id)),
    startTime: writeTime(startedAt),
    ...(endedAt === null ? {} : { endTime: writeTime(endedAt) }),
    ...(notifiedAt === null ? {} : { notifyTime: writeTime(notifiedAt) }),
    silenced: view.isSilenced,
    deliveries: view.deliveries.map(({ deliveryId, channel, event, state, tries, lastError, ...times }) => ({
      deliveryId: encodeId("alertDelivery", deliveryId),
      ...{ channel, event, state, tries, lastError },
      createTime: writeTime(times.createdAt),
      ...(times.sentAt === null ? {} : { sendTime: writeTime(times.sentAt) }),
    })),
  };
}

function readTarget(problems: Problems, target: AlertChannel["target"]): AlertTarget {
  switch (target.case) {
    case "slack": {
      const { webhookUrl, botToken, channel, apiUrl } = target.value;
      if (webhookUrl !== "" && (botToken !== "" || channel !== "")) {
        problems.push({ field: "channel.slack", message: "is by a webhook or by a bot, not by both" });
      }
      if (channel === "" && botToken === "") return { type: "slack", by: "webhook", webhookUrl };
      return { type: "slack", by: "bot", botToken, channel, apiUrl: apiUrl || slackApiUrl };
    }
    case "discord":
      return { type: "discord", webhookUrl: target.value.webhookUrl };
    case "email":
      return { type: "email", to: target.value.to };
    case "webhook": {
      const { url, secret, previousSecret } = target.value;
      if (url === "") problems.push({ field: "channel.webhook.url", message: "is required" });
      return { type: "webhook", url, secret, previousSecret };
    }
    case undefined:
      problems.push({ field: "channel", message: "must have one of slack, discord, email and webhook" });
      return { type: "email", to: [] };
  }
}

function targetMessage(target: AlertTarget): MessageInitShape<typeof AlertChannelSchema>["target"] & {} {
  switch (target.type) {
    case "slack":
      return target.by === "webhook"
        ? { case: "slack", value: {} }
        : { case: "slack", value: { channel: target.channel, apiUrl: target.apiUrl } };
    case "discord":
      return { case: "discord", value: {} };
    case "email":
      return { case: "email", value: { to: [...target.to] } };
    case "webhook":
      return { case: "webhook", value: { url: target.url } };
  }
}

// The names are in the order of the numbers, which begin at 1.
function conditionOf(problems: Problems, condition: AlertCondition): ConditionName {
  const name = alertConditions[condition - 1];
  if (name === undefined) problems.push({ field: "rule.condition", message: "must be a known condition" });
  return name ?? "job-dead";
}

function conditionNumber(name: string): AlertCondition {
  const names: readonly string[] = alertConditions;
  return names.indexOf(name) + 1;
}

function groupOf(problems: Problems, group: AlertGroupBy): AlertRuleDefinition["groupBy"] {
  const found = groupNames.find((name) => groupNumbers[name] === group);
  if (found === undefined) problems.push({ field: "rule.groupBy", message: "must be a known one" });
  return found ?? "natural";
}

function severityOf(problems: Problems, severity: AlertSeverity): AlertRuleDefinition["severity"] {
  if (severity === AlertSeverity.UNSPECIFIED) return "warning";
  const found = severityNames.find((name) => severityNumbers[name] === severity);
  if (found === undefined) problems.push({ field: "rule.severity", message: "must be a known one" });
  return found ?? "warning";
}

function isSeverity(text: string): text is AlertRuleDefinition["severity"] {
  return severityNames.some((name) => name === text);
}

const groupNames = ["natural", "none", "kind", "queue", "project"] as const;
const groupNumbers = {
  natural: AlertGroupBy.UNSPECIFIED,
  none: AlertGroupBy.NONE,
  kind: AlertGroupBy.KIND,
  queue: AlertGroupBy.QUEUE,
  project: AlertGroupBy.PROJECT,
} as const;

const severityNames = ["notice", "warning", "critical"] as const;
const severityNumbers = {
  notice: AlertSeverity.NOTICE,
  warning: AlertSeverity.WARNING,
  critical: AlertSeverity.CRITICAL,
} as const;
