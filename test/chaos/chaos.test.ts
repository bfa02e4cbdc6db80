import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { describeProcess, findMarked, killAll } from "../demo/processes.ts";
import type { FaultLine } from "./history.ts";

const program = fileURLToPath(new URL("chaos.ts", import.meta.url));

function startRun(folder: string) {
  const size = [
    "--jobs",
    "20000",
    "--seconds",
    "120",
    "--workers",
    "2",
    "--coordinators",
    "1",
    "--clients",
    "1",
  ];
  const run = spawn(process.execPath, [program, ...size, "--faults", "none", "--folder", folder], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = new Promise<number | null>((resolve) => run.once("exit", resolve));
  onTestFinished(async () => {
    run.kill("SIGKILL");
    await exited;
    killAll(await findMarked(folder, [folder]));
    rmSync(folder, { recursive: true, force: true });
  });
  return { exited, out: text(run.stdout), said: text(run.stderr) };
}

/** Waits for the process of a run that has all of these in its arguments. */
async function processOf(folder: string, ...words: readonly string[]): Promise<number> {
  for (;;) {
    for (const pid of await findMarked(folder, [])) {
      const line = readArguments(pid);
      if (words.every((word) => line.includes(word))) return pid;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function readArguments(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

function faultsOf(folder: string): FaultLine[] {
  const lines = readFileSync(join(folder, "faults.jsonl"), "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line));
}

test("a crash at the start is counted and made good; an error ends the run with a report and no process left", async () => {
  const folder = mkdtempSync(join(tmpdir(), "muster-chaos-test-"));
  const { exited, out, said } = startRun(folder);
  const doomed = await processOf(folder, "worker-process.ts", "chaos-1");
  process.kill(doomed, "SIGKILL");
  const client = await processOf(folder, "client-process.ts");
  expect(await processOf(folder, "worker-process.ts", "chaos-1")).not.toBe(doomed);
  await expect.poll(() => readFileSync(join(folder, "client-0.jsonl"), "utf8")).toContain("submitted");
  process.kill(client, "SIGKILL");

  expect(await exited).toBe(1);
  expect(await said).toContain("the run ends early: Error: client 0 ended before it was done");
  const last = (await out).trim().split("\n").at(-1) ?? "";
  expect(JSON.parse(last)).toMatchObject({ crashes: 2, error: "client 0 ended before it was done", lost: 0 });
  expect(faultsOf(folder).filter(({ type }) => type === "crash")).toMatchObject([
    { target: "chaos-1", detail: "SIGKILL before it was ready" },
    { target: "client 0", detail: "SIGKILL" },
  ]);
  const left = await findMarked(folder, [folder]);
  expect(await Promise.all(left.map(describeProcess))).toEqual([]);
}, 60_000);
