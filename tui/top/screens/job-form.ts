import { randomUUID } from "node:crypto";
import { readError } from "@muster/client/errors";
import type { Job, JobSpec } from "@muster/client/v1/job";
import { JobService, JobView } from "@muster/client/v1/job_service";
import { parse, stringify, YAMLError } from "yaml";
import { readJobSpec } from "../../input/job-spec.ts";
import { type SpecProblem, showPath } from "../../input/message-document.ts";
import { textOfPayload } from "../../input/payload.ts";
import { readPriority, showPriority } from "../../input/values.ts";
import { durationToMs, showDuration } from "../../output/time.ts";
import { type FormField, type FormProblem, type FormValues, formOverlay } from "../overlays/form.ts";
import { commandLine } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";

/** Opens the form that submits a job; with a job, filled like that one. */
export function openJobCreate(shell: Shell, like?: Job): void {
  const spec = like?.spec;
  // The form may be sent twice; the job is submitted once.
  const idempotencyKey = randomUUID();
  const fields: FormField[] = [
    {
      name: "kind",
      label: "Kind",
      value: spec?.kind ?? "",
      about: "what sort of work, like shell.run: it selects the handler",
    },
    {
      name: "payload",
      label: "Payload",
      value: textOfPayload(spec?.payload) ?? "",
      about: 'JSON for the handler, like {"argv":["date"]}; ^X opens your editor',
      editor: "json",
    },
    { name: "title", label: "Title", value: spec?.title ?? "", about: "for people" },
    { name: "queue", label: "Queue", value: spec?.queue ?? "", about: "its lane; empty: default" },
    {
      name: "priority",
      label: "Priority",
      value: showPriority(spec?.priority),
      about: "low, normal, high, critical, or 0 to 255",
    },
    {
      name: "requiredSkills",
      label: "Skills",
      value: spec?.requiredSkills.join(", ") ?? "",
      about: "all that a worker must have, with commas",
    },
    {
      name: "points",
      label: "Points",
      value: String(spec?.points ?? 1),
      about: "its size against the capacity of a worker: 1 to 10,000",
    },
    {
      name: "project",
      label: "Project",
      value: spec?.project ?? "",
      about: "the repository that it belongs to",
    },
    { name: "labels", label: "Labels", value: labelsText(spec?.labels), about: "key=value, with commas" },
    {
      name: "maxAttempts",
      label: "Attempts",
      value: String(spec?.retry?.maxAttempts ?? ""),
      about: "failures after which it is dead; empty: inherited",
    },
    {
      name: "softTimeout",
      label: "Timeout",
      value: softText(spec),
      about: "warn the handler after this long, like 10m; empty: none",
    },
    {
      name: "runTime",
      label: "Not before",
      value: "",
      about: "a time like 2026-11-23T08:00:00Z, or 'in 10m'; empty: at once",
    },
    {
      name: "externalId",
      label: "External id",
      value: "",
      about: "your own id for it, unique while the job exists",
    },
  ];
  shell.open((close) =>
    formOverlay(
      {
        title: like === undefined ? "Submit a job" : `Submit a job like ${like.jobId}`,
        verb: "submit",
        fields,
        edit: shell.edit,
        command: createCommand,
        save: async (values) => {
          const problems: SpecProblem[] = [];
          const job = readJobSpec(documentOf(values, problems), [], shell.now(), problems);
          if (job === undefined || problems.length > 0) return problems.map(formProblem);
          return submit(shell, job, idempotencyKey);
        },
      },
      () => shell.changed(),
      close,
    ),
  );
}

/** Opens the form that changes what may be changed of a job. */
export function openJobEdit(shell: Shell, job: Job): void {
  const { spec } = job;
  const fields: FormField[] = [
    {
      name: "priority",
      label: "Priority",
      value: showPriority(spec?.priority),
      about: "low, normal, high, critical, or 0 to 255",
      check: (text) => {
        const reading = readPriority(text);
        return reading.kind === "wrong" ? reading.message : undefined;
      },
    },
    { name: "title", label: "Title", value: spec?.title ?? "", about: "for people; at most 200 characters" },
    {
      name: "labels",
      label: "Labels",
      value: labelsText(spec?.labels),
      about: "key=value, with commas; one that is left out is taken away",
    },
    { name: "reason", label: "Reason", value: "", about: "why, for the audit log" },
  ];
  shell.open((close) =>
    formOverlay(
      {
        title: `Edit ${job.jobId}`,
        verb: "save",
        fields,
        edit: shell.edit,
        command: (values) => editCommand(job, values),
        save: (values) => saveEdit(shell, job, values),
      },
      () => shell.changed(),
      close,
    ),
  );
}

