import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { type AuditEntrySchema, AuditProblemType, type AuditService } from "@muster/client/v1/audit_service";
import { type AuditEntryView, listAuditEntries } from "../domain/audit-entries.ts";
import { type ChainProblem, shownHead, verifyAudit } from "../domain/audit-seals.ts";
import { callerOf } from "./auth.ts";
import { type Problems, pageOf, readTime, refuseProblems, writeId, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.AuditService`. */
export function auditService({ coordinator: c }: ApiParts): ServiceImpl<typeof AuditService> {
  return {
    async listAuditEntries(request, context) {
      const problems: Problems = [];
      const since = readTime(problems, "since", request.since);
      const until = readTime(problems, "until", request.until);
      refuseProblems(problems);
      const { actor, action, target } = request;
      const query = { ...pageOf(request), actor, action, target, since, until };
      const { items, nextPageToken } = await listAuditEntries(c, callerOf(context), query);
      return { entries: items.map(entryMessage), nextPageToken };
    },

    async verifyAuditLog({ afterSeal, head }, context) {
      const asked = { after: Number(afterSeal), head };
      const check = await verifyAudit(c, callerOf(context), asked);
      return {
        problems: check.problems.map(({ type, seal, auditId }) => ({
          type: problemTypes[type],
          seal: BigInt(seal),
          auditId: writeId("audit", auditId),
        })),
        entries: BigInt(check.entries),
        seals: BigInt(check.seals),
        nextSeal: BigInt(check.next ?? 0),
        head: shownHead(check.head),
        unsealed: BigInt(check.unsealed),
      };
    },
  };
}

const problemTypes: { readonly [T in ChainProblem["type"]]: AuditProblemType } = {
  edited: AuditProblemType.EDITED,
  deleted: AuditProblemType.DELETED,
  added: AuditProblemType.ADDED,
  reordered: AuditProblemType.REORDERED,
  broken: AuditProblemType.BROKEN,
  missing: AuditProblemType.MISSING,
  head: AuditProblemType.HEAD,
};

function entryMessage(entry: AuditEntryView): MessageInitShape<typeof AuditEntrySchema> {
  const { actor, action, target, reason, requestId } = entry;
  return {
    auditId: writeId("audit", entry.auditId),
    time: writeTime(entry.at),
    actor,
    action,
    target,
    reason,
    requestId,
    details: jsonObject(entry.details),
    contentHash: entry.contentHash,
  };
}

// Safe: it came out of a jsonb column.
function jsonObject(details: Record<string, unknown>): JsonObject {
  return details as JsonObject;
}
