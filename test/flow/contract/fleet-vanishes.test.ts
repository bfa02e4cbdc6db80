import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { BatchService } from "@muster/client/v1/batch_service";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Outbox } from "../../../worker/outbox.ts";
import { startTcpProxy, type TcpProxy } from "../../chaos/proxy/tcp-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, type Journal, openJournal, scaledTimers } from "./story.ts";

const workers = 24;

let muster: TestServer;
let proxy: TcpProxy;
let outbox: Outbox;
let journal: Journal;

beforeEach(async () => {
  // Alone a silence of 5 s would lose the leases; together it makes expiry wait.
  const timers = { staleMs: 3_000, reclaimAfterMs: 5_000, outageGraceMs: 20_000 };
  muster = await startTestServer({ ...scaledTimers, ...timers });
  journal = openJournal();
  proxy = await startTcpProxy({ target: muster.server.workerAddress });
  const directory = join(muster.folder, "outbox");
  outbox = await Outbox.open({ directory, signal: new AbortController().signal });
});

afterEach(async () => {
  journal.release();
  await muster.close();
  await outbox.close();
  await proxy.close();
});

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${muster.server.apiAddress}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, "m").exec(text)?.[1] ?? 0);
}

test("30 % of the links, at least 20, vanish in one pass: nothing is taken away, and there is an alarm", {
  timeout: 60_000,
}, async () => {
  await Promise.all(
    Array.from({ length: workers }, (_, n) =>
      muster.startWorker({
        address: proxy.address,
        transport: "stream",
        slots: 1,
        outbox,
        stateDir: join(muster.folder, `shared-${randomUUID()}`),
        handlers: { held: journal.held(`worker ${n}`) },
      }),
    ),
  );
  await muster
    .client(BatchService)
    .submitBatch({ jobs: Array.from({ length: workers }, () => ({ kind: "held" })) });
  await expect.poll(() => journal.effects.length, { timeout: 10_000 }).toBe(workers);
  // An accept that is not committed yet when the links fall silent is an offer without an answer: that is taken back.
  const { admin } = muster.database;
  const running = () => admin`select 1 from muster.job_queue where state = 5`;
  await expect.poll(async () => (await running()).length, { timeout: 10_000 }).toBe(workers);
  const heal = proxy.fault({ kind: "hold" });
  await expect.poll(() => metric("muster_fleet_events_total"), { timeout: 20_000 }).toBeGreaterThan(0);
  const overdue = () => admin`select 1 from muster.links where seen_at < now() - interval '6 seconds'`;
  await expect.poll(async () => (await overdue()).length, { timeout: 20_000 }).toBe(workers);
  heal();
  journal.release();
  await expect.poll(async () => (await attemptRows(muster)).length, { timeout: 20_000 }).toBe(workers);
  expect((await attemptRows(muster)).every(({ attempt, outcome }) => attempt === 1 && outcome === 1)).toBe(
    true,
  );
});
