import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ResultStatus } from "@muster/client/v1/link";
import { describe, expect, onTestFinished, test } from "vitest";
import { Outbox } from "../../../worker/outbox.ts";
import { WorkerBench } from "../../support/worker-bench.ts";
import { settled } from "../../support/worker-clock.ts";
import { EngineBench, MemoryOutbox, succeeded } from "../../support/worker-link.ts";

describe("results", () => {
  test("nothing reaches the wire before the outbox has it; until then the lease is listed as held", async () => {
    const bench = await EngineBench.attached();
    bench.outbox.isHeld = true;
    const { leaseId } = await bench.offer();
    await bench.settle(leaseId);
    await bench.clock.advance(5_000);
    expect(bench.link.results).toEqual([]);
    expect(bench.link.all("heartbeat").at(-1)).toMatchObject({
      heldLeases: [{ lease: { leaseId } }],
      outboxLeases: [],
    });
    bench.outbox.letGo();
    await bench.clock.advance(5_000);
    expect(bench.link.results).toHaveLength(1);
    expect(bench.link.all("heartbeat").at(-1)).toMatchObject({ heldLeases: [], outboxLeases: [{ leaseId }] });
  });

  test("are sent again on each link until acknowledged, under the same id", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    await bench.settle(leaseId);
    const [first] = bench.link.results;
    bench.link.frames.end();
    await bench.clock.advance(300);
    expect(bench.link.hello.outboxLeases).toMatchObject([{ leaseId }]);
    expect(bench.link.hello.heldLeases).toEqual([]);
    expect(bench.link.results).toEqual([first]);
    bench.link.acknowledge(...bench.link.results);
    await settled();
    expect(bench.outbox.entries.size).toBe(0);
    bench.link.frames.end();
    await bench.clock.advance(2_000);
    expect(bench.link.results).toEqual([]);
  });

  test("that are not acknowledged are sent again over the same link, once the link would be stale without life", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    await bench.settle(leaseId);
    const [first] = bench.link.results;
    await bench.clock.advance(15_000);
    expect(bench.link.results).toEqual([first]);
    await bench.clock.advance(5_000);
    expect(bench.links).toHaveLength(1);
    expect(bench.link.results).toEqual([first, first]);
    bench.link.acknowledge(...bench.link.results);
    await bench.clock.advance(60_000);
    expect(bench.link.results).toHaveLength(2);
  });

  test("of an earlier boot are sent first; those of another owner are left alone", async () => {
    const outbox = new MemoryOutbox();
    const earlier = await EngineBench.attached({}, outbox);
    const { leaseId } = await earlier.offer();
    await earlier.settle(leaseId);
    outbox.entries.set("foreign", Buffer.from("\x05otherxyz"));
    const bench = await EngineBench.attached({}, outbox);
    expect(bench.link.hello.outboxLeases).toMatchObject([{ leaseId }]);
    expect(bench.link.results).toEqual(earlier.link.results);
  });

  test.each([
    [ResultStatus.COMMITTED, "committed"],
    [ResultStatus.DUPLICATE, "duplicate"],
    [ResultStatus.SUPERSEDED, "superseded"],
  ])("are forgotten on status %s", async (status, name) => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    await bench.settle(leaseId);
    const resultId = bench.link.results[0]?.resultId ?? "";
    await bench.push({ case: "resultAck", value: { items: [{ resultId, status }] } });
    expect(bench.outbox.entries.size).toBe(0);
    expect(bench.all("ended")).toMatchObject([{ end: { outcome: "succeeded", status: name } }]);
  });

  test("that are rejected are logged, and replaced once by a final failure", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    await bench.settle(leaseId);
    const reject = () => {
      const resultId = bench.link.results.at(-1)?.resultId ?? "";
      return bench.push({
        case: "resultAck",
        value: { items: [{ resultId, status: ResultStatus.REJECTED, detail: "too odd" }] },
      });
    };
    await reject();
    expect(bench.all("log")).toMatchObject([{ level: "error", fields: { detail: "too odd" } }]);
    const error = { code: "RESULT_REJECTED", detail: "too odd" };
    expect(bench.link.results[1]).toMatchObject({ outcome: { value: { retryable: false, error } } });
    await reject();
    expect(bench.link.results).toHaveLength(2);
    expect(bench.outbox.entries.size).toBe(0);
  });

  test("that the disk refuses are sent all the same, and it is logged", async () => {
    const bench = await EngineBench.attached();
    bench.outbox.failure = new Error("no space left");
    const { leaseId } = await bench.offer();
    await bench.settle(leaseId);
    expect(bench.link.results).toHaveLength(1);
    expect(bench.all("log")).toMatchObject([{ level: "error", fields: { error: "Error: no space left" } }]);
  });

  test("of one turn travel in one frame, and the next wait until it is written", async () => {
    const bench = await EngineBench.attached({ slots: 100, points: 100 });
    const leases = [];
    for (let count = 0; count < 6; count++) leases.push(await bench.offer());
    bench.link.isStuck = true;
    for (const { leaseId } of leases.slice(0, 3))
      bench.port.post({ type: "settled", leaseId, outcome: succeeded });
    await settled();
    for (const { leaseId } of leases.slice(3))
      bench.port.post({ type: "settled", leaseId, outcome: succeeded });
    await bench.clock.advance(5_000);
    expect(bench.link.all("results").map(({ results }) => results.length)).toEqual([3]);
    expect(bench.link.all("heartbeat")).toHaveLength(1);
  });
});

test("while the disk does not answer, no result reaches a coordinator, over any number of links", async () => {
  const directory = await mkdtemp(join(tmpdir(), "muster-hang-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  const { signal } = new AbortController();
  const outbox = await Outbox.open({
    directory,
    signal,
    fdatasync: async () => {
      asked.resolve();
      await answer.promise;
    },
  });
  await using bench = await WorkerBench.open();
  bench.peer.behaviour.welcome = { heartbeatInterval: { seconds: 0n, nanos: 20_000_000 } };
  await bench.worker({ outbox }).start();
  const lease = bench.peer.lease();
  bench.peer.offer(lease);
  await asked.promise;
  for (let links = 1; links <= 2; links++) {
    await bench.peer.until(() => bench.peer.links.length === links);
    const from = bench.peer.received.length;
    const isBeat = () => bench.peer.received.slice(from).length >= 5;
    await bench.peer.until(isBeat);
    if (links === 1) bench.peer.link.end();
  }
  const cases = new Set(bench.peer.received.map(({ request }) => request.frame.case));
  expect(cases.has("results")).toBe(false);
  expect(bench.peer.link.hello).toMatchObject({ heldLeases: [lease.lease], outboxLeases: [] });
  answer.resolve();
  expect((await bench.peer.resultOf(lease.lease.leaseId)).outcome.case).toBe("success");
  await bench.stopWorkers(0);
  await outbox.close();
});
