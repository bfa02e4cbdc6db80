import { describe, expect, onTestFinished, test } from "vitest";
import { startChild } from "./child.ts";
import { areGone, findMarked, isRunning } from "./processes.ts";

function startWorkerWithoutSettings() {
  const child = startChild({
    name: "worker-1",
    program: "worker-process.ts",
    mark: "mark-of-a-test",
    settings: {},
  });
  onTestFinished(async () => {
    await child.kill();
  });
  return child;
}

describe("startChild", () => {
  test("says how a child ended that never was ready, and what it wrote", async () => {
    const child = startWorkerWithoutSettings();
    await expect(child.ready).rejects.toThrow("worker-1 exited with 2 before it was ready");
    expect(child.isRunning).toBe(false);
    expect(child.lastLines(20).join("\n")).toContain("error address");
  });

  test("is found by its mark, and gone after a kill", async () => {
    const child = startWorkerWithoutSettings();
    expect(await findMarked("mark-of-a-test", [])).toContain(child.pid);
    expect((await child.kill()).signal).toBe("SIGKILL");
    expect(child.isKilled).toBe(true);
    expect(await areGone([child.pid], 0)).toBe(true);
  });
});

test("knows itself to run, and an absent process not to", async () => {
  expect(await isRunning(process.pid)).toBe(true);
  expect(await isRunning(2 ** 22 + 1)).toBe(false);
});
