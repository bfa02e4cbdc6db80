import { create } from "@bufbuild/protobuf";
import {
  DeleteSkillResponseSchema,
  type DocumentedSkill,
  GetSkillResponseSchema,
  ListSkillsResponseSchema,
  ListSkillVersionsResponseSchema,
  PutSkillResponseSchema,
  SkillService,
} from "@muster/client/v1/skill_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import type { Output } from "../output/output.ts";
import { sanitize, sanitizeLines } from "../output/sanitize.ts";
import { layFacts, layTable } from "../output/table.ts";
import { showCount } from "../output/time.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

interface PutOptions {
  readonly file: string;
  readonly description?: string;
  readonly ifEtag?: string;
  readonly createOnly?: boolean;
  readonly dryRun?: boolean;
  readonly reason?: string;
}

/** Registers `muster skill`. */
export function registerSkill(cli: Cli): void {
  const skill = cli.program
    .command("skill")
    .alias("skills")
    .description("Keep documents of skills: Markdown that is handed to what does the work.");
  registerList(skill, cli);
  registerGet(skill, cli);
  registerVersions(skill, cli);
  registerPut(skill, cli);
  registerDelete(skill, cli);
}

function registerList(skill: MusterCommand, cli: Cli): void {
  withPages(skill.command("list [text]").alias("ls"))
    .description("List documents by name: all, or those with a text in their name or description.")
    .examples("muster skill list", "muster skill list review")
    .action(
      cli.action(async (call, text: string | undefined, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const request = { text: text ?? "", pageSize, pageToken };
          const response = await call.client(SkillService).listSkills(request, call.once());
          return { rows: response.skills, nextPageToken: response.nextPageToken };
        });
        const columns = [
          { title: "SKILL" },
          { title: "VERSION", drop: 2 },
          { title: "SIZE", align: "right" as const, drop: 1 },
          { title: "DESCRIPTION" },
        ];
        const rows = page.rows.map((one) => [
          one.name,
          one.digest.slice(0, shortDigest),
          sizeText(one.sizeBytes),
          one.description.split("\n")[0] ?? "",
        ]);
        call.output.print({
          schema: ListSkillsResponseSchema,
          message: create(ListSkillsResponseSchema, { skills: page.rows, nextPageToken: page.nextPageToken }),
          text: () => layTable(columns, rows, call.output.layout),
          names: () => page.rows.map(({ name }) => name),
        });
        notePage(call.output, page, "documents");
        return exitCodes.done;
      }),
    );
}

function registerGet(skill: MusterCommand, cli: Cli): void {
  skill
    .command("get <name>")
    .description("Show a document, as it is or as it was.")
    .examples(
      "muster skill get review",
      "muster skill get review --body > review.md",
      "muster skill get review --digest 5d41402a",
    )
    .option("--digest <sha256>", "a version: at least the first 8 characters of its digest")
    .option("--body", "only the Markdown")
    .action(
      cli.action(
        async (call, name: string, options: { readonly digest?: string; readonly body?: boolean }) => {
          const request = { name, digest: options.digest ?? "" };
          const response = await call.client(SkillService).getSkill(request, call.once());
          const found = response.skill;
          call.output.print({
            schema: GetSkillResponseSchema,
            message: response,
            text: () => (found === undefined ? [] : skillLines(found, options.body === true, call)),
            names: () => [name],
          });
          return exitCodes.done;
        },
      ),
    );
}

function registerVersions(skill: MusterCommand, cli: Cli): void {
  skill
    .command("versions <name>")
    .description("List what is kept of a document's versions, the present one first.")
    .examples("muster skill versions review")
    .action(
      cli.action(async (call, name: string) => {
        const response = await call.client(SkillService).listSkillVersions({ name }, call.once());
        const nowMs = call.surroundings.now();
        const columns = [
          { title: "VERSION" },
          { title: "PUT" },
          { title: "REPLACED", drop: 1 },
          { title: "SIZE", align: "right" as const, drop: 2 },
          { title: "BY", drop: 3 },
        ];
        const rows = response.versions.map(({ digest, putTime, replaceTime, sizeBytes, author }) => [
          digest.slice(0, shortDigest),
          call.output.timeAndAge(putTime, nowMs),
          replaceTime === undefined ? "-" : call.output.timeAndAge(replaceTime, nowMs),
          sizeText(sizeBytes),
          author,
        ]);
        call.output.print({
          schema: ListSkillVersionsResponseSchema,
          message: response,
          text: () => layTable(columns, rows, call.output.layout),
          names: () => response.versions.map(({ digest }) => digest),
        });
        return exitCodes.done;
      }),
    );
}

