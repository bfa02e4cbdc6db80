import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import { createMusterTransport } from "@muster/client/node";
import {
  type AlertChannelSchema,
  AlertCondition,
  AlertGroupBy,
  AlertService,
} from "@muster/client/v1/alert_service";
import { AuditService } from "@muster/client/v1/audit_service";
import { OrgService } from "@muster/client/v1/org_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer({ outboundAllow: ["127.0.0.1"] });
});
afterAll(() => muster?.close());

const client = () => muster.client(AlertService);
type Target = NonNullable<MessageInitShape<typeof AlertChannelSchema>["target"]>;
const email: Target = { case: "email", value: { to: ["ada@example.com"] } };

async function failure(call: Promise<unknown>) {
  return call.then(
    () => null,
    (error: unknown) => {
      const { code, detail } = readError(error);
      return { code, reason: detail?.reason, fields: detail?.violations.map(({ field }) => field) };
    },
  );
}

describe("channels", () => {
  test("keep their secret to themselves, also where it is stored and in the audit log", async () => {
    const webhookUrl = "http://127.0.0.1:1/services/T0/B0/verysecretword";
    const target: Target = { case: "slack", value: { webhookUrl } };
    const put = await client().putAlertChannel({ channel: { name: "slack", target } });
    expect(put.channel).toMatchObject({ name: "slack", secretHint: "word", target: { case: "slack" } });
    const { channel } = await client().getAlertChannel({ name: "slack" });
    const { channels } = await client().listAlertChannels({});
    const { entries } = await muster.client(AuditService).listAuditEntries({});
    const [row] = await muster.database.admin`
      select target::text, encode(secret, 'escape') as secret from muster.alert_channels where name = 'slack'`;
    const text = (value: unknown) =>
      JSON.stringify(value, (_, one) => (typeof one === "bigint" ? String(one) : one));
    for (const seen of [put, channel, channels, entries, row]) {
      expect(text(seen)).not.toContain("verysecret");
    }
    // Left empty it stays: the test is sent to the same place, which does not answer.
    const kept: Target = { case: "slack", value: {} };
    const again = { name: "slack", target: kept };
    await client().putAlertChannel({ channel: again });
    expect((await client().getAlertChannel({ name: "slack" })).channel?.secretHint).toBe("word");
  });

  test("of webhooks get a secret, shown once", async () => {
    const target: Target = { case: "webhook", value: { url: "http://127.0.0.1:1/" } };
    const channel = { name: "hook", target };
    const { secret } = await client().putAlertChannel({ channel });
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect((await client().putAlertChannel({ channel })).secret).toBe("");
  });

  test.each<[string, Target, string]>([
    ["a private address", { case: "webhook", value: { url: "https://10.0.0.1/" } }, "channel.webhook.url"],
    ["no https", { case: "webhook", value: { url: "http://hooks.example/" } }, "channel.webhook.url"],
    [
      "the metadata service",
      { case: "slack", value: { webhookUrl: "https://169.254.169.254/" } },
      "channel.slack.webhookUrl",
    ],
    [
      "a decimal host",
      { case: "discord", value: { webhookUrl: "https://2130706433/" } },
      "channel.discord.webhookUrl",
    ],
    ["no mailbox", { case: "email", value: { to: ["ada@example.com", "a\r\nb: c"] } }, "channel.email.to[1]"],
    [
      "a short secret",
      { case: "webhook", value: { url: "http://127.0.0.1:1/", secret: "whsec_abc" } },
      "channel.webhook.secret",
    ],
    ["nothing", { case: undefined }, "channel"],
  ])("with %s are refused, with the field", async (_what, target, field) => {
    const refused = await failure(client().putAlertChannel({ channel: { name: "bad", target } }));
    expect(refused).toMatchObject({ code: Code.InvalidArgument, fields: expect.arrayContaining([field]) });
    expect((await failure(client().getAlertChannel({ name: "bad" })))?.reason).toBe(
      "ALERT_CHANNEL_NOT_FOUND",
    );
  });

  test("that rules send to are not deleted", async () => {
    await client().putAlertChannel({ channel: { name: "used", target: email } });
    const rule = { name: "uses", condition: AlertCondition.JOB_DEAD, channels: ["used"] };
    await client().putAlertRule({ rule });
    expect((await failure(client().deleteAlertChannel({ name: "used" })))?.reason).toBe("ALERT_CHANNEL_USED");
    await client().deleteAlertRule({ name: "uses" });
    await client().deleteAlertChannel({ name: "used" });
  });
});

