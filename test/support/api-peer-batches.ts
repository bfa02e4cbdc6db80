import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter } from "@connectrpc/connect";
import { type Batch, BatchSchema, BatchService } from "@muster/client/v1/batch_service";
import { JobState } from "@muster/client/v1/job";
import { isEnded, storeJob } from "./api-peer-jobs.ts";
import { aborted, found, newId, page, timeoutMs } from "./api-peer-rows.ts";
import type { Api, Signals } from "./api-peer-state.ts";

/** Adds the service of batches. */
export function addBatchRoutes(router: ConnectRouter, api: Api, signals: Signals): void {
  const read = (batchId: string): Batch => {
    const jobs = [...api.jobs.values()].filter((job) => job.batchId === batchId);
    const count = (state: JobState): number => jobs.filter((job) => job.state === state).length;
    return create(BatchSchema, {
      ...found(api.batches, batchId, "batch"),
      total: jobs.length,
      pending: jobs.filter((job) => !isEnded(job)).length,
      succeeded: count(JobState.SUCCEEDED),
      cancelled: count(JobState.CANCELLED),
      dead: count(JobState.DEAD),
    });
  };
  router.service(BatchService, {
    submitBatch: (request) => {
      api.submittedBatches.push(request);
      const batchId = newId("bat");
      api.batches.set(
        batchId,
        create(BatchSchema, { batchId, title: request.title, createTime: timestampNow() }),
      );
      return { batchId, jobIds: request.jobs.map((spec) => storeJob(api, spec, batchId).jobId) };
    },
    getBatch: ({ batchId }) => ({ batch: read(batchId) }),
    listBatches: (request) => {
      const { rows, nextPageToken } = page([...api.batches.keys()].map(read), request);
      return { batches: rows, nextPageToken };
    },
    waitBatch: async ({ batchId, timeout }, { signal }) => {
      const timeIsUp = AbortSignal.timeout(timeoutMs(timeout));
      for (;;) {
        const change = signals.changed();
        const batch = read(batchId);
        if (batch.pending === 0) return { batch, done: true };
        if (timeIsUp.aborted) return { batch, done: false };
        await Promise.race([change, aborted(AbortSignal.any([signal, timeIsUp]))]);
        signal.throwIfAborted();
      }
    },
  });
}
