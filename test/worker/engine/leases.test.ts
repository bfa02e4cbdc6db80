import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { CancelProgress, CommandAction, Verdict } from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import { settled } from "../../support/worker-clock.ts";
import { EngineBench, succeeded } from "../../support/worker-link.ts";

describe("offers", () => {
  test("starts a job at once; a result that is there in the same turn takes the place of the accept", async () => {
    const bench = await EngineBench.attached();
    const lease = { jobId: "job_1", attempt: 1, leaseId: "lse_1" };
    const outcome = { ...succeeded };
    bench.port.post({ type: "report", leaseId: "lse_0", body: { kind: "message", text: "of nobody" } });
    bench.link.push({ case: "offer", value: { sequence: 1n, leases: [{ kind: "noop", lease }] } });
    while (bench.all("start").length === 0) await Promise.resolve();
    bench.port.post({ type: "settled", leaseId: "lse_1", outcome });
    await settled();
    expect(bench.link.sent.map(({ frame }) => frame.case)).toEqual(["results"]);
    expect(bench.link.sent[0]?.demand).toMatchObject({ slots: 4, points: 8, offerSequence: 1n });
    expect(bench.link.results[0]).toMatchObject({ lease, outcome: { case: "success" } });
  });

  test("starts nothing when an offer comes again after its lease has ended", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer();
    await bench.settle(lease.leaseId);
    bench.link.acknowledge(...bench.link.results);
    await settled();
    await bench.push({
      case: "offer",
      value: { sequence: 1n, leases: [{ kind: "noop", points: 1, lease }] },
    });
    expect(bench.all("start")).toHaveLength(1);
    expect(bench.link.results).toHaveLength(1);
  });

  test("starts nothing when an offer that it declined comes again", async () => {
    const bench = await EngineBench.attached();
    const lease = { jobId: "job_9", attempt: 1, leaseId: "lse_9" };
    const leases = [{ kind: "noop", points: 9, lease }];
    await bench.push({ case: "offer", value: { sequence: 1n, leases } });
    expect(bench.link.all("offerReply")[0]?.answers[0]?.decline?.reason).toBe("no capacity");
    await bench.push({
      case: "offer",
      value: { sequence: 1n, leases: [{ ...leases[0], points: 1, lease }] },
    });
    expect(bench.all("start")).toEqual([]);
  });

  test("tells what is free as of its latest offer, though an earlier one comes again", async () => {
    const bench = await EngineBench.attached();
    const offer = (sequence: bigint, leaseId: string) => {
      const lease = { jobId: "job_9", attempt: 1, leaseId };
      return bench.push({ case: "offer", value: { sequence, leases: [{ kind: "noop", points: 1, lease }] } });
    };
    await offer(1n, "lse_1");
    await offer(2n, "lse_2");
    await offer(1n, "lse_1");
    await bench.clock.advance(5_000);
    expect(bench.link.all("heartbeat").at(-1)?.demand).toMatchObject({ slots: 2, offerSequence: 2n });
  });

  test("starts nothing that was offered over another link", async () => {
    const bench = await EngineBench.attached();
    const offer = (linkEpoch: bigint, leaseId: string) => {
      const lease = { jobId: "job_9", attempt: 1, leaseId };
      const leases = [{ kind: "noop", points: 1, lease }];
      return bench.push({ case: "offer", value: { sequence: 1n, leases, linkEpoch } });
    };
    await offer(7n, "lse_7");
    expect(bench.all("start")).toEqual([]);
    await offer(1n, "lse_1");
    expect(bench.all("start")).toMatchObject([{ offer: { lease: { leaseId: "lse_1" } } }]);
  });

  test("accepts a job that runs on, and tells what is free with the answer", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer();
    expect(bench.all("start")).toMatchObject([{ offer: { kind: "noop" } }]);
    expect(bench.link.all("offerReply")).toMatchObject([{ answers: [{ lease }] }]);
    expect(bench.link.all("offerReply")[0]?.answers[0]?.decline).toBeUndefined();
    expect(bench.link.sent[0]?.demand).toMatchObject({ slots: 3, points: 7, offerSequence: 1n });
  });

  test("declines what it cannot take, and says why", async () => {
    const bench = await EngineBench.attached({ slots: 2, points: 3 });
    await bench.offer({ kind: "other" });
    await bench.offer({ points: 2 });
    await bench.offer({ points: 2 });
    await bench.offer();
    await bench.offer();
    await bench.push({ case: "command", value: { action: CommandAction.DRAIN } });
    await bench.offer();
    const reasons = bench.link
      .all("offerReply")
      .flatMap(({ answers }) => answers.map(({ decline }) => decline?.reason));
    expect(reasons).toEqual([
      "UNSUPPORTED: no handler for the kind other",
      undefined,
      "no capacity",
      undefined,
      "no capacity",
      "draining",
    ]);
    expect(bench.all("start")).toHaveLength(2);
  });

  test("answers a repeated offer again and starts it once", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer();
    await bench.push({ case: "offer", value: { sequence: 2n, leases: [{ kind: "noop", lease }] } });
    expect(bench.all("start")).toHaveLength(1);
    expect(bench.link.all("offerReply")).toHaveLength(2);
  });

  test("starts an exclusive job only when its accept is confirmed", async () => {
    const bench = await EngineBench.attached();
    const first = await bench.offer({ exclusive: true });
    const second = await bench.offer({ exclusive: true });
    expect(bench.all("start")).toHaveLength(0);
    await bench.push({ case: "offerAck", value: { leases: [first], superseded: [second] } });
    expect(bench.all("start")).toMatchObject([{ offer: { lease: first } }]);
    await bench.clock.advance(5_000);
    const [heartbeat] = bench.link.all("heartbeat").slice(-1);
    expect(heartbeat?.heldLeases.map(({ lease }) => lease?.leaseId)).toEqual([first.leaseId]);
    expect(heartbeat?.demand?.slots).toBe(3);
  });

  test("accepts an exclusive job again with each heartbeat until it is confirmed", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer({ exclusive: true });
    expect(bench.link.all("offerReply")).toHaveLength(1);
    await bench.clock.advance(5_000);
    expect(bench.link.all("offerReply")).toMatchObject([{}, { answers: [{ lease, heartbeatSequence: 1n }] }]);
    await bench.push({ case: "offerAck", value: { leases: [lease] } });
    expect(bench.all("start")).toHaveLength(1);
    await bench.push({ case: "heartbeatAck", value: { sequence: 1n } });
    await bench.clock.advance(5_000);
    expect(bench.link.all("offerReply")).toHaveLength(2);
  });

  test("starts an exclusive job whose confirmation was lost with its link, on the verdict", async () => {
    const bench = await EngineBench.attached();
    await bench.offer({ exclusive: true });
    bench.link.frames.end();
    await bench.clock.advance(300);
    expect(bench.all("start")).toHaveLength(1);
  });

  test("starts no exclusive job on a confirmation that lay about while the link was silent for too long", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer({ exclusive: true });
    await bench.clock.advance(5_000);
    bench.link.echoes = false;
    // As after a stop of the whole process: what had come before is read first.
    await bench.clock.advance(14_100);
    await bench.push({ case: "offerAck", value: { leases: [lease] } });
    expect(bench.all("start")).toEqual([]);
    // The next link asks what became of it.
    bench.link.echoes = true;
    await bench.clock.advance(1_500);
    expect(bench.all("start")).toHaveLength(1);
  });

  test("gives an exclusive job up before the coordinator may, when the link is silent", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer({ exclusive: true });
    await bench.push({ case: "offerAck", value: { leases: [lease] } });
    await bench.clock.advance(5_000);
    bench.link.echoes = false;
    await bench.clock.advance(13_900);
    expect(bench.all("stop")).toEqual([]);
    await bench.clock.advance(200);
    expect(bench.all("stop")).toMatchObject([{ order: { kind: "deadline" } }]);
    await bench.settle(lease.leaseId, { kind: "stopped", killed: false, detail: "" });
    await bench.clock.advance(2_000);
    expect(bench.link.results).toMatchObject([{ outcome: { case: "release" } }]);
  });
});

