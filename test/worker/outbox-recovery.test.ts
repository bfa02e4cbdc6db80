import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { OutboxError } from "../../worker/outbox-error.ts";
import { decodeSegment, segmentHeaderBytes } from "../../worker/outbox-segment.ts";
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

let directory: string;
beforeEach(async () => {
  directory = await newDirectory();
});

describe("a damaged segment", () => {
  const recorded = ["a", "longer id", "c"];

  test("cut at any byte loses no whole record and accepts no torn one", async () => {
    const whole = await recordSegment();
    const ends = recordEnds(whole);
    for (let length = 0; length <= whole.length; length += 1) {
      await placeSegment(directory, whole.subarray(0, length));
      const outbox = await openOutbox(directory);
      const expected = recorded.slice(0, ends.filter((end) => end <= length).length);
      expect(outbox.pending(), `cut at ${length}`).toEqual(expected.map((id) => entry(id)));
      const kept = ends.findLast((end) => end <= length) ?? segmentHeaderBytes;
      const tornBytes = Math.max(0, withoutZeros(whole.subarray(0, length)).length - kept);
      expect(outbox.recovery, `cut at ${length}`).toEqual({ tornBytes, damagedBytes: 0 });
      if (expected.length > 0) expect((await onlySegment(directory)).length).toBe(kept);
      // Work goes on behind a cut tail.
      await appendAll(outbox, ["after"]);
      outbox.acknowledge(expected.slice(0, 1));
      await outbox.close();
      const next = await openOutbox(directory);
      expect(ids(next), `cut at ${length}, reopened`).toEqual([...expected.slice(1), "after"]);
      await next.close();
    }
  });

  test("with any byte flipped is either refused as a whole or loses only the record of that byte", async () => {
    const whole = await recordSegment();
    const ends = recordEnds(whole);
    for (let at = 0; at < whole.length; at += 1) {
      const bytes = Buffer.from(whole);
      bytes.writeUInt8(bytes.readUInt8(at) ^ 0x10, at);
      await placeSegment(directory, bytes);
      if (at < 12) {
        const code = at < 8 ? "OUTBOX_FOREIGN_FILE" : "OUTBOX_UNKNOWN_VERSION";
        await expect(openOutbox(directory), `flipped ${at}`).rejects.toMatchObject({ code });
        continue;
      }
      const damaged = at < segmentHeaderBytes ? -1 : ends.findIndex((end) => at < end);
      const outbox = await openOutbox(directory);
      expect(outbox.pending(), `flipped ${at}`).toEqual(
        recorded.filter((_, index) => index !== damaged).map((id) => entry(id)),
      );
      const { tornBytes, damagedBytes } = outbox.recovery;
      expect(tornBytes + damagedBytes > 0, `flipped ${at}`).toBe(damaged !== -1);
      expect(damagedBytes > 0, `flipped ${at}`).toBe(damaged === 0 || damaged === 1);
      await outbox.close();
    }
  });

  test("does not take the body of a result for a record", async () => {
    const inner = await recordSegment();
    const first = await openOutbox(directory);
    await first.append({ resultId: "outer", body: inner });
    await appendAll(first, ["last"]);
    await first.close();
    const [name = ""] = await segments(directory);
    const bytes = await readFile(join(directory, name));
    const length = segmentHeaderBytes + 8;
    bytes.writeUInt8(bytes.readUInt8(length) ^ 1, length);
    await writeFile(join(directory, name), bytes);
    expect(ids(await openOutbox(directory))).toEqual(["last"]);
  });

  test("of zeros, as a crash of the machine may leave a new file, is taken as empty", async () => {
    await placeSegment(directory, Buffer.alloc(4096));
    const outbox = await openOutbox(directory);
    expect(outbox.pending()).toEqual([]);
    await outbox.close();
    expect(await segments(directory)).toEqual([]);
  });

  test("of an unknown version is named and left untouched, and so are the others", async () => {
    const torn = (await recordSegment()).subarray(0, -3);
    const newer = Buffer.from(torn);
    newer.writeUInt32LE(2, 8);
    await placeSegment(directory, torn);
    await writeFile(join(directory, "results-0000000002.outbox"), newer);
    const error = await openOutbox(directory).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OutboxError);
    expect(error).toMatchObject({
      code: "OUTBOX_UNKNOWN_VERSION",
      message: expect.stringMatching(/results-0000000002\.outbox has format version 2/),
      suggestion: expect.stringContaining("version of Muster"),
    });
    expect(await readdir(directory)).toEqual(["results-0000000001.outbox", "results-0000000002.outbox"]);
    expect((await readFile(join(directory, "results-0000000001.outbox"))).equals(torn)).toBe(true);
    expect((await readFile(join(directory, "results-0000000002.outbox"))).equals(newer)).toBe(true);
  });

  /** A segment of the recorded ids without the zeros behind them, as bytes; the directory is empty again. */
  async function recordSegment(): Promise<Buffer> {
    const outbox = await openOutbox(directory);
    await appendAll(outbox, recorded);
    await outbox.close();
    const bytes = await onlySegment(directory);
    await rm(directory, { recursive: true });
    const contents = decodeSegment(bytes);
    if (contents.kind !== "records") throw new Error("the recorded segment cannot be read");
    return bytes.subarray(0, contents.endBytes);
  }
});

