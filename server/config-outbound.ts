import ipaddr from "ipaddr.js";
import { baseUrl, type Field, field, optional, tokenText } from "./config-forms.ts";
import { invalid, type Reading, shown, valid } from "./config-values.ts";

/** The settings of what the coordinator sends out: calls to addresses of users, and e-mails. */
export const outboundFields = {
  outboundAllow: hosts(
    "outbound-allow",
    "Hosts, addresses and CIDRs that alerts, webhooks and handlers may call though they are not public, and without TLS.",
  ),
  smtpUrl: smtpAddress("smtp-url", "Mail server, like smtp://user:password@mail.example:587."),
  sendgridKey: tokenText("sendgrid-key", "Key of SendGrid, instead of a mail server."),
  sendgridUrl: baseUrl("sendgrid-url", "https://api.sendgrid.com", "The SendGrid to use."),
  mailFrom: sender("mail-from", "Whom e-mails are from, like Muster <muster@example.com>."),
};

function hosts(key: string, description: string): Field<readonly string[]> {
  const read = (raw: unknown): Reading<readonly string[]> => {
    const listed: unknown[] = Array.isArray(raw) ? raw : String(raw).split(",");
    const trimmed = listed.map((one) => String(one).trim()).filter((one) => one !== "");
    const wrong = trimmed.find((one) => !isHostOrRange(one));
    if (wrong === undefined) return valid(trimmed);
    return invalid(
      `has an entry that is neither a host nor a range of addresses: ${shown(wrong)}`,
      "Write it like hooks.internal, 10.1.2.3 or 10.0.0.0/8.",
    );
  };
  return { ...field(key, "host,…", description, "", read), fallbackText: "none" };
}

/** Whether text is a host name, an address in its usual spelling, or a CIDR. */
export function isHostOrRange(text: string): boolean {
  if (ipaddr.isValidCIDR(text) || ipaddr.IPv4.isValidFourPartDecimal(text)) return true;
  if (text.includes(":")) return ipaddr.IPv6.isValid(text);
  return /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i.test(text) && !/^[\d.]+$/.test(text);
}

function smtpAddress(key: string, description: string): Field<string | undefined> {
  const read = (raw: unknown): Reading<string> => {
    const url = typeof raw === "string" && /^smtps?:\/\/[^\s]+$/.test(raw) ? URL.parse(raw) : null;
    if (url !== null && url.hostname !== "") return valid(url.href);
    return invalid(
      "is not the address of a mail server",
      "Write it like smtp://user:password@mail.example:587.",
    );
  };
  return { ...optional(key, "url", "none", description, read), isSecret: true };
}

function sender(key: string, description: string): Field<string | undefined> {
  return optional(key, "address", "none", description, (raw) => {
    if (typeof raw === "string" && senderForm.test(raw)) return valid(raw);
    return invalid(
      `is not the address of a mailbox: ${shown(raw)}`,
      "Write it like Muster <muster@example.com>.",
    );
  });
}

const senderForm =
  /^([^\p{Cc}@<>",;:]{1,100} <[^\s@<>",;:]{1,64}@[A-Za-z0-9.-]{1,253}>|[^\s@<>",;:]{1,64}@[A-Za-z0-9.-]{1,253})$/u;
