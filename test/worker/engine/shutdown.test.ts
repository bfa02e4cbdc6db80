import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { settled } from "../../support/worker-clock.ts";
import { EngineBench } from "../../support/worker-link.ts";

describe("stop", () => {
  test("says so, waits for what runs and for its acknowledgement, and ends", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    await bench.post({ type: "stop", graceMs: 30_000 });
    expect(bench.link.all("heartbeat").at(-1)).toMatchObject({ draining: true, demand: { slots: 0 } });
    expect(bench.all("stop")).toEqual([]);
    await bench.settle(leaseId);
    expect(bench.all("closed")).toEqual([]);
    bench.link.acknowledge(...bench.link.results);
    expect(await bench.closed).toMatchObject({ kind: "stopped" });
    expect(bench.link.isClosed).toBe(true);
    expect(bench.clock.armed).toBe(0);
  });

  test("goes on with heartbeats while it drains", async () => {
    const bench = await EngineBench.attached();
    await bench.offer();
    await bench.post({ type: "stop", graceMs: 30_000 });
    await bench.clock.advance(10_000);
    expect(bench.link.all("heartbeat")).toHaveLength(3);
  });

  test("declines what was on its way, and ends only when the coordinator knows", async () => {
    const bench = await EngineBench.attached();
    bench.link.echoes = false;
    await bench.post({ type: "stop", graceMs: 30_000 });
    expect(bench.all("closed")).toEqual([]);
    bench.link.push({
      case: "offer",
      value: {
        sequence: 1n,
        leases: [{ kind: "noop", lease: { jobId: "job_1", attempt: 1, leaseId: "lse_1" } }],
      },
    });
    const [told, goodbye] = bench.link.all("heartbeat");
    expect([told?.leaving, goodbye?.leaving]).toEqual([false, true]);
    await bench.push({ case: "heartbeatAck", value: { sequence: told?.sequence ?? 0n } });
    expect(bench.all("closed")).toEqual([]);
    await bench.push({ case: "heartbeatAck", value: { sequence: goodbye?.sequence ?? 0n } });
    expect(await bench.closed).toMatchObject({ kind: "stopped" });
    expect(bench.all("closed")).toMatchObject([{ isDone: true }]);
    expect(bench.link.all("offerReply")).toMatchObject([{ answers: [{ decline: { reason: "draining" } }] }]);
  });

  test("gives back what is left at the end of the grace, once its handler has stopped", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    await bench.post({ type: "stop", graceMs: 30_000 });
    await bench.clock.advance(30_000);
    expect(bench.all("stop")).toMatchObject([{ leaseId, order: { kind: "shutdown", graceMs: 5_000 } }]);
    expect(bench.link.results).toEqual([]);
    await bench.settle(leaseId, { kind: "stopped", killed: false, detail: "" });
    expect(bench.link.results).toMatchObject([{ outcome: { case: "release" } }]);
    bench.link.acknowledge(...bench.link.results);
    expect(await bench.closed).toMatchObject({ kind: "stopped" });
  });

  test("gives back a job whose handler ignores it, after a while", async () => {
    const bench = await EngineBench.attached();
    await bench.offer();
    await bench.post({ type: "stop", graceMs: 0 });
    await bench.clock.advance(5_900);
    expect(bench.link.results).toEqual([]);
    await bench.clock.advance(100);
    expect(bench.link.results).toMatchObject([{ outcome: { case: "release" } }]);
  });

  test("a second call may shorten the grace", async () => {
    const bench = await EngineBench.attached();
    await bench.offer();
    await bench.post({ type: "stop", graceMs: 30_000 });
    await bench.post({ type: "stop", graceMs: 0 });
    await bench.clock.advance(0);
    expect(bench.all("stop")).toMatchObject([{ order: { kind: "shutdown" } }]);
  });

  test("says goodbye over its next link when the one that it was said over broke", async () => {
    const bench = await EngineBench.attached();
    bench.link.echoes = false;
    await bench.post({ type: "stop", graceMs: 30_000 });
    bench.link.frames.end();
    await settled();
    await bench.clock.advance(1_500);
    expect(bench.links).toHaveLength(2);
    expect(bench.link.hello.draining).toBe(true);
    expect(bench.link.all("heartbeat")).toMatchObject([{ leaving: true, linkEpoch: 2n }]);
    expect(await bench.closed).toMatchObject({ kind: "stopped" });
  });

  test("dials at once, however long it was to wait, and often: it has little time", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    bench.failure = () => new ConnectError("nobody there", Code.Unavailable);
    bench.link.frames.end();
    await bench.clock.advance(60_000);
    await bench.settle(leaseId);
    const before = bench.addresses.length;
    await bench.post({ type: "stop", graceMs: 30_000 });
    expect(bench.addresses).toHaveLength(before + 1);
    await bench.clock.advance(2_000);
    expect(bench.addresses).toHaveLength(before + 5);
    bench.failure = undefined;
    await bench.clock.advance(500);
    bench.link.acknowledge(...bench.link.results);
    expect(await bench.closed).toMatchObject({ kind: "stopped" });
  });

  test("ends without an answer to its goodbye", async () => {
    const bench = await EngineBench.attached();
    bench.link.echoes = false;
    await bench.post({ type: "stop", graceMs: 30_000 });
    await bench.clock.advance(4_900);
    expect(bench.all("closed")).toEqual([]);
    await bench.clock.advance(100);
    expect(await bench.closed).toMatchObject({ kind: "stopped" });
  });

  test("tries for all of the grace to deliver a result, and for 5 s after a second call", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    bench.failure = () => new ConnectError("nobody there", Code.Unavailable);
    bench.link.frames.end();
    await settled();
    await bench.settle(leaseId);
    await bench.post({ type: "stop", graceMs: 30_000 });
    await bench.clock.advance(20_000);
    await bench.post({ type: "stop", graceMs: 0 });
    await bench.clock.advance(4_900);
    expect(bench.all("closed")).toEqual([]);
    await bench.clock.advance(100);
    expect(await bench.closed).toMatchObject({ kind: "stopped" });
  });

  test("ends without a coordinator: the result stays in the outbox", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    bench.failure = () => new ConnectError("nobody there", Code.Unavailable);
    bench.link.frames.end();
    await settled();
    await bench.settle(leaseId);
    await bench.post({ type: "stop", graceMs: 30_000 });
    await bench.clock.advance(29_900);
    expect(bench.all("closed")).toEqual([]);
    await bench.clock.advance(100);
    expect(await bench.closed).toMatchObject({ kind: "stopped" });
    expect(bench.all("closed")).toMatchObject([{ isDone: true }]);
    expect(bench.outbox.entries.size).toBe(1);
  });

  test("ends at once when there is no link and nothing to send", async () => {
    const bench = new EngineBench();
    bench.failure = () => new ConnectError("nobody there", Code.Unavailable);
    await settled();
    bench.port.post({ type: "stop", graceMs: 30_000 });
    expect(await bench.closed).toMatchObject({ kind: "stopped" });
  });

  test("never gives back an exclusive job whose handler runs on; the worker ends all the same", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer({ exclusive: true });
    await bench.push({ case: "offerAck", value: { leases: [lease] } });
    await bench.post({ type: "stop", graceMs: 1_000 });
    await bench.clock.advance(60_000);
    expect(await bench.closed).toMatchObject({ kind: "stopped" });
    expect(bench.link.results).toEqual([]);
  });
});

