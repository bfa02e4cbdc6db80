import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type Queue,
  type QueueLimitsSchema,
  QueueService,
  type QueueType,
} from "@muster/client/v1/queue_service";
import { durationFromMs, readDuration, readRate, readWhole, timeFromMs } from "../../input/values.ts";
import type { FormProblem, FormValues } from "../overlays/form.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";
import { writeTerm } from "../shell/term-values.ts";
import { type Act, askForm, doNow } from "./ask.ts";
import { needsRow, relatedKey, wayTo } from "./go.ts";
import { nounOf, rateText } from "./queue-view.ts";

/** What can be done to a queue, a kind or a pool. */
export function queueKeys(shell: Shell, current: () => Queue | undefined): KeyBinding[] {
  const withQueue = (run: (queue: Queue) => void) => (): void => {
    const queue = current();
    if (queue !== undefined) run(queue);
  };
  return [
    {
      id: "queue.pause",
      keys: ["p"],
      label: "pause",
      group: "act",
      danger: "moderate",
      equal: { command: "queue pause", method: "QueueService.PauseQueue" },
      hint: 3,
      when: needsRow(shell, current, "operate", ({ paused }) => (paused ? "it is paused" : undefined)),
      run: withQueue((queue) => openPause(shell, queue)),
    },
    {
      id: "queue.resume",
      keys: ["r"],
      label: "resume",
      group: "act",
      danger: "mild",
      equal: { command: "queue resume", method: "QueueService.ResumeQueue" },
      hint: 4,
      when: needsRow(shell, current, "operate", ({ paused }) => (paused ? undefined : "it is not paused")),
      run: withQueue((queue) => void resumeQueue(shell, queue)),
    },
    {
      id: "queue.limits",
      keys: ["e"],
      label: "set limits",
      group: "act",
      danger: "mild",
      equal: { command: "queue set", method: "QueueService.SetQueueLimits" },
      hint: 5,
      when: needsRow(shell, current, "operate"),
      run: withQueue((queue) => openLimits(shell, queue)),
    },
    relatedKey(shell, current, ({ type, name }) => {
      const term = writeTerm(nounOf(type), name);
      return [
        wayTo(shell, "its jobs", "jobs", term),
        wayTo(shell, "its ready jobs", "jobs", `state:ready ${term}`),
        wayTo(shell, "its running jobs", "jobs", `state:running,offered ${term}`),
        wayTo(shell, "its dead jobs", "jobs", `state:dead ${term}`),
      ];
    }),
  ];
}

/** Lets one go on; the pause can be had again. */
export async function resumeQueue(
  shell: Shell,
  { type, name, pauseReason }: Pick<Queue, "type" | "name" | "pauseReason">,
): Promise<void> {
  const label = "pause it again";
  await doNow(shell, {
    run: ({ options }) => shell.client(QueueService).resumeQueue({ type, name }, options),
    done: () => `${name} goes on`,
    undo: () => ({ label, run: () => void doNow(shell, pause(shell, type, name, undefined), pauseReason) }),
  });
}

function openPause(shell: Shell, { type, name }: Queue): void {
  askForm(shell, {
    title: `Pause ${nounOf(type)} ${name}: none of its jobs is offered; what runs goes on`,
    verb: "pause",
    fields: [
      {
        name: "for",
        label: "For",
        value: "",
        about: "goes on by itself after this long, like 2h; empty: when it is resumed",
        check: (text) => wrongUnless(text, (given) => readDuration(given)),
      },
      { name: "reason", label: "Reason", value: "", about: "why, for people and the audit log" },
    ],
    command: (values) =>
      commandLine(
        `${nounOf(type)} pause`,
        shellWord(name),
        ["--for", text(values, "for")],
        ["--reason", text(values, "reason")],
      ),
    act: (values) => {
      const length = readDuration(text(values, "for"));
      return pause(shell, type, name, length.kind === "value" ? length.value : undefined);
    },
  });
}

function pause(
  shell: Shell,
  type: QueueType,
  name: string,
  lengthMs: number | undefined,
): Act<{ withdrawn: number }> {
  return {
    run: ({ options }, reason) => {
      // The end is the server's: its clock, not this machine's.
      const until = lengthMs === undefined ? {} : { until: timeFromMs(shell.serverNow() + lengthMs) };
      return shell.client(QueueService).pauseQueue({ type, name, reason, ...until }, options);
    },
    done: ({ withdrawn }) => `${name} is paused${withdrawn === 0 ? "" : `, ${withdrawn} offers withdrawn`}`,
  };
}

function openLimits(shell: Shell, queue: Queue): void {
  const { type, name, limits } = queue;
  askForm(shell, {
    title: `Limits of ${nounOf(type)} ${name}`,
    verb: "save",
    fields: [
      {
        name: "running",
        label: "Running",
        value: limits?.running === undefined ? "" : String(limits.running),
        about: "jobs that may run at once, 1 to 1000000; empty: no limit",
        check: (given) => wrongUnless(given, (value) => readWhole(value, 1, 1_000_000)),
      },
      {
        name: "startRate",
        label: "Rate",
        value: rateText(queue),
        about: "jobs that may start in a time, like 10/1m or 5/s; empty: no limit",
        check: (given) => wrongUnless(given, (value) => readRate(value)),
      },
      { name: "reason", label: "Reason", value: "", about: "why, for the audit log" },
    ],
    command: (values) =>
      commandLine(
        `${nounOf(type)} set`,
        shellWord(name),
        ["--running", text(values, "running") || "none"],
        ["--rate", text(values, "startRate") || "none"],
        ["--reason", text(values, "reason")],
      ),
    act: (values) => ({
      run: ({ options }, reason) =>
        shell.client(QueueService).setQueueLimits({ type, name, limits: limitsOf(values), reason }, options),
      done: () => `the limits of ${name} are set`,
      undo: () => ({
        label: "the limits of before",
        run: () =>
          void doNow(shell, {
            run: ({ options }) =>
              shell
                .client(QueueService)
                .setQueueLimits(
                  { type, name, ...(limits === undefined ? { limits: {} } : { limits }) },
                  options,
                ),
            done: () => `the limits of ${name} are as before`,
          }),
      }),
    }),
  });
}

function limitsOf(values: FormValues): MessageInitShape<typeof QueueLimitsSchema> {
  const running = text(values, "running");
  const rate = readRate(text(values, "startRate"));
  return {
    ...(running === "" ? {} : { running: Number(running) }),
    ...(rate.kind === "wrong"
      ? {}
      : { startRate: { jobs: rate.value.jobs, per: durationFromMs(rate.value.periodMs) } }),
  };
}

/** What is wrong with a value that may be empty. */
export function wrongUnless(
  given: string,
  read: (text: string) => { readonly kind: "value" } | { readonly kind: "wrong"; readonly message: string },
): FormProblem["message"] | undefined {
  if (given.trim() === "") return undefined;
  const reading = read(given.trim());
  return reading.kind === "wrong" ? reading.message : undefined;
}

function text(values: FormValues, name: string): string {
  return (values[name] ?? "").trim();
}
