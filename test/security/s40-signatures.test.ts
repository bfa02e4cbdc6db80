import { verifyWebhook, WebhookVerificationError } from "@muster/client/webhooks";
import { describe, expect, test } from "vitest";
import {
  newWebhookSecret,
  webhookHeaders,
  webhookSecretBytes,
} from "../../server/domain/rules/webhook-signatures.ts";

const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const body = '{"type":"alert.firing","text":"é"}';

function why(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof WebhookVerificationError) return error.why;
    throw error;
  }
  return "verified";
}

describe("S40 webhooks are signed", () => {
  test("by Standard Webhooks: the sample of its specification", () => {
    // https://github.com/standard-webhooks/standard-webhooks: the example of every library of it.
    const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const sentAtMs = 1_614_265_330_000;
    const sample = { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", sentAtMs, body: '{"test": 2432232314}' };
    expect(webhookHeaders([secret], sample)).toEqual({
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    });
  });

  test("the receiver takes what was signed, and nothing that was changed", () => {
    const secret = newWebhookSecret();
    const headers = webhookHeaders([secret], { id: "msg_1", sentAtMs: nowMs, body });
    expect(verifyWebhook(secret, { headers, body }, nowMs).id).toBe("msg_1");
    expect(verifyWebhook(secret, { headers: new Headers(headers), body: Buffer.from(body) }, nowMs).id).toBe(
      "msg_1",
    );
    const tampered: [string, () => unknown][] = [
      ["body", () => verifyWebhook(secret, { headers, body: `${body} ` }, nowMs)],
      ["id", () => verifyWebhook(secret, { headers: { ...headers, "webhook-id": "msg_2" }, body }, nowMs)],
      ["secret", () => verifyWebhook(newWebhookSecret(), { headers, body }, nowMs)],
      [
        "time",
        () =>
          verifyWebhook(
            secret,
            { headers: { ...headers, "webhook-timestamp": String(nowMs / 1_000 + 1) }, body },
            nowMs,
          ),
      ],
      [
        "no version",
        () =>
          verifyWebhook(
            secret,
            {
              headers: { ...headers, "webhook-signature": headers["webhook-signature"].replace("v1,", "") },
              body,
            },
            nowMs,
          ),
      ],
    ];
    for (const [name, run] of tampered) expect([name, why(run)]).toEqual([name, "signature"]);
    expect(why(() => verifyWebhook(secret, { headers: {}, body }, nowMs))).toBe("headers");
  });

  test("a message that is replayed after five minutes is refused, and one of the future", () => {
    const secret = newWebhookSecret();
    const headers = webhookHeaders([secret], { id: "msg_1", sentAtMs: nowMs, body });
    const at = (offsetMs: number) => why(() => verifyWebhook(secret, { headers, body }, nowMs + offsetMs));
    expect([at(0), at(299_000), at(-299_000)]).toEqual(["verified", "verified", "verified"]);
    expect([at(301_000), at(-301_000)]).toEqual(["time", "time"]);
  });

  test("a secret is changed without a message lost: both sign, either verifies", () => {
    const [old, young] = [newWebhookSecret(), newWebhookSecret()];
    const headers = webhookHeaders([young, old], { id: "msg_1", sentAtMs: nowMs, body });
    expect(verifyWebhook(old, { headers, body }, nowMs).id).toBe("msg_1");
    expect(verifyWebhook(young, { headers, body }, nowMs).id).toBe("msg_1");
    const alone = webhookHeaders([young], { id: "msg_2", sentAtMs: nowMs, body });
    expect(verifyWebhook([old, young], { headers: alone, body }, nowMs).id).toBe("msg_2");
    expect(why(() => verifyWebhook(old, { headers: alone, body }, nowMs))).toBe("signature");
  });

  test("a secret has 24 bytes at least", () => {
    expect(webhookSecretBytes(newWebhookSecret())).toHaveLength(32);
    for (const short of [
      "",
      "whsec_",
      `whsec_${Buffer.alloc(23).toString("base64")}`,
      "MfKQ9r8GKYqrTwjUPD8I",
    ]) {
      expect(webhookSecretBytes(short)).toBeNull();
      expect(why(() => verifyWebhook(short, { headers: webhookHeaders([], messageOf()), body }, nowMs))).toBe(
        "secret",
      );
    }
  });
});

function messageOf() {
  return { id: "msg_1", sentAtMs: nowMs, body };
}
