import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { LeaseSchema, LeaseService } from "@muster/client/v1/lease_service";
import { getJob } from "../domain/job-views.ts";
import { getLease, type LeaseView, listLeases } from "../domain/lease-views.ts";
import { revokeLease } from "../domain/revokes.ts";
import { callerOf } from "./auth.ts";
import { jobMessage } from "./job-messages.ts";
import {
  type Problems,
  pageOf,
  readId,
  readOptionalId,
  readReason,
  readRequestId,
  refuseProblems,
  writeId,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.LeaseService`. */
export function leaseService({ coordinator: c }: ApiParts): ServiceImpl<typeof LeaseService> {
  return {
    async listLeases(request, context) {
      const problems: Problems = [];
      const worker = readWorker(problems, request.worker);
      refuseProblems(problems);
      const { items, nextPageToken } = await listLeases(c, callerOf(context), {
        ...pageOf(request),
        worker,
        isAtRisk: request.atRisk,
      });
      return { leases: items.map(leaseMessage), nextPageToken };
    },

    async getLease(request, context) {
      const problems: Problems = [];
      const leaseId = readOptionalId(problems, "lease", request.leaseId, "leaseId");
      const jobId = readOptionalId(problems, "job", request.jobId, "jobId");
      refuseProblems(problems);
      return { lease: leaseMessage(await getLease(c, callerOf(context), { leaseId, jobId })) };
    },

    async revokeLease(request, context) {
      const problems: Problems = [];
      const leaseId = readId(problems, "lease", request.leaseId, "leaseId") ?? "";
      const reason = readReason(problems, request.reason);
      const requestId = readRequestId(problems, request.requestId);
      refuseProblems(problems);
      const caller = callerOf(context);
      const jobId = await revokeLease(c, caller, { leaseId, reason, requestId });
      return { job: jobMessage(await getJob(c, caller, { jobId, externalId: null, isFull: false })) };
    },
  };
}

/** The worker that a text names by its id or its name; null for an empty one. */
function readWorker(problems: Problems, text: string) {
  if (text === "") return null;
  if (!text.startsWith("wrk_")) return { workerId: null, name: text };
  return { workerId: readId(problems, "worker", text, "worker"), name: null };
}

function leaseMessage(lease: LeaseView): MessageInitShape<typeof LeaseSchema> {
  return {
    leaseId: writeId("lease", lease.leaseId),
    jobId: writeId("job", lease.jobId),
    kind: lease.kind,
    attempt: lease.attempt,
    state: lease.state,
    workerId: writeId("worker", lease.workerId),
    workerName: lease.workerName,
    grantTime: writeTime(lease.grantedAt),
    expireTime: writeTime(lease.expiresAt),
    cancelRequested: lease.isCancelRequested,
    atRisk: lease.isAtRisk,
    ...(lease.silentMs === null ? {} : { silence: durationFromMs(Math.round(lease.silentMs)) }),
  };
}
