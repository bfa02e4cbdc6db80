import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { ConnectRequestSchema, HelloSchema } from "@muster/client/v1/link";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../../worker/clock.ts";
import { streamTransport } from "../../../worker/transport/stream.ts";
import type { Link } from "../../../worker/transport/transport.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { openJournal, scaledTimers } from "./story.ts";

let muster: TestServer;
const stopped = new AbortController();
afterEach(async () => {
  stopped.abort();
  await muster.close();
});

/** A worker of another version: says that it takes a kind, and declines all of it as unsupported. */
async function attachOther(kind: string): Promise<{ readonly link: Link; readonly declined: string[] }> {
  const transport = streamTransport({
    address: muster.server.workerAddress,
    key: await muster.workerKey(),
    ca: undefined,
    welcomeTimeoutMs: 10_000,
    clock: systemClock(),
  });
  const hello = create(HelloSchema, {
    protocol: { major: 1, minor: 99 },
    features: ["of-another-version"],
    bootId: randomUUID(),
    kinds: [kind],
    capacity: { slots: 4, points: 4 },
    demand: { slots: 4, points: 4 },
  });
  const link = await transport.open(hello, { signal: stopped.signal, address: undefined });
  const declined: string[] = [];
  const serve = async (): Promise<void> => {
    for await (const { frame } of link.frames) {
      if (frame.case !== "offer") continue;
      for (const { lease } of frame.value.leases) {
        if (lease === undefined) continue;
        declined.push(lease.jobId);
        const decline = { reason: "UNSUPPORTED: no such kind", retryAfter: { seconds: 60n } };
        const answer = { case: "offerReply" as const, value: { answers: [{ lease, decline }] } };
        void link.send(create(ConnectRequestSchema, { frame: answer }));
      }
    }
  };
  void serve().catch(() => {});
  return { link, declined };
}

test("versions differ: a worker declines what it does not know; that delays, and never counts", {
  timeout: 60_000,
}, async () => {
  muster = await startTestServer({ ...scaledTimers, staleMs: 60_000, reclaimAfterMs: 120_000 });
  const other = await attachOther("quick");
  const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "quick" } });
  await expect.poll(() => other.declined, { timeout: 10_000 }).toContain(jobId);
  const journal = openJournal();
  await muster.startWorker({ transport: "stream", handlers: { quick: journal.quick("right") } });
  const job = await muster.reach(jobId, JobState.SUCCEEDED);
  expect(job).toMatchObject({ failures: 0, losses: 0, releases: 0 });
  expect(journal.effects).toHaveLength(1);
  other.link.close();
});
