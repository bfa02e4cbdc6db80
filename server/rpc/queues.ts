import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type KindFactsSchema,
  type QueueLimits as LimitsMessage,
  type QueueSchema,
  type QueueService,
  QueueType as Type,
} from "@muster/client/v1/queue_service";
import type { KindFacts } from "../domain/kinds.ts";
import {
  getQueue,
  listQueues,
  pauseQueue,
  type QueueView,
  resumeQueue,
  setQueueLimits,
} from "../domain/queues.ts";
import {
  limitViolations,
  type QueueLimits,
  type QueueName,
  type QueueType,
  queueViolations,
} from "../domain/rules/limits.ts";
import { callerOf } from "./auth.ts";
import {
  type Problems,
  pageOf,
  readDuration,
  readTime,
  refuseProblems,
  required,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.QueueService`. */
export function queueService({ coordinator, withdrawOffers }: ApiParts): ServiceImpl<typeof QueueService> {
  const c = { ...coordinator, withdrawOffers };
  return {
    async listQueues(request, context) {
      const problems: Problems = [];
      const type = readType(problems, request.type);
      refuseProblems(problems);
      const page = { ...pageOf(request), type, withKindFacts: request.withKindFacts };
      const { items, nextPageToken } = await listQueues(c, callerOf(context), page);
      return { queues: items.map(queueMessage), nextPageToken };
    },

    async getQueue(request, context) {
      const problems: Problems = [];
      const queue = readName(problems, request, "");
      refuseProblems(problems);
      const { kind, ...found } = await getQueue(c, callerOf(context), queue);
      return {
        queue: queueMessage(found),
        ...(kind === undefined ? {} : { kind: kindMessage(kind) }),
      };
    },

    async setQueueLimits(request, context) {
      const problems: Problems = [];
      const { reason } = request;
      const queue = readName(problems, request, reason);
      // Nothing given is a mistake; to take all limits away is said by an empty message.
      const limits = required(problems, "limits", request.limits)
        ? readLimits(problems, request.limits)
        : { running: null, startRate: null };
      refuseProblems(problems);
      return {
        queue: queueMessage(await setQueueLimits(c, callerOf(context), { ...queue, limits, reason })),
      };
    },

    async pauseQueue(request, context) {
      const problems: Problems = [];
      const { reason } = request;
      const queue = readName(problems, request, reason);
      const until = readTime(problems, "until", request.until);
      refuseProblems(problems);
      const paused = await pauseQueue(c, callerOf(context), { ...queue, until, reason });
      return { queue: queueMessage(paused.queue), withdrawn: paused.withdrawn };
    },

    async resumeQueue(request, context) {
      const problems: Problems = [];
      const { reason } = request;
      const queue = readName(problems, request, reason);
      refuseProblems(problems);
      return { queue: queueMessage(await resumeQueue(c, callerOf(context), { ...queue, reason })) };
    },
  };
}

function readName(
  problems: Problems,
  { type, name }: { readonly type: Type; readonly name: string },
  reason: string,
): QueueName {
  const queue = { type: readType(problems, type), name };
  problems.push(...queueViolations(queue, reason));
  return queue;
}

function readType(problems: Problems, type: Type): QueueType {
  switch (type) {
    case Type.UNSPECIFIED:
    case Type.QUEUE:
      return "queue";
    case Type.KIND:
      return "kind";
    case Type.POOL:
      return "pool";
  }
  // A number that this coordinator does not know.
  problems.push({ field: "type", message: "must be QUEUE_TYPE_QUEUE, QUEUE_TYPE_KIND or QUEUE_TYPE_POOL" });
  return "queue";
}

function readLimits(problems: Problems, { running, startRate }: LimitsMessage): QueueLimits {
  const periodMs = readDuration(problems, "limits.startRate.per", startRate?.per);
  if (startRate && startRate.per === undefined) {
    problems.push({
      field: "limits.startRate.per",
      message: "is required: the time in which so many may start",
    });
  }
  const limits = {
    running: running ?? null,
    startRate: startRate ? { jobs: startRate.jobs, periodMs: periodMs ?? 1_000 } : null,
  };
  problems.push(...limitViolations(limits));
  return limits;
}

const typeMessages = { queue: Type.QUEUE, kind: Type.KIND, pool: Type.POOL } as const;

function queueMessage({
  type,
  name,
  limits,
  pause,
  leased,
  counts,
  oldestReadyAt,
  kind,
}: QueueView): MessageInitShape<typeof QueueSchema> {
  const { running, startRate } = limits;
  const rate = startRate && { jobs: startRate.jobs, per: durationFromMs(startRate.periodMs) };
  return {
    type: typeMessages[type],
    name,
    paused: pause !== null,
    pauseReason: pause?.reason ?? "",
    pauseTime: writeTime(pause?.at ?? null),
    resumeTime: writeTime(pause?.resumeAt ?? null),
    limits: { ...(running === null ? {} : { running }), ...(rate ? { startRate: rate } : {}) },
    leased,
    ...(counts === null ? {} : { counts: countsMessage(counts) }),
    oldestReadyTime: writeTime(oldestReadyAt),
    ...(kind === undefined ? {} : { kind: kindMessage({ ...kind, builtIn: withoutSchema(kind.builtIn) }) }),
  };
}

// It is long, and the same for every org.
function withoutSchema(builtIn: KindFacts["builtIn"]): KindFacts["builtIn"] {
  return builtIn && { ...builtIn, payloadSchema: "" };
}

function countsMessage(counts: NonNullable<QueueView["counts"]>) {
  return {
    blocked: BigInt(counts.blocked),
    scheduled: BigInt(counts.scheduled),
    ready: BigInt(counts.ready),
    offered: BigInt(counts.offered),
    running: BigInt(counts.running),
    parked: BigInt(counts.parked),
    succeeded: BigInt(counts.succeeded),
    cancelled: BigInt(counts.cancelled),
    dead: BigInt(counts.dead),
    submitted: BigInt(counts.submitted),
    submittedLastMinute: BigInt(counts.submittedLastMinute),
    endedLastMinute: BigInt(counts.endedLastMinute),
  };
}

function kindMessage({
  builtIn,
  workers,
  workerCount,
  isOnDemand,
  lastDay,
}: KindFacts): MessageInitShape<typeof KindFactsSchema> {
  const { attempts, succeeded, failed, dead, successRate, runP50Ms, runP95Ms } = lastDay;
  return {
    builtIn: builtIn !== null,
    description: builtIn?.description ?? "",
    payloadSchema: builtIn?.payloadSchema ?? "",
    suggestedCron: builtIn?.schedule ?? "",
    requiredScope: builtIn?.scope ?? "",
    workers: [...workers],
    workerCount,
    onDemand: isOnDemand,
    lastDay: {
      attempts: BigInt(attempts),
      succeeded: BigInt(succeeded),
      failed: BigInt(failed),
      dead: BigInt(dead),
      ...(successRate === null ? {} : { successRate }),
      ...(runP50Ms === null ? {} : { runP50: durationFromMs(Math.round(runP50Ms)) }),
      ...(runP95Ms === null ? {} : { runP95: durationFromMs(Math.round(runP95Ms)) }),
    },
  };
}