describe("a worker that takes one job", () => {
  const once = { idleMs: 2_000 };

  test("asks for one, declines a second, and ends when its result is acknowledged", async () => {
    const bench = await EngineBench.attached({ once });
    expect(bench.link.hello.demand?.slots).toBe(1);
    const { leaseId } = await bench.offer();
    await bench.offer();
    expect(
      bench.link.all("offerReply").flatMap(({ answers }) => answers.map((a) => a.decline?.reason)),
    ).toEqual([undefined, "draining"]);
    await bench.clock.advance(60_000);
    await bench.settle(leaseId);
    expect(bench.all("closed")).toEqual([]);
    bench.link.acknowledge(...bench.link.results);
    expect(await bench.closed).toMatchObject({ kind: "finished" });
  });

  test("ends as idle when nothing came and the coordinator knows that it wants nothing more", async () => {
    const bench = await EngineBench.attached({ once });
    await bench.clock.advance(1_900);
    bench.link.echoes = false;
    await bench.clock.advance(200);
    expect(bench.link.all("heartbeat").at(-1)).toMatchObject({ draining: true });
    expect(bench.all("closed")).toEqual([]);
    const sequence = bench.link.all("heartbeat").at(-1)?.sequence ?? 0n;
    await bench.push({ case: "heartbeatAck", value: { sequence } });
    const goodbye = bench.link.all("heartbeat").at(-1);
    expect(goodbye).toMatchObject({ leaving: true });
    await bench.push({ case: "heartbeatAck", value: { sequence: goodbye?.sequence ?? 0n } });
    expect(await bench.closed).toMatchObject({ kind: "idle" });
  });

  test("takes an offer that was on its way when it gave up waiting", async () => {
    const bench = await EngineBench.attached({ once });
    bench.link.echoes = false;
    await bench.clock.advance(2_000);
    const { leaseId } = await bench.offer();
    expect(bench.all("start")).toHaveLength(1);
    bench.link.echoes = true;
    await bench.settle(leaseId);
    bench.link.acknowledge(...bench.link.results);
    expect(await bench.closed).toMatchObject({ kind: "finished" });
  });

  test("ends when its lease is lost", async () => {
    const bench = await EngineBench.attached({ once });
    const lease = await bench.offer();
    await bench.push({ case: "heartbeatAck", value: { sequence: 0n, lost: [lease] } });
    await bench.settle(lease.leaseId, { kind: "stopped", killed: false, detail: "" });
    expect(await bench.closed).toMatchObject({ kind: "finished" });
    expect(bench.all("ended")).toMatchObject([{ end: { outcome: "lost" } }]);
  });
});
