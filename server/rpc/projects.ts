import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ProjectSchema, ProjectService } from "@muster/client/v1/project_service";
import { listProjects, type ProjectView, putProject } from "../domain/projects.ts";
import { callerOf } from "./auth.ts";
import { type Problems, pageOf, refuseProblems, required } from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.ProjectService`. */
export function projectService({ coordinator: c }: ApiParts): ServiceImpl<typeof ProjectService> {
  return {
    async putProject({ project }, context) {
      const problems: Problems = [];
      if (!required(problems, "project", project)) refuseProblems(problems);
      const { name = "", maxOpenPrs = null } = project ?? {};
      return { project: projectMessage(await putProject(c, callerOf(context), { name, maxOpenPrs })) };
    },

    async listProjects(request, context) {
      const { items, nextPageToken } = await listProjects(c, callerOf(context), pageOf(request));
      return { projects: items.map(projectMessage), nextPageToken };
    },
  };
}

function projectMessage({ name, openPrs, maxOpenPrs }: ProjectView): MessageInitShape<typeof ProjectSchema> {
  return { name, openPrs, ...(maxOpenPrs === null ? {} : { maxOpenPrs }) };
}
