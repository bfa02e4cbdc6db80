import { create } from "@bufbuild/protobuf";
import {
  ListProjectsResponseSchema,
  type Project,
  ProjectService,
  PutProjectResponseSchema,
} from "@muster/client/v1/project_service";
import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { wholeOption } from "../input/options.ts";
import type { Output } from "../output/output.ts";
import { layTable } from "../output/table.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { registerProjectLinks } from "./project-links.ts";

/** Registers `muster project`. */
export function registerProject(cli: Cli): void {
  const project = cli.program
    .command("project")
    .alias("projects")
    .description("Keep projects: repositories, with a cap on open pull requests.");
  project
    .command("put <name>")
    .description("Create a project, or change its cap. Without --max-open-prs it has none.")
    .examples("muster project put acme/web --max-open-prs 5", "muster project put acme/docs")
    .option(
      "--max-open-prs <number>",
      "how many pull requests may be open, 0 to 10,000",
      wholeOption(0, 10_000),
    )
    .action(
      cli.action(async (call, name: string, options: { maxOpenPrs?: number }) => {
        const cap = options.maxOpenPrs === undefined ? {} : { maxOpenPrs: options.maxOpenPrs };
        const response = await call
          .client(ProjectService)
          .putProject({ project: { name, ...cap } }, call.once());
        call.output.print({
          schema: PutProjectResponseSchema,
          message: response,
          text: () => projectTable(response.project === undefined ? [] : [response.project], call.output),
          names: () => [response.project?.name ?? name],
        });
        return exitCodes.done;
      }),
    );
  registerProjectLinks(project, cli);
  withPages(project.command("list").alias("ls"))
    .description("List projects by name, with open and allowed pull requests.")
    .examples("muster project list")
    .action(
      cli.action(async (call, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const response = await call
            .client(ProjectService)
            .listProjects({ pageSize, pageToken }, call.once());
          return { rows: response.projects, nextPageToken: response.nextPageToken };
        });
        call.output.print({
          schema: ListProjectsResponseSchema,
          message: create(ListProjectsResponseSchema, {
            projects: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () => projectTable(page.rows, call.output),
          names: () => page.rows.map((one) => one.name),
        });
        notePage(call.output, page, "projects");
        return exitCodes.done;
      }),
    );
}

function projectTable(projects: readonly Project[], output: Output): string[] {
  const columns = [
    { title: "PROJECT" },
    { title: "OPEN PRS", align: "right" },
    { title: "MAX OPEN PRS", align: "right" },
  ] as const;
  const rows = projects.map((one) => [one.name, String(one.openPrs), String(one.maxOpenPrs ?? "-")]);
  return layTable(columns, rows, output.layout);
}
