import { ResultStatus } from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import type { Retention } from "../../../worker/engine/resend.ts";
import { EngineBench, MemoryOutbox } from "../../support/worker-link.ts";

/** An outbox that forgets nothing, and what it remembers. */
function retainingOutbox(epoch: bigint) {
  const outbox = new MemoryOutbox();
  const kept: { resultId: string; body: Uint8Array }[] = [];
  const remembered: bigint[] = [];
  const acknowledge = outbox.acknowledge.bind(outbox);
  outbox.acknowledge = (ids) => {
    for (const resultId of ids) {
      const body = outbox.entries.get(resultId);
      if (body !== undefined) kept.push({ resultId, body });
    }
    acknowledge(ids);
  };
  const retention: Retention = {
    epoch,
    leases: [],
    results: async () => [...kept],
    remember: async (value) => void remembered.push(value),
  };
  return { outbox, retention, remembered };
}

async function attachedAt(epoch: bigint) {
  const { outbox, retention, remembered } = retainingOutbox(epoch);
  const bench = await EngineBench.attached({}, outbox, retention);
  const reattach = async (clusterEpoch: bigint) => {
    bench.welcome = { clusterEpoch };
    bench.link.frames.end();
    await bench.clock.advance(1_000);
  };
  const run = async () => {
    const { leaseId } = await bench.offer();
    await bench.settle(leaseId);
    bench.link.acknowledge(...bench.link.results);
    await bench.clock.advance(0);
    return leaseId;
  };
  return { bench, outbox, remembered, reattach, run };
}

describe("acknowledged results that are kept", () => {
  test("are sent again when the epoch has grown, and the epoch is remembered when all are acknowledged", async () => {
    const { bench, remembered, reattach, run } = await attachedAt(1n);
    const leaseIds = [await run(), await run()];
    await reattach(2n);
    expect(bench.link.hello.outboxLeases.map(({ leaseId }) => leaseId)).toEqual(leaseIds);
    const again = bench.link.results;
    expect(again.map(({ lease }) => lease?.leaseId)).toEqual(leaseIds);
    const [first, second] = again.map(({ resultId }) => ({ resultId, status: ResultStatus.DUPLICATE }));
    await bench.push({ case: "resultAck", value: { items: first === undefined ? [] : [first] } });
    expect(remembered).toEqual([]);
    await bench.push({ case: "resultAck", value: { items: second === undefined ? [] : [second] } });
    expect(remembered).toEqual([2n]);
    // Nobody is told twice how an attempt ended.
    expect(bench.all("ended")).toHaveLength(2);
  });

  test("are sent on the next link when this one broke before", async () => {
    const { bench, remembered, reattach, run } = await attachedAt(1n);
    await run();
    await reattach(2n);
    await reattach(2n);
    expect(bench.link.results).toHaveLength(1);
    bench.link.acknowledge(...bench.link.results);
    await bench.clock.advance(0);
    expect(remembered).toEqual([2n]);
    await reattach(2n);
    expect(bench.link.results).toEqual([]);
  });

  test("are not sent under the same epoch", async () => {
    const { bench, remembered, reattach, run } = await attachedAt(2n);
    await run();
    await reattach(2n);
    expect(bench.link.results).toEqual([]);
    expect(remembered).toEqual([]);
  });

  test("an epoch that is new to the worker is remembered when there is nothing to send", async () => {
    const { bench, remembered, reattach } = await attachedAt(0n);
    await reattach(7n);
    expect(bench.all("log").filter(({ message }) => message.includes("sent again"))).toEqual([]);
    expect(remembered).toEqual([7n]);
  });
});
