import { MessageChannel } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { reconnectDelayMs } from "../../../worker/engine/backoff.ts";
import { inlinePorts, type MessageChannelEnd, threadPort } from "../../../worker/engine/port.ts";
import { settled } from "../../support/worker-clock.ts";

describe("an inline port", () => {
  test("keeps order, delivers a turn in one batch, and never inside the sender", async () => {
    const [left, right] = inlinePorts<number, string>();
    const batches: (readonly number[])[] = [];
    right.listen((batch) => batches.push(batch));
    left.post(1);
    left.post(2);
    expect(batches).toEqual([]);
    await settled();
    expect(batches).toEqual([[1, 2]]);
  });

  test("keeps what comes before anybody listens, and drops what comes after the close", async () => {
    const [left, right] = inlinePorts<number, string>();
    left.post(1);
    await settled();
    const taken: number[] = [];
    right.listen((batch) => taken.push(...batch));
    left.close();
    left.post(2);
    await settled();
    expect(taken).toEqual([1]);
  });
});

describe("a port to a thread", () => {
  /** A channel end that records what is posted. */
  function recorded(): { end: MessageChannelEnd; posted: unknown[] } {
    const posted: unknown[] = [];
    return { end: { postMessage: (value) => posted.push(value), on: () => {} }, posted };
  }

  test("sends the first message of a turn at once and the rest together", async () => {
    const { end, posted } = recorded();
    const port = threadPort<number, number>(end);
    for (const n of [1, 2, 3]) port.post(n);
    expect(posted).toEqual([[1]]);
    await settled();
    expect(posted).toEqual([[1], [2, 3]]);
  });

  test("does not keep a turn that never ends to itself", () => {
    const { end, posted } = recorded();
    const port = threadPort<number, number>(end);
    for (let n = 0; n < 2_000; n++) port.post(n);
    expect(posted.flat()).toHaveLength(1 + 3 * 512);
  });

  test("sends what is waiting when it closes, and nothing after", async () => {
    const { end, posted } = recorded();
    const port = threadPort<number, number>(end);
    for (const n of [1, 2]) port.post(n);
    port.close();
    port.post(3);
    await settled();
    expect(posted).toEqual([[1], [2]]);
  });

  test("carries batches over a real channel", async () => {
    const { port1, port2 } = new MessageChannel();
    const left = threadPort<number, never>(port1);
    const right = threadPort<never, number>(port2);
    const received = new Promise<readonly number[]>((resolve) => right.listen(resolve));
    left.post(7);
    expect(await received).toEqual([7]);
    port1.close();
  });
});

test("the wait before a reconnect spreads over windows that double from 1 s to 64 s", () => {
  const spread = (failures: number) => [reconnectDelayMs(failures, 0), reconnectDelayMs(failures, 1)];
  expect([1, 2, 3, 8, 9, 100].map(spread)).toEqual([
    [0, 1_000],
    [0, 2_000],
    [0, 4_000],
    [0, 64_000],
    [0, 64_000],
    [0, 64_000],
  ]);
});
