import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import {
  CancelProgress,
  CommandAction,
  GoingAwayReason,
  GoingAwaySchema,
  ResultStatus,
  Verdict,
} from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import { GoingAwayError } from "../../../worker/transport/transport.ts";
import { settled } from "../../support/worker-clock.ts";
import { EngineBench, MemoryOutbox, succeeded } from "../../support/worker-link.ts";

describe("life", () => {
  test("sends a heartbeat each interval, with what it holds", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer();
    await bench.clock.advance(10_000);
    const heartbeats = bench.link.all("heartbeat");
    expect(heartbeats.map(({ sequence }) => sequence)).toEqual([1n, 2n]);
    expect(heartbeats[1]?.heldLeases.map((held) => held.lease?.leaseId)).toEqual([lease.leaseId]);
    expect(heartbeats[1]?.demand).toMatchObject({ slots: 3, points: 7, offerSequence: 1n });
  });

  test("takes a link without echoes for dead, whatever else arrives, and keeps its leases", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer();
    bench.link.echoes = false;
    await bench.clock.advance(14_000);
    await bench.push({ case: "eventAck", value: { items: [] } });
    expect(bench.links).toHaveLength(1);
    await bench.clock.advance(1_500);
    expect(bench.links[0]?.isClosed).toBe(true);
    expect(bench.links).toHaveLength(2);
    expect(bench.link.hello.heldLeases.map(({ leaseId }) => leaseId)).toEqual([lease.leaseId]);
  });

  test("waits longer after each failure, from 200 ms to a window of 64 s", async () => {
    const bench = await EngineBench.attached();
    bench.failure = () => new ConnectError("nobody there", Code.Unavailable);
    bench.link.frames.end(new ConnectError("cut", Code.Unavailable));
    await bench.clock.advance(199);
    expect(bench.addresses).toHaveLength(1);
    await bench.clock.advance(1);
    expect(bench.addresses).toHaveLength(2);
    await bench.clock.advance(600);
    expect(bench.addresses).toHaveLength(3);
    await bench.clock.advance(500_000);
    const before = bench.addresses.length;
    await bench.clock.advance(32_100);
    expect(bench.addresses.length).toBe(before + 1);
  });

  test("starts over with short waits once a heartbeat has been echoed", async () => {
    const bench = await EngineBench.attached();
    bench.failure = () => new ConnectError("nobody there", Code.Unavailable);
    bench.link.frames.end();
    await bench.clock.advance(60_000);
    bench.failure = undefined;
    await bench.clock.advance(64_000);
    expect(bench.links).toHaveLength(2);
    bench.link.frames.end();
    await bench.clock.advance(200);
    expect(bench.links).toHaveLength(3);
  });

  test("a link that dies before an echo does not start over", async () => {
    const bench = await EngineBench.attached();
    for (let count = 0; count < 3; count++) {
      bench.link.frames.end();
      await bench.clock.advance(1_200);
    }
    const before = bench.links.length;
    bench.link.frames.end();
    await bench.clock.advance(1_000);
    expect(bench.links).toHaveLength(before);
  });

  test("comes back when and where a restarting coordinator says", async () => {
    const bench = await EngineBench.attached();
    const value = {
      reason: GoingAwayReason.RESTART,
      reconnectAfter: durationFromMs(3_000),
      address: "other:7071",
    };
    await bench.push({ case: "goingAway", value });
    await bench.clock.advance(2_900);
    expect(bench.links).toHaveLength(1);
    await bench.clock.advance(1_000);
    expect(bench.links).toHaveLength(2);
    expect(bench.addresses).toEqual([undefined, "other:7071"]);
  });

  test("waits as long as an overloaded coordinator asks", async () => {
    const bench = new EngineBench();
    const detail = { reason: "OVERLOADED", suggestion: "Wait.", retryAfter: durationFromMs(7_000) };
    bench.failure = () => makeError(Code.ResourceExhausted, "too many", detail);
    await settled();
    bench.failure = undefined;
    await bench.clock.advance(6_900);
    expect(bench.links).toHaveLength(0);
    await bench.clock.advance(1_000);
    expect(bench.links).toHaveLength(1);
  });
});

