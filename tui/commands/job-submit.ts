import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  DependencyPolicy,
  type DependencySchema,
  type JobSpecSchema,
  type JobTargetSchema,
} from "@muster/client/v1/job";
import { JobService, SubmitJobResponseSchema } from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { isGlobalOption } from "../global-options.ts";
import {
  durationOption,
  listOption,
  orThrow,
  pairOption,
  priorityOption,
  timeOption,
  wholeOption,
} from "../input/options.ts";
import { readPayload } from "../input/payload.ts";
import { durationFromMs, readPolicy, timeFromMs } from "../input/values.ts";
import { sanitize } from "../output/sanitize.ts";
import { waitForJob } from "./job-wait.ts";
import { printWatch } from "./job-watch.ts";

/** The options of `job submit`. */
export interface SubmitOptions {
  readonly data?: string;
  readonly file?: string;
  readonly title?: string;
  readonly queue?: string;
  readonly pool?: string;
  readonly priority?: number;
  readonly points?: number;
  readonly skill?: readonly string[];
  readonly instructions?: readonly string[];
  readonly label?: Readonly<Record<string, string>>;
  readonly project?: string;
  readonly worker?: string;
  readonly session?: string;
  readonly projectSession?: boolean;
  readonly externalId?: string;
  readonly idempotencyKey?: string;
  readonly runAt?: number;
  readonly deadline?: number;
  readonly softTimeout?: number;
  readonly hardTimeout?: number;
  readonly leaseTtl?: number;
  readonly reclaimAfter?: number;
  readonly maxAttempts?: number;
  readonly exclusive?: boolean;
  readonly after?: readonly string[];
  readonly afterFailure?: DependencyPolicy;
  readonly wait?: boolean;
  readonly watch?: boolean;
}

/** Registers `muster job submit`. */
export function registerJobSubmit(job: MusterCommand, cli: Cli): void {
  job
    .command("submit [kind] [argv...]")
    .description("Submit one job, or many from a file or stdin. Prints the id once the job is safely stored.")
    .usage("[options] <kind> [-- program [arguments...]]\n       muster job submit -f <file>")
    .examples(
      "muster job submit shell.run -- make test",
      "muster job submit shell.run --wait --priority high -- sha256sum README.md",
      `muster job submit render.frame --data '{"frame":7}' --skill gpu --points 8`,
      "muster job submit report --data @report.json --run-at 'in 10m' --deadline 'in 2h'",
      "muster job submit agent.prompt --project acme/web --project-session --data @prompt.json",
      "muster job submit deploy --after job_01h9...,job_01ha... --after-failure release",
      "muster job submit -f jobs.yaml --wait",
      "generate-jobs | muster job submit -f -",
    )
    .option("-d, --data <json>", "payload: JSON, @file, or - for stdin")
    .option("-f, --file <path>", "submit the jobs of a file (YAML, or JSON lines), - for stdin")
    .option("--wait", "wait for the end and print the result; exit 9 if it failed")
    .option("--watch", "show what becomes of it until the end; exit 9 if it failed")
    .option("--title <text>", "for people")
    .option("--queue <name>", "lane (default)")
    .option("--pool <name>", "provider's quota that it draws on")
    .option("--priority <priority>", "low, normal, high, critical, or 0 to 255 (normal)", priorityOption)
    .option("--points <number>", "size against a worker's capacity (1)", wholeOption(1, 10_000))
    .option("--skill <name>", "skill that the worker must have; repeat for more", listOption)
    .option(
      "--instructions <skill>",
      "document that its handler is given (muster skill); repeat for more",
      listOption,
    )
    .option("--label <key=value>", "label; repeat for more", pairOption)
    .option("--project <name>", "project (repository) that it belongs to")
    .option("--worker <worker>", "only this worker may run it: its name or id")
    .option("--session <id>", "only in this agent session; waits while it cannot be used")
    .option("--project-session", "in the primary session of its project, else the first that can be used")
    .option("--external-id <id>", "your own id for it, unique while the job exists")
    .option("--idempotency-key <key>", "submit once however often this is repeated (7 days)")
    .option("--run-at <time>", "not before: RFC 3339, or 'in 10m'", timeOption(cli.surroundings.now))
    .option("--deadline <time>", "cancel it if it has not ended by then", timeOption(cli.surroundings.now))
    .option("--soft-timeout <duration>", "warn the handler after this long", durationOption)
    .option("--hard-timeout <duration>", "kill it after this long (soft timeout + 10s)", durationOption)
    .option("--lease-ttl <duration>", "cap of one attempt however lively it is (4h)", durationOption)
    .option("--reclaim-after <duration>", "how long a silent worker keeps it (30s)", durationOption)
    .option("--max-attempts <number>", "failures after which it is dead (3)", wholeOption(1, 100))
    .option(
      "--after <ids>",
      "only when these jobs have succeeded (ids, or your own ids); repeat for more",
      listOption,
    )
    .option(
      "--after-failure <policy>",
      "when one of them dies: cancel it, or release it (cancel)",
      policyOption,
    )
    .option("--exclusive", "start only after the lease is confirmed")
    .notes(fileFormat)
    .action(
      cli.action(async (call, kind: string | undefined, argv: string[], options: SubmitOptions) => {
        const source =
          options.file ?? (kind === undefined && call.surroundings.stdin.isTTY !== true ? "-" : undefined);
        if (source !== undefined) {
          const given = checkFileOptions(kind, argv, options);
          // YAML takes its time to load; no other verb of jobs needs it.
          const { submitFile } = await import("./job-submit-file.ts");
          return submitFile(call, source, given);
        }
        return submitOne(call, ...checkProgram(call, kind, argv), options);
      }),
    );
}

