import {
  type AlertChannel,
  type AlertRule,
  AlertService,
  type AlertSilence,
} from "@muster/client/v1/alert_service";
import { paletteOverlay } from "../overlays/palette.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";
import { openRule } from "./alert-form.ts";
import { ask, doNow, lookUp } from "./ask.ts";
import { channelTypes, openChannel } from "./channel-form.ts";
import { needsRow } from "./go.ts";
import { askSilence, endSilence } from "./silence-form.ts";

/** A row of the list: a rule, a channel, or a silence that holds. */
export type AlertRow =
  | { readonly sort: "rule"; readonly name: string; readonly rule: AlertRule; readonly isSilent: boolean }
  | { readonly sort: "channel"; readonly name: string; readonly channel: AlertChannel }
  | { readonly sort: "silence"; readonly name: string; readonly silence: AlertSilence };

/** The keys of the list of rules, channels and silences. */
export function alertKeys(shell: Shell, current: () => AlertRow | undefined): KeyBinding[] {
  const onRow = (act: (row: AlertRow) => unknown) => () => {
    const row = current();
    if (row !== undefined) act(row);
  };
  return [
    {
      id: "alert.test",
      keys: ["t"],
      label: "test",
      group: "act",
      danger: "moderate",
      equal: { command: "channel test", method: "AlertService.TestAlertChannel" },
      hint: 2,
      when: needsRow(shell, current, "operate", (row) => {
        if (row.sort === "silence") return "a silence sends nothing";
        return row.sort === "rule" && row.rule.channels.length === 0 ? "it has no channels" : undefined;
      }),
      run: onRow((row) => askTest(shell, row)),
    },
    {
      id: "alert.enable",
      keys: ["p"],
      label: () => (isDisabled(current()) ? "enable" : "disable"),
      group: "act",
      danger: "mild",
      equal: { command: "alert disable", method: "AlertService.SetAlertRuleEnabled" },
      inverse: { command: "alert enable", method: "AlertService.SetAlertRuleEnabled" },
      alike: [
        { command: "channel disable", method: "AlertService.SetAlertChannelEnabled" },
        { command: "channel enable", method: "AlertService.SetAlertChannelEnabled" },
      ],
      hint: 3,
      when: needsRow(shell, current, "operate", noSilence),
      run: onRow((row) => toggle(shell, row, isDisabled(row))),
    },
    {
      id: "alert.edit",
      keys: ["e"],
      label: "edit",
      group: "act",
      danger: "mild",
      equal: { command: "alert edit", method: "AlertService.PutAlertRule" },
      alike: [
        { command: "channel create", method: "AlertService.PutAlertChannel" },
        { command: "alert silence", method: "AlertService.SilenceAlerts" },
      ],
      hint: 4,
      when: () => needsRow(shell, current, scopeOf(current()))(),
      run: onRow((row) => edit(shell, row)),
    },
    {
      id: "alert.create",
      keys: ["c"],
      label: "create...",
      group: "act",
      danger: "mild",
      equal: { command: "alert create", method: "AlertService.PutAlertRule" },
      alike: [{ command: "channel create", method: "AlertService.PutAlertChannel" }],
      hint: 5,
      when: () => shell.barrier("operate"),
      run: () => chooseNew(shell),
    },
    {
      id: "alert.silence",
      keys: ["z"],
      label: "silence",
      group: "act",
      danger: "mild",
      equal: { command: "alert silence", method: "AlertService.SilenceAlerts" },
      inverse: { command: "alert unsilence", method: "AlertService.UnsilenceAlerts" },
      hint: 6,
      when: needsRow(shell, current, "operate", (row) =>
        row.sort === "channel" ? "is for rules: Z silences them all, p disables a channel" : undefined,
      ),
      run: onRow((row) =>
        row.sort === "silence" ? edit(shell, row) : askSilence(shell, { rule: row.name }),
      ),
    },
    {
      id: "alert.silence-all",
      keys: ["Z"],
      label: "silence all rules",
      group: "act",
      danger: "mild",
      equal: { command: "alert silence", method: "AlertService.SilenceAlerts" },
      when: () => shell.barrier("operate"),
      run: () => askSilence(shell, { rule: "" }),
    },
    {
      id: "alert.delete",
      keys: ["x"],
      label: () => (current()?.sort === "silence" ? "end it" : "delete"),
      group: "act",
      danger: "moderate",
      equal: { command: "alert delete", method: "AlertService.DeleteAlertRule" },
      alike: [
        { command: "channel delete", method: "AlertService.DeleteAlertChannel" },
        { command: "alert unsilence", method: "AlertService.UnsilenceAlerts" },
      ],
      when: () => needsRow(shell, current, scopeOf(current()))(),
      run: onRow((row) => remove(shell, row)),
    },
  ];
}

