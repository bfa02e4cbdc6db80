import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { WorkerSchema } from "@muster/client/v1/worker";
import type { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { approveWorker, rejectWorker } from "../domain/approvals.ts";
import { drainWorker, resumeWorker } from "../domain/commands.ts";
import { disableWorker, enableWorker, removeWorker } from "../domain/disabled-workers.ts";
import { limitWorker, setWorkerAvailability } from "../domain/worker-limits.ts";
import { listWorkers } from "../domain/worker-lists.ts";
import { createWorker, getWorker, type WorkerName, type WorkerView } from "../domain/workers.ts";
import { callerOf } from "./auth.ts";
import {
  orNull,
  type Problems,
  pageOf,
  readOptionalId,
  readReason,
  refuseProblems,
  writeId,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import {
  approvalNumber,
  availabilityMessage,
  limitsMessage,
  readAvailability,
  readLimits,
} from "./worker-limits.ts";

/** `muster.v1.WorkerAdminService`. */
export function workerAdminService({ coordinator: c }: ApiParts): ServiceImpl<typeof WorkerAdminService> {
  return {
    async createWorker({ name }, context) {
      const { worker, key } = await createWorker(c, callerOf(context), { name });
      return { worker: workerMessage(worker), key };
    },

    async getWorker(request, context) {
      const worker = await getWorker(c, callerOf(context), readWorkerName([], request));
      return { worker: workerMessage(worker) };
    },

    async listWorkers(request, context) {
      const { items, nextPageToken } = await listWorkers(c, callerOf(context), {
        ...pageOf(request),
        isOnline: request.online,
        isMine: request.mine,
        text: request.filterText,
        field: "filterText",
      });
      return { workers: items.map(workerMessage), nextPageToken };
    },

    async drainWorker(request, context) {
      const worker = await drainWorker(c, callerOf(context), readCommand(request));
      return { worker: workerMessage(worker) };
    },

    async resumeWorker(request, context) {
      const worker = await resumeWorker(c, callerOf(context), readCommand(request));
      return { worker: workerMessage(worker) };
    },

    async disableWorker(request, context) {
      const worker = await disableWorker(c, callerOf(context), readCommand(request));
      return { worker: workerMessage(worker) };
    },

    async enableWorker(request, context) {
      const worker = await enableWorker(c, callerOf(context), readCommand(request));
      return { worker: workerMessage(worker) };
    },

    async removeWorker(request, context) {
      await removeWorker(c, callerOf(context), readCommand(request));
      return {};
    },

    async limitWorker(request, context) {
      const limits = request.limits === undefined ? null : readLimits(request.limits);
      const worker = await limitWorker(c, callerOf(context), { ...readCommand(request), limits });
      return { worker: workerMessage(worker) };
    },

    async setWorkerAvailability(request, context) {
      const availability = readAvailability(request.availability);
      const command = { ...readCommand(request), ...availability };
      const worker = await setWorkerAvailability(c, callerOf(context), command);
      return { worker: workerMessage(worker) };
    },

    async approveWorker(request, context) {
      const worker = await approveWorker(c, callerOf(context), readCommand(request));
      return { worker: workerMessage(worker) };
    },

    async rejectWorker(request, context) {
      const worker = await rejectWorker(c, callerOf(context), readCommand(request));
      return { worker: workerMessage(worker) };
    },
  };
}

function readCommand(request: { readonly workerId: string; readonly name: string; readonly reason: string }) {
  const problems: Problems = [];
  const reason = readReason(problems, request.reason);
  return { ...readWorkerName(problems, request), reason };
}

/** The worker that a request names by its id or its name; refuses all that is wrong, `problems` too. */
export function readWorkerName(
  problems: Problems,
  request: { readonly workerId: string; readonly name: string },
): WorkerName {
  const workerId = readOptionalId(problems, "worker", request.workerId, "workerId");
  if ((request.workerId === "") === (request.name === "")) {
    problems.push({ field: "workerId", message: "or name must be given, and not both" });
  }
  refuseProblems(problems);
  return { workerId, name: orNull(request.name) };
}

/** A worker as operators see it. */
export function workerMessage(worker: WorkerView): MessageInitShape<typeof WorkerSchema> {
  const { slots, points } = worker;
  return {
    workerId: writeId("worker", worker.workerId),
    name: worker.name,
    state: worker.state,
    skills: worker.skills.map(({ name, digest }) => ({ name, digest })),
    kinds: [...worker.kinds],
    capacity: { slots, points },
    leases: worker.leases,
    pointsUsed: worker.pointsUsed,
    labels: { ...worker.labels },
    createTime: writeTime(worker.createdAt),
    seenTime: writeTime(worker.seenAt),
    version: worker.version,
    host: worker.host,
    linkEpoch: BigInt(worker.linkEpoch ?? 0),
    transport: worker.transport ?? "",
    drainRequested: worker.isDrainRequested,
    quarantineReason: worker.quarantineReason ?? "",
    quarantineTime: writeTime(worker.quarantinedAt),
    suspectSince: writeTime(worker.suspectAt),
    owner: worker.owner,
    approval: approvalNumber(worker.approval),
    limits: limitsMessage(worker.limits),
    newcomerLimits: limitsMessage(worker.newcomerLimits),
    availability: availabilityMessage(worker),
    offHours: worker.isOffHours,
    refusals: [...worker.refusals],
    openPrs: worker.openPrs,
  };
}
