import { JobService } from "@muster/client/v1/job_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { FaultProxy } from "../../chaos/proxy/fault-proxy.ts";
import { type FrameFault, startFrameProxy } from "../../chaos/proxy/frame-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, type Journal, openJournal, scaledTimers } from "./story.ts";

let muster: TestServer;
let proxy: FaultProxy<FrameFault>;
let journal: Journal;

beforeEach(async () => {
  // Long enough that whoever lost the answer to an offer is back before it times out.
  muster = await startTestServer({ ...scaledTimers, offerTtlMs: 4_000 });
  proxy = await startFrameProxy({ target: muster.server.workerAddress });
  journal = openJournal();
});

afterEach(async () => {
  journal.release();
  await muster.close();
  await proxy.close();
});

// An exception that nobody caught fails the run by itself.
describe("a connection that is ended by HTTP/2 loses nothing", { timeout: 60_000 }, () => {
  test.each<[string, "stream" | "poll", FrameFault]>([
    ["GOAWAY without an error, to a stream", "stream", { kind: "goaway" }],
    ["GOAWAY without an error, to calls that poll", "poll", { kind: "goaway" }],
    ["GOAWAY with an error, to a stream", "stream", { kind: "goaway", code: 2 }],
    ["RST_STREAM of a stream", "stream", { kind: "reset-streams" }],
    ["RST_STREAM of calls that poll", "poll", { kind: "reset-streams", code: 2 }],
    ["its end", "stream", { kind: "cut" }],
  ])("%s", async (_, transport, fault) => {
    const handlers = { held: journal.held("only"), quick: journal.quick("only") };
    await muster.startWorker({ address: proxy.address, transport, slots: 8, handlers });
    const jobs = muster.client(JobService);
    await Promise.all(Array.from({ length: 4 }, () => jobs.submitJob({ job: { kind: "held" } })));
    await expect.poll(() => journal.effects, { timeout: 5_000 }).toHaveLength(4);
    for (let round = 1; round <= 3; round++) {
      proxy.fault(fault);
      await jobs.submitJob({ job: { kind: "quick" } });
      await expect.poll(() => journal.effects.length, { timeout: 10_000 }).toBe(4 + round);
    }
    journal.release();
    const ended = async () => (await attemptRows(muster)).filter(({ final }) => final).length;
    await expect.poll(ended, { timeout: 10_000 }).toBe(7);
    // An answer to a poll that was reset may have been an offer: lost, and made again.
    const outcomes = (await attemptRows(muster)).map(({ outcome, final }) => ({ outcome, final }));
    const offeredAgain = { outcome: 8, final: false };
    expect(outcomes.filter(({ outcome }) => outcome !== 1)).toEqual(
      Array.from({ length: outcomes.length - 7 }, () => offeredAgain),
    );
    expect(journal.effects).toHaveLength(7);
    expect(journal.effects.every(({ stop }) => stop === undefined)).toBe(true);
  });
});
