import {
  type Batch,
  BatchService,
  type WaitBatchResponse,
  WaitBatchResponseSchema,
} from "@muster/client/v1/batch_service";
import type { Call } from "../call.ts";
import { exitCodes } from "../exit-codes.ts";
import { durationFromMs } from "../input/values.ts";
import type { Output } from "../output/output.ts";
import { jobLooks } from "../output/states.ts";
import { layFacts } from "../output/table.ts";
import { showCount } from "../output/time.ts";
import { waitUntilDone } from "./job-wait.ts";

/**
 * Waits until all jobs of a batch have ended, and prints the batch; `wasReached` says that the coordinator has
 * answered before. Answers with 0 if all succeeded, else 9.
 * Throws with exit code 7 when --timeout was up first.
 */
export async function waitForBatch(call: Call, batchId: string, wasReached = false): Promise<number> {
  const batches = call.client(BatchService);
  const response = await waitUntilDone<WaitBatchResponse>(
    call,
    `batch ${batchId}`,
    wasReached,
    (timeoutMs, options) => batches.waitBatch({ batchId, timeout: durationFromMs(timeoutMs) }, options),
  );
  const { batch } = response;
  call.output.printOne({
    schema: WaitBatchResponseSchema,
    message: response,
    text: () => batchFacts(batch, call.output, call.surroundings.now()),
    names: () => [batchId],
  });
  const unsuccessful = (batch?.cancelled ?? 0) + (batch?.dead ?? 0);
  if (batch !== undefined && unsuccessful === 0) return exitCodes.done;
  call.output.note(
    `${showCount(unsuccessful)} of batch ${batchId} did not succeed: muster job list --batch ${batchId} --state dead,cancelled${call.context().addressFlag}`,
  );
  return exitCodes.jobFailed;
}

/** What is known of a batch, a line each. */
export function batchFacts(batch: Batch | undefined, output: Output, nowMs: number): string[] {
  if (batch === undefined) return [];
  const states = batch.states.filter(({ count }) => count > 0n);
  return layFacts(
    [
      ["batch", batch.batchId],
      ["title", batch.title],
      ["submitted", output.timeAndAge(batch.createTime, nowMs)],
      ["jobs", showCount(batch.total)],
      ["pending", showCount(batch.pending)],
      ["succeeded", showCount(batch.succeeded)],
      ["cancelled", showCount(batch.cancelled)],
      ["dead", showCount(batch.dead)],
      ["states", states.map(({ state, count }) => `${jobLooks[state].word} ${showCount(count)}`).join(", ")],
    ],
    output.layout,
  );
}
