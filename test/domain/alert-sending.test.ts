import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { verifyWebhook } from "@muster/client/webhooks";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ChannelParts } from "../../server/domain/alert-channels.ts";
import { sendMessage } from "../../server/domain/alert-sending.ts";
import type { AlertTarget } from "../../server/domain/rules/alert-channels.ts";
import type { AlertMessage } from "../../server/domain/rules/alert-texts.ts";
import { deriveSealKeys, openSecret, sealSecret } from "../../server/domain/rules/sealed-secrets.ts";
import { newWebhookSecret } from "../../server/domain/rules/webhook-signatures.ts";
import { createMailer } from "../../server/outbound/mail.ts";
import { outboundHttp } from "../../server/outbound/outbound-http.ts";
import { startSmtpServer } from "../support/smtp.ts";

const nowMs = Date.UTC(2026, 10, 23, 6);
const hostile =
  "<!channel> @everyone <script>alert(1)</script> *bold* & \u0007bell <@U123> https://evil.example";
const message: AlertMessage = {
  event: "firing",
  org: "org_01jd9y3f4k8qkx2m0000000001",
  rule: "dead-jobs",
  condition: "job-dead",
  severity: "critical",
  note: "see <https://wiki|the runbook>",
  time: new Date(nowMs).toISOString(),
  alerts: [
    {
      alertId: "alr_01jd9y3f4k8qkx2m0000000001",
      group: "shell.run",
      summary: hostile,
      value: 3,
      occurrences: 3,
      since: new Date(nowMs).toISOString(),
      jobIds: ["job_01jd9y3f4k8qkx2m0000000001"],
    },
  ],
  others: 2,
};

