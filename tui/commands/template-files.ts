import {
  PutTemplateResponseSchema,
  type Template,
  TemplateService,
} from "@muster/client/v1/template_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { sanitize } from "../output/sanitize.ts";
import { showCounted } from "../output/time.ts";
import type { Fetched } from "../templates/source.ts";

interface InstallOptions {
  readonly sha256?: string;
  readonly dryRun?: boolean;
  readonly reason?: string;
}

interface FileOptions {
  readonly file: string;
  readonly ifDigest?: string;
  readonly dryRun?: boolean;
  readonly reason?: string;
}

/** Registers `muster template show`, `install`, `create` and `edit`. */
export function registerTemplateFiles(template: MusterCommand, cli: Cli): void {
  template
    .command("show <source>")
    .description("Fetch templates and show them, with their checksum. Nothing is installed.")
    .examples(
      "muster template show https://example.com/templates/resize-images.yaml",
      "muster template show npm:@acme/muster-templates@1.2.0",
    )
    .option("--sha256 <checksum>", "refuse what has another one")
    .action(
      cli.action(async (call, source: string, options: InstallOptions) => {
        const { fetched, templates } = await fetchAll(call, source, options);
        await printTemplates(call, fetched, templates);
        return exitCodes.done;
      }),
    );
  template
    .command("install <source>")
    .description(
      "Install templates from a file, a directory, an https URL or an npm package. They are text: nothing of them " +
        "is executed, and no install script runs.",
    )
    .examples(
      "muster template install ./templates",
      "muster template install https://example.com/resize.yaml --sha256 2c26b46b68ffc68f…",
      "muster template install npm:@acme/muster-templates@1.2.0 --yes",
    )
    .option("--sha256 <checksum>", "refuse what has another one; of a package that of its tarball")
    .option("--dry-run", "only fetch and check")
    .option("--reason <text>", "for people")
    .action(cli.action((call, source: string, options: InstallOptions) => install(call, source, options)));
  withFile(template.command("create"))
    .description("Create a template from a file, or from stdin for -. One of the name is refused.")
    .examples("muster template create -f resize-images.yaml")
    .action(cli.action((call, options: FileOptions) => putFile(call, options, true)));
  withFile(template.command("edit"))
    .description("Create templates, or replace all of them, from a file or from stdin for -.")
    .examples(
      "muster template edit -f resize-images.yaml",
      "muster template edit -f resize-images.yaml --if-digest 5d41402abc4b…",
    )
    .option("--if-digest <sha256>", "only when it has this digest now, as `get` prints it")
    .action(cli.action((call, options: FileOptions) => putFile(call, options, false)));
}

function withFile(command: MusterCommand): MusterCommand {
  return command
    .requiredOption("-f, --file <path>", "YAML: kind: template, name: and spec:")
    .option("--dry-run", "only check")
    .option("--reason <text>", "for people")
    .notes(fileFormat);
}

const fileFormat = `The file has a document a template:
  kind: template
  name: resize-images
  spec:
    version: "1.0"
    parameters:
      - { name: directory, type: string, required: true }   # or text, integer, number, boolean
      - { name: width, type: integer, default: 800 }
    job:                                                    # as in muster job submit -f
      kind: shell.run
      payload: { argv: [resize, --width, "{{width}}", "{{directory}}"] }
A value becomes an argument of its own; where a shell would read it as a script it is refused. A
parameter of the type text is inserted between marks that say that it is data. More of them are in
docs/templates.`;

async function install(call: Call, source: string, options: InstallOptions): Promise<number> {
  const { fetched, templates } = await fetchAll(call, source, options);
  const { isRemote, sha256 } = fetched;
  if (isRemote && options.sha256 === undefined && options.dryRun !== true) {
    call.output.note(`${fetched.source} has the checksum ${sha256}`);
    const names = templates.map(({ name }) => name).join(", ");
    await confirmDanger(call, {
      level: "moderate",
      what: `Install ${showCounted(templates.length, "template")} from ${fetched.source}: ${names}`,
      command: `muster template install ${quote(source)} --sha256 ${sha256}`,
    });
  }
  for (const template of templates) await put(call, template, { ...options, isCreateOnly: false });
  return exitCodes.done;
}

async function putFile(call: Call, options: FileOptions, isCreateOnly: boolean): Promise<number> {
  const { readText, sourceName } = await import("../input/files.ts");
  const { readTemplates } = await import("../templates/read.ts");
  const text = await readText(options.file, "-f", call.surroundings);
  const name = sourceName(options.file);
  const templates = readTemplates(
    { source: "", sha256: "", files: [{ name, text }], isRemote: false },
    call.surroundings,
  );
  if (options.ifDigest !== undefined && templates.length > 1) {
    throw usageError("--if-digest is of one template, and the file has several");
  }
  for (const template of templates) await put(call, template, { ...options, isCreateOnly });
  return exitCodes.done;
}

async function put(
  call: Call,
  template: Template,
  {
    reason = "",
    ifDigest = "",
    dryRun = false,
    isCreateOnly,
  }: Partial<FileOptions> & { readonly isCreateOnly: boolean },
): Promise<void> {
  const request = {
    ...{ template, reason, expectedDigest: ifDigest },
    ...{ createOnly: isCreateOnly, validateOnly: dryRun },
  };
  const response = await call.client(TemplateService).putTemplate(request, call.once());
  const { created, changed } = response;
  const would = dryRun ? "would be " : "";
  const became = !changed ? "unchanged" : created ? `${would}created` : `${would}replaced`;
  call.output.printOne({
    schema: PutTemplateResponseSchema,
    message: response,
    text: () => [`${sanitize(template.name)}\t${became}\t${sanitize(response.template?.digest ?? "")}`],
    names: () => [template.name],
  });
}

async function fetchAll(
  call: Call,
  source: string,
  { sha256 }: InstallOptions,
): Promise<{ readonly fetched: Fetched; readonly templates: readonly Template[] }> {
  const { fetchTemplates } = await import("../templates/source.ts");
  const { readTemplates } = await import("../templates/read.ts");
  const fetched = await fetchTemplates(source, { sha256, surroundings: call.surroundings });
  return { fetched, templates: readTemplates(fetched, call.surroundings) };
}

async function printTemplates(call: Call, fetched: Fetched, templates: readonly Template[]): Promise<void> {
  const { toJson } = await import("@bufbuild/protobuf");
  const { TemplateSchema } = await import("@muster/client/v1/template_service");
  const { templateFacts } = await import("./template-show.ts");
  const { source, sha256 } = fetched;
  const value = { source, sha256, templates: templates.map((one) => toJson(TemplateSchema, one)) };
  call.output.printValue(
    value,
    () => templates.flatMap((one) => [...templateFacts(one, [], call.output, call.surroundings.now()), ""]),
    () => templates.map(({ name }) => name),
  );
}
