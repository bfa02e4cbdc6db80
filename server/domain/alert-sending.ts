import { MailError } from "../outbound/mail.ts";
import { OutboundError, type OutboundResponse } from "../outbound/outbound-http.ts";
import type { ChannelParts } from "./alert-channels.ts";
import type { Coordinator } from "./context.ts";
import type { AlertTarget } from "./rules/alert-channels.ts";
import {
  type AlertMessage,
  discordBody,
  htmlText,
  plainText,
  slackBody,
  titleOf,
  webhookBody,
} from "./rules/alert-texts.ts";
import { webhookHeaders } from "./rules/webhook-signatures.ts";

/** What became of sending a message: `error` empty when it got through. */
export interface Sent {
  readonly error: string;
  /** Trying again does not help. */
  readonly isFinal: boolean;
  /** The other side asked to wait so long. */
  readonly retryAfterMs: number | null;
}

/** Time for one sending. */
const timeoutMs = 10_000;

/** What a message is for a target: as people read it, and as it is sent. */
export function renderMessage(target: AlertTarget, message: AlertMessage): { text: string; body: string } {
  const text = plainText(message);
  switch (target.type) {
    case "slack":
      return { text, body: JSON.stringify(slackBody(message)) };
    case "discord":
      return { text, body: JSON.stringify(discordBody(message)) };
    case "email":
      return { text, body: htmlText(message) };
    case "webhook":
      return { text, body: JSON.stringify(webhookBody(message)) };
  }
}

/** Sends a message once. `messageId` is the same at each try, so that receivers know a repetition. Never throws. */
export async function sendMessage(
  c: ChannelParts & Pick<Coordinator, "nowMs">,
  {
    target,
    message,
    messageId,
    signal,
  }: {
    readonly target: AlertTarget;
    readonly message: AlertMessage;
    readonly messageId: string;
    readonly signal: AbortSignal;
  },
): Promise<Sent> {
  const { body } = renderMessage(target, message);
  const post = async (url: string, headers: Record<string, string>, text: string) =>
    c.http.request({
      ...{ url, method: "POST", body: text, timeoutMs, maxBytes: 65_536, signal },
      headers: { "content-type": "application/json; charset=utf-8", ...headers },
    });
  try {
    switch (target.type) {
      case "slack":
        if (target.by === "webhook") return answered(await post(target.webhookUrl, {}, body));
        return slackAnswered(
          await post(
            `${target.apiUrl}/chat.postMessage`,
            { authorization: `Bearer ${target.botToken}` },
            JSON.stringify({ channel: target.channel, ...slackBody(message) }),
          ),
        );
      case "discord":
        return answered(await post(target.webhookUrl, {}, body));
      case "email":
        await c.mailer.send({
          to: target.to,
          subject: titleOf(message),
          text: plainText(message),
          html: body,
          messageId,
        });
        return through;
      case "webhook": {
        const secrets = [target.secret, target.previousSecret].filter((one) => one !== "");
        const headers = webhookHeaders(secrets, { id: messageId, sentAtMs: c.nowMs(), body });
        return answered(await post(target.url, headers, body));
      }
    }
  } catch (error) {
    if (error instanceof MailError)
      return { error: error.message, isFinal: error.isFinal, retryAfterMs: null };
    if (error instanceof OutboundError) return failed(error.message);
    return failed(signal.aborted ? "the coordinator stops" : "it could not be sent");
  }
}

const through: Sent = { error: "", isFinal: false, retryAfterMs: null };

function failed(error: string): Sent {
  return { error, isFinal: false, retryAfterMs: null };
}

// Nothing of what was answered is shown: it may be anything.
function answered({ status, headers }: OutboundResponse): Sent {
  if (status >= 200 && status < 300) return through;
  const seconds = Number(headers["retry-after"]);
  const retryAfterMs = status === 429 && seconds > 0 && seconds <= 3_600 ? seconds * 1_000 : null;
  // What is wrong with this message is wrong tomorrow; a place that is gone may come back.
  return {
    error: `it answered with HTTP ${status}`,
    isFinal: status === 400 || status === 413,
    retryAfterMs,
  };
}

// Slack answers 200 whatever happened, and says in a word what did.
function slackAnswered(response: OutboundResponse): Sent {
  const sent = answered(response);
  if (sent.error !== "") return sent;
  try {
    const answer: unknown = JSON.parse(response.body.toString("utf8"));
    if (memberOf(answer, "ok") === true) return through;
    const word = String(memberOf(answer, "error"));
    return failed(/^[a-z_]{1,60}$/.test(word) ? `Slack answered ${word}` : "Slack did not take it");
  } catch {
    return failed("it did not answer as Slack does");
  }
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}
