import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { ConnectRequestSchema, HelloSchema } from "@muster/client/v1/link";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../worker/clock.ts";
import { streamTransport } from "../../worker/transport/stream.ts";
import type { Link } from "../../worker/transport/transport.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { type CountingProxy, openCountingProxy } from "../support/counting-proxy.ts";

let muster: TestServer;
let proxy: CountingProxy;
afterEach(async () => {
  await muster.close();
  await proxy.close();
});

const links = 200;
const atOnce = 20;
const seconds = 8;
const heartbeatMs = 5_000;

test("two hundred idle links cost a coordinator five statements a second", async () => {
  muster = await startTestServer({ hellosPerSecond: 10_000 });
  proxy = await openCountingProxy(muster.database.url);
  // A coordinator of its own, so that what the links cost is all that the proxy sees.
  const coordinator = await muster.startPeer({ databaseUrl: proxy.url(muster.database.url) });
  const closing = new AbortController();
  const beats: ReturnType<typeof beating>[] = [];
  for (let n = 0; n < links; n += atOnce) {
    const next = Array.from({ length: atOnce }, async (_, index) => {
      const key = await muster.workerKey(`idle-${n + index}`);
      return beating(await attach(coordinator.workerAddress, key), n + index, closing.signal);
    });
    beats.push(...(await Promise.all(next)));
  }
  await Promise.all(beats.map((beat) => beat.echoed));
  const before = proxy.statements();
  await sleep(seconds * 1_000);
  const counted = proxy.statements() - before;
  // Each minute adds what retention asks for an org.
  expect(counted / seconds).toBeLessThan(5 + 12 / seconds);
  // They were counted: renewals and looks.
  expect(counted / seconds).toBeGreaterThan(1);
  expect(beats.filter((beat) => beat.isOpen())).toHaveLength(links);
  closing.abort();
}, 180_000);

function attach(address: string, key: string): Promise<Link> {
  const options = { address, key, ca: undefined, welcomeTimeoutMs: 30_000, clock: systemClock() };
  const hello = create(HelloSchema, {
    protocol: { major: 1, minor: 0 },
    bootId: randomUUID(),
    hostBootId: randomUUID(),
    orphansDead: true,
    kinds: ["idle"],
    capacity: { slots: 1, points: 1 },
    demand: { slots: 1, points: 1, offerSequence: 0n },
  });
  return streamTransport(options).open(hello, { signal: new AbortController().signal, address: undefined });
}

/** Beats the heart of a link, not in the same moment as the others. */
function beating(link: Link, n: number, signal: AbortSignal) {
  const { promise: echoed, resolve, reject } = Promise.withResolvers<void>();
  let isOpen = true;
  void (async () => {
    await sleep((n / links) * heartbeatMs);
    for (let sequence = 1n; isOpen && !signal.aborted; sequence++) {
      const value = { sequence, demand: { slots: 1, points: 1, offerSequence: 0n } };
      await link.send(create(ConnectRequestSchema, { frame: { case: "heartbeat", value } }));
      await sleep(heartbeatMs, undefined, { signal }).catch(() => {});
    }
    link.close();
  })().catch(reject);
  void (async () => {
    for await (const { frame } of link.frames) if (frame.case === "heartbeatAck") resolve();
    isOpen = false;
    reject(new Error("the link ended"));
  })().catch(reject);
  // Awaited once all links are there.
  echoed.catch(() => {});
  return { echoed, isOpen: () => isOpen };
}
