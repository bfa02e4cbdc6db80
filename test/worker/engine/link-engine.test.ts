import { create } from "@bufbuild/protobuf";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { CommandAction, GoingAwayReason, GoingAwaySchema, Verdict } from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import { GoingAwayError } from "../../../worker/transport/transport.ts";
import { settled } from "../../support/worker-clock.ts";
import { EngineBench } from "../../support/worker-link.ts";

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

  test("waits longer after each failure, in windows from 1 s to 64 s", async () => {
    const bench = await EngineBench.attached();
    bench.failure = () => new ConnectError("nobody there", Code.Unavailable);
    bench.link.frames.end(new ConnectError("cut", Code.Unavailable));
    await bench.clock.advance(199);
    expect(bench.addresses).toHaveLength(1);
    await bench.clock.advance(1);
    expect(bench.addresses).toHaveLength(2);
    await bench.clock.advance(400);
    expect(bench.addresses).toHaveLength(3);
    await bench.clock.advance(500_000);
    const before = bench.addresses.length;
    await bench.clock.advance(12_800);
    expect(bench.addresses.length).toBe(before + 1);
  });

  test("comes back at once after it did not run for a while itself", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer();
    bench.verdict = Verdict.SUPERSEDED;
    bench.link.echoes = false;
    await bench.clock.freeze(60_000);
    expect(bench.links).toHaveLength(2);
    expect(bench.all("stop")).toMatchObject([{ leaseId, order: { kind: "superseded", graceMs: 500 } }]);
  });

  test.each([
    ["the handlers do not answer", undefined, 5],
    ["the handlers were blocked for a moment", 3_200, 3.2],
  ])("tells how late the event loop is when %s", async (_, delayMs, seconds) => {
    const bench = await EngineBench.attached();
    await bench.clock.advance(5_000);
    expect(bench.all("ping")).toHaveLength(1);
    if (delayMs !== undefined) await bench.post({ type: "pong", delayMs });
    await bench.clock.advance(5_000);
    const delay = bench.link.all("heartbeat")[1]?.load?.loopDelay;
    expect(delay === undefined ? 0 : durationMs(delay) / 1000).toBe(seconds);
    expect(bench.all("ping")).toHaveLength(delayMs === undefined ? 1 : 2);
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

  test("is replaced when a better transport may be tried, without a pause", async () => {
    const bench = new EngineBench();
    bench.improveAfterMs = 60_000;
    await bench.clock.advance(59_900);
    expect(bench.links).toHaveLength(1);
    await bench.clock.advance(100);
    expect(bench.links).toHaveLength(2);
    expect(bench.links[0]?.isClosed).toBe(true);
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
