import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { AuditEntrySchema, AuditService } from "@muster/client/v1/audit_service";
import { type AuditEntryView, listAuditEntries } from "../domain/audit-entries.ts";
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
  };
}

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
  };
}

// Safe: it came out of a jsonb column.
function jsonObject(details: Record<string, unknown>): JsonObject {
  return details as JsonObject;
}
