import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { GoingAwayReason, ResultStatus } from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import { WorkerOptionsError } from "../../worker/options.ts";
import { Outbox } from "../../worker/outbox.ts";
import { Worker, WorkerRefusedError } from "../../worker/worker.ts";
import { WorkerBench } from "../support/worker-bench.ts";
import { WorkerPeer } from "../support/worker-peer.ts";

describe("start", () => {
  test("says in its Hello what the worker is", async () => {
    await using bench = await WorkerBench.open();
    const worker = bench.worker({ slots: 3, points: 9, skills: ["gpu"], labels: { room: "1" } });
    await worker.start();
    expect(worker.attachment).toMatchObject({ workerId: "wrk_test", transport: "stream" });
    expect(bench.peer.link.hello).toMatchObject({
      protocol: { major: 1, minor: 0 },
      skills: [{ name: "gpu" }],
      kinds: ["noop"],
      capacity: { slots: 3, points: 9 },
      labels: { room: "1" },
      draining: false,
      demand: { slots: 3, points: 9 },
    });
    expect(bench.peer.link.hello.bootId).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("rejects options that cannot be used, all at once", async () => {
    const worker = new Worker({ address: "", key: "", name: "", handlers: {}, slots: 0 });
    await expect(worker.start()).rejects.toBeInstanceOf(WorkerOptionsError);
    expect(await worker.closed).toMatchObject({ kind: "failed" });
  });

  test.each(["stream", "poll", "auto"] as const)(
    "rejects a key that the coordinator refuses, over %s",
    async (transport) => {
      await using bench = await WorkerBench.open();
      const worker = bench.worker({ transport, key: "mk_worker_wrong_0123456789abcdef_abcdef" });
      const error = await worker.start().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(WorkerRefusedError);
      expect(await worker.closed).toMatchObject({
        kind: "refused",
        detail: "The key is not valid. Do otherwise.",
        errorReason: "KEY_INVALID",
        errorCode: 16,
      });
    },
  );

  test("rejects when the coordinator does not speak this protocol", async () => {
    await using bench = await WorkerBench.open();
    bench.peer.behaviour.refusal = { code: 9, message: "Too old.", reason: "PROTOCOL_VERSION_UNSUPPORTED" };
    const worker = bench.worker();
    await expect(worker.start()).rejects.toThrow("Too old.");
  });

  test("waits for a coordinator that comes later", async () => {
    await using bench = await WorkerBench.open();
    const port = Number(bench.peer.address.split(":")[1]);
    await bench.peer[Symbol.asyncDispose]();
    const worker = bench.worker();
    const started = worker.start();
    await expect.poll(() => bench.lines.some(({ message }) => message === "not attached")).toBe(true);
    await using later = await WorkerPeer.start(port);
    await started;
    expect(later.links).toHaveLength(1);
    await worker.stop();
  });

  test("a stop before the first link rejects it", async () => {
    await using bench = await WorkerBench.open();
    bench.peer.behaviour.stream = "hang";
    const worker = bench.worker();
    const started = worker.start();
    const rejected = expect(started).rejects.toThrow("the worker was stopped");
    await worker.stop();
    await rejected;
    expect(await worker.closed).toMatchObject({ kind: "stopped" });
  });

  test("a second worker on one state directory is refused", async () => {
    await using bench = await WorkerBench.open();
    const stateDir = join(bench.directory, "same");
    await bench.worker({ stateDir }).start();
    await expect(bench.worker({ stateDir }).start()).rejects.toThrow(/in use/);
  });
});

describe("a job", () => {
  test("runs, and its result is delivered and forgotten", async () => {
    await using bench = await WorkerBench.open();
    const worker = bench.worker({
      handlers: { noop: (ctx) => ({ got: ctx.payload, attempt: ctx.job.attempt }) },
    });
    const ends: unknown[] = [];
    worker.onAttemptEnd((end) => ends.push(end));
    await worker.start();
    const lease = bench.peer.lease({ payload: { content: { case: "data", value: Buffer.from('{"x":1}') } } });
    bench.peer.offer(lease);
    const { outcome } = await bench.peer.resultOf(lease.lease.leaseId);
    const bytes = outcome.case === "success" && outcome.value.result?.content.value;
    expect(JSON.parse(Buffer.from(bytes instanceof Uint8Array ? bytes : []).toString())).toEqual({
      got: { x: 1 },
      attempt: 1,
    });
    await worker.stop();
    expect(ends).toEqual([
      { jobId: lease.lease.jobId, attempt: 1, outcome: "succeeded", status: "committed" },
    ]);
    expect(
      (await readdir(join(bench.directory, "state-1", "outbox"))).filter((name) =>
        name.startsWith("results"),
      ),
    ).toEqual([]);
  });

  test("whose handler throws fails, and the next one runs", async () => {
    await using bench = await WorkerBench.open();
    const handlers = {
      noop: () => {
        throw new Error("oh no");
      },
    };
    await bench.worker({ handlers, slots: 1 }).start();
    for (let count = 0; count < 2; count++) {
      const lease = bench.peer.lease();
      bench.peer.offer(lease);
      const { outcome } = await bench.peer.resultOf(lease.lease.leaseId);
      expect(outcome).toMatchObject({
        case: "failure",
        value: { retryable: true, error: { message: "oh no" } },
      });
    }
  });

  test("keeps running over a cut link, and its result arrives on the next one", async () => {
    await using bench = await WorkerBench.open();
    const gate = Promise.withResolvers<void>();
    await bench.worker({ handlers: { noop: () => gate.promise } }).start();
    const lease = bench.peer.lease();
    bench.peer.offer(lease);
    await bench.peer.find(({ frame }) => (frame.case === "offerReply" ? true : undefined));
    const value = { reason: GoingAwayReason.RESTART, reconnectAfter: { seconds: 0n, nanos: 1 } };
    bench.peer.link.send({ case: "goingAway", value });
    await bench.peer.until(() => bench.peer.links.length === 2);
    expect(bench.peer.link.hello.heldLeases).toMatchObject([{ leaseId: lease.lease.leaseId }]);
    gate.resolve();
    expect((await bench.peer.resultOf(lease.lease.leaseId)).outcome.case).toBe("success");
  });

  test("result that no coordinator took is delivered by the next boot, which says that the last one is dead", async () => {
    await using bench = await WorkerBench.open();
    const stateDir = join(bench.directory, "kept");
    bench.peer.behaviour.acksResults = false;
    const first = bench.worker({ stateDir });
    await first.start();
    const lease = bench.peer.lease();
    bench.peer.offer(lease);
    await bench.peer.find(({ frame }) => (frame.case === "results" ? true : undefined));
    expect(bench.peer.links[0]?.hello.orphansDead).toBe(false);
    bench.peer.link.send({ case: "goingAway", value: { reason: GoingAwayReason.REVOKED } });
    await first.closed;
    bench.peer.behaviour.acksResults = ResultStatus.COMMITTED;
    await bench.worker({ stateDir }).start();
    expect(bench.peer.link.hello.outboxLeases).toMatchObject([{ leaseId: lease.lease.leaseId }]);
    expect(bench.peer.link.hello.orphansDead).toBe(true);
    expect((await bench.peer.resultOf(lease.lease.leaseId)).outcome.case).toBe("success");
  });
});

describe("the link's thread", () => {
  test("keeps heartbeats and answers going while a handler computes", async () => {
    await using bench = await WorkerBench.open();
    bench.peer.behaviour.welcome = { heartbeatInterval: { nanos: 20_000_000 } };
    const flag = new Int32Array(new SharedArrayBuffer(4));
    const compute = () => {
      while (Atomics.load(flag, 0) === 0);
    };
    // The handler blocks this thread, the peer's too: another one looks on and lets it go.
    const { Worker: Thread } = await import("node:worker_threads");
    const peerFile = new URL("./blocked-peer.ts", import.meta.url);
    const thread = new Thread(peerFile, { workerData: flag });
    const messages: unknown[] = [];
    const address = await new Promise<{ address: string; key: string }>((resolve) => {
      thread.once("message", resolve);
    });
    const worker = bench.worker({ ...address, linkThread: true, handlers: { noop: compute } });
    thread.on("message", (message) => messages.push(message));
    await worker.start();
    await expect.poll(() => messages.length).toBe(1);
    expect(messages[0]).toMatchObject({ heartbeatsWhileBlocked: 20 });
    await worker.stop({ graceMs: 0 });
    await thread.terminate();
  });

  test("ends with the worker", async () => {
    await using bench = await WorkerBench.open();
    const worker = bench.worker({ linkThread: true });
    await worker.start();
    const lease = bench.peer.lease();
    bench.peer.offer(lease);
    expect((await bench.peer.resultOf(lease.lease.leaseId)).outcome.case).toBe("success");
    expect(await worker.stop()).toMatchObject({ kind: "stopped" });
    expect(bench.peer.link.isOpen).toBe(false);
  });

  test("tells a start that its state directory cannot be used", async () => {
    await using bench = await WorkerBench.open();
    const stateDir = join(bench.directory, "taken");
    const outbox = await Outbox.open({
      directory: join(stateDir, "outbox"),
      signal: new AbortController().signal,
    });
    const worker = bench.worker({ linkThread: true, stateDir });
    await expect(worker.start()).rejects.toThrow(/in use/);
    await outbox.close();
  });
});

test("10,000 jobs through inline links and one outbox are all delivered and acknowledged", async () => {
  await using bench = await WorkerBench.open();
  const outbox = await Outbox.open({
    directory: join(bench.directory, "outbox"),
    signal: new AbortController().signal,
  });
  const { peer } = bench;
  const total = 10_000;
  const slots = 20;
  let ran = 0;
  const handlers = { noop: () => ({ n: ++ran }) };
  const workers = Array.from({ length: 10 }, (_, n) =>
    bench.worker({ name: `w${n}`, outbox, handlers, slots }),
  );
  await Promise.all(workers.map((worker) => worker.start()));
  const leases = Array.from({ length: total }, () => peer.lease());
  let next = 0;
  const take = (count: number) => {
    next += count;
    return leases.slice(next - count, next);
  };
  peer.onResults = (link, results) => {
    const more = take(results.length);
    if (more.length > 0) peer.offerOn(link, more);
  };
  for (const link of peer.links) peer.offerOn(link, take(slots));
  await peer.until(() => peer.results.size === total);
  const leaseIds = new Set([...peer.results.values()].map((result) => result.lease?.leaseId));
  expect(leaseIds.size).toBe(total);
  expect(ran).toBe(total);
  for (const worker of workers) expect(await worker.stop()).toMatchObject({ kind: "stopped" });
  expect(outbox.pending()).toEqual([]);
  await outbox.close();
});
