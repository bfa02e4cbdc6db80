import { type FileHandle, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { decodeSegment } from "../../worker/outbox-segment.ts";
import {
  appendAll,
  entry,
  ids,
  newDirectory,
  onlySegment,
  openOutbox,
  segments,
  startChild,
} from "./outbox-fixture.ts";

const mebibyte = 1024 * 1024;
let directory: string;
beforeEach(async () => {
  directory = await newDirectory();
});

describe("an outbox", () => {
  test("returns what was appended and not acknowledged, oldest first, also to the next boot", async () => {
    const first = await openOutbox(directory);
    await appendAll(first, ["a", "b", "c", "d"]);
    first.acknowledge(["b", "unknown"]);
    expect(ids(first)).toEqual(["a", "c", "d"]);
    await first.close();

    const second = await openOutbox(directory);
    expect(second.pending()).toEqual(["a", "c", "d"].map((id) => entry(id)));
    expect(second.recovery).toEqual({ tornBytes: 0, damagedBytes: 0 });
    await appendAll(second, ["e"]);
    second.acknowledge(["a"]);
    await second.close();

    const third = await openOutbox(directory);
    expect(ids(third)).toEqual(["c", "d", "e"]);
  });

  test("keeps bodies byte by byte, empty and large ones too", async () => {
    const bodies = [
      new Uint8Array(),
      Uint8Array.from({ length: 256 }, (_, i) => i),
      new Uint8Array(mebibyte).fill(7),
    ];
    const first = await openOutbox(directory);
    await Promise.all(bodies.map((body, index) => first.append({ resultId: `résultat ${index}`, body })));
    await first.close();
    const second = await openOutbox(directory);
    expect(second.pending().map(({ body }) => Buffer.compare(body, bodies.shift() ?? Buffer.of(1)))).toEqual([
      0, 0, 0,
    ]);
    expect(ids(second)).toEqual(["résultat 0", "résultat 1", "résultat 2"]);
  });

  test("keeps its files to itself", async () => {
    const outbox = await openOutbox(directory);
    await appendAll(outbox, ["a"]);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    const modes = (await readdir(directory)).map(
      async (name) => (await stat(join(directory, name))).mode & 0o777,
    );
    expect(await Promise.all(modes)).toEqual([0o600, 0o600]);
  });

  test("leaves nothing behind when everything is acknowledged", async () => {
    const outbox = await openOutbox(directory);
    await appendAll(outbox, ["a", "b"]);
    outbox.acknowledge(["a", "b"]);
    await outbox.close();
    expect(await readdir(directory)).toEqual([]);
  });

  test.each([
    ["an empty id", { resultId: "", body: new Uint8Array() }],
    ["an id of 257 bytes", { resultId: "x".repeat(257), body: new Uint8Array() }],
    ["half a character as id", { resultId: "\ud800", body: new Uint8Array() }],
    ["a body above 4 MiB", { resultId: "x", body: new Uint8Array(4 * mebibyte + 1) }],
    ["an id that is pending", { resultId: "pending", body: new Uint8Array() }],
  ])("refuses %s", async (_, refused) => {
    const outbox = await openOutbox(directory);
    await appendAll(outbox, ["pending"]);
    await expect(outbox.append(refused)).rejects.toMatchObject({ code: "OUTBOX_ENTRY_INVALID" });
    expect(ids(outbox)).toEqual(["pending"]);
  });

  test("refuses an id that is being written", async () => {
    const outbox = await openOutbox(directory);
    const written = outbox.append(entry("a"));
    await expect(outbox.append(entry("a"))).rejects.toMatchObject({ code: "OUTBOX_ENTRY_INVALID" });
    await written;
  });

  test("refuses results above its bound until some are acknowledged", async () => {
    const outbox = await openOutbox(directory, { maxHeldBytes: 3 * (1000 + 256) });
    const large = (resultId: string) => outbox.append({ resultId, body: new Uint8Array(1000) });
    await Promise.all(["a", "b", "c"].map(large));
    await expect(large("d")).rejects.toMatchObject({ code: "OUTBOX_FULL" });
    outbox.acknowledge(["b"]);
    await large("d");
    expect(ids(outbox)).toEqual(["a", "c", "d"]);
    await outbox.close();
    const next = await openOutbox(directory, { maxHeldBytes: 3 * (1000 + 256) });
    await expect(next.append(entry("e"))).rejects.toMatchObject({ code: "OUTBOX_FULL" });
  });

  test("finishes what is waiting before it frees the directory, and then refuses", async () => {
    const sync = controlledSync();
    const outbox = await openOutbox(directory, { fdatasync: sync.fdatasync });
    const written = appendAll(outbox, ["a"]);
    const call = await sync.next();
    const later = appendAll(outbox, ["b"]);
    const closed = outbox.close();
    await expect(outbox.append(entry("c"))).rejects.toMatchObject({ code: "OUTBOX_CLOSED" });
    await expect(openOutbox(directory)).rejects.toMatchObject({ code: "OUTBOX_IN_USE" });
    call.resolve();
    await written;
    (await sync.next()).resolve();
    await Promise.all([later, closed]);
    expect(ids(await openOutbox(directory))).toEqual(["a", "b"]);
  });
});

describe("durability", () => {
  test("resolves and shows nothing while fdatasync hangs", async () => {
    const sync = controlledSync();
    const outbox = await openOutbox(directory, { fdatasync: sync.fdatasync });
    let isResolved = false;
    const written = outbox.append(entry("a")).then(() => {
      isResolved = true;
    });
    const call = await sync.next();
    expect(decodeRecords(await onlySegment(directory))).toEqual(["entry a"]);
    expect(isResolved).toBe(false);
    expect(outbox.pending()).toEqual([]);
    call.resolve();
    await written;
    expect(ids(outbox)).toEqual(["a"]);
  });

  test("commits all appends of one turn, and all that come during a write, with one fdatasync each", async () => {
    const sync = controlledSync();
    const outbox = await openOutbox(directory, { fdatasync: sync.fdatasync });
    const first = appendAll(outbox, ["a", "b"]);
    const firstCall = await sync.next();
    const rest = Array.from({ length: 100 }, (_, n) => `c${n}`);
    const second = appendAll(outbox, rest);
    expect(sync.calls()).toBe(1);
    firstCall.resolve();
    await first;
    expect(ids(outbox)).toEqual(["a", "b"]);
    (await sync.next()).resolve();
    await second;
    expect(sync.calls()).toBe(2);
    expect(ids(outbox)).toEqual(["a", "b", ...rest]);
  });

  test("acknowledges without fdatasync", async () => {
    const sync = controlledSync();
    const outbox = await openOutbox(directory, { fdatasync: sync.fdatasync });
    const written = appendAll(outbox, ["a", "b"]);
    (await sync.next()).resolve();
    await written;
    outbox.acknowledge(["a"]);
    await outbox.close();
    expect(sync.calls()).toBe(1);
    expect(decodeRecords(await onlySegment(directory))).toEqual(["entry a", "entry b", "acknowledgement a"]);
  });

  test("makes what a killed boot wrote durable before it is pending", async () => {
    const first = await openOutbox(directory);
    await appendAll(first, ["a"]);
    await first.close();
    const sync = controlledSync();
    let isOpen = false;
    const opening = openOutbox(directory, { fdatasync: sync.fdatasync }).then((outbox) => {
      isOpen = true;
      return outbox;
    });
    const call = await sync.next();
    expect(isOpen).toBe(false);
    call.resolve();
    expect(ids(await opening)).toEqual(["a"]);
  });
});

describe("a failing disk", () => {
  test("rejects the batch whose fdatasync fails, keeps the durable ones, and goes on in a new segment", async () => {
    const noSpace = Object.assign(new Error("ENOSPC: no space left on device, fdatasync"), {
      code: "ENOSPC",
    });
    let calls = 0;
    const fdatasync = async (handle: FileHandle) => {
      calls += 1;
      if (calls === 2) throw noSpace;
      await handle.datasync();
    };
    const outbox = await openOutbox(directory, { fdatasync });
    await appendAll(outbox, ["kept"]);
    const outcomes = await Promise.allSettled(["x", "y"].map((id) => outbox.append(entry(id))));
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({
        status: "rejected",
        reason: {
          code: "OUTBOX_WRITE_FAILED",
          message: expect.stringContaining("no space left"),
          cause: noSpace,
        },
      });
    await appendAll(outbox, ["next", "x"]);
    expect(ids(outbox)).toEqual(["kept", "next", "x"]);
    expect(await segments(directory)).toHaveLength(2);
    await outbox.close();
    expect(ids(await openOutbox(directory))).toEqual(["kept", "next", "x"]);
  });

  test("rejects a batch whose write fails, and takes the next", async () => {
    let isBroken = true;
    const fdatasync = async (handle: FileHandle) => {
      await handle.datasync();
      // Closed under the outbox, the handle fails the next write.
      if (isBroken) await handle.close();
      isBroken = false;
    };
    const outbox = await openOutbox(directory, { fdatasync });
    await appendAll(outbox, ["kept"]);
    await expect(outbox.append(entry("lost"))).rejects.toMatchObject({ code: "OUTBOX_WRITE_FAILED" });
    await appendAll(outbox, ["next"]);
    await outbox.close();
    expect(ids(await openOutbox(directory))).toEqual(["kept", "next"]);
  });

  test("cuts off the part of a batch that still fitted on a full disk", async () => {
    const child = startChild(
      directory,
      `
      const outbox = await Outbox.open({ directory, signal: new AbortController().signal });
      const code = (resultId, length) => outbox.append({ resultId, body: new Uint8Array(length).fill(1) })
        .then(() => resultId + " durable", (error) => resultId + " " + error.code);
      console.log(await code("small", 10));
      console.log(await code("large", 2_000_000));
      console.log(await code("after", 10));
      process.kill(process.pid, "SIGKILL");
    `,
      // 1,000 KiB a file at most. Node keeps the default action of SIGXFSZ, the shell passes on that it is ignored.
      (argv) => ["sh", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "sh", ...argv],
    );
    expect(await child.output).toEqual(["small durable", "large OUTBOX_WRITE_FAILED", "after durable"]);
    const outbox = await openOutbox(directory);
    expect(ids(outbox)).toEqual(["small", "after"]);
    expect(outbox.recovery).toEqual({ tornBytes: 0, damagedBytes: 0 });
  });

  test("an append that finds no directory is rejected, and works once it is back", async () => {
    const outbox = await openOutbox(directory);
    await rm(directory, { recursive: true });
    await expect(outbox.append(entry("a"))).rejects.toMatchObject({ code: "OUTBOX_WRITE_FAILED" });
    await mkdir(directory);
    await appendAll(outbox, ["a"]);
    expect(ids(outbox)).toEqual(["a"]);
  });

  test("an entry that stands twice, as a failed append may leave it, is pending once and goes for good", async () => {
    const first = await openOutbox(directory);
    await appendAll(first, ["a", "twice"]);
    await first.close();
    const [name = ""] = await segments(directory);
    await writeFile(join(directory, "results-0000000007.outbox"), await readFile(join(directory, name)));
    const second = await openOutbox(directory);
    expect(ids(second)).toEqual(["a", "twice"]);
    second.acknowledge(["a", "twice"]);
    await second.close();
    expect(await readdir(directory)).toEqual([]);
  });
});

describe("segments", () => {
  test("roll at 8 MiB, and go one by one when all in them is acknowledged", async () => {
    const outbox = await openOutbox(directory);
    const names: string[][] = [];
    for (let n = 0; n < 20; n += 1) {
      await outbox.append({ resultId: `r${n}`, body: new Uint8Array(mebibyte).fill(n) });
      names.push(await segments(directory));
    }
    expect(names.map((list) => list.length)).toEqual([
      ...Array(8).fill(1),
      ...Array(8).fill(2),
      ...Array(4).fill(3),
    ]);
    const [first, second, third] = names.at(-1) ?? [];
    const idsOf = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `r${from + n}`);
    outbox.acknowledge([...idsOf(8, 16), "r0"]);
    await appendAll(outbox, ["settled"]);
    await appendAll(outbox, ["settled too"]);
    expect(await segments(directory)).toEqual([first, third]);
    await outbox.close();

    const next = await openOutbox(directory);
    expect(ids(next)).toEqual([...idsOf(1, 8), ...idsOf(16, 20), "settled", "settled too"]);
    next.acknowledge(idsOf(1, 8));
    await next.close();
    expect(await segments(directory)).toEqual([third]);
    expect(second).not.toBe(third);
  });

  test("start anew above 1 MiB when everything is acknowledged", async () => {
    const outbox = await openOutbox(directory);
    await outbox.append({ resultId: "small", body: new Uint8Array(1000) });
    outbox.acknowledge(["small"]);
    await outbox.append({ resultId: "large", body: new Uint8Array(mebibyte) });
    const before = await segments(directory);
    outbox.acknowledge(["large"]);
    await appendAll(outbox, ["next"]);
    await appendAll(outbox, ["after the old one went"]);
    const after = await segments(directory);
    expect(before).toHaveLength(1);
    expect(after).toHaveLength(1);
    expect(after).not.toEqual(before);
  });
});

function decodeRecords(bytes: Buffer): string[] {
  const contents = decodeSegment(bytes);
  if (contents.kind !== "records") throw new Error(`the segment is ${contents.kind}`);
  return contents.records.map(({ type, resultId }) => `${type} ${resultId}`);
}

/** An fdatasync that the test lets return: one call at a time, as they come. */
function controlledSync() {
  const waiting: PromiseWithResolvers<void>[] = [];
  let arrival = Promise.withResolvers<void>();
  let calls = 0;
  return {
    fdatasync: (): Promise<void> => {
      const call = Promise.withResolvers<void>();
      calls += 1;
      waiting.push(call);
      arrival.resolve();
      return call.promise;
    },
    calls: () => calls,
    next: async (): Promise<PromiseWithResolvers<void>> => {
      for (;;) {
        const call = waiting.shift();
        if (call !== undefined) return call;
        arrival = Promise.withResolvers<void>();
        await arrival.promise;
      }
    },
  };
}
