import { create } from "@bufbuild/protobuf";
import { JobService, SubmitJobResponseSchema } from "@muster/client/v1/job_service";
import {
  DeleteProjectResponseSchema,
  GetProjectResponseSchema,
  GetWebhookResponseSchema,
  ListProjectsResponseSchema,
  type Project,
  ProjectService,
  PutProjectResponseSchema,
} from "@muster/client/v1/project_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { payloadOfText } from "../input/payload.ts";
import { readWhole } from "../input/values.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { layFacts, layTable } from "../output/table.ts";
import { showCounted } from "../output/time.ts";
import { waitForJob } from "./job-wait.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { registerProjectLinks } from "./project-links.ts";
import { registerPullRequests } from "./project-prs.ts";

/** Registers `muster project`. */
export function registerProject(cli: Cli): void {
  const project = cli.program
    .command("project")
    .alias("projects")
    .description("Keep projects: repositories, with a cap on open pull requests.");
  registerChanges(project, cli);
  registerLook(project, cli);
  registerProjectLinks(project, cli);
  registerPullRequests(project, cli);
  registerGithub(project, cli);
}

function registerChanges(project: MusterCommand, cli: Cli): void {
  project
    .command("create <name>")
    .alias("put")
    .description("Create a project, or change all of it. Without --max-open-prs it has no cap.")
    .examples(
      "muster project create acme/web --max-open-prs 5",
      "muster project create docs --repository acme/docs",
    )
    .option("--max-open-prs <number>", "how many pull requests may be open, 1 to 10,000")
    .option("--repository <owner/name>", "its repository at GitHub (the name, if that is owner/name)")
    .action(
      cli.action((call, name: string, options: { maxOpenPrs?: string; repository?: string }) => {
        const cap = options.maxOpenPrs === undefined ? undefined : readCap(options.maxOpenPrs);
        return putProject(call, name, { cap, repository: options.repository ?? "" });
      }),
    );
  project
    .command("set-cap <name> [number]")
    .description("Change how many pull requests may be open, 1 to 10,000; --none takes the cap away.")
    .examples("muster project set-cap acme/web 8", "muster project set-cap acme/web --none")
    .option("--none", "no cap")
    .action(
      cli.action((call, name: string, number: string | undefined, options: { none?: boolean }) =>
        setCap(call, name, number, options.none === true),
      ),
    );
  project
    .command("delete <name>")
    .description("Delete a project. Its jobs stay, and go on without a cap.")
    .examples('muster project delete acme/old --reason "archived"')
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, name: string, options: { reason?: string }) => {
        const request = { name, reason: options.reason ?? "" };
        const response = await call.client(ProjectService).deleteProject(request, call.once());
        call.output.print({
          schema: DeleteProjectResponseSchema,
          message: response,
          text: () => [`${sanitize(name)}\tdeleted`],
          names: () => [name],
        });
        if (response.waitingJobs > 0) {
          call.output.note(`${showCounted(response.waitingJobs, "job")} of it have not ended.`);
        }
        return exitCodes.done;
      }),
    );
}

function registerLook(project: MusterCommand, cli: Cli): void {
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
  project
    .command("get <name>")
    .description("Show a project: what is open, what may come, and where it is.")
    .examples("muster project get acme/web")
    .action(
      cli.action(async (call, name: string) => {
        const response = await call.client(ProjectService).getProject({ name }, call.once());
        const found = response.project;
        call.output.print({
          schema: GetProjectResponseSchema,
          message: response,
          text: () => (found === undefined ? [] : projectFacts(found, call.output)),
          names: () => [found?.name ?? name],
        });
        return exitCodes.done;
      }),
    );
}