function registerPut(skill: MusterCommand, cli: Cli): void {
  skill
    .command("put [name]")
    .description("Create a document, or replace it: another text is another version.")
    .examples(
      "muster skill put review -f review.md",
      "muster skill put -f skills/review/SKILL.md",
      "muster skill put -f skills --dry-run",
      'muster skill get review --body | muster skill put review-2 -f - --description "How we review"',
    )
    .requiredOption("-f, --file <path>", "Markdown, - for stdin, or a directory with SKILL.md files")
    .option("--description <text>", "what it is for, and when")
    .option("--if-etag <etag>", "only when this is its etag now, as `get -o json` prints it")
    .option("--create-only", "refuse when there is one of the name")
    .option("--dry-run", "only check")
    .option("--reason <text>", "for people")
    .notes(fileFormat)
    .action(cli.action((call, name: string | undefined, options: PutOptions) => put(call, name, options)));
}

const fileFormat = `A file may begin with its name and description, as SKILL.md files do:
  ---
  name: review
  description: How to review a pull request. Use it whenever code is reviewed.
  ---
  # Review
  …
The rest is the document: at most 256 KiB. A job names documents in its instructions, or gets
those of the skills that it requires; handlers read them with ctx.skills().`;

async function put(call: Call, name: string | undefined, options: PutOptions): Promise<number> {
  const { readSkillFiles } = await import("../skills/read.ts");
  const files = await readSkillFiles(options.file, call.surroundings);
  const [first] = files;
  if (files.length > 1 && (name ?? options.ifEtag ?? options.description) !== undefined) {
    throw usageError(
      `${options.file} holds ${files.length} documents`,
      "A name, a description and an etag are of one: put that alone.",
    );
  }
  if (files.length === 1 && name === undefined && first?.name === "") {
    throw usageError(
      `${first.source} does not say the name of its skill`,
      `Give it: muster skill put NAME -f ${quote(options.file)}`,
    );
  }
  const { ifEtag: etag = "", createOnly = false, dryRun: validateOnly = false, reason = "" } = options;
  for (const file of files) {
    const asked = {
      name: name ?? file.name,
      description: options.description ?? file.description,
      body: file.body,
      etag,
    };
    const request = { skill: asked, createOnly, validateOnly, reason };
    const response = await call.client(SkillService).putSkill(request, call.once());
    const would = validateOnly ? "would be " : "";
    const became = response.created ? `${would}created` : response.changed ? `${would}replaced` : "unchanged";
    call.output.printOne({
      schema: PutSkillResponseSchema,
      message: response,
      text: () => [
        `${sanitize(asked.name)}\t${became}\t${sanitize((response.skill?.digest ?? "").slice(0, shortDigest))}`,
      ],
      names: () => [asked.name],
    });
    if (file.unused.length > 0) {
      call.output.note(`${sanitize(file.source)}: not kept: ${sanitize(file.unused.join(", "))}`);
    }
  }
  return exitCodes.done;
}

function registerDelete(skill: MusterCommand, cli: Cli): void {
  skill
    .command("delete <name>")
    .description("Delete a document. Jobs that were offered it can read it for a day.")
    .examples("muster skill delete review --yes")
    .option("--if-etag <etag>", "only when this is its etag now")
    .option("--reason <text>", "for people")
    .action(
      cli.action(
        async (call, name: string, options: { readonly ifEtag?: string; readonly reason?: string }) => {
          await confirmDanger(call, {
            level: "moderate",
            what: `Delete the document of the skill ${name}`,
            command: `muster skill delete ${quote(name)}`,
          });
          const request = { name, etag: options.ifEtag ?? "", reason: options.reason ?? "" };
          const response = await call.client(SkillService).deleteSkill(request, call.once());
          call.output.print({
            schema: DeleteSkillResponseSchema,
            message: response,
            text: () => [`${sanitize(name)}\tdeleted`],
            names: () => [name],
          });
          return exitCodes.done;
        },
      ),
    );
}

/** Characters of a digest that people are shown. */
const shortDigest = 12;

function skillLines(skill: DocumentedSkill, isBodyOnly: boolean, call: Call): string[] {
  const body = sanitizeLines(skill.body.replace(/\n$/, "")).split("\n");
  return isBodyOnly ? body : [...facts(skill, call.output, call.surroundings.now()), "", ...body];
}

function facts(skill: DocumentedSkill, output: Output, nowMs: number): string[] {
  return layFacts(
    [
      ["skill", skill.name],
      ["description", skill.description === "" ? undefined : sanitizeLines(skill.description)],
      ["digest", skill.digest],
      ["size", sizeText(skill.sizeBytes)],
      ["changed", output.timeAndAge(skill.updateTime, nowMs) || undefined],
      ["by", skill.author],
      ["etag", skill.etag],
    ],
    output.layout,
  );
}

function sizeText(bytes: number): string {
  return bytes < 1024 ? `${bytes} B` : `${showCount(Math.round(bytes / 1024))} KiB`;
}
