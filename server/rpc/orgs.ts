import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { OrgSchema, OrgService } from "@muster/client/v1/org_service";
import {
  createOrg,
  deleteOrg,
  getOrg,
  listAllOrgs,
  type OrgView,
  resumeOrg,
  suspendOrg,
} from "../domain/orgs.ts";
import { callerOf } from "./auth.ts";
import { keyMessage } from "./keys.ts";
import { pageOf, writeId, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.OrgService`. */
export function orgService({ coordinator: c }: ApiParts): ServiceImpl<typeof OrgService> {
  return {
    async createOrg({ name }, context) {
      const { org, key, text } = await createOrg(c, callerOf(context), name);
      return { org: orgMessage(org), key: keyMessage(key), text };
    },

    async getOrg({ org }) {
      return { org: orgMessage(await getOrg(c, org)) };
    },

    async listOrgs(request, context) {
      const { items, nextPageToken } = await listAllOrgs(c, callerOf(context), pageOf(request));
      return { orgs: items.map(orgMessage), nextPageToken };
    },

    async suspendOrg({ org, reason }, context) {
      return { org: orgMessage(await suspendOrg(c, callerOf(context), { org, reason })) };
    },

    async resumeOrg({ org, reason }, context) {
      return { org: orgMessage(await resumeOrg(c, callerOf(context), { org, reason })) };
    },

    async deleteOrg({ org, confirmName, reason }, context) {
      return { org: orgMessage(await deleteOrg(c, callerOf(context), { org, confirmName, reason })) };
    },
  };
}

function orgMessage(org: OrgView): MessageInitShape<typeof OrgSchema> {
  return {
    orgId: writeId("org", org.orgId),
    name: org.name,
    createTime: writeTime(org.createdAt),
    suspendTime: writeTime(org.suspendedAt),
    suspendReason: org.suspendReason,
    deleteTime: writeTime(org.deletedAt),
  };
}