describe("verdicts", () => {
  test("superseded: stops the handler, sends nothing, and keeps the slot until it has stopped", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    bench.verdict = Verdict.SUPERSEDED;
    bench.link.frames.end();
    await bench.clock.advance(300);
    expect(bench.all("stop")).toMatchObject([{ leaseId, order: { kind: "superseded" } }]);
    await bench.clock.advance(5_000);
    expect(bench.link.all("heartbeat").at(-1)).toMatchObject({ heldLeases: [], demand: { slots: 3 } });
    await bench.settle(leaseId, { kind: "stopped", killed: true, detail: "" });
    expect(bench.link.results).toEqual([]);
    const { frame, demand } = bench.link.sent.at(-1) ?? {};
    expect(frame).toMatchObject({
      case: "cancelStatus",
      value: { lease: { leaseId }, progress: CancelProgress.KILLED },
    });
    expect(demand?.slots).toBe(4);
    expect(bench.all("ended")).toMatchObject([{ end: { outcome: "lost" } }]);
  });

  test("cancel: asks the handler to stop and answers that it stops", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    bench.verdict = Verdict.CANCEL;
    bench.link.frames.end();
    await bench.clock.advance(300);
    expect(bench.all("stop")).toMatchObject([{ leaseId, order: { kind: "cancelled" } }]);
    expect(bench.link.all("cancelStatus")).toMatchObject([{ progress: CancelProgress.STOPPING }]);
  });

  test("a heartbeat's echo can take leases away", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer();
    await bench.push({ case: "heartbeatAck", value: { sequence: 0n, lost: [lease] } });
    expect(bench.all("stop")).toMatchObject([{ order: { kind: "superseded" } }]);
  });
});