describe("the end", () => {
  test.each([
    [GoingAwayReason.REVOKED, "revoked"],
    [GoingAwayReason.REPLACED, "replaced"],
  ])("stops for good when sent away with %s", async (reason, kind) => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    await bench.push({ case: "goingAway", value: { reason, detail: "because" } });
    expect(await bench.closed).toMatchObject({ kind, detail: "because" });
    expect(bench.all("stop")).toMatchObject([{ leaseId, order: { kind: "superseded" } }]);
    expect(bench.clock.armed).toBe(0);
  });

  test("stops for good when a Hello is answered by being sent away", async () => {
    const bench = new EngineBench();
    const frame = create(GoingAwaySchema, { reason: GoingAwayReason.REPLACED });
    bench.failure = () => new GoingAwayError(frame);
    expect(await bench.closed).toMatchObject({ kind: "replaced" });
  });

  test.each([
    [Code.Unauthenticated, "KEY_INVALID"],
    [Code.PermissionDenied, "WORKER_DISABLED"],
    [Code.FailedPrecondition, "PROTOCOL_VERSION_UNSUPPORTED"],
  ])("stops for good on %s, and says why", async (code, reason) => {
    const bench = new EngineBench();
    bench.failure = () => makeError(code, "No.", { reason, suggestion: "Do otherwise." });
    const closed = await bench.closed;
    expect(closed).toEqual({
      kind: "refused",
      detail: "No. Do otherwise.",
      errorReason: reason,
      errorCode: code,
    });
  });

  test("connects again when only its polling link was forgotten", async () => {
    const bench = await EngineBench.attached();
    const detail = { reason: "LINK_NOT_ATTACHED", suggestion: "Attach." };
    bench.link.frames.end(makeError(Code.FailedPrecondition, "no link", detail));
    await bench.clock.advance(300);
    expect(bench.links).toHaveLength(2);
  });
});

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
      "unsupported kind",
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

  test("starts an exclusive job whose confirmation was lost with its link, on the verdict", async () => {
    const bench = await EngineBench.attached();
    await bench.offer({ exclusive: true });
    bench.link.frames.end();
    await bench.clock.advance(300);
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
    await bench.settle(leaseId);
    expect(bench.link.results).toEqual([]);
    expect(bench.link.all("heartbeat").at(-1)?.demand?.slots).toBe(4);
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
    await bench.clock.advance(9_900);
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
    await bench.clock.advance(60_000);
    expect(bench.link.results).toHaveLength(1);
  });

  test("stops at the cap of the lease when there is no hard timeout", async () => {
    const bench = await EngineBench.attached();
    await bench.offer({ timeLeft: durationFromMs(12_000) });
    await bench.clock.advance(10_000);
    expect(bench.all("stop")).toEqual([]);
    await bench.clock.advance(5_000);
    expect(bench.all("stop")).toMatchObject([{ order: { kind: "timeout" } }]);
  });

  test("never gives up an exclusive job whose handler still runs", async () => {
    const bench = await EngineBench.attached();
    const lease = await bench.offer({ exclusive: true, hardTimeout: durationFromMs(1_000) });
    await bench.push({ case: "offerAck", value: { leases: [lease] } });
    await bench.clock.advance(60_000);
    expect(bench.link.results).toEqual([]);
  });
});

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

describe("commands", () => {
  test("drain takes nothing new until told to resume", async () => {
    const bench = await EngineBench.attached();
    await bench.push({ case: "command", value: { action: CommandAction.DRAIN } });
    expect(bench.link.all("heartbeat").at(-1)).toMatchObject({
      draining: true,
      demand: { slots: 0, points: 0 },
    });
    await bench.push({ case: "command", value: { action: CommandAction.RESUME } });
    expect(bench.link.all("heartbeat").at(-1)).toMatchObject({ draining: false, demand: { slots: 4 } });
  });
});
