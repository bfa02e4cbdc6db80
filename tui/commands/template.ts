import { create } from "@bufbuild/protobuf";
import {
  DeleteTemplateResponseSchema,
  GetTemplateResponseSchema,
  ListTemplatesResponseSchema,
  RateTemplateResponseSchema,
  TemplateService,
} from "@muster/client/v1/template_service";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { wholeOption } from "../input/options.ts";
import { sanitize } from "../output/sanitize.ts";
import { layTable } from "../output/table.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { registerTemplateFiles } from "./template-files.ts";
import { registerTemplateRun } from "./template-run.ts";
import { starsText, templateFacts } from "./template-show.ts";

/** Registers `muster template`. */
export function registerTemplate(cli: Cli): void {
  const template = cli.program
    .command("template")
    .alias("templates")
    .description("Keep templates, jobs with parameters, and run them.");
  registerLooks(template, cli);
  registerTemplateRun(template, cli);
  registerTemplateFiles(template, cli);
  registerChanges(template, cli);
}

function registerLooks(template: MusterCommand, cli: Cli): void {
  withPages(template.command("list [text]").alias("ls"))
    .description("List templates by name: all, or those with a text in their name or description.")
    .examples("muster template list", "muster template list image")
    .action(
      cli.action(async (call, text: string | undefined, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const request = { text: text ?? "", pageSize, pageToken };
          const response = await call.client(TemplateService).listTemplates(request, call.once());
          return { rows: response.templates, nextPageToken: response.nextPageToken };
        });
        const columns = [
          { title: "TEMPLATE" },
          { title: "VERSION", drop: 2 },
          { title: "STARS", drop: 1 },
          { title: "PARAMETERS", drop: 3 },
          { title: "DESCRIPTION" },
        ];
        const rows = page.rows.map((one) => [
          sanitize(one.name),
          sanitize(one.version),
          starsText(one),
          sanitize(one.parameters.map(({ name, required }) => (required ? name : `[${name}]`)).join(" ")),
          sanitize(one.description.split("\n")[0] ?? ""),
        ]);
        call.output.print({
          schema: ListTemplatesResponseSchema,
          message: create(ListTemplatesResponseSchema, {
            templates: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () => layTable(columns, rows, call.output.layout),
          names: () => page.rows.map(({ name }) => name),
        });
        notePage(call.output, page, "templates");
        return exitCodes.done;
      }),
    );
  template
    .command("get <name>")
    .description("Show a template: what it asks for, its job, where it came from, and what is said of it.")
    .examples("muster template get resize-images", "muster template get resize-images -o yaml")
    .action(
      cli.action(async (call, name: string) => {
        const response = await call.client(TemplateService).getTemplate({ name }, call.once());
        const { template: found, ratings } = response;
        call.output.print({
          schema: GetTemplateResponseSchema,
          message: response,
          text: () =>
            found === undefined ? [] : templateFacts(found, ratings, call.output, call.surroundings.now()),
          names: () => [found?.name ?? name],
        });
        return exitCodes.done;
      }),
    );
}

function registerChanges(template: MusterCommand, cli: Cli): void {
  template
    .command("rate <name> <stars>")
    .description("Say what you think of a template: 1 to 5 stars, and a note. 0 takes it back.")
    .examples(`muster template rate resize-images 5 --note "works for PNG too"`, "muster template rate old 0")
    .option("--note <text>", "for people")
    .action(
      cli.action(async (call, name: string, stars: string, options: { readonly note?: string }) => {
        const request = { name, stars: wholeOption(0, 5)(stars), note: options.note ?? "" };
        const response = await call.client(TemplateService).rateTemplate(request, call.once());
        call.output.print({
          schema: RateTemplateResponseSchema,
          message: response,
          text: () => [
            `${sanitize(name)}\t${response.template === undefined ? "" : starsText(response.template)}`,
          ],
          names: () => [name],
        });
        return exitCodes.done;
      }),
    );
  template
    .command("delete <name>")
    .description("Delete a template, with what is said of it. Its jobs stay.")
    .examples("muster template delete resize-images --yes")
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, name: string, options: { readonly reason?: string }) => {
        await confirmDanger(call, {
          level: "moderate",
          what: `Delete the template ${name}`,
          command: `muster template delete ${quote(name)}`,
        });
        const request = { name, reason: options.reason ?? "" };
        const response = await call.client(TemplateService).deleteTemplate(request, call.once());
        call.output.print({
          schema: DeleteTemplateResponseSchema,
          message: response,
          text: () => [`${sanitize(name)}\tdeleted`],
          names: () => [name],
        });
        return exitCodes.done;
      }),
    );
}
