import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type KeyLimits,
  type KeySchema,
  type KeyService,
  RevokedLeases,
} from "@muster/client/v1/key_service";
import { createApiKey, getKey, type KeyView, listKeys, revokeKey, whoAmI } from "../domain/api-keys.ts";
import { readSelf } from "../domain/people.ts";
import { registerForeignKey } from "../domain/registered-keys.ts";
import { rotateKey } from "../domain/rotations.ts";
import { version } from "../version.ts";
import { callerOf } from "./auth.ts";
import { type Problems, pageOf, readTime, refuseProblems, writeId, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { personMessage } from "./people.ts";

/** `muster.v1.KeyService`. */
export function keyService({ coordinator: c }: ApiParts): ServiceImpl<typeof KeyService> {
  return {
    async whoAmI(_, context) {
      const caller = callerOf(context);
      const { orgId, org, actor, key, scopes } = await whoAmI(c, caller);
      const said = { orgId: writeId("org", orgId), org, actor, scopes: [...scopes], serverVersion: version };
      if (key !== null) return { ...said, key: keyMessage(key) };
      const own = await readSelf(c, caller);
      return { ...said, person: personMessage(own.person, own.githubLogin) };
    },

    async createKey({ name, scopes, expireTime, limits }, context) {
      const problems: Problems = [];
      const expiresAt = readTime(problems, "expireTime", expireTime);
      refuseProblems(problems);
      const asked = { name, scopes, expiresAt, limits: readLimits(limits) };
      const { key, text } = await createApiKey(c, callerOf(context), asked);
      return { key: keyMessage(key), text };
    },

    async rotateKey({ keyId, overlap, reason }, context) {
      const overlapMs = overlap === undefined ? null : durationMs(overlap);
      const { key, text, old } = await rotateKey(c, callerOf(context), { keyId, overlapMs, reason });
      return { key: keyMessage(key), text, oldKey: keyMessage(old) };
    },

    async registerKey({ name, scheme, hash, prefix, lastFour, scopes, expireTime, limits }, context) {
      const problems: Problems = [];
      const expiresAt = readTime(problems, "expireTime", expireTime);
      refuseProblems(problems);
      const asked = { name, scheme, hash, prefix, lastFour, scopes, expiresAt, limits: readLimits(limits) };
      return { key: keyMessage(await registerForeignKey(c, callerOf(context), asked)) };
    },

    async getKey({ keyId }, context) {
      return { key: keyMessage(await getKey(c, callerOf(context), keyId)) };
    },

    async listKeys(request, context) {
      const wanted = { ...pageOf(request), isWithEnded: request.all };
      const { items, nextPageToken } = await listKeys(c, callerOf(context), wanted);
      return { keys: items.map(keyMessage), nextPageToken };
    },

    async revokeKey({ keyId, reason, leases }, context) {
      if (RevokedLeases[leases] === undefined)
        refuseProblems([{ field: "leases", message: "is not a choice" }]);
      const keepsLeases = leases === RevokedLeases.KEEP;
      return { key: keyMessage(await revokeKey(c, callerOf(context), { keyId, reason, keepsLeases })) };
    },
  };
}

// 0 is no limit.
function readLimits(limits: KeyLimits | undefined) {
  return { callsPerMinute: limits?.callsPerMinute || null, jobsPerDay: limits?.jobsPerDay || null };
}

/** A key as it is shown. */
export function keyMessage(key: KeyView): MessageInitShape<typeof KeySchema> {
  const { keyId, type, name, scopes, workerName, prefix, lastFour, scheme, callsPerMinute, jobsPerDay } = key;
  const isLimited = callsPerMinute !== null || jobsPerDay !== null;
  return {
    prefix,
    lastFour,
    scheme,
    useTime: writeTime(key.usedAt),
    successorKeyId: key.successor ?? "",
    ...(isLimited ? { limits: { callsPerMinute: callsPerMinute ?? 0, jobsPerDay: jobsPerDay ?? 0 } } : {}),
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