/**
 * Opens the user's editor on a job in YAML, filled like the one at hand, and submits what comes back. What is wrong
 * is written at the top, and the editor opens again: nothing that was written is lost. Unchanged means no.
 */
export async function submitFromEditor(shell: Shell, like?: Job): Promise<void> {
  const full = like === undefined ? undefined : await readFull(shell, like.jobId);
  let text = templateText(full);
  const idempotencyKey = randomUUID();
  while (true) {
    const edited = await shell.edit(text, "yaml");
    if (edited === undefined) return shell.say({ text: "nothing submitted", kind: "info" });
    const problems: SpecProblem[] = [];
    const job = readYaml(edited, shell.now(), problems);
    const found = job === undefined ? problems.map(formProblem) : await submit(shell, job, idempotencyKey);
    if (found.length === 0) return;
    const comments = found.map(({ field, message }) =>
      `# wrong: ${field === "" ? "" : `${field}: `}${message}`.replaceAll("\n", " "),
    );
    text = [...comments, edited.replace(/^# wrong: .*\n/gm, "")].join("\n");
  }
}

async function submit(shell: Shell, job: JobSpec, idempotencyKey: string): Promise<readonly FormProblem[]> {
  let problems: readonly FormProblem[] = [];
  const answer = await shell.act(
    ({ options }) => shell.client(JobService).submitJob({ job, idempotencyKey }, options),
    (error) => {
      problems = problemsOf(error);
      return true;
    },
  );
  if (answer === undefined) return problems;
  shell.say({ text: `submitted ${answer.jobId}`, kind: "done" });
  return [];
}

async function saveEdit(shell: Shell, job: Job, values: FormValues): Promise<readonly FormProblem[]> {
  const { spec } = job;
  const problems: SpecProblem[] = [];
  const labels = readLabels(values["labels"] ?? "", problems);
  if (problems.length > 0) return problems.map(formProblem);
  const priority = readPriority(values["priority"] ?? "");
  const gone = Object.keys(spec?.labels ?? {}).filter((key) => !(key in labels));
  let refused: readonly FormProblem[] = [];
  const answer = await shell.act(
    ({ requestId, options }) =>
      shell.client(JobService).updateJob(
        {
          jobId: job.jobId,
          ...(priority.kind === "value" ? { priority: priority.value } : {}),
          title: values["title"] ?? "",
          labels: { ...labels, ...Object.fromEntries(gone.map((key) => [key, ""])) },
          reason: values["reason"] ?? "",
          requestId,
        },
        options,
      ),
    (error) => {
      refused = problemsOf(error);
      return true;
    },
  );
  if (answer === undefined) return refused;
  shell.say({ text: `changed ${job.jobId}`, kind: "done" });
  return [];
}

/** What the server finds wrong, by field; the whole error where it names none. */
export function problemsOf(error: unknown): readonly FormProblem[] {
  const { detail, message } = readError(error);
  if (detail !== undefined && detail.violations.length > 0) {
    return detail.violations.map((violation) => ({ field: violation.field, message: violation.message }));
  }
  const suggestion = detail?.suggestion ?? "";
  return [{ field: "", message: suggestion === "" ? message : `${message}. ${suggestion}` }];
}

function documentOf(values: FormValues, problems: SpecProblem[]): Readonly<Record<string, unknown>> {
  const text = (name: string): string => (values[name] ?? "").trim();
  const document: Record<string, unknown> = {};
  for (const name of ["kind", "title", "queue", "project", "externalId", "softTimeout", "runTime"]) {
    if (text(name) !== "") document[name] = text(name);
  }
  const payload = text("payload");
  if (payload !== "") {
    try {
      document["payload"] = JSON.parse(payload);
    } catch (cause) {
      problems.push({
        path: ["payload"],
        message: cause instanceof Error ? cause.message : "is not JSON",
        isKey: false,
      });
    }
  }
  const priority = text("priority");
  if (priority !== "") document["priority"] = /^\d+$/.test(priority) ? Number(priority) : priority;
  const points = text("points");
  if (points !== "") document["points"] = /^\d+$/.test(points) ? Number(points) : points;
  const attempts = text("maxAttempts");
  if (attempts !== "")
    document["retry"] = { maxAttempts: /^\d+$/.test(attempts) ? Number(attempts) : attempts };
  const skills = words(text("requiredSkills"));
  if (skills.length > 0) document["requiredSkills"] = skills;
  const labels = readLabels(text("labels"), problems);
  if (Object.keys(labels).length > 0) document["labels"] = labels;
  return document;
}

function createCommand(values: FormValues): string {
  const value = (name: string): string => (values[name] ?? "").trim();
  const given = (flag: string, name: string, usual = ""): readonly [string, string] => [
    flag,
    value(name) === usual ? "" : value(name),
  ];
  return commandLine(
    `job submit ${value("kind")}`.trim(),
    given("--data", "payload"),
    given("--title", "title"),
    given("--queue", "queue"),
    given("--priority", "priority", "normal"),
    ["--skill", words(value("requiredSkills")).join(",")],
    given("--points", "points", "1"),
    given("--project", "project"),
    ...words(value("labels")).map((label) => ["--label", label] as const),
    given("--max-attempts", "maxAttempts"),
    given("--soft-timeout", "softTimeout"),
    given("--run-at", "runTime"),
    given("--external-id", "externalId"),
  );
}

function editCommand(job: Job, values: FormValues): string {
  const { spec } = job;
  const changed = (name: string, before: string): string =>
    values[name] === before ? "" : (values[name] ?? "");
  return commandLine(
    `job edit ${job.jobId}`,
    ["--priority", changed("priority", showPriority(spec?.priority))],
    ["--title", changed("title", spec?.title ?? "")],
    ...words(changed("labels", labelsText(spec?.labels))).map((label) => ["--label", label] as const),
    ["--reason", values["reason"] ?? ""],
  );
}

function readLabels(text: string, problems: SpecProblem[]): Readonly<Record<string, string>> {
  const labels: Record<string, string> = {};
  for (const word of words(text)) {
    const at = word.indexOf("=");
    if (at <= 0) problems.push({ path: ["labels"], message: `write key=value, not ${word}`, isKey: false });
    else labels[word.slice(0, at)] = word.slice(at + 1);
  }
  return labels;
}

function words(text: string): string[] {
  return text
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");
}

function labelsText(labels: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");
}

function softText(spec: JobSpec | undefined): string {
  return spec?.softTimeout === undefined ? "" : showDuration(durationToMs(spec.softTimeout));
}

function formProblem({ path, message }: SpecProblem): FormProblem {
  return { field: showPath(path), message };
}

async function readFull(shell: Shell, jobId: string): Promise<Job | undefined> {
  const answer = await shell.act(({ options }) =>
    shell.client(JobService).getJob({ jobId, view: JobView.FULL }, options),
  );
  return answer?.job;
}

function templateText(like: Job | undefined): string {
  const { spec } = like ?? {};
  const payload = textOfPayload(spec?.payload);
  const document = {
    kind: spec?.kind ?? "shell.run",
    title: spec?.title ?? "",
    payload: payload === undefined ? { argv: ["date"] } : jsonOr(payload),
    queue: spec?.queue || "default",
    priority: showPriority(spec?.priority),
    points: spec?.points ?? 1,
    requiredSkills: spec?.requiredSkills ?? [],
    labels: spec?.labels ?? {},
    ...(spec?.project ? { project: spec.project } : {}),
  };
  return `# Save to submit this job; leave it as it is to submit nothing.\n${stringify(document)}`;
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function readYaml(text: string, nowMs: number, problems: SpecProblem[]): JobSpec | undefined {
  try {
    return readJobSpec(parse(text), [], nowMs, problems);
  } catch (cause) {
    if (!(cause instanceof YAMLError)) throw cause;
    problems.push({ path: [], message: cause.message.split("\n")[0] ?? "is not YAML", isKey: false });
    return undefined;
  }
}
