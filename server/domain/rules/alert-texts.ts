import type { AlertSeverity } from "./alert-rules.ts";

/** What a message tells: neutral; each channel writes it in its own way. Kept as JSON until it is sent. */
export interface AlertMessage {
  readonly event: "firing" | "resolved" | "test";
  readonly org: string;
  readonly rule: string;
  readonly condition: string;
  readonly severity: AlertSeverity;
  /** The note of the rule. */
  readonly note: string;
  /** RFC 3339, when it was made. */
  readonly time: string;
  /** The alerts that it tells of: at most 10. */
  readonly alerts: readonly AlertLine[];
  /** Further ones that it does not name. */
  readonly others: number;
}

/** One alert within a message. */
export interface AlertLine {
  readonly alertId: string;
  readonly group: string;
  readonly summary: string;
  readonly value: number;
  readonly occurrences: number;
  readonly since: string;
  /** `job_…`: at most 5. */
  readonly jobIds: readonly string[];
}

/** The title of a message: one line. */
export function titleOf({ event, severity, rule, alerts, others }: AlertMessage): string {
  const word = { firing: severity.toUpperCase(), resolved: "RESOLVED", test: "TEST" }[event];
  const count = alerts.length + others;
  const [first] = alerts;
  const what = count === 1 && first !== undefined ? first.summary : `${count} alerts`;
  return cut(oneLine(`[${word}] ${rule}: ${what}`), 200);
}

/** A message as plain text, in lines. */
export function plainText(message: AlertMessage): string {
  return [titleOf(message), "", ...bodyLines(message, (text) => text)].join("\n");
}

/** A message as HTML for an e-mail. */
export function htmlText(message: AlertMessage): string {
  const lines = bodyLines(message, escapeHtml).map((line) => `<p>${line}</p>`);
  return `<!doctype html><html><body><h3>${escapeHtml(titleOf(message))}</h3>${lines.join("")}</body></html>`;
}

/** What Slack takes for a message: blocks with a fallback text. No text of a user mentions or links. */
export function slackBody(message: AlertMessage): Record<string, unknown> {
  const lines = bodyLines(message, escapeSlack).join("\n");
  return {
    text: escapeSlack(titleOf(message)),
    blocks: [
      { type: "header", text: { type: "plain_text", text: cut(titleOf(message), 150), emoji: false } },
      { type: "section", text: { type: "mrkdwn", verbatim: true, text: cut(lines, 2_900) } },
    ],
    unfurl_links: false,
    unfurl_media: false,
  };
}

/** What Discord takes for a message: an embed that mentions nobody. */
export function discordBody(message: AlertMessage): Record<string, unknown> {
  const colours = { notice: 0x3b82f6, warning: 0xf59e0b, critical: 0xef4444 };
  return {
    embeds: [
      {
        title: cut(escapeMarkdown(titleOf(message)), 250),
        description: cut(bodyLines(message, escapeMarkdown).join("\n"), 3_900),
        color: message.event === "firing" ? colours[message.severity] : 0x22c55e,
        timestamp: message.time,
      },
    ],
    allowed_mentions: { parse: [] },
  };
}

/** What a program is posted. */
export function webhookBody(message: AlertMessage): Record<string, unknown> {
  const { event, time, ...data } = message;
  return { type: `alert.${event}`, timestamp: time, data };
}

function bodyLines(message: AlertMessage, safe: (text: string) => string): string[] {
  const { alerts, others, note, org, event } = message;
  const lines = alerts.flatMap(({ group, summary, occurrences, since, jobIds }) => [
    safe(oneLine(summary)),
    safe(
      [
        ...(group === "" ? [] : [`group ${oneLine(group)}`]),
        ...(occurrences > 1 ? [`${occurrences} times`] : []),
        `since ${since}`,
        ...(jobIds.length === 0 ? [] : [`jobs ${jobIds.join(" ")}`]),
      ].join(" · "),
    ),
  ]);
  return [
    ...lines,
    ...(others > 0 ? [`and ${others} more`] : []),
    ...(note === "" ? [] : [safe(note)]),
    ...(event === "test" ? ["This is a test: nothing is wrong."] : []),
    safe(`org ${org}`),
  ];
}

function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;")
    .replaceAll("\n", "<br>");
}

// The three by which Slack links and mentions; `verbatim` keeps it from finding more by itself.
function escapeSlack(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function escapeMarkdown(text: string): string {
  return text.replaceAll(/[\\*_~`|>#[\]()<@-]/g, "\\$&");
}

function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, " ");
}

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}
