import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { LeaseRefSchema } from "@muster/client/v1/job_service";
import type { ReportItem } from "@muster/client/v1/link";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { ReportBody } from "../../../worker/engine/messages.ts";
import { ReportBuffer } from "../../../worker/engine/report-buffer.ts";
import { SpillFolder } from "../../../worker/engine/spill.ts";
import { WorkerBench } from "../../support/worker-bench.ts";

const mebibyte = 1024 * 1024;
const lineBytes = 8 * 1024;
let directory: string;

beforeEach(async () => {
  const root = await mkdtemp(join(tmpdir(), "muster-spill-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  directory = join(root, "spill");
});

const line = (n: number): ReportBody => {
  const text = `${n} `.padEnd(lineBytes, "x");
  return { kind: "log", stream: "stdout", level: "info", text };
};

/** The buffer of one attempt, as an engine uses it; what is said is acknowledged only when the test asks. */
function attempt(spill: SpillFolder | undefined) {
  const limits = { windowBytes: 256 * 1024, waitingBytes: 2 * mebibyte, spill };
  let wake = () => {};
  const buffer = new ReportBuffer(create(LeaseRefSchema), 0, limits, () => wake());
  const items: ReportItem[] = [];
  const take = () => buffer.take(items, mebibyte, 0);
  /** Acknowledges all that comes until nothing is left. */
  const drain = async () => {
    while (!buffer.isEmpty) {
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const isTaken = take() > 0;
      buffer.acknowledge(Number(items.at(-1)?.sequence ?? 0n));
      if (!isTaken && !buffer.isEmpty && take() === 0) await changed;
    }
  };
  onTestFinished(async () => await buffer.close());
  return { buffer, items, take, drain };
}

/** Records that came, by number, and those that a gap stands for. */
function accountOf(items: readonly ReportItem[]) {
  const lines: number[] = [];
  const missing: number[] = [];
  let next = 1;
  for (const { sequence, body } of items) {
    if (body.case === "gap") {
      const { fromSequence, toSequence } = body.value;
      expect(Number(fromSequence)).toBe(next);
      expect(sequence).toBe(toSequence);
      for (; next <= Number(toSequence); next++) missing.push(next);
      continue;
    }
    expect(Number(sequence)).toBe(next);
    if (body.case === "log") expect(body.value.text.startsWith(`${next} `)).toBe(true);
    lines.push(next++);
  }
  return { lines, missing };
}

const roomy = { fileBytes: 64 * mebibyte, totalBytes: 1024 * mebibyte };

describe("what a handler says faster than it is taken", () => {
  test("waits on disk: nothing is lost, in order, and nothing is left", async () => {
    const { buffer, items, take, drain } = attempt(await SpillFolder.open(directory, roomy));
    const count = (8 * mebibyte) / lineBytes;
    for (let n = 1; n <= count; n++) {
      buffer.push(line(n));
      if (n % 100 === 0) take();
    }
    await drain();
    const { lines, missing } = accountOf(items);
    expect(missing).toEqual([]);
    expect(lines).toHaveLength(count);
    expect(buffer.lastSequence).toBe(count);
    await buffer.close();
    expect(await readdir(directory)).toEqual([]);
  });

  test("is in files for nobody else", async () => {
    const { buffer, drain } = attempt(await SpillFolder.open(directory, roomy));
    for (let n = 1; n <= 400; n++) buffer.push(line(n));
    while ((await readdir(directory).catch(() => [])).length === 0) await new Promise(setImmediate);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    const [name = ""] = await readdir(directory);
    expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
    await drain();
  });

  test("needs no file while memory is enough", async () => {
    const { buffer, items, drain } = attempt(await SpillFolder.open(directory, roomy));
    for (let n = 1; n <= 60; n++) buffer.push(line(n));
    await drain();
    expect(accountOf(items).lines).toHaveLength(60);
    await buffer.close();
    await expect(readdir(directory)).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("is written and read at once, over and over, in the same room", async () => {
    const limits = { fileBytes: 2 * mebibyte, totalBytes: 1024 * mebibyte };
    const folder = await SpillFolder.open(directory, limits);
    const { buffer, items, drain } = attempt(folder);
    let said = 0;
    for (let round = 0; round < 8; round++) {
      for (let n = 0; n < 280; n++) buffer.push(line(++said));
      await drain();
    }
    const { lines, missing } = accountOf(items);
    expect(missing).toEqual([]);
    expect(lines).toHaveLength(said);
    expect(folder.usedBytes).toBe(0);
  });

  test.each([
    ["its file", { fileBytes: 4 * mebibyte, totalBytes: 1024 * mebibyte }],
    ["the worker's disk space", { fileBytes: 64 * mebibyte, totalBytes: 4 * mebibyte }],
  ])("gives way to one gap, the oldest on disk first, beyond %s", async (_, limits) => {
    const folder = await SpillFolder.open(directory, limits);
    const { buffer, items, drain } = attempt(folder);
    const count = (12 * mebibyte) / lineBytes;
    for (let n = 1; n <= count; n++) {
      buffer.push(line(n));
      // The disk keeps up.
      if (n % 16 === 0) await buffer.flushed();
    }
    expect(folder.usedBytes).toBeLessThanOrEqual(4 * mebibyte);
    await drain();
    const { lines, missing } = accountOf(items);
    expect(items.filter(({ body }) => body.case === "gap")).toHaveLength(1);
    expect(lines.length + missing.length).toBe(count);
    expect(lines.length * lineBytes).toBeGreaterThan(4 * mebibyte);
    expect(lines.at(-1)).toBe(count);
  });

  test("costs nothing of what the disk has, when it comes faster than the disk takes it", async () => {
    const { buffer, items, drain } = attempt(await SpillFolder.open(directory, roomy));
    const kept = (8 * mebibyte) / lineBytes;
    for (let n = 1; n <= kept; n++) {
      buffer.push(line(n));
      if (n % 16 === 0) await buffer.flushed();
    }
    // In one turn of the loop nothing is written.
    const count = (40 * mebibyte) / lineBytes;
    for (let n = kept + 1; n <= count; n++) buffer.push(line(n));
    await drain();
    const { lines, missing } = accountOf(items);
    expect(lines.length + missing.length).toBe(count);
    expect(missing.length).toBeGreaterThan(0);
    expect(Math.min(...missing)).toBeGreaterThan((20 * mebibyte) / lineBytes);
    expect(items.filter(({ body }) => body.case === "gap")).toHaveLength(1);
    expect(lines.at(-1)).toBe(count);
  });

  test("gives way to a gap when the disk fails, and goes on", async () => {
    const folder = await SpillFolder.open(directory, roomy);
    // Where the folder should be is a file.
    await writeFile(directory, "");
    const { buffer, items, drain } = attempt(folder);
    for (let n = 1; n <= 1000; n++) {
      buffer.push(line(n));
      if (n % 16 === 0) await buffer.flushed();
    }
    await drain();
    for (let n = 1001; n <= 1010; n++) buffer.push(line(n));
    await drain();
    const { lines, missing } = accountOf(items);
    expect(lines.length + missing.length).toBe(1010);
    expect(lines.slice(-10)).toEqual(Array.from({ length: 10 }, (_, n) => 1001 + n));
    expect(missing.length).toBeGreaterThan(0);
    expect(folder.usedBytes).toBe(0);
  });

  test("keeps values of every kind", async () => {
    const { buffer, items, drain } = attempt(await SpillFolder.open(directory, roomy));
    for (let n = 1; n <= 300; n++) buffer.push(line(n));
    buffer.push({ kind: "partial", data: Buffer.from([0, 1, 255]) });
    buffer.push({ kind: "message", text: "größer als 🙂" });
    for (let n = 303; n <= 400; n++) buffer.push(line(n));
    await buffer.flushed();
    await drain();
    const content = items[300]?.body.case === "partial" ? items[300].body.value.content.value : undefined;
    expect(Buffer.from(content instanceof Uint8Array ? content : [])).toEqual(Buffer.from([0, 1, 255]));
    expect(items[301]?.body.value).toBe("größer als 🙂");
  });
});

test("what an earlier boot left on disk is removed", async () => {
  const { buffer } = attempt(await SpillFolder.open(directory, roomy));
  for (let n = 1; n <= 400; n++) buffer.push(line(n));
  await buffer.flushed();
  expect(await readdir(directory)).toHaveLength(1);
  await SpillFolder.open(directory, roomy);
  await expect(readdir(directory)).rejects.toMatchObject({ code: "ENOENT" });
});

test("a worker loses no log while its coordinator acknowledges none, and leaves no file", async () => {
  await using bench = await WorkerBench.open();
  bench.peer.behaviour.acksReports = false;
  const count = (8 * mebibyte) / lineBytes;
  const stateDir = join(bench.directory, "state");
  const worker = bench.worker({
    stateDir,
    handlers: {
      noop: (ctx) => {
        for (let n = 1; n <= count; n++) ctx.log.stdout(`${n} `.padEnd(lineBytes - 1, "x").concat("\n"));
      },
    },
  });
  await worker.start();
  const lease = bench.peer.lease();
  bench.peer.offer(lease);
  const result = await bench.peer.resultOf(lease.lease.leaseId);
  bench.peer.behaviour.acksReports = true;
  bench.peer.link.end();
  const items = () =>
    bench.peer.received.flatMap(({ link, request: { frame } }) =>
      frame.case === "report" && link === bench.peer.links[1] ? frame.value.items : [],
    );
  await bench.peer.until(() => items().at(-1)?.sequence === result.lastSequence);
  const { lines, missing } = accountOfText(items());
  expect(missing).toBe(0);
  expect(lines).toEqual(Array.from({ length: count }, (_, n) => n + 1));
  await worker.stop({ graceMs: 0 });
  await expect(readdir(join(stateDir, "spill"))).rejects.toMatchObject({ code: "ENOENT" });
});

/** The numbers of the lines, however they were cut into records; the records' own numbers rise by one. */
function accountOfText(items: readonly ReportItem[]): { lines: number[]; missing: number } {
  let text = "";
  let missing = 0;
  for (const [index, { sequence, body }] of items.entries()) {
    expect(Number(sequence)).toBe(index + 1);
    if (body.case === "log") text += body.value.text;
    else missing += 1;
  }
  return { lines: [...text.matchAll(/(\d+) x+\n/g)].map(([, n]) => Number(n)), missing };
}
