import { AlertChannelSchema, AlertRuleSchema, AlertService } from "@muster/client/v1/alert_service";
import { type Resource, resource } from "./resource.ts";

/** Where alerts go, and when. */
export const alertResources: readonly Resource[] = [
  resource({
    kind: "channel",
    field: "channel",
    schema: AlertChannelSchema,
    without: [
      ...["name", "secretHint", "failingSince", "lastError"],
      ...["lastSendTime", "pending", "createTime", "updateTime"],
    ],
    // Secrets are read back empty; their ends are not.
    compared: ["secretHint"],
    get: async (call, name) =>
      (await call.client(AlertService).getAlertChannel({ name }, call.once())).channel,
    put: async (call, channel, { isDryRun: dryRun, reason }) =>
      (await call.client(AlertService).putAlertChannel({ channel, dryRun, reason }, call.once())).channel,
    remove: (call, name, reason) =>
      call.client(AlertService).deleteAlertChannel({ name, reason }, call.once()),
    async page(call, pageToken) {
      const { channels, nextPageToken } = await call
        .client(AlertService)
        .listAlertChannels({ pageSize, pageToken }, call.once());
      return { items: channels, nextPageToken };
    },
  }),
  resource({
    kind: "alert",
    field: "rule",
    schema: AlertRuleSchema,
    without: ["name", "firing", "lastFireTime", "createTime", "updateTime"],
    get: async (call, name) => (await call.client(AlertService).getAlertRule({ name }, call.once())).rule,
    put: async (call, rule, { isDryRun: dryRun, reason }) =>
      (await call.client(AlertService).putAlertRule({ rule, dryRun, reason }, call.once())).rule,
    remove: (call, name, reason) => call.client(AlertService).deleteAlertRule({ name, reason }, call.once()),
    async page(call, pageToken) {
      const { rules, nextPageToken } = await call
        .client(AlertService)
        .listAlertRules({ pageSize, pageToken }, call.once());
      return { items: rules, nextPageToken };
    },
  }),
];

const pageSize = 1_000;
