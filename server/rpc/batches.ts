import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  BatchSchema,
  BatchService,
  SubmitBatchRequest,
  WaitBatchRequest,
  WaitBatchResponseSchema,
} from "@muster/client/v1/batch_service";
import { type BatchView, type CountedBatch, getBatch, listBatches } from "../domain/batches.ts";
import { type SubmitBatchRequest as Submitted, submitBatch } from "../domain/jobs.ts";
import type { JobRequest } from "../domain/rules/job-spec.ts";
import { textViolations } from "../domain/rules/texts.ts";
import { callerOf } from "./auth.ts";
import { checkDependencies } from "./dependencies.ts";
import { type JobLimits, readJobSpec } from "./job-specs.ts";
import {
  isHopeless,
  type Problems,
  pageOf,
  readId,
  readIdempotencyKey,
  readLease,
  refuseProblems,
  writeId,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { pause, readWaitTimeout, throwIfEnded } from "./waiting.ts";

/** `muster.v1.BatchService`. */
export function batchService(parts: ApiParts): ServiceImpl<typeof BatchService> {
  const { coordinator: c } = parts;
  return {
    async submitBatch(request, context) {
      const submitted = readSubmission(request, c.config);
      const { batchId, jobIds, isReplayed } = await submitBatch(c, callerOf(context), submitted);
      return {
        batchId: writeId("batch", batchId),
        jobIds: jobIds.map((jobId) => writeId("job", jobId)),
        replayed: isReplayed,
      };
    },

    async getBatch(request, context) {
      const problems: Problems = [];
      const batchId = readId(problems, "batch", request.batchId, "batchId") ?? "";
      refuseProblems(problems);
      return { batch: countedMessage(await getBatch(c, callerOf(context), batchId)) };
    },

    async listBatches(request, context) {
      const { items, nextPageToken } = await listBatches(c, callerOf(context), pageOf(request));
      return { batches: items.map(batchMessage), nextPageToken };
    },

    waitBatch: (request, context) => waitBatch(parts, request, context),
  };
}

/** How often a batch that is waited for is counted at most: its jobs end in bursts. */
const countPauseMs = 100;

function readSubmission(request: SubmitBatchRequest, limits: JobLimits): Submitted {
  const problems: Problems = [];
  const { jobs } = request;
  if (jobs.length === 0) problems.push({ field: "jobs", message: "must have at least one job" });
  problems.push(...textViolations("title", request.title, { min: 0, max: 200 }));
  const idempotencyKey = readIdempotencyKey(problems, request.idempotencyKey);
  const parent = readLease(problems, "parent", request.parent);
  const read: JobRequest[] = [];
  for (const [index, spec] of jobs.entries()) {
    read.push(readJobSpec(problems, `jobs[${index}]`, spec, limits));
    if (isHopeless(problems)) break;
  }
  checkExternalIds(problems, read);
  checkDependencies(problems, read, (index) => `jobs[${index}]`);
  refuseProblems(problems);
  return { jobs: read, title: request.title, idempotencyKey, parent };
}

// Within a batch it could only be told as a conflict with itself.
function checkExternalIds(problems: Problems, jobs: readonly JobRequest[]): void {
  const first = new Map<string, number>();
  for (const [index, { externalId }] of jobs.entries()) {
    if (externalId === null) continue;
    const before = first.get(externalId);
    if (before === undefined) first.set(externalId, index);
    else problems.push({ field: `jobs[${index}].externalId`, message: `is that of jobs[${before}]` });
  }
}

async function waitBatch(
  { coordinator: c, feed, nowMs = () => performance.now() }: ApiParts,
  request: WaitBatchRequest,
  context: HandlerContext,
): Promise<MessageInitShape<typeof WaitBatchResponseSchema>> {
  const problems: Problems = [];
  const batchId = readId(problems, "batch", request.batchId, "batchId") ?? "";
  const timeoutMs = readWaitTimeout(problems, request.timeout);
  refuseProblems(problems);
  const caller = callerOf(context);
  const { signal } = context;
  const endMs = nowMs() + timeoutMs;
  for (;;) {
    const leftMs = Math.max(0, endMs - nowMs());
    const news = feed.waitForOrg(caller.orgId, signal, Math.min(1_000, leftMs));
    const batch = await getBatch(c, caller, batchId);
    if (batch.pending === 0 || leftMs === 0)
      return { batch: countedMessage(batch), done: batch.pending === 0 };
    await Promise.all([news, pause(Math.min(countPauseMs, leftMs), signal)]);
    throwIfEnded(signal);
  }
}

function batchMessage(batch: BatchView) {
  const { batchId, createdAt, title, total, pending, succeeded, cancelled, dead } = batch;
  const counts = { title, total, pending, succeeded, cancelled, dead };
  return { batchId: writeId("batch", batchId), createTime: writeTime(createdAt), ...counts };
}

function countedMessage(batch: CountedBatch): MessageInitShape<typeof BatchSchema> {
  const states = batch.states.map(({ state, count }) => ({ state, count: BigInt(count) }));
  return { ...batchMessage(batch), states };
}
