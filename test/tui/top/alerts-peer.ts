import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import {
  type AlertChannel,
  AlertChannelSchema,
  AlertCondition,
  type AlertRule,
  AlertRuleSchema,
  AlertService,
  AlertSeverity,
  type AlertSilence,
  AlertSilenceSchema,
} from "@muster/client/v1/alert_service";
import { makeNounsPeer } from "./nouns-peer.ts";
import { sampleMs } from "./sample.ts";

const ago = (seconds: number) => timestampFromMs(sampleMs - seconds * 1_000);

/** Alert rules, channels and silences in memory; what was asked for is kept. */
export interface AlertsPeer {
  readonly routes: (router: ConnectRouter) => void;
  readonly rules: Map<string, AlertRule>;
  readonly channels: Map<string, AlertChannel>;
  readonly silences: AlertSilence[];
  /** The acts that changed something or sent something, in their order. */
  readonly acts: string[];
  /** What the next put that is no dry run is refused with. */
  refuse?: Error;
}

/** Makes it with two rules, a channel and no silence. */
export function makeAlertsPeer(): AlertsPeer {
  const rules = new Map<string, AlertRule>();
  const channels = new Map<string, AlertChannel>();
  const silences: AlertSilence[] = [];
  const acts: string[] = [];
  const keep = (rule: AlertRule): void => void rules.set(rule.name, rule);
  keep(
    create(AlertRuleSchema, {
      ...{ name: "dead-jobs", condition: AlertCondition.JOB_DEAD, threshold: 3, least: 10 },
      ...{ window: { seconds: 600n }, throttle: { seconds: 900n }, severity: AlertSeverity.CRITICAL },
      ...{ channels: ["ops"], note: "look at\u001b[2J it", updateTime: ago(60), resolveMessage: true },
    }),
  );
  keep(create(AlertRuleSchema, { name: "stuck", condition: AlertCondition.QUEUE_AGE, threshold: 900 }));
  const target = { case: "webhook" as const, value: { url: "https://hooks.example/x" } };
  channels.set("ops", create(AlertChannelSchema, { name: "ops", target, secretHint: "abcd" }));
  const found = <Row>(row: Row | undefined, name: string): Row => {
    if (row === undefined) throw makeError(Code.NotFound, `none: ${name}`, { reason: "NOT_FOUND" });
    return row;
  };
  const wrong = (field: string, message: string): never => {
    throw makeError(Code.InvalidArgument, "no", {
      ...{ reason: "VALIDATION_FAILED" },
      violations: [{ field, message }],
    });
  };
  const putting = (isDryRun: boolean): void => {
    const { refuse } = peer;
    if (refuse === undefined || isDryRun) return;
    delete peer.refuse;
    throw refuse;
  };
  const routes = (router: ConnectRouter): void => {
    makeNounsPeer().routes(router);
    router.service(AlertService, {
      listAlertRules: () => ({ rules: [...rules.values()] }),
      listAlertChannels: () => ({ channels: [...channels.values()] }),
      listAlertSilences: () => ({ silences }),
      listAlerts: () => ({ alerts: [] }),
      getAlertRule: ({ name }) => ({ rule: found(rules.get(name), name) }),
      getAlertChannel: ({ name }) => ({ channel: found(channels.get(name), name) }),
      putAlertRule: ({ rule, dryRun, reason }) => {
        if (rule?.threshold === 0) wrong("rule.threshold", "must be 1 to 1,000,000");
        putting(dryRun);
        if (rule !== undefined && !dryRun) {
          acts.push(`put ${rule.name} ${reason}`.trim());
          rules.set(rule.name, rule);
        }
        return rule === undefined ? {} : { rule };
      },
      putAlertChannel: ({ channel, dryRun, reason }) => {
        const { case: type, value } = channel?.target ?? { case: undefined };
        if (type === "webhook" && !value.url.startsWith("https:")) {
          wrong("channel.webhook.url", "must be https");
        }
        putting(dryRun);
        const made = type === "webhook" && value.secret === "" && !channels.has(channel?.name ?? "");
        if (channel !== undefined && !dryRun) {
          acts.push(`put ${channel.name} ${reason}`.trim());
          channels.set(channel.name, channel);
        }
        return {
          ...(channel === undefined ? {} : { channel }),
          secret: made && !dryRun ? "whsec_made-of-the-server" : "",
        };
      },
      deleteAlertRule: ({ name }) => {
        acts.push(`delete rule ${name}`);
        rules.delete(name);
        return {};
      },
      deleteAlertChannel: ({ name }) => {
        acts.push(`delete channel ${name}`);
        channels.delete(name);
        return {};
      },
      setAlertRuleEnabled: ({ name, enabled }) => {
        acts.push(`${enabled ? "enable" : "disable"} rule ${name}`);
        const rule = found(rules.get(name), name);
        rule.disabled = !enabled;
        return { rule };
      },
      setAlertChannelEnabled: ({ name, enabled }) => {
        acts.push(`${enabled ? "enable" : "disable"} channel ${name}`);
        const channel = found(channels.get(name), name);
        channel.disabled = !enabled;
        return { channel };
      },
      testAlertChannel: ({ name, rule, dryRun }) => {
        if (!dryRun) acts.push(`send ${name} ${rule}`.trim());
        return { text: `[TEST] ${rule || "sample"}: a job is dead`, sent: !dryRun };
      },
      silenceAlerts: ({ rule, group, reason, duration }) => {
        acts.push(`silence ${rule || "all"} ${duration?.seconds}s ${reason}`.trim());
        const silence = create(AlertSilenceSchema, {
          ...{ rule, group, reason, creator: "ada\u001b[2J", createTime: ago(0) },
          endTime: timestampFromMs(sampleMs + Number(duration?.seconds ?? 3_600n) * 1_000),
        });
        silences.splice(0, silences.length, ...silences.filter((one) => one.rule !== rule), silence);
        return { silence };
      },
      unsilenceAlerts: ({ rule }) => {
        acts.push(`unsilence ${rule || "all"}`);
        silences.splice(0, silences.length, ...silences.filter((one) => one.rule !== rule));
        return {};
      },
    });
  };
  const peer: AlertsPeer = { routes, rules, channels, silences, acts };
  return peer;
}
