import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ManualClock } from "../../support/worker-clock.ts";
import { seededRandom } from "../random.ts";
import { dial, openTarget, type TestSocket, type TestTarget } from "./sockets.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

let target: TestTarget;
let proxy: TcpProxy;
let clock: ManualClock;
const dialled: TestSocket[] = [];

beforeEach(async () => {
  target = await openTarget();
  clock = new ManualClock();
  proxy = await startTcpProxy({ target: target.address, clock, random: seededRandom("tcp") });
});

afterEach(async () => {
  for (const { socket } of dialled.splice(0)) socket.destroy();
  await proxy.close();
  await target[Symbol.asyncDispose]();
});

/** Both ends of a connection through the proxy. */
async function pair(): Promise<{ client: TestSocket; server: TestSocket }> {
  const client = dial(proxy.address);
  dialled.push(client);
  return { client, server: await target.accept() };
}

/** A round trip on a connection without harm: what was under way elsewhere has arrived. */
async function passTime(other: { client: TestSocket; server: TestSocket }): Promise<void> {
  const before = [other.server.received().length, other.client.received().length] as const;
  other.client.send("?");
  await other.server.until(before[0] + 1);
  other.server.send("!");
  await other.client.until(before[1] + 1);
}

describe("without faults", () => {
  test("bytes pass both ways and ends are told, each by itself", async () => {
    const { client, server } = await pair();
    client.send("ping");
    expect(`${await server.until(4)}`).toBe("ping");
    client.socket.end();
    await server.ended;
    server.send("pong");
    expect(`${await client.until(4)}`).toBe("pong");
    server.socket.end();
    expect(await client.closed).toBe("end");
    expect(await server.closed).toBe("end");
  });

  test("a reset of one side is a reset of the other", async () => {
    const { client, server } = await pair();
    client.socket.resetAndDestroy();
    expect(await server.closed).toBe("ECONNRESET");
  });

  test("megabytes pass whole, and a reader that stops stops the writer", async () => {
    const { client, server } = await pair();
    server.socket.pause();
    const block = Buffer.alloc(1024 * 1024, "x");
    let sent = 0;
    while (client.socket.writableLength < 4 * block.length && sent < 64) {
      client.send(block);
      sent += 1;
      if (sent % 8 === 0) await passTime(await pair());
    }
    const [first] = proxy.connections();
    // Some are in buffers of the system; the proxy has its own bound, and the rest waits at the sender.
    expect(client.socket.writableLength).toBeGreaterThan(0);
    expect(first?.bytesUp).toBeLessThan(sent * block.length);
    server.socket.resume();
    expect((await server.until(sent * block.length)).length).toBe(sent * block.length);
  });

  test("a target that is not there resets who connects", async () => {
    const gone = await openTarget();
    await gone[Symbol.asyncDispose]();
    proxy.setTarget(gone.address);
    const client = dial(proxy.address);
    expect(await client.closed).toBe("ECONNRESET");
  });

  test("another target serves the connections that follow", async () => {
    await using second = await openTarget();
    const old = await pair();
    proxy.setTarget(second.address);
    const client = dial(proxy.address);
    dialled.push(client);
    const server = await second.accept();
    server.send("second");
    expect(`${await client.until(6)}`).toBe("second");
    old.client.send("first");
    expect(`${await old.server.until(5)}`).toBe("first");
  });
});

