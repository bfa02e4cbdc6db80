import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  AlertCondition,
  AlertGroupBy,
  type AlertRule,
  AlertRuleSchema,
  AlertService,
} from "@muster/client/v1/alert_service";
import {
  conditionWords,
  groupWords,
  ownGroup,
  severityWords,
  type Words,
} from "../../commands/alert-words.ts";
import { readAmount, readDuration, readWhole } from "../../input/values.ts";
import { durationToMs, showDuration } from "../../output/time.ts";
import type { FormField, FormValues } from "../overlays/form.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { ActCall, Shell } from "../shell/screen.ts";
import { lookUp } from "./ask.ts";
import { durationOf, enteredText, namesOf, refuseChanged, refuseTaken } from "./form-values.ts";
import { wrongUnless } from "./queue-keys.ts";
import { askSave } from "./save-form.ts";

/** Opens the form of an alert rule: of a new one, or of one that is there. Without channels it tells nobody. */
export async function openRule(shell: Shell, rule: AlertRule | undefined): Promise<void> {
  const client = shell.client(AlertService);
  const listed = await lookUp(shell, (call) => client.listAlertChannels({ pageSize: 1_000 }, call));
  if (listed === undefined) return;
  const before = fieldsOf(
    rule,
    listed.channels.map(({ name }) => name),
  );
  askSave(shell, {
    title: rule === undefined ? "Create an alert rule" : `Edit ${rule.name}`,
    question: (values) =>
      rule === undefined ? `Create ${enteredText(values, "name")}?` : `Save ${rule.name}?`,
    isNew: rule === undefined,
    fields: before,
    command: (values) => lineOf(rule, before, values),
    check: async (values, options) => {
      const asked = messageOf(rule, values);
      const { rule: now } = await nowOf(shell, asked.name, options);
      if (rule === undefined) refuseTaken(now !== undefined, asked.name);
      else refuseChanged(rule.updateTime, now?.updateTime);
      return client.putAlertRule({ rule: asked, dryRun: true }, options);
    },
    lines: ({ rule: checked }) =>
      checked?.channels.length === 0 ? ["It has no channels: its alerts are kept, and nobody is told."] : [],
    save: (values, options, reason) =>
      client.putAlertRule({ rule: messageOf(rule, values), reason }, options),
    done: ({ rule: saved }) => `saved ${saved?.name ?? ""}`,
  });
}

// What there is of that name now, if there is.
async function nowOf(
  shell: Shell,
  name: string,
  options: ActCall["options"],
): Promise<{ readonly rule?: AlertRule | undefined }> {
  try {
    return await shell.client(AlertService).getAlertRule({ name }, options);
  } catch (error) {
    // A name that cannot be is refused at its field, with all else.
    const { code } = ConnectError.from(error);
    if (code === Code.NotFound || code === Code.InvalidArgument) return {};
    throw error;
  }
}

function fieldsOf(rule: AlertRule | undefined, channels: readonly string[]): FormField[] {
  const known = channels.length === 0 ? "there are none yet" : `there are: ${channels.join(" ")}`;
  const filter = (name: "queue" | "kind" | "project", label: string): FormField => ({
    name: `filter.${name}`,
    label,
    value: rule?.filter?.[name] ?? "",
    about: `of this ${name} alone; * at the end: all that begin so; empty: all`,
  });
  return [
    ...(rule === undefined
      ? [{ name: "name", label: "Name", value: "", about: "1 to 100 characters of a-z 0-9 . _ -" }]
      : []),
    {
      name: "condition",
      label: "On",
      value: wordOf(conditionWords, rule?.condition ?? AlertCondition.JOB_DEAD),
      about: "what it looks at; left and right, or its first letter",
      choices: [...conditionWords.values()],
    },
    {
      name: "threshold",
      label: "At",
      value: rule?.threshold === undefined ? "" : String(rule.threshold),
      about: (values) => `fires from then on: ${unitOf(values)}; empty: as is usual for it`,
      check: (text) => wrongUnless(text, readAmount),
    },
    {
      name: "window",
      label: "Window",
      value: lengthOf(rule?.window),
      about: "over how long is counted, 1m to 24h; empty: 5m",
      check: (text) => wrongUnless(text, readDuration),
    },
    {
      name: "least",
      label: "Least",
      value: rule === undefined || rule.least === 0 ? "" : String(rule.least),
      about: "runs that must have ended before a rate means anything; empty: 10",
      check: (text) => wrongUnless(text, (given) => readWhole(given, 1, 100_000)),
    },
    filter("queue", "Queue"),
    filter("kind", "Kind"),
    filter("project", "Project"),
    {
      name: "groupBy",
      label: "Grouped by",
      value: groupWords.get(rule?.groupBy ?? AlertGroupBy.UNSPECIFIED) ?? ownGroup,
      about: "what is counted and told apart; own: what it looks at; left and right",
      choices: [ownGroup, ...groupWords.values()],
    },
    {
      name: "channels",
      label: "Channels",
      value: rule?.channels.join(" ") ?? "",
      about: `names with blanks between; ${known}; empty: nobody is told`,
    },
    {
      name: "throttle",
      label: "Throttle",
      value: lengthOf(rule?.throttle),
      about: "time between two messages of a group, 0s to 24h; empty: 15m",
      check: (text) => wrongUnless(text, readDuration),
    },
    {
      name: "resolveMessage",
      label: "When over",
      value: rule?.resolveMessage === false ? "no message" : "a message",
      about: "whether it is told that it is over; left and right",
      choices: ["a message", "no message"],
    },
    {
      name: "severity",
      label: "Severity",
      value: severityWords.get(rule?.severity ?? 0) ?? "warning",
      about: "how bad it is; left and right",
      choices: [...severityWords.values()],
    },
    {
      name: "note",
      label: "Note",
      value: rule?.note ?? "",
      about: "goes with each message: what to do, where to look; ^X opens your editor",
      editor: "txt",
    },
  ];
}

