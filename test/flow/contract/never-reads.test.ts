import { randomUUID } from "node:crypto";
import { type ClientHttp2Session, connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { ConnectRequestSchema } from "@muster/client/v1/link";
import { WorkerService } from "@muster/client/v1/worker_service";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { openJournal, scaledTimers } from "./story.ts";

let muster: TestServer;
const sessions: ClientHttp2Session[] = [];

beforeEach(async () => {
  muster = await startTestServer({
    ...scaledTimers,
    offerTtlMs: 30_000,
    staleMs: 20_000,
    reclaimAfterMs: 60_000,
  });
});
afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  await muster.close();
});

const offered = 40;

/** A worker that says Hello and reads nothing: stock clients read ahead without end. */
async function attachDeaf(): Promise<void> {
  const session = connect(`http://${muster.server.workerAddress}`);
  sessions.push(session);
  session.on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": `/${WorkerService.typeName}/Connect`,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${await muster.workerKey("deaf")}`,
  });
  stream.on("error", () => {});
  const capacity = { slots: offered, points: offered };
  const message = create(ConnectRequestSchema, {
    frame: {
      case: "hello",
      value: {
        protocol: { major: 1, minor: 0 },
        bootId: randomUUID(),
        kinds: ["big"],
        capacity,
        demand: capacity,
      },
    },
  });
  const body = Buffer.from(toBinary(ConnectRequestSchema, message));
  const envelope = Buffer.alloc(5);
  envelope.writeUInt32BE(body.length, 1);
  stream.write(Buffer.concat([envelope, body]));
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${muster.server.apiAddress}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, "m").exec(text)?.[1] ?? 0);
}

test("a worker that never reads is cut off, keeps its leases, and delays nobody", {
  timeout: 60_000,
}, async () => {
  const journal = openJournal();
  await muster.startWorker({ transport: "stream", slots: 1, handlers: { quick: journal.quick("other") } });
  await attachDeaf();
  const { admin } = muster.database;
  const links = () => admin`select is_attached as open from muster.links order by is_attached`;
  await expect.poll(async () => (await links()).length, { timeout: 10_000 }).toBe(2);
  const jobs = muster.client(JobService);
  const big = { content: { case: "data" as const, value: Buffer.from(JSON.stringify("x".repeat(900_000))) } };
  for (let n = 0; n < offered; n++) await jobs.submitJob({ job: { kind: "big", payload: big } });
  await expect.poll(() => metric("muster_mailbox_overflows_total"), { timeout: 20_000 }).toBe(1);
  await expect.poll(links, { timeout: 5_000 }).toEqual([{ open: false }, { open: true }]);
  const leased =
    await admin`select 1 from muster.job_queue where state = ${JobState.OFFERED} and worker_id is not null`;
  expect(leased.length).toBeGreaterThan(5);
  const { jobId } = await jobs.submitJob({ job: { kind: "quick" } });
  await muster.reach(jobId, JobState.SUCCEEDED);
});

test("a watcher that reads slowly sees everything, later, and delays nobody", {
  timeout: 60_000,
}, async () => {
  const lines = 400;
  await muster.startWorker({
    transport: "stream",
    slots: 1,
    handlers: {
      loud: (ctx) => {
        for (let n = 0; n < lines; n++) ctx.log.stdout(`${n} ${"x".repeat(5_000)}`);
      },
    },
  });
  const jobs = muster.client(JobService);
  const { jobId } = await jobs.submitJob({ job: { kind: "loud" } });
  const watch = jobs.watchJob({ jobId, events: true })[Symbol.asyncIterator]();
  // It reads one message, and nothing more until the job has ended for everybody else.
  expect((await watch.next()).done).toBe(false);
  await muster.reach(jobId, JobState.SUCCEEDED);
  const seen: bigint[] = [];
  let last: JobState | undefined;
  for (let next = await watch.next(); !next.done; next = await watch.next()) {
    const { body } = next.value;
    if (body.case === "event") seen.push(body.value.sequence);
    if (body.case === "job") last = body.value.state;
  }
  expect(seen).toEqual(Array.from({ length: lines }, (_, n) => BigInt(n + 1)));
  expect(last).toBe(JobState.SUCCEEDED);
});
