import {
  RenderTemplateResponseSchema,
  RunTemplateResponseSchema,
  type Template,
  TemplateService,
} from "@muster/client/v1/template_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { pairOption } from "../input/options.ts";
import { sanitize, sanitizeLines } from "../output/sanitize.ts";
import { waitForJob } from "./job-wait.ts";

interface ValueOptions {
  readonly param?: Readonly<Record<string, string>>;
}

interface RunOptions extends ValueOptions {
  readonly digest?: string;
  readonly idempotencyKey?: string;
  readonly wait?: boolean;
}

/** Registers `muster template preview` and `run`. */
export function registerTemplateRun(template: MusterCommand, cli: Cli): void {
  withValues(template.command("preview [name]"))
    .description("Show the job that a template makes of values, and submit nothing.")
    .usage("[options] <name>\n       muster template preview -f <source>")
    .examples(
      "muster template preview resize-images -p directory=/data -p width=800",
      "muster template preview -f ./resize-images.yaml -p directory=/data",
    )
    .option("-f, --file <source>", "a template that is not kept: a file, an https URL, or npm:PACKAGE")
    .action(
      cli.action(async (call, name: string | undefined, options: ValueOptions & { readonly file?: string }) =>
        preview(call, name, options),
      ),
    );
  withValues(template.command("run <name>"))
    .description(
      "Submit the job that a template makes of values. Prints the id once the job is safely stored.",
    )
    .examples(
      "muster template run resize-images -p directory=/data -p width=800 --wait",
      "muster template run review-issue -p issue=@issue.md --digest 5d41402abc4b…",
    )
    .option("--digest <sha256>", "only when the template has this digest, as `get` prints it")
    .option("--idempotency-key <key>", "submit once however often this is repeated (7 days)")
    .option("--wait", "wait for the end and print the result; exit 9 if it failed")
    .action(cli.action((call, name: string, options: RunOptions) => run(call, name, options)));
}

function withValues(command: MusterCommand): MusterCommand {
  return command.option(
    "-p, --param <name=value>",
    "a parameter; @file is the text of a file; repeat for more",
    pairOption,
  );
}

async function preview(
  call: Call,
  name: string | undefined,
  options: ValueOptions & { readonly file?: string },
): Promise<number> {
  if ((name === undefined) === (options.file === undefined)) {
    throw usageError("give the name of a template, or -f", "Like: muster template preview resize-images");
  }
  const template = name === undefined ? await loadOne(call, options.file ?? "") : await load(call, name);
  const values = await readValues(call, options, template);
  const of = name === undefined ? { template } : { name };
  const response = await call.client(TemplateService).renderTemplate({ ...of, values }, call.once());
  const { showYaml } = await import("../output/yaml.ts");
  call.output.print({
    schema: RenderTemplateResponseSchema,
    message: response,
    text: () => sanitizeLines(showYaml(response.job ?? {})).split("\n"),
    names: () => [response.digest],
  });
  return exitCodes.done;
}

async function run(call: Call, name: string, options: RunOptions): Promise<number> {
  const template = await load(call, name);
  const values = await readValues(call, options, template);
  const request = {
    name,
    values,
    // What was looked at is what runs, also when nobody asked for a certain one.
    digest: options.digest ?? template.digest,
    idempotencyKey: options.idempotencyKey ?? "",
  };
  const response = await call.client(TemplateService).runTemplate(request, call.once());
  const jobId = response.job?.jobId ?? "";
  if (options.wait === true) {
    call.output.note(`Submitted ${jobId}.`);
    return waitForJob(call, jobId, true);
  }
  call.output.print({
    schema: RunTemplateResponseSchema,
    message: response,
    text: () => [sanitize(jobId)],
    names: () => [jobId],
  });
  return exitCodes.done;
}

async function load(call: Call, name: string): Promise<Template> {
  const { template } = await call.client(TemplateService).getTemplate({ name }, call.once());
  if (template === undefined) throw new Error("an answer without the template");
  return template;
}

async function loadOne(call: Call, source: string): Promise<Template> {
  const { fetchTemplates } = await import("../templates/source.ts");
  const { readTemplates } = await import("../templates/read.ts");
  const fetched = await fetchTemplates(source, { sha256: undefined, surroundings: call.surroundings });
  const [template, ...others] = readTemplates(fetched, call.surroundings);
  if (template !== undefined && others.length === 0) return template;
  throw usageError(`${source} has several templates`, "Install them, then preview one by its name.");
}

async function readValues(call: Call, { param = {} }: ValueOptions, template: Template) {
  const { readParameters } = await import("../templates/values.ts");
  return readParameters(param, template.parameters, call.surroundings);
}
