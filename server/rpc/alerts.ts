import type { ServiceImpl } from "@connectrpc/connect";
import type { AlertService } from "@muster/client/v1/alert_service";
import {
  deleteAlertChannel,
  getAlertChannel,
  listAlertChannels,
  putAlertChannel,
  setAlertChannelEnabled,
} from "../domain/alert-channels.ts";
import {
  deleteAlertRule,
  getAlertRule,
  listAlertRules,
  putAlertRule,
  setAlertRuleEnabled,
} from "../domain/alert-rules.ts";
import { listSilences, silenceAlerts, unsilenceAlerts } from "../domain/alert-silences.ts";
import { testAlertChannel } from "../domain/alert-tests.ts";
import { listAlerts } from "../domain/alerts.ts";
import {
  alertMessage,
  channelMessage,
  readChannel,
  readRule,
  ruleMessage,
  silenceMessage,
} from "./alert-messages.ts";
import { callerOf } from "./auth.ts";
import { type Problems, pageOf, readDuration, refuseProblems, required } from "./messages.ts";
import type { ApiParts } from "./parts.ts";

const defaultSilenceMs = 3_600_000;

/** `muster.v1.AlertService`. */
export function alertService({ coordinator, alerts }: ApiParts): ServiceImpl<typeof AlertService> {
  const c = { ...coordinator, ...alerts };
  return {
    async listAlertRules(request, context) {
      const { items, nextPageToken } = await listAlertRules(c, callerOf(context), pageOf(request));
      return { rules: items.map(ruleMessage), nextPageToken };
    },

    async getAlertRule({ name }, context) {
      return { rule: ruleMessage(await getAlertRule(c, callerOf(context), name)) };
    },

    async putAlertRule({ rule, reason, dryRun: isDryRun }, context) {
      const problems: Problems = [];
      const given = required(problems, "rule", rule) ? readRule(problems, rule) : null;
      refuseProblems(problems);
      if (given === null) throw new Error("what is required was not refused");
      const view = await putAlertRule(c, callerOf(context), { rule: given, reason, isDryRun });
      return { rule: ruleMessage(view) };
    },

    async deleteAlertRule({ name, reason }, context) {
      await deleteAlertRule(c, callerOf(context), { name, reason });
      return {};
    },

    async setAlertRuleEnabled({ name, enabled: isEnabled, reason }, context) {
      const view = await setAlertRuleEnabled(c, callerOf(context), { name, isEnabled, reason });
      return { rule: ruleMessage(view) };
    },

    async listAlertChannels(request, context) {
      const { items, nextPageToken } = await listAlertChannels(c, callerOf(context), pageOf(request));
      return { channels: items.map(channelMessage), nextPageToken };
    },

    async getAlertChannel({ name }, context) {
      return { channel: channelMessage(await getAlertChannel(c, callerOf(context), name)) };
    },

    async putAlertChannel({ channel, reason, dryRun: isDryRun }, context) {
      const problems: Problems = [];
      const given = required(problems, "channel", channel) ? readChannel(problems, channel) : null;
      refuseProblems(problems);
      if (given === null) throw new Error("what is required was not refused");
      const { signal } = context;
      const put = await putAlertChannel(c, callerOf(context), { channel: given, reason, isDryRun, signal });
      return { channel: channelMessage(put.channel), secret: put.secret };
    },

    async deleteAlertChannel({ name, reason }, context) {
      await deleteAlertChannel(c, callerOf(context), { name, reason });
      return {};
    },

    async setAlertChannelEnabled({ name, enabled: isEnabled, reason }, context) {
      const view = await setAlertChannelEnabled(c, callerOf(context), { name, isEnabled, reason });
      return { channel: channelMessage(view) };
    },

    async testAlertChannel({ name, rule, dryRun: isDryRun }, context) {
      const { signal } = context;
      const { text, body, error } = await testAlertChannel(c, callerOf(context), {
        ...{ name, rule, isDryRun, signal },
      });
      return { text, body, sent: !isDryRun && error === "", error };
    },

    async silenceAlerts({ rule, group, duration, reason }, context) {
      const problems: Problems = [];
      const durationMs = readDuration(problems, "duration", duration) ?? defaultSilenceMs;
      refuseProblems(problems);
      const wanted = { rule, groupKey: group, durationMs, reason };
      return { silence: silenceMessage(await silenceAlerts(c, callerOf(context), wanted)) };
    },

    async unsilenceAlerts({ rule, group, reason }, context) {
      await unsilenceAlerts(c, callerOf(context), { rule, groupKey: group, reason });
      return {};
    },

    async listAlertSilences(_, context) {
      const silences = await listSilences(c, callerOf(context));
      return { silences: silences.map(silenceMessage) };
    },

    async listAlerts({ rule, firing: isFiring, ...page }, context) {
      const wanted = { ...pageOf(page), rule, isFiring };
      const { items, nextPageToken } = await listAlerts(c, callerOf(context), wanted);
      return { alerts: items.map(alertMessage), nextPageToken };
    },
  };
}
