import { type Schedule, ScheduleService } from "@muster/client/v1/schedule_service";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";
import { writeTerm } from "../shell/term-values.ts";
import { ask, doNow } from "./ask.ts";
import { needsRow, relatedKey, wayTo } from "./go.ts";
import { openSchedule } from "./schedule-form.ts";

/** What can be done to a schedule. */
export function scheduleKeys(shell: Shell, current: () => Schedule | undefined): KeyBinding[] {
  const withSchedule = (run: (schedule: Schedule) => void) => (): void => {
    const schedule = current();
    if (schedule !== undefined) run(schedule);
  };
  return [
    {
      id: "schedule.trigger",
      keys: ["t"],
      label: "trigger now",
      group: "act",
      danger: "mild",
      equal: { command: "schedule trigger", method: "ScheduleService.TriggerSchedule" },
      hint: 3,
      when: needsRow(shell, current, "operate"),
      run: withSchedule((schedule) => void trigger(shell, schedule)),
    },
    {
      id: "schedule.pause",
      keys: ["p"],
      label: "pause",
      group: "act",
      danger: "mild",
      equal: { command: "schedule pause", method: "ScheduleService.PauseSchedule" },
      hint: 4,
      when: needsRow(shell, current, "operate", ({ paused }) => (paused ? "it is paused" : undefined)),
      run: withSchedule((schedule) => void pause(shell, schedule)),
    },
    {
      id: "schedule.resume",
      keys: ["r"],
      label: "resume",
      group: "act",
      danger: "mild",
      equal: { command: "schedule resume", method: "ScheduleService.ResumeSchedule" },
      hint: 5,
      when: needsRow(shell, current, "operate", ({ paused }) => (paused ? undefined : "it is not paused")),
      run: withSchedule((schedule) => void resume(shell, schedule)),
    },
    {
      id: "schedule.edit",
      keys: ["e"],
      label: "edit",
      group: "act",
      danger: "mild",
      equal: { command: "schedule edit", method: "ScheduleService.PutSchedule" },
      hint: 6,
      when: needsRow(shell, current, "operate"),
      run: withSchedule((schedule) => openSchedule(shell, schedule)),
    },
    {
      id: "schedule.create",
      keys: ["c"],
      label: "create",
      group: "act",
      danger: "mild",
      equal: { command: "schedule create", method: "ScheduleService.PutSchedule" },
      hint: 7,
      when: () => shell.barrier("operate"),
      run: () => openSchedule(shell, undefined),
    },
    {
      id: "schedule.delete",
      keys: ["x"],
      label: "delete",
      group: "act",
      danger: "severe",
      equal: { command: "schedule delete", method: "ScheduleService.DeleteSchedule" },
      when: needsRow(shell, current, "operate"),
      run: withSchedule((schedule) => askDelete(shell, schedule)),
    },
    relatedKey(shell, current, ({ name, job }) => [
      wayTo(shell, "its jobs", "jobs", writeTerm("label", `schedule=${name}`)),
      wayTo(shell, "jobs of its kind", "jobs", writeTerm("kind", job?.kind ?? "")),
    ]),
  ];
}

async function trigger(shell: Shell, { name }: Schedule): Promise<void> {
  await doNow(shell, {
    run: ({ options }) => shell.client(ScheduleService).triggerSchedule({ name }, options),
    done: ({ fire }) =>
      fire?.jobId ? `${name} made ${fire.jobId}` : `${name} made no job: ${fire?.note ?? ""}`,
  });
}

async function pause(shell: Shell, schedule: Schedule): Promise<void> {
  const { name } = schedule;
  await doNow(shell, {
    run: ({ options }, reason) => shell.client(ScheduleService).pauseSchedule({ name, reason }, options),
    done: () => `${name} is paused`,
    undo: () => ({ label: "resume it", run: () => void resume(shell, schedule) }),
  });
}

async function resume(shell: Shell, schedule: Schedule): Promise<void> {
  const { name } = schedule;
  await doNow(shell, {
    run: ({ options }) => shell.client(ScheduleService).resumeSchedule({ name }, options),
    done: () => `${name} goes on from now`,
    undo: () => ({ label: "pause it again", run: () => void pause(shell, schedule) }),
  });
}

function askDelete(shell: Shell, { name, etag }: Schedule): void {
  ask(
    shell,
    {
      title: `Delete schedule ${name}?`,
      lines: ["It makes no more jobs. Those that it made stay."],
      verb: "Delete it",
      typed: name,
      command: (reason) =>
        commandLine("schedule delete", shellWord(name), ["--reason", reason], ["--confirm", name]),
    },
    {
      run: ({ options }, reason) =>
        shell.client(ScheduleService).deleteSchedule({ name, etag, reason }, options),
      done: () => `deleted ${name}`,
    },
  );
}
