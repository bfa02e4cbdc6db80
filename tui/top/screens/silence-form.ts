import { timestampMs } from "@bufbuild/protobuf/wkt";
import { AlertService, type AlertSilence } from "@muster/client/v1/alert_service";
import { readDuration } from "../../input/values.ts";
import { showDuration } from "../../output/time.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { ActCall, Shell } from "../shell/screen.ts";
import { ask, askForm, doNow } from "./ask.ts";
import { durationOf, enteredText } from "./form-values.ts";
import { wrongUnless } from "./queue-keys.ts";

/** What is to be silent, or is: a rule or all of them, and perhaps one group alone. */
type Silenced = Pick<AlertSilence, "rule"> & Partial<AlertSilence>;

/** Asks for how long, and why; of a silence that holds, what it was made with, from now on. */
export function askSilence(shell: Shell, silence: Silenced): void {
  const client = shell.client(AlertService);
  const { rule, endTime } = silence;
  const leftMs = endTime === undefined ? 3_600_000 : timestampMs(endTime) - shell.serverNow();
  askForm(shell, {
    title: `Silence ${rule || "all rules"}: alerts are kept, and nobody is told`,
    verb: "silence",
    fields: [
      ...(rule === "" || endTime !== undefined
        ? []
        : [
            {
              name: "group",
              label: "Group",
              value: "",
              about: "of this one alone, as alerts name it; empty: all groups",
            },
          ]),
      {
        name: "duration",
        label: "For",
        value: showDuration(Math.max(60_000, Math.ceil(leftMs / 60_000) * 60_000)),
        about: "ends by itself after this long from now, 1m to 30d",
        check: (given) => (given.trim() === "" ? "is needed" : wrongUnless(given, readDuration)),
      },
      {
        name: "reason",
        label: "Reason",
        value: silence.reason ?? "",
        about: "why, for people and the audit log",
      },
    ],
    command: (values) =>
      commandLine(
        ...["alert silence", rule === "" ? "" : shellWord(rule)],
        ["--group", silence.group ?? enteredText(values, "group")],
        ["--for", enteredText(values, "duration")],
        ["--reason", enteredText(values, "reason")],
      ),
    act: (values) => {
      const group = silence.group ?? enteredText(values, "group");
      const length = durationOf("duration", enteredText(values, "duration"));
      return {
        run: ({ options }, reason) => client.silenceAlerts({ rule, group, reason, ...length }, options),
        done: () => `${wordsOf(rule, group)} silent`,
        undo: () => ({ label: "tell again", run: () => void end(shell, { rule, group }, "") }),
      };
    },
  });
}

/** Asks, and ends a silence: what still fires is told then. */
export function endSilence(shell: Shell, { rule, group }: AlertSilence): void {
  ask(
    shell,
    {
      title: `End the silence of ${rule || "all rules"}${group === "" ? "" : `, ${group}`}?`,
      lines: ["What still fires and was not told is told then."],
      verb: "End it",
      command: (reason) =>
        commandLine(
          ...["alert unsilence", rule === "" ? "" : shellWord(rule)],
          ["--group", group],
          ["--reason", reason],
        ),
    },
    unsilence(shell, { rule, group }),
  );
}

async function end(shell: Shell, of: { readonly rule: string; readonly group: string }, reason: string) {
  await doNow(shell, unsilence(shell, of), reason);
}

function unsilence(shell: Shell, of: { readonly rule: string; readonly group: string }) {
  return {
    run: ({ options }: ActCall, reason: string) =>
      shell.client(AlertService).unsilenceAlerts({ ...of, reason }, options),
    done: () => `${wordsOf(of.rule, of.group)} no longer silent`,
  };
}

function wordsOf(rule: string, group: string): string {
  if (rule === "") return "all rules are";
  return group === "" ? `${rule} is` : `${group} of ${rule} is`;
}