describe("cancel", () => {
  test("answers each request, keeps the slot, and ends as cancelled when the handler has stopped", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer();
    const cancel = { lease, reason: "no longer wanted", grace: durationFromMs(2_000) };
    await bench.push({ case: "cancel", value: cancel });
    await bench.push({ case: "cancel", value: cancel });
    expect(bench.all("stop")).toEqual([
      {
        type: "stop",
        leaseId: lease.leaseId,
        order: { kind: "cancelled", reason: "no longer wanted", graceMs: 2_000 },
      },
    ]);
    expect(bench.link.all("cancelStatus")).toMatchObject([
      { lease, progress: CancelProgress.STOPPING },
      { lease, progress: CancelProgress.STOPPING },
    ]);
    await bench.clock.advance(60_000);
    expect(bench.link.results).toEqual([]);
    expect(bench.link.all("heartbeat").at(-1)?.demand?.slots).toBe(3);
    await bench.settle(lease.leaseId, { kind: "stopped", killed: true, detail: "" });
    expect(bench.link.results).toMatchObject([{ outcome: { case: "cancelled", value: { killed: true } } }]);
    expect(bench.link.all("cancelStatus").at(-1)).toMatchObject({ lease, progress: CancelProgress.KILLED });
    expect(bench.link.sent.at(-1)?.demand?.slots).toBe(4);
  });

  test("says that a handler stopped by itself", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer();
    await bench.push({ case: "cancel", value: { lease } });
    await bench.settle(lease.leaseId, { kind: "stopped", killed: false, detail: "" });
    expect(bench.link.all("cancelStatus").map(({ progress }) => progress)).toEqual([
      CancelProgress.STOPPING,
      CancelProgress.STOPPED,
    ]);
  });

  test("a handler that succeeds all the same has succeeded", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer();
    await bench.push({ case: "cancel", value: { lease } });
    await bench.settle(lease.leaseId);
    expect(bench.link.results).toMatchObject([{ outcome: { case: "success" } }]);
  });

  test("answers NOT_HELD for a lease that it does not know", async () => {
    const bench = await EngineBench.attached();
    await bench.push({ case: "cancel", value: { lease: { jobId: "job_9", attempt: 1, leaseId: "lse_9" } } });
    expect(bench.link.all("cancelStatus")).toMatchObject([{ progress: CancelProgress.NOT_HELD }]);
  });

  test("ends an exclusive job that has not started at once", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer({ exclusive: true });
    await bench.push({ case: "cancel", value: { lease } });
    expect(bench.link.results).toMatchObject([{ outcome: { case: "cancelled" } }]);
    expect(bench.all("start")).toEqual([]);
  });
});

