import { createMusterClient } from "@muster/client/node";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, describe, expect, test } from "vitest";
import type { FaultProxy } from "../../chaos/proxy/fault-proxy.ts";
import { type FrameFault, startFrameProxy } from "../../chaos/proxy/frame-proxy.ts";
import { type PostgresFault, startPostgresProxy } from "../../chaos/proxy/postgres-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, databaseTarget, lateAttempts, openJournal, scaledTimers, through } from "./story.ts";

let muster: TestServer;
let frames: FaultProxy<FrameFault> | undefined;
let database: FaultProxy<PostgresFault> | undefined;
afterEach(async () => {
  await muster.close();
  await frames?.close();
  await database?.close();
  frames = undefined;
  database = undefined;
});

const once = [{ attempt: 1, outcome: 1, final: true }];

describe("a coordinator dies", { timeout: 60_000 }, () => {
  test.each([
    ["before a commit: the worker sends its result again, to another one", "results"],
    ["after a commit, before the acknowledgement: the result is sent again, and is a duplicate", "resultAck"],
  ] as const)("%s", async (_, lost) => {
    muster = await startTestServer(scaledTimers);
    const peer = await muster.startPeer();
    frames = await startFrameProxy({ target: muster.server.workerAddress });
    const journal = openJournal();
    await muster.startWorker({
      address: frames.address,
      transport: "stream",
      slots: 1,
      handlers: { quick: journal.quick("only") },
    });
    // From now on nothing of that kind passes, as if the coordinator were dead at this point.
    const heal = frames.fault({ kind: "frames", frames: [lost], do: { type: "drop" } });
    const jobs = createMusterClient(JobService, { address: peer.apiAddress, key: muster.key });
    const { jobId } = await jobs.submitJob({ job: { kind: "quick" } });
    await expect.poll(() => frames?.counts()[`drop ${lost}`]).toBeGreaterThan(0);
    expect(await attemptRows(muster)).toEqual(lost === "results" ? [] : once);
    frames.setTarget(peer.workerAddress);
    frames.fault({ kind: "cut" });
    heal();
    await muster.server.stop({ graceMs: 0 });
    await expect.poll(() => attemptRows(muster), { timeout: 10_000 }).toEqual(once);
    // The worker is content: its one slot takes the next job.
    const next = await jobs.submitJob({ job: { kind: "quick" } });
    await expect.poll(() => attemptRows(muster), { timeout: 10_000 }).toEqual([...once, ...once]);
    expect(journal.effects.map((effect) => effect.jobId)).toEqual([jobId, next.jobId]);
    expect(await lateAttempts(muster)).toEqual([]);
  });

  test("and the client submits again by its idempotency key: one job", async () => {
    muster = await startTestServer(scaledTimers);
    database = await startPostgresProxy({ target: databaseTarget(muster) });
    const peer = await muster.startPeer({ databaseUrl: through(database, muster) });
    const jobs = createMusterClient(JobService, { address: peer.apiAddress, key: muster.key });
    const submit = () => jobs.submitJob({ job: { kind: "nobody" }, idempotencyKey: "order-7" });
    await jobs.submitJob({ job: { kind: "nobody" }, idempotencyKey: "before" });
    // Between the commit and its acknowledgement, three times in a row.
    database.fault({ kind: "swallow-commit", leaving: "reset", user: "muster_hot", limit: 3 });
    const ids = new Set<string>();
    await expect
      .poll(
        () =>
          submit().then(
            ({ jobId }) => ids.add(jobId).size,
            (error: unknown) => String(error),
          ),
        { timeout: 15_000 },
      )
      .toBe(1);
    expect(database.counts()["swallow-commit"]).toBeGreaterThan(0);
    const other = await muster
      .client(JobService)
      .submitJob({ job: { kind: "nobody" }, idempotencyKey: "order-7" });
    expect(other).toMatchObject({ replayed: true });
    expect([...ids]).toEqual([other.jobId]);
    expect(await muster.database.admin`select 1 from muster.jobs`).toHaveLength(2);
  });

  test("or its database connection does, at the commit of a result: read again by its id", async () => {
    muster = await startTestServer(scaledTimers);
    database = await startPostgresProxy({ target: databaseTarget(muster) });
    const peer = await muster.startPeer({ databaseUrl: through(database, muster) });
    const journal = openJournal();
    await muster.startWorker({
      address: peer.workerAddress,
      transport: "stream",
      slots: 1,
      handlers: { held: journal.held("only") },
    });
    const jobs = muster.client(JobService);
    const { jobId } = await jobs.submitJob({ job: { kind: "held" } });
    await muster.reach(jobId, JobState.RUNNING);
    database.fault({ kind: "swallow-commit", leaving: "reset", user: "muster_hot", limit: 5 });
    journal.release();
    await muster.reach(jobId, JobState.SUCCEEDED);
    const next = await jobs.submitJob({ job: { kind: "held" } });
    await muster.reach(next.jobId, JobState.SUCCEEDED);
    expect(journal.effects.map((effect) => effect.jobId)).toEqual([jobId, next.jobId]);
    expect(await attemptRows(muster)).toEqual([...once, ...once]);
    expect(await lateAttempts(muster)).toEqual([]);
  });
});
