import { randomUUID } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import { createMusterClient } from "@muster/client/node";
import { JobState } from "@muster/client/v1/job";
import { JobService, type LeaseRef } from "@muster/client/v1/job_service";
import {
  CancelProgress,
  type ConnectResponse,
  GoingAwayReason,
  ResultStatus,
  Verdict,
} from "@muster/client/v1/link";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { WorkerService } from "@muster/client/v1/worker_service";
import { afterEach, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
afterEach(() => muster.close());

const settings = { heartbeatMs: 200, staleMs: 5_000, reclaimAfterMs: 10_000, outageGraceMs: 0 };

interface HelloParts {
  readonly bootId?: string;
  readonly host?: string;
  readonly heldLeases?: LeaseRef[];
}

/** A worker of a few lines, over the twins: it says what the test tells it to. */
function handWritten(key: string, address = muster.server.apiAddress) {
  const client = createMusterClient(WorkerService, { address, key });
  const said: ConnectResponse[] = [];
  let linkEpoch = 0n;
  let sequence = 0n;
  const next = async <C extends ConnectResponse["frame"]["case"]>(kind: C) => {
    for (;;) {
      const index = said.findIndex((one) => one.frame.case === kind);
      if (index >= 0) return said.splice(index, 1)[0]?.frame.value;
      said.push(...(await client.poll({ linkEpoch })).frames);
    }
  };
  return {
    client,
    get linkEpoch() {
      return linkEpoch;
    },
    next,
    async attach({ bootId = randomUUID(), host = "here", heldLeases = [] }: HelloParts = {}) {
      const { welcome } = await client.attach({
        hello: {
          protocol: { major: 1, minor: 0 },
          bootId,
          hostBootId: host,
          host,
          kinds: ["by.hand"],
          capacity: { slots: 4, points: 4 },
          heldLeases,
          demand: { slots: 4, points: 4 },
        },
      });
      linkEpoch = welcome?.linkEpoch ?? 0n;
      return welcome;
    },
    async beat(held: LeaseRef[] = []) {
      sequence += 1n;
      const heldLeases = held.map((lease) => ({ lease }));
      const demand = { slots: 4 - held.length, points: 4 - held.length };
      return client.renew({ linkEpoch, heartbeat: { sequence, heldLeases, demand } });
    },
    /** Takes the next offer. */
    async take(): Promise<LeaseRef> {
      const offer = await next("offer");
      const lease = offer !== undefined && "leases" in offer ? offer.leases[0] : undefined;
      const ref = lease !== undefined && "lease" in lease ? lease.lease : undefined;
      if (ref === undefined) throw new Error("an offer has a lease");
      await client.answer({ linkEpoch, reply: { answers: [{ lease: ref, heartbeatSequence: sequence }] } });
      return ref;
    },
  };
}

const submit = async () => (await muster.client(JobService).submitJob({ job: { kind: "by.hand" } })).jobId;
const metric = async (text: string) => {
  const body = await (await fetch(`${muster.server.apiAddress}/metrics`)).text();
  return Number(
    body
      .split("\n")
      .map((line) => line.replace(/,?org="org_[^"]*"/, "").replace("{}", ""))
      .find((line) => line.startsWith(`${text} `))
      ?.split(" ")[1] ?? 0,
  );
};
const refused = (frame: string, reason: string) =>
  metric(`muster_refused_frames_total{frame="${frame}",reason="${reason}"}`);
const row = async (sql: "links" | "workers") =>
  (await muster.database.admin`select * from muster.${muster.database.admin(sql)}`)[0];

describe("two processes with one identity", () => {
  test("on two coordinators: the older learns by its next heartbeat which one took over", async () => {
    muster = await startTestServer(settings);
    const peer = await muster.startPeer();
    const key = await muster.workerKey();
    const [older, newer] = [handWritten(key), handWritten(key, peer.apiAddress)];
    await older.attach({ host: "laptop" });
    await older.beat();
    const bootId = randomUUID();
    await newer.attach({ host: "clone", bootId });
    const error = await older.beat().catch((one: unknown) => ConnectError.from(one));
    expect(error).toBeInstanceOf(ConnectError);
    expect(readError(error)).toMatchObject({ code: Code.Aborted, detail: { reason: "LINK_REPLACED" } });
    expect(readError(error).message).toMatch(new RegExp(`host clone, boot ${bootId}.*host laptop, boot`));
    const goingAway = await older.next("goingAway");
    expect(goingAway).toMatchObject({ reason: GoingAwayReason.REPLACED, detail: readError(error).message });
    expect(await newer.beat()).toMatchObject({ ack: { sequence: 1n } });
  });

  test("on one coordinator: the older fetches its last word, once, though its link is gone", async () => {
    muster = await startTestServer(settings);
    const key = await muster.workerKey();
    const [older, newer] = [handWritten(key), handWritten(key)];
    await older.attach({ host: "laptop" });
    await newer.attach({ host: "clone" });
    expect(await older.next("goingAway")).toMatchObject({
      reason: GoingAwayReason.REPLACED,
      detail: expect.stringContaining("host clone"),
    });
    await expect(older.beat()).rejects.toThrow("no link");
  });

  test("are quarantined at the third flip: what runs goes on, and nothing new is offered", async () => {
    muster = await startTestServer(settings);
    const key = await muster.workerKey();
    const [one, two] = [handWritten(key), handWritten(key)];
    await one.attach({ host: "one" });
    await submit();
    const lease = await one.take();
    for (const [twin, host] of [
      [two, "two"],
      [one, "one"],
      [two, "two"],
    ] as const) {
      await twin.attach({ host, heldLeases: [lease] });
    }
    expect((await row("workers"))?.["quarantine_reason"]).toMatch(/host one.*host two/);
    await submit();
    await two.beat([lease]);
    const { ack } = await two.client.submitResults({
      results: { results: [{ lease, resultId: randomUUID(), outcome: { case: "success", value: {} } }] },
      demand: { slots: 4, points: 4 },
    });
    expect(ack?.items[0]?.status).toBe(ResultStatus.COMMITTED);
    // It has four free slots, and the job goes to the one that comes later.
    const other = handWritten(await muster.workerKey());
    await other.attach();
    await other.take();
    expect(await metric('muster_quarantines_total{cause="identity"}')).toBe(1);
  });
});

describe("a worker that leaves a cancel without an answer", () => {
  test("is suspect, gets nothing new, and is trusted again when it answers", async () => {
    muster = await startTestServer({ ...settings, cancelSuspectMs: 100 });
    const worker = handWritten(await muster.workerKey());
    await worker.attach();
    const jobId = await submit();
    const lease = await worker.take();
    await muster.client(JobService).cancelJob({ jobId });
    expect(await worker.next("cancel")).toMatchObject({ lease });
    const suspectAt = async () => {
      await worker.beat([lease]);
      return (await row("links"))?.["suspect_at"];
    };
    await expect.poll(suspectAt, { timeout: 10_000 }).not.toBeNull();
    expect(await metric("muster_suspects_total")).toBe(1);
    await submit();
    await worker.client.report({
      linkEpoch: worker.linkEpoch,
      cancelStatuses: [{ lease, progress: CancelProgress.STOPPING }],
    });
    await expect.poll(async () => (await row("links"))?.["suspect_at"]).toBeNull();
    expect((await worker.take()).leaseId).not.toBe(lease.leaseId);
  });
});

describe("fencing", () => {
  test("refuses what comes under a lease that a worker does not hold, says so, and counts it", async () => {
    muster = await startTestServer(settings);
    const worker = handWritten(await muster.workerKey());
    await worker.attach();
    const jobId = await submit();
    const lease = await worker.take();
    await muster.reach(jobId, JobState.RUNNING);
    await muster.client(JobService).cancelJob({ jobId, force: true, lease });
    const { linkEpoch, client } = worker;
    const { ack } = await client.report({
      linkEpoch,
      report: { items: [{ lease, sequence: 1n, body: { case: "message", value: "still here" } }] },
      cancelStatuses: [{ lease: { ...lease, attempt: 7 }, progress: CancelProgress.STOPPING }],
    });
    expect(ack?.items).toMatchObject([{ lease, sequence: 1n, superseded: true, currentAttempt: 1 }]);
    expect(await refused("report", "superseded")).toBe(1);
    expect(await refused("cancel-status", "not-held")).toBe(1);
    const result = { lease, resultId: randomUUID(), outcome: { case: "success" as const, value: {} } };
    const late = await client.submitResults({ results: { results: [result] } });
    expect(late.ack?.items).toMatchObject([{ status: ResultStatus.SUPERSEDED, currentAttempt: 1 }]);
    expect(await muster.database.admin`select attempt from muster.late_results`).toEqual([{ attempt: 1 }]);
    expect(await refused("result", "superseded")).toBe(1);
  });

  test("does not call a lease lost whose result overtakes the echo of its heartbeat", async () => {
    muster = await startTestServer({ ...settings, staleMs: 20_000, reclaimAfterMs: 30_000 });
    const worker = handWritten(await muster.workerKey());
    await worker.attach();
    const jobId = await submit();
    const lease = await worker.take();
    await muster.reach(jobId, JobState.RUNNING);
    const result = { lease, resultId: randomUUID(), outcome: { case: "success" as const, value: {} } };
    let beating: ReturnType<typeof worker.beat> | undefined;
    // The echo waits for a commit that waits for this.
    await muster.database.admin.begin(async (sql) => {
      await sql`select from muster.links for update`;
      beating = worker.beat([lease]);
      await expect
        .poll(async () => {
          const [row] = await muster.database.admin`select count(*)::int as n from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'`;
          return row?.["n"];
        })
        .toBeGreaterThan(0);
      const { ack } = await worker.client.submitResults({ results: { results: [result] } });
      expect(ack?.items).toMatchObject([{ status: ResultStatus.COMMITTED }]);
    });
    expect((await beating)?.ack?.lost).toEqual([]);
    expect(await refused("heartbeat", "unknown-lease")).toBe(0);
    // One that was never its own is.
    expect((await worker.beat([{ ...lease, attempt: 9 }])).ack?.lost).toMatchObject([{ attempt: 9 }]);
    expect(await refused("heartbeat", "unknown-lease")).toBe(1);
  });

  test("tells a Hello which of its leases are not its own, and loses what a live worker no longer lists", async () => {
    muster = await startTestServer(settings);
    const worker = handWritten(await muster.workerKey());
    const bootId = randomUUID();
    await worker.attach({ bootId });
    const jobId = await submit();
    const lease = await worker.take();
    await muster.reach(jobId, JobState.RUNNING);
    const foreign = { ...lease, attempt: 9 };
    const welcome = await worker.attach({ bootId, heldLeases: [lease, foreign] });
    expect(welcome?.verdicts.map(({ verdict }) => verdict)).toEqual([Verdict.KEEP, Verdict.SUPERSEDED]);
    expect(await refused("hello", "unknown-lease")).toBe(1);
    await worker.attach({ bootId });
    await worker.beat([lease]);
    await worker.beat();
    expect((await muster.client(JobService).getJob({ jobId })).job?.state).toBe(JobState.RUNNING);
    await worker.beat();
    await expect.poll(async () => (await muster.client(JobService).getJob({ jobId })).job?.losses).toBe(1);
    expect(await metric("muster_lost_leases_total")).toBe(1);
  });
});

test("workers that are told to wait with their Hello come when they may, and work", async () => {
  muster = await startTestServer({ ...settings, hellosPerSecond: 1 });
  const started = await Promise.all(
    ["stream", "stream", "poll"].map((transport) =>
      muster.startWorker({
        transport: transport === "poll" ? "poll" : "stream",
        ...(transport === "poll" ? { address: muster.server.apiAddress } : {}),
        handlers: { "by.hand": () => null },
      }),
    ),
  );
  expect(started).toHaveLength(3);
  await expect
    .poll(
      async () => (await muster.client(WorkerAdminService).listWorkers({ online: true })).workers.length,
      { timeout: 10_000 },
    )
    .toBe(3);
  expect(await metric("muster_deferred_hellos_total")).toBeGreaterThan(0);
  await muster.reach(await submit(), JobState.SUCCEEDED);
});
