import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobService } from "@muster/client/v1/job_service";
import type { BenchPayload } from "../seen.ts";
import type { Peer } from "./peer.ts";

/** Muster as a service that submits sees it; what works is workers-process.ts. */
export const muster: Pick<Peer, "openProducer"> = {
  async openProducer({ url: address, key = "" }) {
    const batches = createMusterClient(BatchService, { address, key });
    const jobs = createMusterClient(JobService, { address, key });
    return {
      async submitBatch(payloads) {
        await batches.submitBatch({ jobs: payloads.map(noopSpec) });
      },
      async submitOne(payload) {
        await jobs.submitJob({ job: noopSpec(payload) });
      },
      async close() {},
    };
  },
};

/** A job that does nothing. */
export function noopSpec(payload: BenchPayload) {
  return {
    kind: "bench.noop",
    payload: { content: { case: "data" as const, value: Buffer.from(JSON.stringify(payload)) } },
  };
}