function registerGithub(project: MusterCommand, cli: Cli): void {
  project
    .command("webhook")
    .description("Show what to enter at GitHub, so that closed and merged pull requests free their places.")
    .examples("muster project webhook", "muster project webhook --json")
    .notes(
      "At GitHub: Settings, Webhooks, Add webhook; choose the event “Pull requests”. The URL must be\n" +
        "one that GitHub reaches: put your own host before the path.",
    )
    .action(
      cli.action(async (call) => {
        const response = await call.client(ProjectService).getWebhook({}, call.once());
        call.output.print({
          schema: GetWebhookResponseSchema,
          message: response,
          text: () =>
            layFacts(
              [
                ["url", `${call.context().address}${response.path}`],
                ["secret", response.secret],
                ["events", "pull_request"],
              ],
              call.output.layout,
            ),
          names: () => [response.path],
        });
        return exitCodes.done;
      }),
    );
  project
    .command("sync [name]")
    .description(
      "Ask GitHub where the pull requests of a project, or of all, stand: a job of the kind github.sync.",
    )
    .examples("muster project sync --wait", "muster project sync acme/web")
    .option("--wait", "wait for the end of the job and print its result")
    .action(
      cli.action(async (call, name: string | undefined, options: { wait?: boolean }) => {
        const payload = payloadOfText(JSON.stringify(name === undefined ? {} : { project: name }));
        const title = `GitHub sync${name === undefined ? "" : ` of ${name}`}`;
        const request = { job: { kind: "github.sync", title, payload } };
        const response = await call.client(JobService).submitJob(request, call.once());
        const { jobId } = response;
        if (options.wait === true) {
          call.output.note(`Submitted ${jobId}.`);
          return waitForJob(call, jobId, true);
        }
        call.output.print({
          schema: SubmitJobResponseSchema,
          message: response,
          text: () => [sanitize(jobId)],
          names: () => [jobId],
        });
        return exitCodes.done;
      }),
    );
}

async function setCap(
  call: Call,
  name: string,
  number: string | undefined,
  isNone: boolean,
): Promise<number> {
  if ((number === undefined) !== isNone) {
    throw usageError(
      number === undefined ? "which cap? None is given" : "a cap and --none contradict each other",
      `Write it like: muster project set-cap ${name} 5`,
    );
  }
  const cap = number === undefined ? undefined : readCap(number);
  // What the command does not name stays as it is.
  const { project } = await call.client(ProjectService).getProject({ name }, call.once());
  return putProject(call, name, { cap, repository: project?.repository ?? "" });
}

function readCap(text: string): number {
  const reading = readWhole(text, 1, 10_000);
  if (reading.kind === "value") return reading.value;
  throw usageError(
    `the cap ${reading.message}`,
    "To hold the jobs of a project back, pause their queue with `muster queue pause`.",
  );
}

async function putProject(
  call: Call,
  name: string,
  { cap, repository }: { readonly cap: number | undefined; readonly repository: string },
): Promise<number> {
  const project = { name, repository, ...(cap === undefined ? {} : { maxOpenPrs: cap }) };
  const response = await call.client(ProjectService).putProject({ project }, call.once());
  call.output.print({
    schema: PutProjectResponseSchema,
    message: response,
    text: () => projectTable(response.project === undefined ? [] : [response.project], call.output),
    names: () => [response.project?.name ?? name],
  });
  return exitCodes.done;
}

function projectTable(projects: readonly Project[], output: Output): string[] {
  const columns = [
    { title: "PROJECT" },
    { title: "OPEN PRS", align: "right" },
    { title: "MAX OPEN PRS", align: "right" },
    { title: "LEASED", align: "right", drop: 1 },
    { title: "REPOSITORY", drop: 2 },
  ] as const;
  const rows = projects.map((one) => [
    one.name,
    String(one.openPrs),
    String(one.maxOpenPrs ?? "-"),
    one.maxOpenPrs === undefined ? "-" : String(one.leased),
    one.repository || "-",
  ]);
  return layTable(columns, rows, output.layout);
}

function projectFacts(project: Project, output: Output): string[] {
  const { maxOpenPrs: cap, openPrs, leased } = project;
  const free = cap === undefined ? 0 : Math.max(0, cap - openPrs - leased);
  return layFacts(
    [
      ["project", project.name],
      ["repository", project.repository],
      [
        "open",
        cap === undefined ? showCounted(openPrs, "pull request") : `${openPrs} of ${cap} pull requests`,
      ],
      ["leased", cap === undefined ? undefined : `${showCounted(leased, "job")} may open one more each`],
      ["free", cap === undefined ? "no cap" : `${showCounted(free, "job")} can start`],
    ],
    output.layout,
  );
}