// Conditions that count something else than what happens.
const units: Readonly<Partial<Record<AlertCondition, string>>> = {
  [AlertCondition.FAILURE_RATE]: "percent of the runs that ended",
  [AlertCondition.CONSECUTIVE_FAILURES]: "dead in a row",
  [AlertCondition.QUEUE_DEPTH]: "ready jobs",
  [AlertCondition.QUEUE_AGE]: "seconds that the oldest ready job waits",
  [AlertCondition.JOB_SLOW]: "times the 95th percentile of its kind",
  [AlertCondition.WORKER_STALE]: "not used here",
  [AlertCondition.JOB_RETRIED]: "failures of one job",
  [AlertCondition.DISK]: "percent that are free, or less",
  [AlertCondition.DATABASE]: "milliseconds to answer",
};

function unitOf(values: FormValues): string {
  return units[numberOf(conditionWords, enteredText(values, "condition"))] ?? "how many";
}

function messageOf(rule: AlertRule | undefined, values: FormValues): AlertRule {
  const text = (name: string): string => enteredText(values, name);
  // What is left empty is as is usual: it does not stay as it was.
  return create(AlertRuleSchema, {
    name: rule?.name ?? text("name"),
    disabled: rule?.disabled ?? false,
    condition: numberOf(conditionWords, text("condition")),
    ...(text("threshold") === "" ? {} : { threshold: Number(text("threshold")) }),
    ...durationOf("window", text("window")),
    least: Number(text("least")) || 0,
    filter: { queue: text("filter.queue"), kind: text("filter.kind"), project: text("filter.project") },
    channels: namesOf(text("channels")),
    ...durationOf("throttle", text("throttle")),
    groupBy: text("groupBy") === ownGroup ? AlertGroupBy.UNSPECIFIED : numberOf(groupWords, text("groupBy")),
    resolveMessage: text("resolveMessage") !== "no message",
    severity: numberOf(severityWords, text("severity")),
    note: text("note"),
  });
}

// The flag of a field, and what it takes for a field that is left empty.
const flags: Readonly<Record<string, readonly [flag: string, empty: string]>> = {
  condition: ["--on", ""],
  threshold: ["--threshold", "default"],
  window: ["--window", "5m"],
  least: ["--least", "10"],
  "filter.queue": ["--queue", "''"],
  "filter.kind": ["--kind", "''"],
  "filter.project": ["--project", "''"],
  groupBy: ["--group-by", ""],
  throttle: ["--throttle", "15m"],
  severity: ["--severity", ""],
  note: ["--note", "''"],
};

function lineOf(rule: AlertRule | undefined, before: readonly FormField[], values: FormValues): string {
  const text = (name: string): string => enteredText(values, name);
  const isSame = (name: string): boolean =>
    before.find((field) => field.name === name)?.value.trim() === text(name);
  const options = Object.entries(flags).flatMap(([name, [flag, empty]]) => {
    const isNeeded = rule === undefined && name === "condition";
    if (isSame(name) && !isNeeded) return [];
    return [`${flag} ${text(name) === "" ? empty : shellWord(text(name))}`];
  });
  const names = namesOf(text("channels")).join(",");
  const channels = names === "" ? "--no-channel" : `--channel ${shellWord(names)}`;
  const resolve = text("resolveMessage") === "no message" ? "--no-resolve" : "--resolve";
  return commandLine(
    ...[rule === undefined ? "alert create" : "alert edit", shellWord(rule?.name ?? text("name"))],
    ...[...options, isSame("channels") ? "" : channels, isSame("resolveMessage") ? "" : resolve],
  );
}

function lengthOf(duration: AlertRule["window"]): string {
  return duration === undefined ? "" : showDuration(durationToMs(duration));
}

function wordOf<Value extends number>(words: Words<Value>, value: Value): string {
  return words.get(value) ?? "";
}

function numberOf<Value extends number>(words: Words<Value>, word: string): Value {
  const found = [...words].find(([, one]) => one === word);
  if (found === undefined) throw new Error(`a choice of the form is no word: ${word}`);
  return found[0];
}