const fileFormat = `The file of -f is YAML, with a list, or with a job a document:
  title: nightly                    # of the batch; optional
  jobs:
    - kind: shell.run
      payload: { argv: [make, test] }
      priority: high                # or 0 to 255
      requiredSkills: [docker]
      labels: { team: web }
      softTimeout: 10m
      target: { worker: gpu-1 }     # or { sessionId: web-main }, or { projectSession: true }
      retry: { maxAttempts: 5, backoffInitial: 30s }
      ref: tests                    # a name for the others of the file
    - kind: shell.run
      payload: { argv: [make, deploy] }
      dependsOn: [tests]            # refs, ids of jobs, or { externalId: mine }
      dependencyPolicy: cancel      # or release: go on without
or JSON lines, a job a line: {"kind":"shell.run","payload":{"argv":["date"]}}
Fields are those of muster.v1.JobSpec (muster proto export). All jobs of a file are submitted,
or none; above 10,000 jobs or 4 MiB the file is cut into several such batches.`;

async function submitOne(
  call: Call,
  kind: string,
  argv: readonly string[],
  options: SubmitOptions,
): Promise<number> {
  const job = jobOfOptions(kind, options);
  const payload = await readPayload({ data: options.data, argv, kind }, call.surroundings);
  const request = {
    job: payload === undefined ? job : { ...job, payload },
    idempotencyKey: options.idempotencyKey ?? "",
  };
  const response = await call.client(JobService).submitJob(request, call.once());
  const { jobId } = response;
  const isFollowed = options.wait === true || options.watch === true;
  if (response.replayed) call.output.note(`Job ${jobId} was submitted before with this idempotency key.`);
  if (!isFollowed) {
    call.output.print({
      schema: SubmitJobResponseSchema,
      message: create(SubmitJobResponseSchema, response),
      text: () => [sanitize(jobId)],
      names: () => [jobId],
    });
    if (call.output.isTty) call.output.note(`Next: muster job watch ${jobId}${call.context().addressFlag}`);
    return exitCodes.done;
  }
  call.output.note(`Submitted ${jobId}.`);
  if (options.watch === true) return printWatch(call, jobId, { logs: true, exitStatus: true });
  return waitForJob(call, jobId, true);
}

function targetOfOptions({ worker, session, projectSession, project }: SubmitOptions): {
  readonly target?: MessageInitShape<typeof JobTargetSchema>;
} {
  const given = [worker !== undefined, session !== undefined, projectSession === true];
  if (given.filter((one) => one).length > 1) {
    throw usageError(
      "--worker, --session and --project-session each say who may run the job",
      "Give one of them.",
    );
  }
  if (worker !== undefined) return { target: { target: { case: "worker", value: worker } } };
  if (session !== undefined) return { target: { target: { case: "sessionId", value: session } } };
  if (projectSession !== true) return {};
  if (project === undefined)
    throw usageError("--project-session: of which project?", "Add --project <name>.");
  return { target: { target: { case: "projectSession", value: true } } };
}

