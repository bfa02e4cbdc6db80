import { setTimeout as spoken, setImmediate as turn } from "node:timers/promises";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, expect, test } from "vitest";
import type { JobContext } from "../../../worker/context.ts";
import { startTcpProxy, type TcpProxy } from "../../chaos/proxy/tcp-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { scaledTimers } from "./story.ts";

let muster: TestServer;
let proxy: TcpProxy;
afterEach(async () => {
  await muster.close();
  await proxy.close();
});

// The link shares the thread of the handler: who speaks gives it a turn. 20 MB/s is faster than the store, and not
// faster than a busy disk.
const pieceBytes = 60_000;

/** Runs a job that says so much while nothing is acknowledged; answers with what is on record, as [from, to, isGap]. */
async function record(pieces: number, pace: () => Promise<void>): Promise<[number, number, boolean][]> {
  muster = await startTestServer({ ...scaledTimers, staleMs: 60_000, reclaimAfterMs: 120_000 });
  proxy = await startTcpProxy({ target: muster.server.workerAddress });
  const said = Promise.withResolvers<void>();
  const heard = Promise.withResolvers<void>();
  const loud = async (ctx: JobContext) => {
    const heal = proxy.fault({ kind: "hold", direction: "up" });
    for (let n = 0; n < pieces; n++) {
      ctx.log.stdout(`${n} ${"x".repeat(pieceBytes)}`);
      await pace();
    }
    said.resolve();
    await heard.promise;
    heal();
  };
  await muster.startWorker({ address: proxy.address, transport: "stream", handlers: { loud } });
  const jobs = muster.client(JobService);
  const { jobId } = await jobs.submitJob({ job: { kind: "loud" } });
  await said.promise;
  heard.resolve();
  const whole: [number, number, boolean][] = [];
  await muster.reach(jobId, JobState.SUCCEEDED);
  const read = async (): Promise<number> => {
    whole.length = 0;
    for (let after: { attempt: number; sequence: bigint } | undefined, isMore = true; isMore; ) {
      const page = await jobs.listJobEvents({ jobId, pageSize: 20, ...(after ? { after } : {}) });
      for (const { sequence, body } of page.events) {
        if (body.case === "gap") {
          whole.push([Number(body.value.fromSequence), Number(body.value.toSequence), true]);
        } else whole.push([Number(sequence), Number(sequence), false]);
      }
      const last = page.events.at(-1);
      isMore = last !== undefined;
      if (last) after = { attempt: last.attempt, sequence: last.sequence };
    }
    return whole.at(-1)?.[1] ?? 0;
  };
  await expect.poll(read, { timeout: 40_000 }).toBe(pieces);
  return whole;
}

/** Every sequence is there, or in a gap. */
function expectContiguous(whole: readonly [number, number, boolean][]): void {
  const jumps = whole.flatMap(([from], index) => {
    const before = whole[index - 1]?.[1] ?? 0;
    return from === before + 1 ? [] : [[before, from]];
  });
  expect(jumps).toEqual([]);
}

test("logs that come faster than they are taken wait on disk, and lose nothing", {
  timeout: 90_000,
}, async () => {
  const whole = await record(200, () => spoken(3));
  expectContiguous(whole);
  expect(whole.filter(([, , isGap]) => isGap)).toEqual([]);
});

test("beyond 64 MiB the oldest that wait are dropped, and an explicit gap says which", {
  timeout: 120_000,
}, async () => {
  const whole = await record(1_300, async () => {
    for (let turns = 0; turns < 20; turns++) await turn();
  });
  expectContiguous(whole);
  const gaps = whole.filter(([, , isGap]) => isGap);
  expect(gaps).not.toHaveLength(0);
  const missing = gaps.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  expect(missing).toBeGreaterThan(50);
  expect(missing).toBeLessThan(900);
});
