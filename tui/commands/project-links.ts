import { create } from "@bufbuild/protobuf";
import {
  ListLinkedProjectsResponseSchema,
  SessionService,
  type WorkerProject,
} from "@muster/client/v1/session_service";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Output } from "../output/output.ts";
import { layTable } from "../output/table.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

/** Registers `muster project links`. */
export function registerProjectLinks(project: MusterCommand, cli: Cli): void {
  withPages(project.command("links"))
    .description("List which worker has a working copy of which project.")
    .examples("muster project links", "muster project links --project acme/web")
    .option("--project <name>", "only of this project")
    .option("--worker <worker>", "only of this worker: its name or id")
    .action(
      cli.action(
        async (call, options: PageOptions & { readonly project?: string; readonly worker?: string }) => {
          const { project: name = "", worker = "" } = options;
          const page = await collectPages(options, async (pageSize, pageToken) => {
            const request = { project: name, worker, pageSize, pageToken };
            const response = await call.client(SessionService).listLinkedProjects(request, call.once());
            return { rows: response.linkedProjects, nextPageToken: response.nextPageToken };
          });
          call.output.print({
            schema: ListLinkedProjectsResponseSchema,
            message: create(ListLinkedProjectsResponseSchema, {
              linkedProjects: page.rows,
              nextPageToken: page.nextPageToken,
            }),
            text: () => linkTable(page.rows, call.output, call.surroundings.now()),
            names: () => page.rows.map((one) => one.linkedProject?.project ?? ""),
          });
          notePage(call.output, page, "linked projects");
          return exitCodes.done;
        },
      ),
    );
}

function linkTable(links: readonly WorkerProject[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "PROJECT" },
    { title: "WORKER" },
    { title: "LINKED", align: "right", drop: 1 },
    { title: "BY", drop: 2 },
    { title: "REMOTE", drop: 3 },
    { title: "ROOT" },
  ] as const;
  const rows = links.map(({ workerName, linkedProject: linked }) => [
    linked?.project ?? "",
    workerName,
    output.age(linked?.linkTime, nowMs),
    linked?.linkedBy || "-",
    linked?.remoteUrl || "-",
    linked?.root || "-",
  ]);
  return layTable(columns, rows, output.layout);
}
