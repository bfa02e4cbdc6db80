import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { KeySchema, KeyService } from "@muster/client/v1/key_service";
import { createApiKey, type KeyView, listKeys, revokeKey, whoAmI } from "../domain/api-keys.ts";
import { version } from "../version.ts";
import { callerOf } from "./auth.ts";
import { type Problems, pageOf, readTime, refuseProblems, writeId, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.KeyService`. */
export function keyService({ coordinator: c }: ApiParts): ServiceImpl<typeof KeyService> {
  return {
    async whoAmI(_, context) {
      const { orgId, org, actor, key } = await whoAmI(c, callerOf(context));
      return { orgId: writeId("org", orgId), org, actor, key: keyMessage(key), serverVersion: version };
    },

    async createKey({ name, scopes, expireTime }, context) {
      const problems: Problems = [];
      const expiresAt = readTime(problems, "expireTime", expireTime);
      refuseProblems(problems);
      const { key, text } = await createApiKey(c, callerOf(context), { name, scopes, expiresAt });
      return { key: keyMessage(key), text };
    },

    async listKeys(request, context) {
      const wanted = { ...pageOf(request), isWithEnded: request.all };
      const { items, nextPageToken } = await listKeys(c, callerOf(context), wanted);
      return { keys: items.map(keyMessage), nextPageToken };
    },

    async revokeKey({ keyId, reason }, context) {
      return { key: keyMessage(await revokeKey(c, callerOf(context), { keyId, reason })) };
    },
  };
}

function keyMessage(key: KeyView): MessageInitShape<typeof KeySchema> {
  const { keyId, type, name, scopes, workerName } = key;
  return {
    keyId,
    type,
    name,
    scopes,
    workerName,
    createTime: writeTime(key.createdAt),
    expireTime: writeTime(key.expiresAt),
    revokeTime: writeTime(key.revokedAt),
  };
}
