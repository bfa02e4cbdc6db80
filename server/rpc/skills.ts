import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { DocumentedSkillSchema, SkillService } from "@muster/client/v1/skill_service";
import {
  deleteSkill,
  getSkill,
  listSkills,
  listSkillVersions,
  putSkill,
  type SkillView,
} from "../domain/skills.ts";
import { callerOf } from "./auth.ts";
import { type Problems, pageOf, refuseProblems, required, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.SkillService`. */
export function skillService({ coordinator: c }: ApiParts): ServiceImpl<typeof SkillService> {
  return {
    async putSkill({ skill: asked, createOnly, validateOnly, reason }, context) {
      const problems: Problems = [];
      required(problems, "skill", asked);
      refuseProblems(problems);
      const { name = "", description = "", body = "", etag = "" } = asked ?? {};
      const put = { name, description, body, etag, reason, isCreateOnly: createOnly, isDryRun: validateOnly };
      const { skill, isNew, isChanged } = await putSkill(c, callerOf(context), put);
      return { skill: skillMessage(skill), created: isNew, changed: isChanged };
    },

    async getSkill({ name, digest }, context) {
      return { skill: skillMessage(await getSkill(c, callerOf(context), { name, digest })) };
    },

    async listSkills({ text, ...request }, context) {
      const page = await listSkills(c, callerOf(context), { ...pageOf(request), text });
      return { skills: page.items.map(skillMessage), nextPageToken: page.nextPageToken };
    },

    async listSkillVersions({ name }, context) {
      const versions = await listSkillVersions(c, callerOf(context), name);
      return {
        versions: versions.map(({ putAt, replacedAt, ...version }) => ({
          ...version,
          putTime: writeTime(putAt),
          ...(replacedAt === null ? {} : { replaceTime: writeTime(replacedAt) }),
        })),
      };
    },

    async deleteSkill({ name, etag, allowMissing, reason }, context) {
      await deleteSkill(c, callerOf(context), { name, etag, isMissingAllowed: allowMissing, reason });
      return {};
    },
  };
}

function skillMessage(view: SkillView): MessageInitShape<typeof DocumentedSkillSchema> {
  const { createdAt, changedAt, ...rest } = view;
  return { ...rest, createTime: writeTime(createdAt), updateTime: writeTime(changedAt) };
}
