import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { Outbox } from "../../worker/outbox.ts";
import { readProcess } from "../../worker/process-table.ts";
import { appendAll, ids, newDirectory, openOutbox, startChild } from "./outbox-fixture.ts";

let directory: string;
beforeEach(async () => {
  directory = await newDirectory();
});

describe("a directory in use", () => {
  test("is refused to a second outbox, and free again after close", async () => {
    const outbox = await openOutbox(directory);
    await appendAll(outbox, ["a"]);
    const error = await openOutbox(directory).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "OUTBOX_IN_USE",
      message: expect.stringContaining(`process ${process.pid}`),
    });
    await appendAll(outbox, ["b"]);
    await outbox.close();
    expect(ids(await openOutbox(directory))).toEqual(["a", "b"]);
  });

  test("is refused while another process has it, and taken over when that was killed", async () => {
    const child = startChild(
      directory,
      `
      const outbox = await Outbox.open({ directory, signal: new AbortController().signal });
      await outbox.append({ resultId: "a", body: new Uint8Array(3) });
      console.log("open");
      setTimeout(() => {}, 60_000);
    `,
    );
    await child.line("open");
    await expect(openOutbox(directory)).rejects.toMatchObject({
      code: "OUTBOX_IN_USE",
      message: expect.stringContaining(`process ${child.process.pid}`),
    });
    child.process.kill("SIGKILL");
    await child.output;
    expect(ids(await openOutbox(directory))).toEqual(["a"]);
    expect((await readdir(directory)).filter((name) => name.startsWith("lock-"))).toHaveLength(1);
  });

  test("is not held by a process that only has the pid of the holder, nor by one before the host restarted", async () => {
    await mkdir(directory);
    const hostBootId = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
    const startTimeTicks = readProcess(process.pid)?.startTimeTicks;
    const otherBootId = "00000000-0000-0000-0000-000000000000";
    await writeFile(
      join(directory, `lock-${hostBootId}-${process.pid}-${Number(startTimeTicks) - 1}-ab`),
      "",
    );
    await writeFile(join(directory, `lock-${otherBootId}-${process.pid}-${startTimeTicks}-cd`), "");
    const outbox = await openOutbox(directory);
    await outbox.close();
    expect(await readdir(directory)).toEqual([]);
  });

  test("is held by one at most when many open it at once", async () => {
    for (let round = 0; round < 8; round += 1) {
      const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => openOutbox(directory)));
      const opened = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
      expect(opened.length).toBeLessThanOrEqual(1);
      for (const outbox of opened) await outbox.close();
    }
  });

  test("is not touched by an opening that is aborted", async () => {
    const signal = AbortSignal.abort(new Error("stopping"));
    await expect(Outbox.open({ directory, signal })).rejects.toThrow("stopping");
    expect(await readdir(dirname(directory))).toEqual([]);
  });
});
