import { clone, create, type MessageInitShape } from "@bufbuild/protobuf";
import { JobSpecSchema } from "@muster/client/v1/job";
import {
  CatchUpPolicy,
  OverlapPolicy,
  type Schedule,
  ScheduleSchema,
  ScheduleService,
} from "@muster/client/v1/schedule_service";
import { readCatchUp, readOverlap, wordOf } from "../../commands/schedule-show.ts";
import { payloadOfText, textOfPayload } from "../../input/payload.ts";
import { durationFromMs, readDuration, readPriority, readWhole, showPriority } from "../../input/values.ts";
import { durationToMs, showDuration } from "../../output/time.ts";
import type { FormField, FormValues } from "../overlays/form.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";
import { wrongUnless } from "./queue-keys.ts";
import { askSave } from "./save-form.ts";
import { previewTexts } from "./schedule-view.ts";

/**
 * Opens the form of a schedule: of a new one, or of one that is there. What is entered is checked by the server, then
 * shown with its next times and what it changes, and saved when that is right.
 */
export function openSchedule(shell: Shell, schedule: Schedule | undefined): void {
  const client = shell.client(ScheduleService);
  const before = fieldsOf(schedule);
  const createOnly = schedule === undefined;
  askSave(shell, {
    title: schedule === undefined ? "Create a schedule" : `Edit ${schedule.name}`,
    question: (values) =>
      schedule === undefined ? `Create ${(values["name"] ?? "").trim()}?` : `Save ${schedule.name}?`,
    isNew: schedule === undefined,
    fields: before,
    command: (values) => lineOf(schedule, before, values),
    check: async (values, options) => {
      const asked = messageOf(schedule, values);
      await client.putSchedule({ schedule: asked, createOnly, validateOnly: true }, options);
      return client.previewSchedule({ of: { case: "schedule", value: asked } }, options);
    },
    lines: (preview) => [preview.words, ...previewTexts(preview)],
    save: (values, options, reason) =>
      client.putSchedule({ schedule: messageOf(schedule, values), createOnly, reason }, options),
    done: ({ schedule: saved }) => `saved ${saved?.name ?? ""}`,
  });
}

function fieldsOf(schedule: Schedule | undefined): FormField[] {
  const job = schedule?.job;
  const name: FormField = {
    name: "name",
    label: "Name",
    value: "",
    about: "1 to 100 characters of a-z 0-9 . _ -",
  };
  return [
    ...(schedule === undefined ? [name] : []),
    {
      name: "cron",
      label: "Cron",
      value: schedule?.cron ?? "",
      about: "minute hour day month weekday, like 30 2 * * *; @daily; @every 90s",
    },
    { name: "zone", label: "Zone", value: schedule?.zone ?? "UTC", about: "like America/New_York" },
    {
      name: "jitter",
      label: "Jitter",
      value: schedule?.jitter === undefined ? "" : showDuration(durationToMs(schedule.jitter)),
      about: "be late by a part of this, like 30s; empty: none",
      check: (text) => wrongUnless(text, (given) => readDuration(given)),
    },
    {
      name: "overlap",
      label: "Overlap",
      value: wordOf(OverlapPolicy[schedule?.overlap || OverlapPolicy.SKIP]),
      about: "when an earlier job has not ended; left and right",
      choices: ["skip", "queue", "replace", "allow"],
    },
    {
      name: "catchUp",
      label: "Catch-up",
      value: wordOf(CatchUpPolicy[schedule?.catchUp || CatchUpPolicy.ONE]),
      about: "what of an outage is made up; left and right",
      choices: ["none", "one", "all"],
    },
    {
      name: "catchUpLimit",
      label: "At most",
      value: String(schedule?.catchUpLimit ?? 10),
      about: "how many catch-up all makes up, 1 to 1000",
      check: (text) => wrongUnless(text, (given) => readWhole(given, 1, 1_000)),
    },
    { name: "job.kind", label: "Kind", value: job?.kind ?? "", about: "what sort of work, like shell.run" },
    {
      name: "job.payload",
      label: "Payload",
      value: textOfPayload(job?.payload) ?? "",
      about: "JSON for the handler; ^X opens your editor",
      editor: "json",
    },
    { name: "job.title", label: "Title", value: job?.title ?? "", about: "of its jobs, for people" },
    { name: "job.queue", label: "Queue", value: job?.queue ?? "", about: "their lane; empty: default" },
    {
      name: "job.priority",
      label: "Priority",
      value: showPriority(job?.priority),
      about: "low, normal, high, critical, or 0 to 255",
      check: (text) => wrongUnless(text, (given) => readPriority(given)),
    },
  ];
}

function messageOf(schedule: Schedule | undefined, values: FormValues): Schedule {
  const text = (name: string): string => (values[name] ?? "").trim();
  const jitter = readDuration(text("jitter") || "0s");
  const priority = readPriority(text("job.priority") || "normal");
  const asked = schedule === undefined ? create(ScheduleSchema) : clone(ScheduleSchema, schedule);
  const job = asked.job ?? create(JobSpecSchema);
  const made = create(ScheduleSchema, {
    jitter: durationFromMs(jitter.kind === "value" ? jitter.value : 0),
  } satisfies MessageInitShape<typeof ScheduleSchema>);
  const { payload: _, ...rest } = job;
  return Object.assign(asked, {
    ...(schedule === undefined ? { name: text("name") } : {}),
    ...{ cron: text("cron"), zone: text("zone"), jitter: made.jitter },
    overlap: readOverlap(text("overlap")),
    catchUp: readCatchUp(text("catchUp")),
    catchUpLimit: Number(text("catchUpLimit")) || 0,
    job: {
      ...rest,
      ...{ kind: text("job.kind"), title: text("job.title"), queue: text("job.queue") },
      ...(priority.kind === "value" ? { priority: priority.value } : {}),
      ...(text("job.payload") === "" ? {} : { payload: payloadOfText(text("job.payload")) }),
    },
  });
}

const flags: Readonly<Record<string, string>> = {
  zone: "--zone",
  jitter: "--jitter",
  overlap: "--overlap",
  catchUp: "--catch-up",
  catchUpLimit: "--catch-up-limit",
  "job.payload": "--data",
  "job.title": "--title",
  "job.queue": "--queue",
  "job.priority": "--priority",
};

function lineOf(schedule: Schedule | undefined, before: readonly FormField[], values: FormValues): string {
  const text = (name: string): string => (values[name] ?? "").trim();
  const options = before.flatMap(({ name, value }): [string, string][] => {
    const flag = flags[name];
    return flag === undefined || text(name) === value ? [] : [[flag, text(name)]];
  });
  if (schedule === undefined) {
    const words = [text("name"), text("cron"), text("job.kind")].map(shellWord);
    return commandLine("schedule create", ...words, ...options);
  }
  const own = [
    ["--cron", "cron"],
    ["--kind", "job.kind"],
  ] as const;
  const changed = own.flatMap(([flag, name]): [string, string][] =>
    before.find((field) => field.name === name)?.value === text(name) ? [] : [[flag, text(name)]],
  );
  return commandLine("schedule edit", shellWord(schedule.name), ...changed, ...options);
}
