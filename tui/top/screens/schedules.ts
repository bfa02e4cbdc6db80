import { type Schedule, ScheduleService } from "@muster/client/v1/schedule_service";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Screen, Shell } from "../shell/screen.ts";
import { pagedSources, pageSize } from "../sources/paged.ts";
import { createAside } from "../store/aside.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import { createPage } from "./page.ts";
import { scheduleKeys } from "./schedule-keys.ts";
import { type ScheduleRecord, scheduleColumns, scheduleLines } from "./schedule-view.ts";

/** The schedules: when they fire next, and what became of the last time. */
export function createSchedules(shell: Shell): ListScreen<Schedule> {
  const client = shell.client(ScheduleService);
  const aside = createAside<ScheduleRecord>({
    read: (name, call) => readRecord(shell, name, call),
    now: shell.now,
    changed: shell.changed,
  });
  return createListScreen<Schedule>(shell, {
    id: "schedules",
    title: () => "Cron",
    idOf: ({ name }) => name,
    isChanged: (before, after) => before.etag !== after.etag,
    columns: scheduleColumns,
    source: pagedSources<Schedule>(async ({ filter }, pageToken, signal) => {
      const answer = await client.listSchedules(
        { text: filter, pageSize, pageToken },
        { signal, timeoutMs: 30_000 },
      );
      return { rows: answer.schedules, nextPageToken: answer.nextPageToken };
    }),
    orders: [
      { id: "name", label: "by name" },
      { id: "next", label: "next first", compare: (one, other) => nextOf(one) - nextOf(other) },
    ],
    none: "There are no schedules: c creates one.",
    openRow: ({ name }) => shell.push(createSchedulePage(shell, name)),
    preview: (schedule, frame) => scheduleLines(schedule, aside.of(schedule.name).value, frame),
    previewRows: 14,
    keys: (list) => scheduleKeys(shell, list.current),
    equals: [
      { command: "schedule list", method: "ScheduleService.ListSchedules" },
      { command: "schedule preview", method: "ScheduleService.PreviewSchedule" },
    ],
    command: () => commandLine("schedule list"),
    copies: ({ name, cron }) => [
      ["cron", cron],
      ["the command that shows it", commandLine("schedule get", shellWord(name))],
    ],
    besides: aside.follow,
  });
}

/** One schedule with its next times and its history. */
export function createSchedulePage(shell: Shell, name: string): Screen {
  const client = shell.client(ScheduleService);
  return createPage<{ readonly schedule: Schedule; readonly record: ScheduleRecord }>(shell, {
    id: "schedule",
    title: () => name,
    read: async (signal) => {
      const call = { signal, timeoutMs: 30_000 };
      const [{ schedule }, record] = await Promise.all([
        client.getSchedule({ name }, call),
        readRecord(shell, name, call, 200),
      ]);
      if (schedule === undefined) throw new Error("the coordinator answered without the schedule");
      return { schedule, record };
    },
    lines: ({ schedule, record }, frame) => scheduleLines(schedule, record, frame),
    keys: (current) => scheduleKeys(shell, () => current()?.schedule),
    equals: [
      { command: "schedule get", method: "ScheduleService.GetSchedule" },
      { command: "schedule history", method: "ScheduleService.ListFires" },
    ],
    command: () => commandLine("schedule get", shellWord(name)),
    subject: () => name,
  });
}

async function readRecord(
  shell: Shell,
  name: string,
  call: { signal: AbortSignal; timeoutMs: number },
  history = 5,
): Promise<ScheduleRecord> {
  const client = shell.client(ScheduleService);
  const [preview, { fires }] = await Promise.all([
    client.previewSchedule({ of: { case: "name", value: name } }, call),
    client.listFires({ name, pageSize: history }, call),
  ]);
  return { preview, fires };
}

function nextOf({ nextFireTime }: Schedule): number {
  return nextFireTime === undefined ? Number.POSITIVE_INFINITY : Number(nextFireTime.seconds);
}
