import { type ExecFileException, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { JobState } from "@muster/client/v1/job";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ApiPeer, startApiPeer } from "../support/api-peer.ts";

const program = fileURLToPath(new URL("../../tui/bin/muster.js", import.meta.url));

let peer: ApiPeer;

beforeEach(async () => {
  peer = await startApiPeer();
});

afterEach(() => peer.close());

const env = () => ({
  PATH: process.env["PATH"] ?? "",
  HOME: "/nonexistent",
  MUSTER_ADDRESS: peer.address,
  MUSTER_API_KEY: peer.key,
});

function run(
  command: string,
  words: readonly string[],
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(command, words, { env: env() }, (error: ExecFileException | null, stdout, stderr) =>
      resolve({ exitCode: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

describe("the program", () => {
  test("runs, and ends with its exit code as soon as it is done", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.READY });
    const ran = await run(process.execPath, [program, "job", "list", "-o", "name"]);
    expect(ran).toEqual({ exitCode: 0, stdout: "job_1\n", stderr: "" });
    expect((await run(process.execPath, [program, "job", "get", "job_2"])).exitCode).toBe(3);
  });

  test("prints all of a long answer into a pipe, and takes it well when the reader has enough", async () => {
    for (let n = 0; n < 5_000; n++) peer.addJob({ jobId: `job_${n}`, state: JobState.READY });
    const list = `${process.execPath} ${program} job list --all --json`;
    const whole = await run("sh", ["-c", `${list} | wc -c`]);
    expect(Number(whole.stdout)).toBeGreaterThan(1_000_000);
    const cut = await run("sh", ["-c", `{ ${list}; echo "exit code $?" >&2; } | head -n 1`]);
    expect(cut).toEqual({ exitCode: 0, stdout: "{\n", stderr: "exit code 0\n" });
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("ends silently at %s with %i", async (signal, exitCode) => {
    peer.addJob({ jobId: "job_1", state: JobState.RUNNING });
    const child = spawn(process.execPath, [program, "job", "logs", "-f", "job_1"], {
      env: env(),
      stdio: "pipe",
    });
    const output: Buffer[] = [];
    child.stderr.on("data", (chunk: Buffer) => output.push(chunk));
    await peer.called("WatchJob", 1);
    child.kill(signal);
    expect(await once(child, "exit")).toEqual([exitCode, null]);
    expect(Buffer.concat(output).toString()).toBe("");
  });

  test("says which Node it needs when this one is too old", async () => {
    const older = `data:text/javascript,Object.defineProperty(process,"versions",{value:{node:"20.11.0"}})`;
    const ran = await run(process.execPath, ["--import", older, program, "version"]);
    expect(ran.exitCode).toBe(1);
    expect(ran.stderr).toMatch(/^error: muster needs Node 22\.12 or newer, and this is 20\.11\.0\n {2}fix: /);
  });
});
