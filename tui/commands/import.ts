import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { usageError, type Violation } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { sanitize } from "../output/sanitize.ts";

interface ImportOptions {
  readonly dryRun?: boolean;
  readonly reason?: string;
}

/** Registers `muster import`. */
export function registerImport(cli: Cli): void {
  cli.program
    .command("import <file...>")
    .description("Take over the files of a small job runner: its scheduler.yaml and alerts.yaml.")
    .examples(
      "muster import scheduler.yaml alerts.yaml --dry-run",
      "muster import scheduler.yaml --yes && muster export schedule > muster.yaml",
    )
    .option("--dry-run", "only show what would be made")
    .option("--reason <text>", "for people")
    .notes(fileFormat)
    .action(cli.action((call, files: string[], options: ImportOptions) => importFiles(call, files, options)));
}

const fileFormat = `What is read of a scheduler.yaml:
  timezone: Europe/Berlin           # of all jobs that have none
  jobs:
    - id: backup
      kind: shell.run
      cron: "30 2 * * *"
      timezone: UTC
      priority: high                # or 0 to 255
      retries: 2                    # tries after the first
      enabled: true                 # false: the schedule is paused
      depends_on: [check]           # jobs of schedules do not wait: kept as a label
      payload: { argv: [make, backup] }
And of an alerts.yaml:
  rules:
    - on: job_failed                # or failure_rate, queue_depth, worker_stale, ...
      threshold: 3
      window: 10m
      throttle: 30m
      channels: [ops]               # as in muster channel list
What is there already under a name is changed to what the file says; nothing is removed.`;

async function importFiles(call: Call, files: readonly string[], options: ImportOptions): Promise<number> {
  const { documents, warnings } = await readOldFiles(call, files);
  const { resources } = await import("../apply/resources.ts");
  const { refuseViolations } = await import("../apply/files.ts");
  const { makePlan } = await import("../apply/plan.ts");
  const { planLines, planValue, planWords } = await import("../apply/show.ts");
  const { makeChanges } = await import("../apply/make.ts");
  const plan = await makePlan(call, resources, documents);
  refuseViolations(plan.violations);
  for (const warning of warnings) call.output.warn(warning);
  if (options.dryRun === true) {
    call.output.printValue(planValue(plan), () => planLines(plan, call.output, true));
    call.output.note(`${planWords(plan)}. Nothing was changed.`);
    return exitCodes.done;
  }
  for (const line of planLines(plan, call.output)) call.output.note(line);
  if (plan.changes.every(({ action }) => action === "none")) {
    call.output.note("Everything is there already.");
    return exitCodes.done;
  }
  await confirmDanger(call, {
    level: "moderate",
    what: `Import: ${planWords(plan)}`,
    command: `muster import ${files.map(quote).join(" ")}`,
  });
  await makeChanges(call, plan, options.reason ?? "");
  return exitCodes.done;
}

async function readOldFiles(call: Call, files: readonly string[]) {
  const { readText, sourceName } = await import("../input/files.ts");
  const { readAlerts } = await import("../import/alerts-file.ts");
  const { readScheduler } = await import("../import/scheduler-file.ts");
  const { refuseViolations } = await import("../apply/files.ts");
  const violations: Violation[] = [];
  const documents = [];
  const warnings: string[] = [];
  for (const path of files) {
    const text = await readText(path, "import", call.surroundings);
    const [name, nowMs] = [sourceName(path), call.surroundings.now()];
    const isJobs = /^jobs\s*:/m.test(text);
    if (isJobs === /^rules\s*:/m.test(text)) {
      throw usageError(
        `${sanitize(name)} is neither a scheduler.yaml nor an alerts.yaml`,
        "The one has a list jobs:, the other a list rules:. See `muster import --help`.",
      );
    }
    const read = (isJobs ? readScheduler : readAlerts)(text, name, nowMs, violations);
    documents.push(...read.documents);
    warnings.push(...read.warnings);
  }
  refuseViolations(violations);
  return { documents, warnings };
}