describe("rules", () => {
  test("take defaults, and are read as they were put", async () => {
    const rule = { name: "flaky", condition: AlertCondition.FAILURE_RATE, groupBy: AlertGroupBy.KIND };
    const put = await client().putAlertRule({ rule });
    expect(put.rule).toMatchObject({
      ...rule,
      threshold: 50,
      window: { seconds: 300n },
      least: 10,
      throttle: { seconds: 900n },
      resolveMessage: true,
      firing: 0,
    });
    expect((await client().listAlertRules({})).rules.map(({ name }) => name)).toContain("flaky");
    const off = await client().setAlertRuleEnabled({ name: "flaky", enabled: false });
    expect(off.rule?.disabled).toBe(true);
  });

  test("are refused with everything that is wrong at once", async () => {
    const rule = {
      name: "Bad Name",
      condition: AlertCondition.QUEUE_DEPTH,
      threshold: -1,
      channels: ["nobody"],
      groupBy: AlertGroupBy.KIND,
      filter: { kind: "a*b" },
    };
    expect((await failure(client().putAlertRule({ rule })))?.fields?.toSorted()).toEqual([
      "rule.channels[0]",
      "rule.filter",
      "rule.filter.kind",
      "rule.groupBy",
      "rule.name",
      "rule.threshold",
    ]);
  });

  test("are only checked in a dry run", async () => {
    const rule = { name: "dry", condition: AlertCondition.JOB_DEAD };
    await client().putAlertRule({ rule, dryRun: true });
    expect((await failure(client().getAlertRule({ name: "dry" })))?.reason).toBe("ALERT_RULE_NOT_FOUND");
  });
});

test("what another org has is not there", async () => {
  await client().putAlertChannel({ channel: { name: "ours", target: email } });
  await client().putAlertRule({ rule: { name: "ours", condition: AlertCondition.JOB_DEAD } });
  const { text: key } = await muster.client(OrgService).createOrg({ name: "theirs" });
  const transport = createMusterTransport({ address: muster.server.apiAddress, key, httpVersion: "2" });
  const theirs = createClient(AlertService, transport);
  const name = "ours";
  expect((await failure(theirs.getAlertRule({ name })))?.reason).toBe("ALERT_RULE_NOT_FOUND");
  expect((await failure(theirs.deleteAlertRule({ name })))?.reason).toBe("ALERT_RULE_NOT_FOUND");
  expect((await failure(theirs.getAlertChannel({ name })))?.reason).toBe("ALERT_CHANNEL_NOT_FOUND");
  expect((await failure(theirs.testAlertChannel({ name })))?.reason).toBe("ALERT_CHANNEL_NOT_FOUND");
  expect((await failure(theirs.silenceAlerts({ rule: name })))?.reason).toBe("ALERT_RULE_NOT_FOUND");
  const rule = { name: "mine", condition: AlertCondition.JOB_DEAD, channels: ["ours"] };
  expect((await failure(theirs.putAlertRule({ rule })))?.fields).toEqual(["rule.channels[0]"]);
});

test("silences hold, are replaced, and end", async () => {
  await client().putAlertRule({ rule: { name: "loud", condition: AlertCondition.JOB_DEAD } });
  await client().silenceAlerts({ rule: "loud", reason: "first" });
  await client().silenceAlerts({ rule: "loud", reason: "second", duration: { seconds: 7200n, nanos: 0 } });
  const { silences } = await client().listAlertSilences({});
  expect(silences).toMatchObject([{ rule: "loud", reason: "second" }]);
  await client().unsilenceAlerts({ rule: "loud" });
  expect((await failure(client().unsilenceAlerts({ rule: "loud" })))?.reason).toBe("ALERT_SILENCE_NOT_FOUND");
});
