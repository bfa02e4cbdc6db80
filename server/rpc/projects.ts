import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type ProjectSchema,
  type ProjectService,
  type PullRequestSchema,
  PullRequestState as WireState,
} from "@muster/client/v1/project_service";
import { deleteProject, getProject, listProjects, type ProjectView, putProject } from "../domain/projects.ts";
import { listPullRequests, type PullRequestView, setPullRequestState } from "../domain/pull-requests.ts";
import type { PullRequestState } from "../domain/rules/pull-requests.ts";
import { githubWebhook } from "../domain/webhooks.ts";
import { callerOf } from "./auth.ts";
import { orNull, type Problems, pageOf, refuseProblems, required, writeId, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.ProjectService`. */
export function projectService({ coordinator: c, webhookKey }: ApiParts): ServiceImpl<typeof ProjectService> {
  return {
    async putProject({ project }, context) {
      const problems: Problems = [];
      if (!required(problems, "project", project)) refuseProblems(problems);
      const { name = "", maxOpenPrs = null, repository = "" } = project ?? {};
      const asked = { name, maxOpenPrs, repository: orNull(repository) };
      return { project: projectMessage(await putProject(c, callerOf(context), asked)) };
    },

    async listProjects(request, context) {
      const { items, nextPageToken } = await listProjects(c, callerOf(context), pageOf(request));
      return { projects: items.map(projectMessage), nextPageToken };
    },

    async getProject({ name }, context) {
      return { project: projectMessage(await getProject(c, callerOf(context), { name })) };
    },

    deleteProject: ({ name, reason }, context) => deleteProject(c, callerOf(context), { name, reason }),

    async listPullRequests(request, context) {
      const problems: Problems = [];
      const state = request.state === WireState.UNSPECIFIED ? null : readState(problems, request.state);
      refuseProblems(problems);
      const selection = { ...pageOf(request), project: orNull(request.project), state };
      const { items, nextPageToken } = await listPullRequests(c, callerOf(context), selection);
      return { pullRequests: items.map(pullRequestMessage), nextPageToken };
    },

    async setPullRequestState({ url, state: wireState, reason, author }, context) {
      const problems: Problems = [];
      if (url === "") problems.push({ field: "url", message: "is required" });
      const state = readState(problems, wireState);
      refuseProblems(problems);
      const said = { url, state: state ?? "open", reason, author: orNull(author) };
      const { pullRequest } = await setPullRequestState(c, callerOf(context), said);
      return { pullRequest: pullRequestMessage(pullRequest) };
    },

    getWebhook: async (_, context) => githubWebhook(webhookKey, callerOf(context).orgId),
  };
}

const wireStates: Readonly<Record<PullRequestState, WireState>> = {
  open: WireState.OPEN,
  closed: WireState.CLOSED,
  merged: WireState.MERGED,
};
const states = new Map<WireState, PullRequestState>([
  [WireState.OPEN, "open"],
  [WireState.CLOSED, "closed"],
  [WireState.MERGED, "merged"],
]);

function readState(problems: Problems, wire: WireState): PullRequestState | null {
  const state = states.get(wire) ?? null;
  if (state === null) problems.push({ field: "state", message: "must be OPEN, CLOSED or MERGED" });
  return state;
}

function projectMessage(project: ProjectView): MessageInitShape<typeof ProjectSchema> {
  const { name, openPrs, maxOpenPrs, leased, repository } = project;
  const cap = maxOpenPrs === null ? {} : { maxOpenPrs };
  return { name, openPrs, leased, repository: repository ?? "", ...cap };
}

function pullRequestMessage(pull: PullRequestView): MessageInitShape<typeof PullRequestSchema> {
  return {
    url: pull.url,
    project: pull.project,
    jobId: writeId("job", pull.jobId),
    state: wireStates[pull.state],
    createTime: writeTime(pull.createdAt),
    updateTime: writeTime(pull.changedAt),
    counted: pull.isCounted,
    author: pull.author ?? "",
  };
}
