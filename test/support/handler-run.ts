import type { Handler } from "../../worker/context.ts";
import { WorkerPeerApi } from "./worker-api.ts";
import { WorkerBench } from "./worker-bench.ts";
import type { LeaseInit } from "./worker-peer.ts";

/** Runs one handler on one lease; answers with the result's outcome and everything that was reported. */
export async function runHandler(handler: Handler, init: LeaseInit = {}) {
  await using bench = await WorkerBench.open();
  await using api = await WorkerPeerApi.start(bench.peer);
  const worker = bench.worker({ handlers: { noop: handler }, apiAddress: api.address });
  await worker.start();
  const lease = bench.peer.lease(init);
  bench.peer.offer(lease);
  const result = await bench.peer.resultOf(lease.lease.leaseId);
  const items = bench.peer.received.flatMap(({ request: { frame } }) =>
    frame.case === "report" ? frame.value.items : [],
  );
  return {
    result,
    outcome: result.outcome,
    items,
    bodies: items.map(({ body }) => body),
    api,
    lease: lease.lease,
  };
}
