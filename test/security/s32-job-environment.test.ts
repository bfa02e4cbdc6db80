import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { inheritedDescriptors } from "../../worker/inherited-descriptors.ts";
import { hasBwrap, isRoot, openShell } from "../support/isolated-shell.ts";
import { WorkerPeer } from "../support/worker-peer.ts";

const program = fileURLToPath(new URL("../../tui/bin/muster.js", import.meta.url));

// What a job looks for: its own environment, its parents', its descriptors, the worker's files and sockets.
const search = `env; echo ---
for pid in $PPID $(cut -d" " -f4 /proc/$PPID/stat); do tr "\\0" "\\n" < /proc/$pid/environ; done; echo ---
ls -l /proc/self/fd; echo ---
cat "$1/boot.json" "$1"/outbox/*; ls "$1"
exit 0`;

/** What such a job prints under a real `muster worker run`, that was started with secrets all around. */
async function searched(...flags: string[]) {
  await using peer = await WorkerPeer.start();
  const folder = await mkdtemp(join(tmpdir(), "muster-s32-"));
  const stateDir = join(folder, "state");
  // A descriptor that its own parent left open, past those that Node closes by itself.
  const leaked = openSync("/etc/hostname", "r");
  const started: ChildProcess = spawn(
    process.execPath,
    [
      program,
      "worker",
      "run",
      "--address",
      peer.address,
      "--state-dir",
      stateDir,
      "--job-env",
      "SHARED",
      ...flags,
    ],
    {
      env: {
        PATH: process.env["PATH"] ?? "",
        HOME: folder,
        MUSTER_WORKER_KEY: peer.key,
        DATABASE_URL: "postgres://canary:canary@db/canary",
        AWS_SECRET_ACCESS_KEY: "canary-aws",
        SHARED: "seen",
      },
      stdio: ["ignore", "ignore", "pipe", ...Array.from({ length: 27 }, () => leaked)],
    },
  );
  closeSync(leaked);
  let said = "";
  started.stderr?.on("data", (chunk) => {
    said += chunk;
  });
  const exited = new Promise((resolve) => started.once("exit", resolve));
  onTestFinished(async () => {
    started.kill("SIGKILL");
    await exited;
    await rm(folder, { recursive: true, force: true });
  });
  const payload = { argv: ["sh", "-c", `exec 2>&1; ${search}`, "sh", stateDir], outputTailBytes: 65_536 };
  const content = { case: "data" as const, value: Buffer.from(JSON.stringify(payload)) };
  const lease = peer.lease({ kind: "shell.run", payload: { content } });
  await new Promise<void>((resolve) => {
    started.stderr?.on("data", () => {
      if (said.includes("is attached")) resolve();
    });
  });
  peer.offer(lease);
  const { outcome } = await peer.resultOf(lease.lease.leaseId);
  const data = outcome.case === "success" ? outcome.value.result?.content.value : undefined;
  const tail: string = data instanceof Uint8Array ? JSON.parse(Buffer.from(data).toString()).stdoutTail : "";
  const [own = "", parents = "", descriptors = "", files = ""] = tail.split("---\n");
  return { own, parents, descriptors, files, said, pid: started.pid, key: peer.key, outcome };
}

const names = (env: string) => env.split("\n").flatMap((line) => /^([A-Z_]+)=/.exec(line)?.[1] ?? []);

describe("S32 a job's process knows nothing of its worker", () => {
  test("level none: no key, no address, no descriptor of it, in its environment or its parents'", async () => {
    const { own, parents, descriptors, key, said } = await searched();
    expect(said).not.toContain("can read the environment");
    expect(names(own).sort()).toEqual(
      [
        "HOME",
        "MUSTER_ATTEMPT",
        "MUSTER_IDEMPOTENCY_KEY",
        "MUSTER_JOB_ID",
        "MUSTER_MARK",
        "PATH",
        "PWD",
        "SHARED",
      ].sort(),
    );
    // The first parent is the worker: what it was started with does not show.
    expect(parents).toContain("MUSTER_ENVIRONMENT_FILE=");
    const all = own + parents.slice(0, parents.indexOf("MUSTER_ENVIRONMENT_FILE="));
    for (const secret of [key, "canary"]) expect(all).not.toContain(secret);
    expect([...descriptors.matchAll(/ (\d+) -> /g)].map(([, one]) => one)).toEqual(["0", "1", "2", "3"]);
  });

  test.skipIf(!isRoot)("level uid: nor in its files", async () => {
    const { parents, files, descriptors } = await searched("--isolation", "uid");
    expect(parents).toMatch(/Permission denied|cannot open/);
    expect(parents).not.toContain("=");
    expect(files.match(/Permission denied/g)?.length).toBeGreaterThanOrEqual(2);
    expect(files).not.toContain("bootId");
    expect([...descriptors.matchAll(/ (\d+) -> /g)].map(([, one]) => one)).toEqual(["0", "1", "2", "3"]);
  });

  test.skipIf(!hasBwrap)("level bwrap: they are not even there", async () => {
    const { parents, files, descriptors } = await searched("--isolation", "bwrap");
    expect(parents).not.toMatch(/canary|MUSTER_WORKER|ENVIRONMENT_FILE/);
    expect(files).toContain("No such file");
    expect([...descriptors.matchAll(/ (\d+) -> /g)].map(([, one]) => one)).toEqual(["0", "1", "2", "3"]);
  });

  test("a worker inside of another program passes nothing on either but what is allowed", async () => {
    await using shell = await openShell();
    const said = await shell.script("env | cut -d= -f1 | sort; ls -l /proc/self/fd");
    const left = inheritedDescriptors().map(String);
    const seen = [...said.matchAll(/ (\d+) -> /g)].map(([, descriptor]) => descriptor ?? "");
    expect(seen.filter((one) => !left.includes(one))).toEqual(["0", "1", "2", "3"]);
    expect(said.split("\n").filter((line) => /^[A-Z_]+$/.test(line))).toEqual([
      "HOME",
      "LC_ALL",
      "MUSTER_ATTEMPT",
      "MUSTER_IDEMPOTENCY_KEY",
      "MUSTER_JOB_ID",
      "MUSTER_MARK",
      "PATH",
      "PWD",
    ]);
  });
});
