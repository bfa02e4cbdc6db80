import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { listOption } from "../input/options.ts";
import { showCounted } from "../output/time.ts";

interface FileOptions {
  readonly file?: readonly string[];
  readonly prune?: boolean;
  readonly state?: string;
}

interface ApplyOptions extends FileOptions {
  readonly dryRun?: boolean;
  readonly reason?: string;
  readonly schema?: boolean;
}

/** Registers `muster apply`, `muster diff` and `muster export`. */
export function registerApply(cli: Cli): void {
  withFiles(cli.program.command("apply"))
    .description(
      "Make it as files say: schedules, templates, skills, queues, projects, alerts and channels, in YAML.",
    )
    .examples(
      "muster apply -f muster.yaml",
      "muster apply -f muster.d --prune --dry-run",
      "muster export | ssh other muster apply -f -",
      "muster apply --schema > muster.schema.json",
    )
    .option("--dry-run", "only show what would be done; the same as diff")
    .option("--reason <text>", "for people")
    .option("--schema", "print the JSON Schema of the files, for editors")
    .notes(fileFormat)
    .action(cli.action((call, options: ApplyOptions) => apply(call, options)));
  withFiles(cli.program.command("diff"))
    .description("Show what apply would change. Nothing is changed.")
    .examples("muster diff -f muster.yaml", "muster diff -f muster.d --exit-code")
    .option("--exit-code", "exit with 11 when something would be changed")
    .action(
      cli.action(async (call, options: FileOptions & { readonly exitCode?: boolean }) => {
        const { plan } = await planFiles(call, options);
        await printPlan(call, plan);
        const isSame = plan.changes.every(({ action }) => action === "none");
        return isSame || options.exitCode !== true ? exitCodes.done : exitCodes.checkFailed;
      }),
    );
  cli.program
    .command("export [kinds...]")
    .description("Print what there is as files for apply: everything, or some kinds. Secrets are left out.")
    .examples("muster export > muster.yaml", "muster export schedule template", "muster export -o json")
    .action(cli.action((call, kinds: string[]) => exportAll(call, kinds)));
}

function withFiles(command: MusterCommand): MusterCommand {
  return command
    .option("-f, --file <path>", "a file, a directory, or - for stdin; repeat for more", listOption)
    .option("--prune", "remove what an earlier apply of the same files made and they no longer have")
    .option("--state <path>", "where it is kept what was applied (per user, below XDG_STATE_HOME)");
}

const fileFormat = `A file has a document a thing, with --- between them:
  kind: queue                       # or kind, pool: how much may run and start
  name: renders
  spec: { running: 20, startRate: { jobs: 10, per: 1m } }
  ---
  kind: project
  name: acme/web
  spec: { maxOpenPrs: 5 }
  ---
  kind: channel
  name: ops
  spec: { slack: { webhookUrl: !env SLACK_WEBHOOK_URL } }
  ---
  kind: alert
  name: dead-jobs
  spec: { condition: job_dead, threshold: 3, window: 10m, channels: [ops] }
  ---
  kind: schedule
  name: nightly
  spec:
    cron: 30 2 * * *
    zone: America/New_York
    overlap: skip
    job: { kind: shell.run, payload: { argv: [make, nightly] } }
  ---
  kind: template                    # see: muster template create --help
  name: greet
  spec: { job: { kind: shell.run, payload: { argv: [echo, hello] } } }
  ---
  kind: skill                       # a document for handlers; body: may also be a block of text
  name: review
  spec: { description: How we review, body: !file skills/review.md }
Fields are those of the API by their JSON names; a field that is not there has its default. What is
as it should be is left alone. !env NAME is a variable of the environment, !file PATH the text of a
file in the same directory or below. For editors, in the first line of a file:
  # yaml-language-server: $schema=muster.schema.json`;

