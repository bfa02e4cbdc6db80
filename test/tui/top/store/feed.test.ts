import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { polledSource, withFallback } from "../../../../tui/top/sources/polled.ts";
import { type WatchBody, watchedSource } from "../../../../tui/top/sources/watched.ts";
import { type FeedMessage, followFeed, type Source } from "../../../../tui/top/store/feed.ts";
import { createPublisher } from "../../../../tui/top/store/publisher.ts";

const tokens = { next: "", previous: "" };

/** Follows a source until it has heard or been refused so much. */
async function follow(source: Source<string>, most: number) {
  const ending = new AbortController();
  const heard: FeedMessage<string>[] = [];
  const losses: number[] = [];
  let refusal: ConnectError | undefined;
  await followFeed(
    source,
    {
      receive: (message) => {
        heard.push(message);
        if (heard.length === most) ending.abort();
      },
      lose: (_cause, delayMs) => void losses.push(delayMs),
      refuse: (error) => {
        refusal = error;
      },
    },
    { signal: ending.signal, now: () => 0, wait: () => Promise.resolve(), random: () => 0.5 },
  );
  return { heard, losses, refusal };
}

describe("a list that is watched", () => {
  test("is told whole, goes on by revision after a loss, and starts anew after a reset", async () => {
    const asked: string[] = [];
    const answers: (WatchBody<string> | "lost")[][] = [
      [
        { case: "begin", time: undefined },
        { case: "rows", rows: ["a"] },
        { case: "rows", rows: ["b"] },
        { case: "end", revision: "1", tokens },
        { case: "delta", revision: "2", rows: ["c"], left: ["a"] },
        "lost",
      ],
      [{ case: "reset", cause: "too-old" }, { case: "begin", time: undefined }, "lost"],
      [{ case: "begin", time: undefined }, { case: "end", revision: "9", tokens }, { case: "alive" }],
    ];
    const source = watchedSource<string>(async function* (revision) {
      asked.push(revision);
      for (const body of answers.shift() ?? []) {
        if (body === "lost") throw new ConnectError("gone", Code.Unavailable);
        yield body;
      }
    });
    const { heard, losses } = await follow(source, 5);
    expect(asked).toEqual(["", "2", ""]);
    expect(heard).toMatchObject([
      { kind: "snapshot", rows: ["a", "b"] },
      { kind: "delta", rows: ["c"], left: ["a"] },
      { kind: "reset", cause: "too-old" },
      { kind: "snapshot", rows: [] },
      { kind: "alive" },
    ]);
    expect(losses).toEqual([500, 500]);
  });

  test("is tried again for ever, up to 30 s apart", async () => {
    let tries = 0;
    const source: Source<string> = {
      idleMs: 1_000,
      open: async function* () {
        tries += 1;
        if (tries < 12) throw new ConnectError("connection refused", Code.Unavailable);
        yield { kind: "alive" };
      },
    };
    const { losses } = await follow(source, 1);
    expect(losses.slice(0, 4)).toEqual([500, 1_000, 2_000, 4_000]);
    expect(losses.at(-1)).toBe(30_000);
  });

  test("is not tried again when the filter has a mistake", async () => {
    const source: Source<string> = {
      idleMs: 1_000,
      // biome-ignore lint/correctness/useYield: it is refused before it says anything
      open: async function* () {
        throw new ConnectError("filterText: column 3: unknown term", Code.InvalidArgument);
      },
    };
    const { refusal } = await follow(source, 1);
    expect(refusal?.rawMessage).toContain("column 3");
  });

  test("is polled where the server does not know the stream, and says so", async () => {
    let reads = 0;
    const stream: Source<string> = {
      idleMs: 1_000,
      // biome-ignore lint/correctness/useYield: it is refused before it says anything
      open: async function* () {
        throw new ConnectError("no such method", Code.Unimplemented);
      },
    };
    const poll = polledSource<string>(async () => ({ rows: [String(reads++)], tokens }), {
      wait: () => Promise.resolve(),
    });
    const source = withFallback(stream, poll);
    expect(source.note?.()).toBe("");
    const { heard } = await follow(source, 2);
    expect(heard).toMatchObject([
      { kind: "snapshot", rows: ["0"] },
      { kind: "snapshot", rows: ["1"] },
    ]);
    expect(source.note?.()).toBe("streams do not pass: polled");
  });
});

describe("the publisher", () => {
  test("publishes data at most so often, keys at once, and everything that waits with them", () => {
    let nowMs = 0;
    const waiting: { run: () => void; ms: number }[] = [];
    const publisher = createPublisher({
      everyMs: 125,
      now: () => nowMs,
      later: (run, ms) => {
        const one = { run, ms };
        waiting.push(one);
        return () => void waiting.splice(waiting.indexOf(one), 1);
      },
    });
    let published = 0;
    publisher.subscribe(() => published++);
    publisher.soon();
    expect(published).toBe(1);
    nowMs = 25;
    publisher.soon();
    publisher.soon();
    expect(published).toBe(1);
    expect(waiting.map(({ ms }) => ms)).toEqual([100]);
    publisher.now();
    expect(published).toBe(2);
    expect(waiting).toEqual([]);
    nowMs = 60;
    publisher.soon();
    waiting[0]?.run();
    expect(published).toBe(3);
  });
});
