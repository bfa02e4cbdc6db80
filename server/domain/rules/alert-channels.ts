import { slugRule, type TextViolation } from "./texts.ts";
import { webhookSecretBytes } from "./webhook-signatures.ts";

/** Where the messages of a channel go, with its secrets: never shown, kept sealed. */
export type AlertTarget =
  | { readonly type: "slack"; readonly by: "webhook"; readonly webhookUrl: string }
  | {
      readonly type: "slack";
      readonly by: "bot";
      readonly botToken: string;
      readonly channel: string;
      readonly apiUrl: string;
    }
  | { readonly type: "discord"; readonly webhookUrl: string }
  | { readonly type: "email"; readonly to: readonly string[] }
  | {
      readonly type: "webhook";
      readonly url: string;
      /** The one before signs too while the secret is changed; empty: there is none. */
      readonly secret: string;
      readonly previousSecret: string;
    };

/** A channel as a person gives it; a secret that is empty stays as it is. */
export interface NewAlertChannel {
  readonly name: string;
  readonly target: AlertTarget;
  readonly isDisabled: boolean;
}

/** Where Slack's methods are. */
export const slackApiUrl = "https://slack.com/api";

/** The URLs that a target is called at, with the fields that they came in. */
export function urlsOf(target: AlertTarget): readonly (readonly [field: string, url: string])[] {
  switch (target.type) {
    case "slack":
      return target.by === "webhook"
        ? [["channel.slack.webhookUrl", target.webhookUrl]]
        : [["channel.slack.apiUrl", target.apiUrl]];
    case "discord":
      return [["channel.discord.webhookUrl", target.webhookUrl]];
    case "email":
      return [];
    case "webhook":
      return [["channel.webhook.url", target.url]];
  }
}

/** What of a target is a secret, as one text; null: nothing is. */
export function secretOf(target: AlertTarget): string | null {
  switch (target.type) {
    case "slack":
      return target.by === "webhook" ? target.webhookUrl : target.botToken;
    case "discord":
      return target.webhookUrl;
    case "email":
      return null;
    case "webhook":
      return target.previousSecret === "" ? target.secret : `${target.secret} ${target.previousSecret}`;
  }
}

/** What of a target may be shown and kept as it is. */
export function openPartOf(target: AlertTarget): Record<string, unknown> {
  switch (target.type) {
    case "slack":
      return target.by === "webhook"
        ? { by: "webhook" }
        : { by: "bot", channel: target.channel, apiUrl: target.apiUrl };
    case "discord":
      return {};
    case "email":
      return { to: target.to };
    case "webhook":
      return { url: target.url };
  }
}

/** The target of its two parts; `secret` empty: it is not to be read. */
export function targetOf(
  type: AlertTarget["type"],
  part: Readonly<Record<string, unknown>>,
  secret: string,
): AlertTarget {
  const text = (name: string) => (typeof part[name] === "string" ? part[name] : "");
  switch (type) {
    case "slack":
      return part["by"] === "bot"
        ? { type, by: "bot", botToken: secret, channel: text("channel"), apiUrl: text("apiUrl") }
        : { type, by: "webhook", webhookUrl: secret };
    case "discord":
      return { type, webhookUrl: secret };
    case "email":
      return { type, to: Array.isArray(part["to"]) ? part["to"].map(String) : [] };
    case "webhook": {
      const [first = "", previousSecret = ""] = secret.split(" ");
      return { type, url: text("url"), secret: first, previousSecret };
    }
  }
}

/** A target whose secret was left empty, with that of the one before, if it is of the same sort. */
export function withOldSecret(target: AlertTarget, old: AlertTarget | null): AlertTarget {
  if (target.type === "webhook" && old?.type === "webhook" && target.secret === "") {
    return { ...target, secret: old.secret };
  }
  if (target.type === "discord" && old?.type === "discord" && target.webhookUrl === "") return old;
  if (target.type !== "slack" || old?.type !== "slack") return target;
  if (target.by === "webhook" && old.by === "webhook" && target.webhookUrl === "") return old;
  return target.by === "bot" && old.by === "bot" && target.botToken === ""
    ? { ...target, botToken: old.botToken }
    : target;
}

/** What is wrong with a channel, its addresses aside; paths begin with `channel.`. */
export function channelViolations(
  { name, target }: NewAlertChannel,
  isMailAddress: (text: string) => boolean,
): TextViolation[] {
  const wrong: TextViolation[] = [];
  const refuse = (isWrong: boolean, field: string, message: string) => {
    if (isWrong) wrong.push({ field: `channel.${field}`, message });
  };
  refuse(!slugRule.form.test(name), "name", `must have ${slugRule.words}`);
  switch (target.type) {
    case "slack":
      if (target.by === "webhook") {
        refuse(target.webhookUrl === "", "slack.webhookUrl", "is required, or a bot's token");
        break;
      }
      refuse(!/^xox[a-z]-[\w-]{10,500}$/.test(target.botToken), "slack.botToken", "must be like xoxb-…");
      refuse(
        !/^(#[^\s#<>&,]{1,80}|[A-Z0-9]{3,30})$/.test(target.channel),
        "slack.channel",
        "must be the id of a channel, or #name",
      );
      break;
    case "discord":
      refuse(target.webhookUrl === "", "discord.webhookUrl", "is required");
      break;
    case "email":
      refuse(target.to.length === 0 || target.to.length > 20, "email.to", "must be 1 to 20 addresses");
      target.to.slice(0, 20).forEach((one, index) => {
        refuse(!isMailAddress(one), `email.to[${index}]`, "must be the address of a mailbox");
      });
      break;
    case "webhook":
      for (const field of ["secret", "previousSecret"] as const) {
        const isWrong = target[field] !== "" && webhookSecretBytes(target[field]) === null;
        refuse(isWrong, `webhook.${field}`, "must be whsec_ and base64 of 24 to 64 bytes");
      }
  }
  return wrong;
}
