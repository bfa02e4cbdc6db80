import { type AlertChannel, type AlertRule, AlertService } from "@muster/client/v1/alert_service";
import { durationFromMs, readDuration } from "../../input/values.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";
import { ask, askForm, doNow, lookUp } from "./ask.ts";
import { needsRow } from "./go.ts";
import { wrongUnless } from "./queue-keys.ts";

/** A row of the list: a rule, or a channel. */
export type AlertRow =
  | { readonly sort: "rule"; readonly name: string; readonly rule: AlertRule }
  | { readonly sort: "channel"; readonly name: string; readonly channel: AlertChannel };

/** The keys of the list of rules and channels. */
export function alertKeys(shell: Shell, current: () => AlertRow | undefined): KeyBinding[] {
  const onRow = (act: (row: AlertRow) => unknown) => () => {
    const row = current();
    if (row !== undefined) act(row);
  };
  const isRule = (row: AlertRow | undefined) => row?.sort !== "channel";
  return [
    {
      id: "alert.test",
      keys: ["t"],
      label: "test",
      group: "act",
      danger: "moderate",
      equal: { command: "channel test", method: "AlertService.TestAlertChannel" },
      hint: 2,
      when: needsRow(shell, current, "operate", (row) =>
        row.sort === "rule" && row.rule.channels.length === 0 ? "it has no channels" : undefined,
      ),
      run: onRow((row) => askTest(shell, row)),
    },
    {
      id: "alert.enable",
      keys: ["p"],
      label: () => (isDisabled(current()) ? "enable" : "disable"),
      group: "act",
      danger: "mild",
      equal: isRule(current())
        ? { command: "alert disable", method: "AlertService.SetAlertRuleEnabled" }
        : { command: "channel disable", method: "AlertService.SetAlertChannelEnabled" },
      hint: 3,
      when: needsRow(shell, current, "operate"),
      run: onRow((row) => toggle(shell, row, isDisabled(row))),
    },
    {
      id: "alert.silence",
      keys: ["z"],
      label: "silence",
      group: "act",
      danger: "mild",
      equal: { command: "alert silence", method: "AlertService.SilenceAlerts" },
      inverse: { command: "alert unsilence", method: "AlertService.UnsilenceAlerts" },
      hint: 4,
      when: needsRow(shell, current, "operate", ruleAlone),
      run: onRow((row) => askSilence(shell, row.name)),
    },
    {
      id: "alert.delete",
      keys: ["x"],
      label: "delete",
      group: "act",
      danger: "moderate",
      equal: { command: "alert delete", method: "AlertService.DeleteAlertRule" },
      when: needsRow(shell, current, "operate", ruleAlone),
      run: onRow((row) => askDelete(shell, row.name)),
    },
  ];
}

function ruleAlone(row: AlertRow): string | undefined {
  return row.sort === "rule" ? undefined : "is for rules; a channel by muster channel";
}

function isDisabled(row: AlertRow | undefined): boolean {
  return row?.sort === "rule" ? row.rule.disabled : row?.sort === "channel" && row.channel.disabled;
}

// First what would be sent is shown, and only then sent.
async function askTest(shell: Shell, row: AlertRow): Promise<void> {
  const name = row.sort === "rule" ? (row.rule.channels[0] ?? "") : row.name;
  const rule = row.sort === "rule" ? row.name : "";
  const client = shell.client(AlertService);
  const shown = await lookUp(shell, (call) => client.testAlertChannel({ name, rule, dryRun: true }, call));
  if (shown === undefined) return;
  ask(
    shell,
    {
      title: `Send this to channel ${name}?`,
      lines: shown.text.split("\n").slice(0, 12),
      verb: "Send it",
      hasReason: false,
      command: () => commandLine("alert test", shellWord(name), rule === "" ? "" : shellWord(rule)),
    },
    {
      run: ({ options }) => client.testAlertChannel({ name, rule }, options),
      done: ({ sent, error }) => (sent ? `sent to ${name}` : `it did not get through: ${error}`),
    },
  );
}

async function toggle(shell: Shell, { sort, name }: AlertRow, enabled: boolean): Promise<void> {
  const client = shell.client(AlertService);
  await doNow(shell, {
    run: async ({ options }) => {
      if (sort === "rule") await client.setAlertRuleEnabled({ name, enabled }, options);
      else await client.setAlertChannelEnabled({ name, enabled }, options);
    },
    done: () => `${name} is ${enabled ? "enabled" : "disabled"}`,
  });
}

function askSilence(shell: Shell, rule: string): void {
  const client = shell.client(AlertService);
  askForm(shell, {
    title: `Silence ${rule}: its alerts are kept, and nobody is told`,
    verb: "silence",
    fields: [
      {
        name: "for",
        label: "For",
        value: "1h",
        about: "ends by itself after this long, 1m to 30d",
        check: (given) => wrongUnless(given, (one) => readDuration(one)),
      },
      { name: "reason", label: "Reason", value: "", about: "why, for people and the audit log" },
    ],
    command: (values) =>
      commandLine(
        "alert silence",
        shellWord(rule),
        ["--for", (values["for"] ?? "").trim()],
        ["--reason", (values["reason"] ?? "").trim()],
      ),
    act: (values) => {
      const length = readDuration((values["for"] ?? "").trim());
      const time = length.kind === "value" ? { duration: durationFromMs(length.value) } : {};
      return {
        run: ({ options }, reason) => client.silenceAlerts({ rule, reason, ...time }, options),
        done: () => `${rule} is silent`,
        undo: () => ({
          label: "tell again",
          run: () =>
            void doNow(shell, {
              run: ({ options }) => client.unsilenceAlerts({ rule }, options),
              done: () => `${rule} is no longer silent`,
            }),
        }),
      };
    },
  });
}

function askDelete(shell: Shell, name: string): void {
  ask(
    shell,
    {
      title: `Delete the alert rule ${name}?`,
      lines: ["Its alerts end without a message."],
      verb: "Delete it",
      command: (reason) => commandLine("alert delete", shellWord(name), ["--reason", reason], "--yes"),
    },
    {
      run: ({ options }, reason) => shell.client(AlertService).deleteAlertRule({ name, reason }, options),
      done: () => `deleted ${name}`,
    },
  );
}