interface Asked {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

let server: Server;
let base: string;
let answer = { status: 200, headers: {} as Record<string, string>, body: "ok" };
const asked: Asked[] = [];
beforeEach(async () => {
  asked.length = 0;
  answer = { status: 200, headers: {}, body: "ok" };
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const headers = Object.fromEntries(Object.entries(request.headers).map(([k, v]) => [k, String(v)]));
    asked.push({ url: request.url ?? "", headers, body: Buffer.concat(chunks).toString() });
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

function send(target: AlertTarget, parts: Partial<ChannelParts> = {}) {
  const none = { smtpUrl: undefined, sendgridKey: undefined, sendgridUrl: "https://x.invalid" };
  const c = {
    http: outboundHttp({ allow: ["127.0.0.1"] }),
    mailer: createMailer({ ...none, from: undefined }),
    sealKeys: deriveSealKeys(["secret"], "alert channels"),
    nowMs: () => nowMs,
    ...parts,
  };
  const { signal } = new AbortController();
  return sendMessage(c, { target, message, messageId: "adl_1", signal });
}

describe("a message to Slack", () => {
  test("is blocks with a fallback, in which users mention and link nothing", async () => {
    const sent = await send({ type: "slack", by: "webhook", webhookUrl: `${base}/services/T/B/x` });
    expect(sent.error).toBe("");
    const body = JSON.parse(asked[0]?.body ?? "");
    expect(asked[0]).toMatchObject({ url: "/services/T/B/x" });
    expect(asked[0]?.headers["content-type"]).toBe("application/json; charset=utf-8");
    expect(body.blocks).toMatchObject([
      { type: "header", text: { type: "plain_text", emoji: false } },
      { type: "section", text: { type: "mrkdwn", verbatim: true } },
    ]);
    expect(body.text).toMatch(/^\[CRITICAL\] dead-jobs: 3 alerts/);
    expect(body.blocks[0].text.text.length).toBeLessThanOrEqual(150);
    for (const text of [body.text, body.blocks[1].text.text]) expect(text).not.toMatch(/<[!@h]/);
    expect(body.blocks[1].text.text).toContain("&lt;!channel&gt;");
  });

  test("by a bot carries its token, and believes what Slack says within its 200", async () => {
    const target: AlertTarget = {
      type: "slack",
      by: "bot",
      botToken: "xoxb-1234567890",
      channel: "C0123",
      apiUrl: `${base}/api`,
    };
    answer.body = '{"ok":true}';
    expect((await send(target)).error).toBe("");
    expect(asked[0]).toMatchObject({ url: "/api/chat.postMessage" });
    expect(asked[0]?.headers["authorization"]).toBe("Bearer xoxb-1234567890");
    expect(JSON.parse(asked[0]?.body ?? "")).toMatchObject({ channel: "C0123", unfurl_links: false });
    answer.body = '{"ok":false,"error":"channel_not_found"}';
    expect((await send(target)).error).toBe("Slack answered channel_not_found");
    answer.body = '{"ok":false,"error":"<b>\\u0007"}';
    expect((await send(target)).error).toBe("Slack did not take it");
  });
});

test("a message to Discord is an embed that mentions nobody", async () => {
  answer = { status: 204, headers: {}, body: "" };
  expect((await send({ type: "discord", webhookUrl: `${base}/api/webhooks/1/x` })).error).toBe("");
  const body = JSON.parse(asked[0]?.body ?? "");
  expect(body.allowed_mentions).toEqual({ parse: [] });
  expect(body.embeds).toMatchObject([{ color: 0xef4444, timestamp: message.time }]);
  expect(body.embeds[0].description).toContain("\\*bold\\*");
  expect(body.content).toBeUndefined();
});

test("a message to a webhook is signed by both secrets while one is changed", async () => {
  const [secret, previousSecret] = [newWebhookSecret(), newWebhookSecret()];
  expect((await send({ type: "webhook", url: `${base}/hook`, secret, previousSecret })).error).toBe("");
  const [{ headers, body } = { headers: {}, body: "" }] = asked;
  for (const one of [secret, previousSecret]) {
    expect(verifyWebhook(one, { headers, body }, nowMs).id).toBe("adl_1");
  }
  expect(JSON.parse(body)).toMatchObject({ type: "alert.firing", data: { rule: "dead-jobs", others: 2 } });
});

test("a message by e-mail has text and HTML, in which users write no tags and no headers", async () => {
  const smtp = await startSmtpServer();
  try {
    const mailer = createMailer({
      smtpUrl: smtp.url,
      sendgridKey: undefined,
      sendgridUrl: "https://x.invalid",
      from: "muster@example.com",
    });
    expect((await send({ type: "email", to: ["ada@example.com"] }, { mailer })).error).toBe("");
    const [mail] = smtp.mails;
    expect(mail?.to).toEqual(["ada@example.com"]);
    expect(mail?.headers.get("message-id")).toBe("<adl_1@example.com>");
    expect(mail?.headers.get("subject")).toContain("[CRITICAL] dead-jobs: 3 alerts");
    expect(mail?.raw).toContain("text/plain");
    expect(mail?.raw.split("text/html")[1]).not.toContain("<script>");
  } finally {
    await smtp.stop();
  }
});

test.each([
  [500, false],
  [404, false],
  [302, false],
  [429, false],
  [400, true],
  [413, true],
])("an answer %s is a failure, for good: %s, and none of its words is kept", async (status, isFinal) => {
  answer = {
    status,
    headers: { "retry-after": "120", location: "http://169.254.169.254/" },
    body: "the secret",
  };
  const sent = await send({ type: "discord", webhookUrl: `${base}/` });
  expect(sent).toEqual({
    error: `it answered with HTTP ${status}`,
    isFinal,
    retryAfterMs: status === 429 ? 120_000 : null,
  });
  expect(asked).toHaveLength(1);
});

test("a sealed secret opens at its own place, also when the secret of the coordinator was changed", () => {
  const old = deriveSealKeys(["old"], "alert channels");
  const sealed = sealSecret(old, "org a", "xoxb-1");
  expect(openSecret(deriveSealKeys(["new", "old"], "alert channels"), "org a", sealed)).toBe("xoxb-1");
  expect(openSecret(old, "org b", sealed)).toBeNull();
  expect(openSecret(deriveSealKeys(["new"], "alert channels"), "org a", sealed)).toBeNull();
  expect(sealed.toString("latin1")).not.toContain("xoxb-1");
});