async function apply(call: Call, options: ApplyOptions): Promise<number> {
  if (options.schema === true) return printSchema(call);
  const { plan, stateFile } = await planFiles(call, options);
  const removed = plan.changes.filter(({ action }) => action === "remove");
  if (options.dryRun === true) {
    await printPlan(call, plan);
    return exitCodes.done;
  }
  if (removed.length > 0) {
    const names = removed.map(({ resource, name }) => `${resource.kind} ${name}`).join(", ");
    const files = (options.file ?? []).map((path) => `-f ${quote(path)}`).join(" ");
    await confirmDanger(call, {
      level: "moderate",
      what: `Remove ${showCounted(removed.length, "thing")} that the files no longer have: ${names}`,
      command: `muster apply ${files} --prune`,
    });
  }
  const { makeChanges } = await import("../apply/make.ts");
  const { readApplied, writeApplied } = await import("../apply/applied.ts");
  const { planWords } = await import("../apply/show.ts");
  const kept = plan.changes
    .filter(({ action }) => action !== "remove")
    .map(({ resource, name }) => ({ kind: resource.kind, name }));
  // Without --prune what went from the files is remembered, for the time that it is pruned.
  const isKept = ({ kind, name }: { kind: string; name: string }) =>
    kept.some((one) => one.kind === kind && one.name === name);
  const before = options.prune === true ? [] : readApplied(stateFile).filter((one) => !isKept(one));
  await makeChanges(call, plan, options.reason ?? "");
  writeApplied(stateFile, [...kept, ...before]);
  const isSame = plan.changes.every(({ action }) => action === "none");
  call.output.note(
    isSame ? "Everything is as it should be." : `Done: ${planWords(plan).replaceAll("to ", "")}.`,
  );
  return exitCodes.done;
}

async function planFiles(call: Call, { file = [], prune, state }: FileOptions) {
  if (file.length === 0) throw usageError("which files?", "Like: muster apply -f muster.yaml");
  const { resources } = await import("../apply/resources.ts");
  const { readFiles, refuseViolations } = await import("../apply/files.ts");
  const { makePlan } = await import("../apply/plan.ts");
  const { appliedFile, readApplied } = await import("../apply/applied.ts");
  const documents = await readFiles(file, resources, call.surroundings);
  const { address, org } = call.context();
  const stateFile = appliedFile(file, `${address} ${org ?? ""}`, state, call.surroundings);
  const leftovers = (prune === true ? readApplied(stateFile) : [])
    .filter((one) => !documents.some(({ kind, name }) => kind === one.kind && name === one.name))
    .flatMap(({ kind, name }) => {
      const resource = resources.find((one) => one.kind === kind);
      return resource === undefined ? [] : [{ resource, name }];
    });
  const plan = await makePlan(call, resources, documents, leftovers);
  refuseViolations(plan.violations);
  return { plan, stateFile };
}

async function printPlan(call: Call, plan: Awaited<ReturnType<typeof planFiles>>["plan"]): Promise<void> {
  const { planLines, planValue, planWords } = await import("../apply/show.ts");
  call.output.printValue(
    planValue(plan),
    () => planLines(plan, call.output),
    () =>
      plan.changes
        .filter(({ action }) => action !== "none")
        .map(({ resource, name }) => `${resource.kind}/${name}`),
  );
  call.output.note(`${planWords(plan)}. Nothing was changed.`);
}

async function printSchema(call: Call): Promise<number> {
  const { resources } = await import("../apply/resources.ts");
  const { documentsSchema } = await import("../apply/json-schema.ts");
  const schema = documentsSchema(resources);
  call.output.printValue(schema, () => [JSON.stringify(schema, null, 2)]);
  return exitCodes.done;
}

async function exportAll(call: Call, kinds: readonly string[]): Promise<number> {
  const { resources } = await import("../apply/resources.ts");
  const { didYouMean } = await import("../input/suggest.ts");
  const { showYaml } = await import("../output/yaml.ts");
  const known = resources.map(({ kind }) => kind);
  for (const kind of kinds) {
    if (known.includes(kind)) continue;
    throw usageError(
      `there is no kind ${JSON.stringify(kind)}`,
      didYouMean(kind, known) ?? `Use some of ${known.join(", ")}.`,
    );
  }
  const wanted = resources.filter(({ kind }) => kinds.length === 0 || kinds.includes(kind));
  const documents: object[] = [];
  for (const resource of wanted) {
    for (const { name, spec } of await resource.list(call))
      documents.push({ kind: resource.kind, name, spec });
  }
  call.output.printValue(
    documents,
    () => documents.flatMap((one, index) => [...(index === 0 ? [] : ["---"]), showYaml(one)]),
    () => documents.map((one) => JSON.stringify(one)),
  );
  return exitCodes.done;
}