/** The job that options ask for, without its payload. */
export function jobOfOptions(kind: string, options: SubmitOptions): MessageInitShape<typeof JobSpecSchema> {
  return {
    kind,
    title: options.title ?? "",
    queue: options.queue ?? "",
    pool: options.pool ?? "",
    project: options.project ?? "",
    externalId: options.externalId ?? "",
    requiredSkills: [...(options.skill ?? [])],
    instructions: [...(options.instructions ?? [])],
    labels: { ...options.label },
    exclusive: options.exclusive === true,
    ...targetOfOptions(options),
    dependsOn: (options.after ?? []).map(dependencyOf),
    ...given("priority", options.priority, (priority) => priority),
    ...given("points", options.points, (points) => points),
    ...given("runTime", options.runAt, timeFromMs),
    ...given("deadline", options.deadline, timeFromMs),
    ...given("softTimeout", options.softTimeout, durationFromMs),
    ...given("hardTimeout", options.hardTimeout, durationFromMs),
    ...given("leaseTtl", options.leaseTtl, durationFromMs),
    ...given("reclaimAfter", options.reclaimAfter, durationFromMs),
    ...given("dependencyPolicy", options.afterFailure, (policy) => policy),
    ...given("retry", options.maxAttempts, (maxAttempts) => ({ maxAttempts })),
  };
}

// Every id of Muster begins with its noun; another one is the submitter's own.
function dependencyOf(id: string): MessageInitShape<typeof DependencySchema> {
  const parentCase = id.startsWith("job_") ? ("jobId" as const) : ("externalId" as const);
  return { parent: { case: parentCase, value: id } };
}

function given<Name extends string, Value>(
  name: Name,
  ms: number | undefined,
  make: (value: number) => Value,
): { [Key in Name]?: Value } {
  return ms === undefined ? {} : named(name, make(ms));
}

function named<Name extends string, Value>(name: Name, value: Value): { [Key in Name]?: Value } {
  // Safe: an object with the one key `name`; TypeScript widens computed keys to string.
  return { [name]: value } as { [Key in Name]?: Value };
}

function checkProgram(
  call: Call,
  kind: string | undefined,
  argv: readonly string[],
): [string, readonly string[]] {
  const dashes = call.argv.indexOf("--");
  const behind = dashes < 0 ? 0 : call.argv.length - dashes - 1;
  const words = (kind === undefined ? 0 : 1) + argv.length;
  if (kind === undefined || behind === words) {
    throw usageError(
      "which kind of job? None is given",
      `Name it first, like: muster job submit shell.run -- ${behind > 0 ? call.argv.slice(dashes + 1).join(" ") : "date"}`,
    );
  }
  if (argv.length > behind) {
    throw usageError(
      `${JSON.stringify(argv[0])} is one word too many`,
      `A program stands after two dashes: muster job submit ${kind} -- ${argv.join(" ")}`,
    );
  }
  return [kind, argv];
}

const fileOptions = ["file", "wait", "title", "idempotencyKey"];

function checkFileOptions(
  kind: string | undefined,
  argv: readonly string[],
  options: SubmitOptions,
): SubmitOptions {
  const extra = Object.keys(options).filter((name) => !fileOptions.includes(name) && !isGlobalOption(name));
  if (kind !== undefined || argv.length > 0) {
    throw usageError(
      `-f reads the jobs from a file, and ${JSON.stringify(kind)} is one more`,
      "Give one of the two.",
    );
  }
  if (extra.length > 0) {
    const flags = extra.map((name) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
    throw usageError(`${flags.join(", ")} cannot be used with -f`, "Write it into the file, for each job.");
  }
  return options;
}

function policyOption(text: string): DependencyPolicy {
  return orThrow(readPolicy(text)) === "DEPENDENCY_POLICY_RELEASE"
    ? DependencyPolicy.RELEASE
    : DependencyPolicy.CANCEL;
}
