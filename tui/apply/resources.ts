import { ProjectSchema, ProjectService } from "@muster/client/v1/project_service";
import { ScheduleSchema, ScheduleService } from "@muster/client/v1/schedule_service";
import { type DocumentedSkill, DocumentedSkillSchema, SkillService } from "@muster/client/v1/skill_service";
import { TemplateSchema, TemplateService } from "@muster/client/v1/template_service";
import { templateKind } from "../templates/template-kind.ts";
import { alertResources } from "./alert-resources.ts";
import { projectForm } from "./bounds.ts";
import { queueResources } from "./queue-resource.ts";
import { type Resource, resource } from "./resource.ts";

/** Everything that files may describe, in the order in which it is made: what others name comes first. */
export const resources: readonly Resource[] = [
  ...queueResources,
  resource({
    kind: "project",
    field: "project",
    schema: ProjectSchema,
    without: ["name", "openPrs", "leased"],
    names: projectForm,
    get: async (call, name) => (await call.client(ProjectService).getProject({ name }, call.once())).project,
    // There is no dry run: bounds are judged here, and there is only the default of the repository to know.
    async put(call, project, { isDryRun }) {
      const byName = /^[\w-]{1,100}\/[\w.-]{1,99}$/.test(project.name) ? project.name : "";
      if (isDryRun)
        return { ...project, repository: project.repository === "" ? byName : project.repository };
      return (await call.client(ProjectService).putProject({ project }, call.once())).project;
    },
    remove: (call, name, reason) => call.client(ProjectService).deleteProject({ name, reason }, call.once()),
    async page(call, pageToken) {
      const { projects, nextPageToken } = await call
        .client(ProjectService)
        .listProjects({ pageSize, pageToken }, call.once());
      return { items: projects, nextPageToken };
    },
  }),
  ...alertResources,
  resource({
    kind: "skill",
    field: "skill",
    schema: DocumentedSkillSchema,
    without: ["name", "digest", "sizeBytes", "author", "createTime", "updateTime", "etag"],
    get: async (call, name) => (await call.client(SkillService).getSkill({ name }, call.once())).skill,
    async put(call, skill, { isDryRun: validateOnly, reason }) {
      const put = await call.client(SkillService).putSkill({ skill, validateOnly, reason }, call.once());
      // It is answered without its body.
      return put.skill && { ...put.skill, body: skill.body };
    },
    remove: (call, name, reason) => call.client(SkillService).deleteSkill({ name, reason }, call.once()),
    async page(call, pageToken) {
      const { skills, nextPageToken } = await call
        .client(SkillService)
        .listSkills({ pageSize, pageToken }, call.once());
      const whole: DocumentedSkill[] = [];
      for (const { name } of skills) {
        const { skill } = await call.client(SkillService).getSkill({ name }, call.once());
        if (skill !== undefined) whole.push(skill);
      }
      return { items: whole, nextPageToken };
    },
  }),
  resource({
    ...templateKind,
    schema: TemplateSchema,
    field: "template",
    get: async (call, name) =>
      (await call.client(TemplateService).getTemplate({ name }, call.once())).template,
    put: async (call, template, { isDryRun: validateOnly, reason }) =>
      (await call.client(TemplateService).putTemplate({ template, validateOnly, reason }, call.once()))
        .template,
    remove: (call, name, reason) =>
      call.client(TemplateService).deleteTemplate({ name, reason }, call.once()),
    async page(call, pageToken) {
      const { templates, nextPageToken } = await call
        .client(TemplateService)
        .listTemplates({ pageSize, pageToken }, call.once());
      // A list leaves their jobs out.
      const whole = await Promise.all(
        templates.map(({ name }) => call.client(TemplateService).getTemplate({ name }, call.once())),
      );
      return { items: whole.flatMap(({ template }) => template ?? []), nextPageToken };
    },
  }),
  resource({
    kind: "schedule",
    field: "schedule",
    schema: ScheduleSchema,
    without: [
      ...["name", "etag", "scheduleId", "createTime", "updateTime", "nextFireTime"],
      ...["lastFire", "pauseTime", "pauseReason", "words"],
    ],
    get: async (call, name) =>
      (await call.client(ScheduleService).getSchedule({ name }, call.once())).schedule,
    async put(call, schedule, { isDryRun: validateOnly, reason }) {
      const request = { schedule, allowMissing: true, validateOnly, reason };
      return (await call.client(ScheduleService).putSchedule(request, call.once())).schedule;
    },
    remove: (call, name, reason) =>
      call.client(ScheduleService).deleteSchedule({ name, reason, allowMissing: true }, call.once()),
    async page(call, pageToken) {
      const { schedules, nextPageToken } = await call
        .client(ScheduleService)
        .listSchedules({ pageSize, pageToken }, call.once());
      return { items: schedules, nextPageToken };
    },
  }),
];

const pageSize = 1_000;