describe("kill -9", () => {
  test("loses nothing that was reported durable, boot after boot", { timeout: 60_000 }, async () => {
    const reported = new Set<string>();
    for (let boot = 0; boot < 8; boot += 1) {
      const child = startChild(
        directory,
        `
        const outbox = await Outbox.open({ directory, signal: new AbortController().signal });
        for (let n = 0; ; n += 1) {
          const batch = Array.from({ length: 1 + (n % 50) }, (_, i) => "boot${boot}-" + n + "-" + i);
          await Promise.all(batch.map(async (resultId) => {
            await outbox.append({ resultId, body: Buffer.alloc(1 + (n * 37) % 3000, resultId) });
            process.stdout.write(resultId + "\\n");
          }));
        }
      `,
      );
      await child.count(50 + 137 * boot);
      child.process.kill("SIGKILL");
      for (const id of await child.output) reported.add(id);
    }
    const outbox = await openOutbox(directory);
    const kept = new Map(outbox.pending().map(({ resultId, body }) => [resultId, body]));
    expect([...reported].filter((id) => !kept.has(id))).toEqual([]);
    for (const [id, body] of kept) expect(Buffer.from(body).equals(Buffer.alloc(body.length, id))).toBe(true);
    expect(reported.size).toBeGreaterThan(4000);
    outbox.acknowledge([...kept.keys()]);
    await outbox.close();
    expect(await readdir(directory)).toEqual([]);
  });

  // MUSTER_KILLS=500 for a long run.
  test("at any moment, over and over, accepts nothing torn and brings nothing back", {
    timeout: 600_000,
  }, async () => {
    const kills = Number(process.env["MUSTER_KILLS"] ?? 12);
    let pending = new Set<string>();
    for (let boot = 0; boot < kills; boot += 1) {
      const child = startChild(
        directory,
        `
        const { writeSync } = await import("node:fs");
        // At once, unlike process.stdout, which keeps what a full pipe does not take.
        const say = (line) => writeSync(1, line + "\\n");
        const outbox = await Outbox.open({ directory, signal: new AbortController().signal });
        const earlier = outbox.pending().map(({ resultId }) => resultId);
        say("open");
        for (let n = 0; ; n += 1) {
          const resultId = "boot${boot}-" + n;
          await outbox.append({ resultId, body: Buffer.alloc(1 + (n * 137) % 2000, resultId) });
          say("+" + resultId);
          const done = earlier.shift();
          if (done === undefined) continue;
          say("-" + done);
          outbox.acknowledge([done]);
        }
      `,
      );
      await child.count(1 + ((boot * 7) % 40));
      child.process.kill("SIGKILL");
      const lines = await child.output;
      const outbox = await openOutbox(directory);
      const kept = new Map(outbox.pending().map(({ resultId, body }) => [resultId, body]));
      const durable = lines.filter((text) => text.startsWith("+")).map((text) => text.slice(1));
      const acknowledged = new Set(lines.filter((text) => text.startsWith("-")).map((text) => text.slice(1)));
      const due = [...pending, ...durable].filter((id) => !acknowledged.has(id));
      expect(due.filter((id) => !kept.has(id))).toEqual([]);
      for (const [id, body] of kept) {
        expect(Buffer.from(body).equals(Buffer.alloc(body.length, id))).toBe(true);
        // Of this boot, or pending before: what was acknowledged two boots ago is gone for good.
        expect(id.startsWith(`boot${boot}-`) || pending.has(id)).toBe(true);
      }
      pending = new Set(kept.keys());
      await outbox.close();
    }
  });
});

async function placeSegment(directory: string, bytes: Uint8Array): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory);
  await writeFile(join(directory, "results-0000000001.outbox"), bytes);
}

/** Where each record of a segment ends, by its length fields alone. */
function recordEnds(segment: Buffer): number[] {
  const ends: number[] = [];
  for (let at = segmentHeaderBytes; at < segment.length; at = ends.at(-1) ?? segment.length)
    ends.push(at + 12 + segment.readUInt32LE(at + 8));
  return ends;
}

function withoutZeros(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.findLastIndex((byte) => byte !== 0) + 1);
}