describe("timeouts", () => {
  test("warns at the soft timeout, stops at the hard one, and fails a handler that ignores it", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer({
      softTimeout: durationFromMs(1_000),
      hardTimeout: durationFromMs(2_000),
    });
    await bench.clock.advance(1_000);
    expect(bench.all("softTimeout")).toEqual([{ type: "softTimeout", leaseId }]);
    await bench.clock.advance(1_000);
    expect(bench.all("stop")).toMatchObject([{ order: { kind: "timeout", graceMs: 10_000 } }]);
    await bench.clock.advance(10_900);
    expect(bench.link.results).toEqual([]);
    await bench.clock.advance(100);
    expect(bench.link.results).toMatchObject([
      {
        outcome: { case: "failure", value: { timedOut: true, retryable: true, error: { code: "TIMEOUT" } } },
      },
    ]);
    bench.link.acknowledge(...bench.link.results);
    await bench.clock.advance(5_000);
    expect(bench.link.all("heartbeat").at(-1)).toMatchObject({ heldLeases: [], demand: { slots: 3 } });
    await bench.settle(leaseId);
    expect(bench.link.results).toHaveLength(1);
    expect(bench.link.all("heartbeat").at(-1)?.demand?.slots).toBe(4);
  });

  test("a handler that stops in time fails with what it said", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer({ hardTimeout: durationFromMs(2_000) });
    await bench.clock.advance(2_500);
    await bench.settle(leaseId, { kind: "stopped", killed: false, detail: "was at 3 of 4" });
    const [result] = bench.link.results;
    expect(result?.outcome).toMatchObject({ value: { timedOut: true, error: { detail: "was at 3 of 4" } } });
    bench.link.acknowledge(...bench.link.results);
    await bench.clock.advance(60_000);
    expect(bench.link.results).toHaveLength(1);
  });

  test("stops at the cap of the lease when there is no hard timeout", async () => {
    const bench = await EngineBench.attached();
    await bench.offer({ timeLeft: durationFromMs(12_000) });
    await bench.clock.advance(10_000);
    expect(bench.all("stop")).toEqual([]);
    await bench.clock.advance(5_000);
    expect(bench.all("stop")).toMatchObject([
      { order: { kind: "cap", reason: "the attempt passed the cap of its lease" } },
    ]);
    await bench.clock.advance(11_000);
    expect(bench.link.results[0]?.outcome).toMatchObject({
      case: "failure",
      value: {
        timedOut: true,
        error: { code: "LEASE_EXPIRED", message: "The attempt passed the cap of its lease (12s)." },
      },
    });
  });

  test("says that it was the hard timeout when that passed first", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer({
      hardTimeout: durationFromMs(2_000),
      timeLeft: durationFromMs(4_000),
    });
    await bench.clock.advance(6_000);
    await bench.settle(leaseId, { kind: "stopped", killed: false, detail: "" });
    expect(bench.link.results[0]?.outcome).toMatchObject({ value: { error: { code: "TIMEOUT" } } });
  });

  test("never gives up an exclusive job whose handler still runs", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer({ exclusive: true, hardTimeout: durationFromMs(1_000) });
    await bench.push({ case: "offerAck", value: { leases: [lease] } });
    await bench.clock.advance(60_000);
    expect(bench.link.results).toEqual([]);
  });
});
