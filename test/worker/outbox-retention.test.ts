import { utimes } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { readClusterEpoch, writeClusterEpoch } from "../../worker/cluster-epoch.ts";
import type { Outbox } from "../../worker/outbox.ts";
import { ManualClock } from "../support/worker-clock.ts";
import { appendAll, entry, ids, newDirectory, openOutbox, segments } from "./outbox-fixture.ts";

const retentionMs = 600_000;
let directory: string;
beforeEach(async () => {
  directory = await newDirectory();
});

const retained = async (outbox: Outbox) => (await outbox.retained()).map(({ resultId }) => resultId);

async function acknowledged(outbox: Outbox, resultIds: readonly string[]): Promise<void> {
  await appendAll(outbox, resultIds);
  outbox.acknowledge(resultIds);
}

/** Resolves when so many segments are there: they go on the outbox's own time. */
async function untilSegments(count: number): Promise<void> {
  while ((await segments(directory)).length !== count) await new Promise(setImmediate);
}

describe("acknowledged results", () => {
  test("are kept with a retention, beside what is pending, over boots", async () => {
    const first = await openOutbox(directory, { retentionMs });
    await acknowledged(first, ["a", "b"]);
    await appendAll(first, ["c"]);
    expect(await first.retained()).toEqual([entry("a"), entry("b")]);
    expect(ids(first)).toEqual(["c"]);
    await first.close();
    const second = await openOutbox(directory, { retentionMs });
    expect(await retained(second)).toEqual(["a", "b"]);
    expect(ids(second)).toEqual(["c"]);
    second.acknowledge(["c"]);
    await second.close();
    const third = await openOutbox(directory, { retentionMs });
    expect(await retained(third)).toEqual(["a", "b", "c"]);
    expect(ids(third)).toEqual([]);
  });

  test("are not kept without one, those of an earlier boot neither", async () => {
    const first = await openOutbox(directory, { retentionMs });
    await acknowledged(first, ["a"]);
    await first.close();
    expect(await segments(directory)).toHaveLength(1);
    const second = await openOutbox(directory);
    expect(await second.retained()).toEqual([]);
    await untilSegments(0);
  });

  test("go when their time is over, a segment at a time", async () => {
    const clock = new ManualClock();
    const outbox = await openOutbox(directory, { retentionMs, clock });
    await acknowledged(outbox, ["a"]);
    await clock.advance(retentionMs / 4);
    // The old segment is given up for a new one.
    await acknowledged(outbox, ["b"]);
    await appendAll(outbox, ["c"]);
    expect(await segments(directory)).toHaveLength(2);
    expect(await retained(outbox)).toEqual(["a", "b"]);
    await clock.advance(retentionMs);
    await untilSegments(1);
    expect(await retained(outbox)).toEqual(["b"]);
    expect(ids(outbox)).toEqual(["c"]);
  });

  test("that are old already go when the outbox is opened", async () => {
    const first = await openOutbox(directory, { retentionMs });
    await acknowledged(first, ["a"]);
    await first.close();
    const [name = ""] = await segments(directory);
    const old = new Date(Date.now() - retentionMs - 1_000);
    await utimes(join(directory, name), old, old);
    await openOutbox(directory, { retentionMs });
    await untilSegments(0);
  });

  test("take so much of the disk and no more: the oldest go first", async () => {
    const limits = { retentionMs, maxRetainedBytes: 20 * 1024 * 1024 };
    const outbox = await openOutbox(directory, limits);
    for (let n = 0; n < 40; n++) {
      await outbox.append({ resultId: `r${n}`, body: new Uint8Array(1024 * 1024) });
      outbox.acknowledge([`r${n}`]);
    }
    await appendAll(outbox, ["last"]);
    const kept = await retained(outbox);
    expect(kept.length).toBeLessThanOrEqual(20);
    expect(kept.length).toBeGreaterThan(10);
    expect(kept.at(-1)).toBe("r39");
  });
});

test("the cluster's epoch is remembered over boots; a file that cannot be read is none", async () => {
  await openOutbox(directory);
  expect(await readClusterEpoch(directory)).toBe(0n);
  await writeClusterEpoch(directory, 12n);
  expect(await readClusterEpoch(directory)).toBe(12n);
});