function noSilence(row: AlertRow): string | undefined {
  return row.sort === "silence" ? "a silence ends by x, or by itself" : undefined;
}

// Whoever changes a channel says where messages go.
function scopeOf(row: AlertRow | undefined): "operate" | "admin" {
  return row?.sort === "channel" ? "admin" : "operate";
}

function isDisabled(row: AlertRow | undefined): boolean {
  return row?.sort === "rule" ? row.rule.disabled : row?.sort === "channel" && row.channel.disabled;
}

function edit(shell: Shell, row: AlertRow): void {
  switch (row.sort) {
    case "rule":
      return void openRule(shell, row.rule);
    case "channel":
      return openChannel(shell, row.channel);
    case "silence":
      return askSilence(shell, row.silence);
  }
}

function remove(shell: Shell, row: AlertRow): void {
  switch (row.sort) {
    case "rule":
      return askDelete(shell, row.name);
    case "channel":
      return askDeleteChannel(shell, row.name);
    case "silence":
      return void endSilence(shell, row.silence);
  }
}

function chooseNew(shell: Shell): void {
  const noChannels = shell.barrier("admin");
  const choices = [
    { label: "alert rule", about: "when to tell", run: () => void openRule(shell, undefined) },
    ...channelTypes.map((type) => ({
      label: `${type} channel`,
      about: "where to",
      disabled: noChannels,
      run: () => openChannel(shell, type),
    })),
    { label: "silence of all rules", about: "for a while", run: () => askSilence(shell, { rule: "" }) },
  ];
  shell.open((close) => paletteOverlay({ id: "create", title: "Create", choices }, close));
}

// First what would be sent is shown, and only then sent.
async function askTest(shell: Shell, row: AlertRow): Promise<void> {
  if (row.sort === "rule" && row.rule.channels.length > 1) return chooseTest(shell, row.rule);
  const name = row.sort === "rule" ? (row.rule.channels[0] ?? "") : row.name;
  await showTest(shell, name, row.sort === "rule" ? row.name : "");
}

function chooseTest(shell: Shell, { name, channels }: AlertRule): void {
  const choices = channels.map((channel) => ({
    label: channel,
    run: () => void showTest(shell, channel, name),
  }));
  shell.open((close) => paletteOverlay({ id: "test", title: `Test ${name} on`, choices }, close));
}

async function showTest(shell: Shell, name: string, rule: string): Promise<void> {
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
    run: ({ options }): Promise<object> =>
      sort === "rule"
        ? client.setAlertRuleEnabled({ name, enabled }, options)
        : client.setAlertChannelEnabled({ name, enabled }, options),
    done: () => `${name} is ${enabled ? "enabled" : "disabled"}`,
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

function askDeleteChannel(shell: Shell, name: string): void {
  ask(
    shell,
    {
      title: `Delete the channel ${name}?`,
      lines: ["What waits for it is never sent. A channel that a rule sends to stays."],
      verb: "Delete it",
      command: (reason) => commandLine("channel delete", shellWord(name), ["--reason", reason], "--yes"),
    },
    {
      run: ({ options }, reason) => shell.client(AlertService).deleteAlertChannel({ name, reason }, options),
      done: () => `deleted ${name}`,
    },
  );
}
