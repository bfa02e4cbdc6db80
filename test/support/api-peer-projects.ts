import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { ProjectSchema, ProjectService } from "@muster/client/v1/project_service";
import { found, page } from "./api-peer-rows.ts";
import type { Api } from "./api-peer-state.ts";

/** Adds the service of projects and their pull requests. */
export function addProjectRoutes(router: ConnectRouter, api: Api): void {
  router.service(ProjectService, {
    putProject: ({ project }) => {
      const kept = create(ProjectSchema, project);
      api.projects.set(kept.name, kept);
      return { project: kept };
    },
    listProjects: (request) => {
      const { rows, nextPageToken } = page([...api.projects.values()], request);
      return { projects: rows, nextPageToken };
    },
    getProject: ({ name }) => ({ project: found(api.projects, name, "project") }),
    deleteProject: ({ name }) => {
      found(api.projects, name, "project");
      api.projects.delete(name);
      return { waitingJobs: api.waitingJobs };
    },
    listPullRequests: (request) => {
      const { project, state } = request;
      const rows = [...api.pullRequests.values()].filter(
        (one) => (project === "" || one.project === project) && (state === 0 || one.state === state),
      );
      const { rows: shown, nextPageToken } = page(rows, request);
      return { pullRequests: shown, nextPageToken };
    },
    setPullRequestState: ({ url, state }) => {
      const pullRequest = found(api.pullRequests, url, "pull request");
      pullRequest.state = state;
      return { pullRequest };
    },
    getWebhook: () => ({ path: "/webhooks/github/org_1", secret: "f00d" }),
  });
}
