import { Code, ConnectError } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { describe, expect, test } from "vitest";
import { followStream, type ReconnectOptions } from "../../../tui/stream/reconnect.ts";

type Connection = readonly (number | ConnectError)[];

// Each open takes the next connection; after the last one the signal ends everything.
function follow(connections: readonly Connection[], options: Partial<ReconnectOptions> = {}) {
  const waits: number[] = [];
  const log: string[] = [];
  let opened = 0;
  async function* open(): AsyncGenerator<number> {
    const connection = connections[opened++] ?? [];
    for (const item of connection) {
      if (item instanceof ConnectError) throw item;
      yield item;
    }
  }
  const stream = followStream(open, {
    signal: new AbortController().signal,
    isComplete: () => opened >= connections.length,
    onLost: (error, _delayMs, attempt) => log.push(`lost ${attempt} ${error.rawMessage}`),
    onBack: () => log.push("back"),
    wait: async (ms) => waits.push(ms),
    random: () => 0.5,
    ...options,
  });
  const read = async (): Promise<number[]> => {
    const items: number[] = [];
    for await (const item of stream) items.push(item);
    return items;
  };
  return { read, waits, log };
}

const unavailable = new ConnectError("gone", Code.Unavailable);

describe("followStream", () => {
  test("goes on over lost connections, waiting twice as long each time until a message comes", async () => {
    const run = follow([[1, unavailable], [unavailable], [unavailable], [2, unavailable], [3]]);
    expect(await run.read()).toEqual([1, 2, 3]);
    expect(run.waits).toEqual([500, 1_000, 2_000, 500]);
    expect(run.log).toEqual(["lost 1 gone", "lost 2 gone", "lost 3 gone", "back", "lost 1 gone", "back"]);
  });

  test("waits 30 s at most", async () => {
    const run = follow([[1], ...Array.from({ length: 12 }, () => [unavailable]), [2]]);
    await run.read();
    expect(Math.max(...run.waits)).toBe(30_000);
  });

  test("takes an end before all was said for a loss", async () => {
    const run = follow([[1], [2]]);
    expect(await run.read()).toEqual([1, 2]);
    expect(run.log).toEqual(["lost 1 the stream ended early", "back"]);
  });

  test("throws at once when the first connection fails, unless told otherwise", async () => {
    await expect(follow([[unavailable], [1]]).read()).rejects.toThrow("gone");
    expect(await follow([[unavailable], [1]], { fromTheStart: true }).read()).toEqual([1]);
  });

  test("throws what trying again does not help", async () => {
    const refused = makeError(Code.NotFound, "no such job", { reason: "JOB_NOT_FOUND", suggestion: "x" });
    const run = follow([[1, refused], [2]]);
    await expect(run.read()).rejects.toThrow("no such job");
    expect(run.waits).toEqual([]);
  });

  test("waits as long as the server asks", async () => {
    const busy = makeError(Code.ResourceExhausted, "busy", {
      reason: "RATE",
      suggestion: "wait",
      retryAfter: { seconds: 7n, nanos: 0 },
    });
    const run = follow([[1, busy], [2]]);
    expect(await run.read()).toEqual([1, 2]);
    expect(run.waits).toEqual([7_000]);
  });

  test("ends without an error when the signal says so", async () => {
    const stop = new AbortController();
    const run = follow([[1, unavailable], [2]], {
      signal: stop.signal,
      wait: async (_ms, signal) => {
        stop.abort();
        signal.throwIfAborted();
      },
    });
    expect(await run.read()).toEqual([1]);
  });

  test("takes silence for a loss", async () => {
    let opened = 0;
    async function* open(signal: AbortSignal): AsyncGenerator<number> {
      opened += 1;
      yield opened;
      if (opened === 1) {
        await new Promise<never>((_, reject) => {
          signal.addEventListener("abort", () => reject(new ConnectError("aborted", Code.Canceled)));
        });
      }
    }
    const lost: string[] = [];
    const stream = followStream(open, {
      signal: new AbortController().signal,
      isComplete: () => opened === 2,
      idleMs: 20,
      onLost: (error) => lost.push(error.rawMessage),
      wait: async () => undefined,
    });
    const items: number[] = [];
    for await (const item of stream) items.push(item);
    expect(items).toEqual([1, 2]);
    expect(lost).toEqual(["nothing came for 0.02 s"]);
  });
});
