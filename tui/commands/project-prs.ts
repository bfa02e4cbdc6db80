import { create } from "@bufbuild/protobuf";
import {
  ListPullRequestsResponseSchema,
  ProjectService,
  type PullRequest,
  PullRequestState,
  SetPullRequestStateResponseSchema,
} from "@muster/client/v1/project_service";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { didYouMean } from "../input/suggest.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { layTable } from "../output/table.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { forEachId } from "./several.ts";

const aUrl = "https://github.com/acme/web/pull/7";

/** Registers `muster project prs` and `muster project pr`. */
export function registerPullRequests(project: MusterCommand, cli: Cli): void {
  withPages(project.command("prs [name]"))
    .description("List the pull requests that results named, newest first.")
    .examples("muster project prs acme/web --state open", "muster project prs --all --json")
    .option("--state <state>", "only those in this state: open, closed, merged")
    .action(
      cli.action(
        async (call, name: string | undefined, options: PageOptions & { readonly state?: string }) => {
          const state = options.state === undefined ? PullRequestState.UNSPECIFIED : readState(options.state);
          const page = await collectPages(options, async (pageSize, pageToken) => {
            const request = { pageSize, pageToken, project: name ?? "", state };
            const response = await call.client(ProjectService).listPullRequests(request, call.once());
            return { rows: response.pullRequests, nextPageToken: response.nextPageToken };
          });
          call.output.print({
            schema: ListPullRequestsResponseSchema,
            message: create(ListPullRequestsResponseSchema, {
              pullRequests: page.rows,
              nextPageToken: page.nextPageToken,
            }),
            text: () => pullTable(page.rows, call.output, call.surroundings.now()),
            names: () => page.rows.map((one) => one.url),
          });
          notePage(call.output, page, "pull requests");
          return exitCodes.done;
        },
      ),
    );
  const pull = project.command("pr").description("Say where a pull request stands, when nobody else does.");
  registerVerb(
    pull,
    cli,
    "close",
    PullRequestState.CLOSED,
    "was closed without being merged: it frees its place.",
  );
  registerVerb(pull, cli, "merge", PullRequestState.MERGED, "was merged: it frees its place.");
  registerVerb(
    pull,
    cli,
    "reopen",
    PullRequestState.OPEN,
    "is open again: it takes a place, above the cap too.",
  );
}

function registerVerb(
  pull: MusterCommand,
  cli: Cli,
  verb: string,
  state: PullRequestState,
  meaning: string,
): void {
  pull
    .command(`${verb} <url...>`)
    .description(`Say that a pull request ${meaning} Muster says it to nobody else.`)
    .examples(`muster project pr ${verb} ${aUrl}`)
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, urls: string[], options: { reason?: string }) =>
        forEachId(call, urls, async (url) => {
          const request = { url, state, reason: options.reason ?? "" };
          const response = await call.client(ProjectService).setPullRequestState(request, call.once());
          const said = response.pullRequest;
          call.output.printOne({
            schema: SetPullRequestStateResponseSchema,
            message: response,
            text: () => [`${sanitize(said?.url ?? url)}\t${said === undefined ? verb : stateWord(said)}`],
            names: () => [said?.url ?? url],
          });
        }),
      ),
    );
}

const stateWords = new Map([
  ["open", PullRequestState.OPEN],
  ["closed", PullRequestState.CLOSED],
  ["merged", PullRequestState.MERGED],
]);

function readState(word: string): PullRequestState {
  const state = stateWords.get(word.toLowerCase());
  if (state !== undefined) return state;
  const known = [...stateWords.keys()];
  throw usageError(
    `--state has no value ${JSON.stringify(word)}`,
    didYouMean(word, known) ?? `Use one of ${known.join(", ")}.`,
  );
}

function stateWord({ state }: PullRequest): string {
  return [...stateWords].find(([, known]) => known === state)?.[0] ?? "-";
}

function pullTable(pulls: readonly PullRequest[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "PULL REQUEST" },
    { title: "STATE" },
    { title: "PROJECT", drop: 2 },
    { title: "NAMED", align: "right", drop: 3 },
    { title: "CHANGED", align: "right", drop: 4 },
    { title: "JOB", drop: 1 },
  ] as const;
  const rows = pulls.map((one) => [
    one.url,
    one.counted ? stateWord(one) : `${stateWord(one)}, not counted`,
    one.project,
    output.age(one.createTime, nowMs),
    output.age(one.updateTime, nowMs),
    one.jobId,
  ]);
  return layTable(columns, rows, output.layout);
}
