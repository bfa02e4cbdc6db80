import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { LogStream } from "@muster/client/v1/event";
import { describe, expect, test } from "vitest";
import type { ReportBody } from "../../../worker/engine/messages.ts";
import { EngineBench, succeeded } from "../../support/worker-link.ts";

const log = (text: string): ReportBody => ({ kind: "log", stream: "stdout", level: "info", text });

async function running() {
  const bench = await EngineBench.attached();
  const lease = await bench.offer();
  const say = async (...bodies: ReportBody[]) => {
    for (const body of bodies) bench.port.post({ type: "report", leaseId: lease.leaseId, body });
    await bench.clock.advance(0);
  };
  const items = () => bench.link.all("report").flatMap((report) => report.items);
  const acknowledge = (sequence: bigint) =>
    bench.push({ case: "eventAck", value: { items: [{ lease, sequence }] } });
  return { bench, lease, say, items, acknowledge };
}

describe("reports", () => {
  test("that are refused stop their attempt as superseded, and no more are sent", async () => {
    const { bench, lease, say, items } = await running();
    await say(log("one"));
    const superseded = { lease, sequence: 1n, superseded: true, currentAttempt: 2 };
    await bench.push({ case: "eventAck", value: { items: [superseded] } });
    expect(bench.all("stop")).toMatchObject([{ leaseId: lease.leaseId, order: { kind: "superseded" } }]);
    await say(log("two"));
    await bench.settle(lease.leaseId);
    expect(items()).toHaveLength(1);
    expect(bench.link.results).toEqual([]);
  });

  test("of one turn travel in one frame, numbered from one", async () => {
    const { bench, say, items } = await running();
    await say(log("one"), { kind: "message", text: "two" }, { kind: "partial", data: Buffer.from("3") });
    expect(bench.link.all("report")).toHaveLength(1);
    expect(items().map(({ sequence }) => sequence)).toEqual([1n, 2n, 3n]);
    expect(items().map(({ body }) => body.case)).toEqual(["log", "message", "partial"]);
    expect(items()[0]?.body.value).toMatchObject({ stream: LogStream.STDOUT, text: "one" });
  });

  test("that are not acknowledged are sent again over the same link, in their order", async () => {
    const { bench, say, items, acknowledge } = await running();
    await say(log("one"), log("two"));
    await bench.clock.advance(20_000);
    expect(bench.links).toHaveLength(1);
    expect(items().map(({ sequence }) => sequence)).toEqual([1n, 2n, 1n, 2n]);
    await acknowledge(2n);
    await bench.clock.advance(60_000);
    expect(items()).toHaveLength(4);
  });

  test("go on from the sequence that the lease names", async () => {
    const bench = await EngineBench.attached();
    const { leaseId } = await bench.offer({ lastSequence: 41n });
    bench.port.post({ type: "report", leaseId, body: log("next") });
    await bench.settle(leaseId);
    expect(bench.link.all("report")[0]?.items[0]?.sequence).toBe(42n);
    expect(bench.link.results[0]?.lastSequence).toBe(42n);
  });

  test("are sent again on a new link until acknowledged, and no longer after", async () => {
    const { bench, say, items, acknowledge } = await running();
    await say(log("one"), log("two"), log("three"));
    await acknowledge(2n);
    bench.link.frames.end();
    await bench.clock.advance(300);
    expect(items().map(({ sequence }) => sequence)).toEqual([3n]);
  });

  test("stop at the window, and go on when it is acknowledged", async () => {
    const { say, items, acknowledge } = await running();
    const chunk = "x".repeat(60_000);
    await say(...Array.from({ length: 8 }, () => log(chunk)));
    expect(items()).toHaveLength(4);
    await acknowledge(2n);
    expect(items()).toHaveLength(6);
    await acknowledge(6n);
    expect(items().map(({ sequence }) => Number(sequence))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("beyond the buffer the oldest give way to a gap that says so", async () => {
    const { say, items, acknowledge } = await running();
    const chunk = "x".repeat(60_000);
    await say(...Array.from({ length: 40 }, () => log(chunk)));
    for (let count = 0; count < 20; count++) await acknowledge(items().at(-1)?.sequence ?? 0n);
    const gaps = items().filter(({ body }) => body.case === "gap");
    expect(gaps).toHaveLength(1);
    const gap = gaps[0]?.body.case === "gap" ? gaps[0].body.value : undefined;
    expect(gap?.cause).toBe("worker");
    expect(gaps[0]?.sequence).toBe(gap?.toSequence);
    const sent = new Set(items().map(({ sequence }) => Number(sequence)));
    const missing = Array.from({ length: 40 }, (_, index) => index + 1).filter(
      (sequence) => !sent.has(sequence),
    );
    const [from, to] = [Number(gap?.fromSequence), Number(gap?.toSequence)];
    expect(missing).toEqual(Array.from({ length: to - from }, (_, index) => from + index));
    expect(items().at(-1)?.sequence).toBe(40n);
  });

  test("a partial larger than the window goes alone", async () => {
    const { say, items, acknowledge } = await running();
    await say(log("small"), { kind: "partial", data: Buffer.alloc(1024 * 1024, "1") }, log("after"));
    expect(items()).toHaveLength(1);
    await acknowledge(1n);
    expect(items()).toHaveLength(2);
    await acknowledge(2n);
    expect(items()).toHaveLength(3);
  });

  test("the tail goes before the result, which names its end", async () => {
    const { bench, lease, say } = await running();
    await say(log("one"));
    bench.port.post({ type: "report", leaseId: lease.leaseId, body: log("last words") });
    await bench.settle(lease.leaseId, succeeded);
    expect(bench.link.sent.map(({ frame }) => frame.case)).toEqual([
      "offerReply",
      "report",
      "report",
      "results",
    ]);
    expect(bench.link.results[0]?.lastSequence).toBe(2n);
  });

  test("a tail that is not acknowledged within a minute of its result is given up", async () => {
    const { bench, lease, say } = await running();
    await say(log("one"));
    await bench.settle(lease.leaseId);
    bench.link.acknowledge(...bench.link.results);
    await bench.clock.advance(66_000);
    bench.link.frames.end();
    await bench.clock.advance(300);
    expect(bench.link.all("report")).toEqual([]);
  });

  test("nothing more is said under a superseded lease", async () => {
    const { bench, lease, say } = await running();
    await say(log("one"));
    await bench.push({ case: "heartbeatAck", value: { sequence: 0n, lost: [lease] } });
    await say(log("two"));
    bench.link.frames.end();
    await bench.clock.advance(300);
    expect(bench.link.all("report")).toEqual([]);
  });
});

describe("progress", () => {
  const progress = (fraction: number): ReportBody => ({ kind: "progress", fraction, message: "" });

  test("the first goes at once, then the latest once a second", async () => {
    const { bench, say, items } = await running();
    for (const fraction of [0.1, 0.2, 0.3]) await say(progress(fraction));
    const fractions = () =>
      items().map(({ body }) => (body.case === "progress" ? body.value.fraction : undefined));
    expect(fractions()).toEqual([0.1]);
    expect(items()[0]?.sequence).toBe(0n);
    await bench.clock.advance(999);
    expect(fractions()).toEqual([0.1]);
    await bench.clock.advance(1);
    expect(fractions()).toEqual([0.1, 0.3]);
    await bench.clock.advance(5_000);
    expect(fractions()).toEqual([0.1, 0.3]);
  });

  test("the last one does not wait for its second when the handler has ended", async () => {
    const { bench, lease, say, items } = await running();
    await say(progress(0.1), progress(0.2));
    await say(progress(1));
    await bench.settle(lease.leaseId);
    expect(items()).toHaveLength(2);
  });

  test("counts as a sign of life of the handler", async () => {
    const { bench, say } = await running();
    await bench.clock.advance(4_000);
    await say(progress(0.5));
    await bench.clock.advance(1_000);
    const [held] = bench.link.all("heartbeat").at(-1)?.heldLeases ?? [];
    expect(held?.idle).toMatchObject({ seconds: durationFromMs(1_000).seconds });
  });
});
