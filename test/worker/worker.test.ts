import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Worker } from "../../worker/worker.ts";
import { WorkerPeer } from "../support/worker-peer.ts";

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

test("runs a job", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "muster-worker-"));
  cleanUps.push(() => rm(stateDir, { recursive: true, force: true }));
  const peer = await WorkerPeer.start();
  cleanUps.push(() => peer[Symbol.asyncDispose]());
  for (const linkThread of [false, true]) {
    const worker = new Worker({
      address: peer.address,
      key: peer.key,
      stateDir: join(stateDir, randomUUID()),
      linkThread,
      handlers: { noop: () => ({ hello: "world" }) },
    });
    await worker.start();
    const lease = peer.lease();
    peer.offer(lease);
    const result = await peer.resultOf(lease.lease.leaseId);
    expect(result.outcome.case).toBe("success");
    await worker.stop();
    console.log(
      await worker.closed,
      peer.received.map((f) => f.request.frame.case),
    );
  }
});