describe("a fault", () => {
  test("delays bytes, in their order, one way", async () => {
    const { client, server } = await pair();
    const heal = proxy.fault({ kind: "delay", ms: 100, jitterMs: 50, direction: "up", connections: [1] });
    const free = await pair();
    client.send("one");
    await passTime(free);
    client.send("two");
    await passTime(free);
    expect(server.received()).toHaveLength(0);
    await clock.advance(99);
    await passTime(free);
    expect(server.received()).toHaveLength(0);
    await clock.advance(51);
    expect(`${await server.until(6)}`).toBe("onetwo");
    server.send("back");
    expect(`${await client.until(4)}`).toBe("back");
    heal();
    client.send("!");
    await server.until(7);
  });

  test("narrows the band", async () => {
    const { client, server } = await pair();
    proxy.fault({ kind: "bandwidth", bytesPerSecond: 1000, connections: [1] });
    const free = await pair();
    client.send(Buffer.alloc(1000, "x"));
    await server.until(100);
    await passTime(free);
    expect(server.received()).toHaveLength(100);
    await clock.advance(400);
    await server.until(500);
    await passTime(free);
    expect(server.received()).toHaveLength(500);
    await clock.advance(500);
    expect(await server.until(1000)).toHaveLength(1000);
  });

  test("cuts chunks into slices", async () => {
    const { client, server } = await pair();
    const sizes: number[] = [];
    server.socket.on("data", (chunk: Buffer) => sizes.push(chunk.length));
    proxy.fault({ kind: "slice", bytes: 3 });
    client.send("0123456789");
    expect(`${await server.until(10)}`).toBe("0123456789");
    expect(sizes.length).toBeGreaterThan(1);
  });

  test("holds bytes and ends, and lets them go at the heal", async () => {
    const { client, server } = await pair();
    const heal = proxy.fault({ kind: "hold", connections: [1] });
    const free = await pair();
    client.send("held");
    server.send("as well");
    client.socket.end();
    await passTime(free);
    expect(server.received()).toHaveLength(0);
    expect(client.received()).toHaveLength(0);
    heal();
    expect(`${await server.until(4)}`).toBe("held");
    expect(`${await client.until(7)}`).toBe("as well");
    await server.ended;
  });

  test("holds connections to come", async () => {
    const heal = proxy.fault({ kind: "hold", direction: "up" });
    const { client, server } = await pair();
    client.send("late");
    server.send("down");
    expect(`${await client.until(4)}`).toBe("down");
    expect(server.received()).toHaveLength(0);
    heal();
    expect(`${await server.until(4)}`).toBe("late");
  });

  test("hides a reset while it holds", async () => {
    const { client, server } = await pair();
    const heal = proxy.fault({ kind: "hold", connections: [1] });
    const free = await pair();
    client.socket.resetAndDestroy();
    await passTime(free);
    expect(server.socket.destroyed).toBe(false);
    heal();
    expect(await server.closed).toBe("ECONNRESET");
  });

  test("swallows bytes, and resets at the heal what lost some", async () => {
    const { client, server } = await pair();
    const spared = await pair();
    const heal = proxy.fault({ kind: "swallow" });
    client.send("gone");
    await expect.poll(() => proxy.counts()["swallowed bytes"]).toBe(4);
    heal();
    expect(await client.closed).toBe("ECONNRESET");
    expect(await server.closed).toBe("ECONNRESET");
    expect(server.received()).toHaveLength(0);
    await passTime(spared);
  });

  test("leaves a connection half open: one side is gone, the other is not told", async () => {
    const { client, server } = await pair();
    const heal = proxy.fault({ kind: "half-open", lost: "target" });
    expect(await server.closed).toBe("ECONNRESET");
    client.send("anybody?");
    await passTime(await pair());
    expect(client.socket.destroyed).toBe(false);
    heal();
    expect(await client.closed).toBe("ECONNRESET");
  });

  test("tells an end late", async () => {
    const { client, server } = await pair();
    proxy.fault({ kind: "slow-close", ms: 1000 });
    client.socket.end();
    await passTime(await pair());
    expect(server.socket.readableEnded).toBe(false);
    await clock.advance(1000);
    await server.ended;
  });

  test("refuses who connects, and leaves who is connected", async () => {
    const old = await pair();
    const heal = proxy.fault({ kind: "refuse" });
    expect(await dial(proxy.address).closed).toBe("ECONNRESET");
    await passTime(old);
    heal();
    await passTime(await pair());
    expect(proxy.counts()).toEqual({ refuse: 1 });
  });

  test("resets or ends connections, all or some", async () => {
    const [first, second] = [await pair(), await pair()];
    proxy.fault({ kind: "reset", connections: [1] });
    expect(await first.client.closed).toBe("ECONNRESET");
    expect(await first.server.closed).toBe("ECONNRESET");
    await passTime(second);
    proxy.fault({ kind: "end" });
    await Promise.all([second.client.ended, second.server.ended]);
    expect(proxy.counts()).toEqual({ reset: 1, end: 1 });
    for (const { socket } of [second.client, second.server]) socket.end();
    await expect.poll(() => proxy.connections()).toEqual([]);
  });

  test("goes with another one as the tighter of both", async () => {
    const { client, server } = await pair();
    const healHold = proxy.fault({ kind: "hold", connections: [1] });
    proxy.fault({ kind: "delay", ms: 10, connections: [1] });
    client.send("x");
    await passTime(await pair());
    await clock.advance(10);
    expect(server.received()).toHaveLength(0);
    healHold();
    await server.until(1);
  });
});

test("a target has to be host:port", () => {
  for (const wrong of ["", "localhost", ":1", "host:0", "host:65536", "http://host:1"]) {
    expect(() => proxy.setTarget(wrong)).toThrow("a target is host:port");
  }
  proxy.setTarget("[::1]:7071");
});
