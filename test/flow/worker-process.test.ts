import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createMusterClient } from "@muster/client/node";
import { AttemptOutcome, JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { ResultStatus } from "@muster/client/v1/link";
import { WorkerService } from "@muster/client/v1/worker_service";
import { afterEach, describe, expect, test, vi } from "vitest";
import { PendingResults } from "../../worker/engine/pending-results.ts";
import { Outbox } from "../../worker/outbox.ts";
import { readAllResults } from "../../worker/outbox-retention.ts";
import { readProcess } from "../../worker/process-table.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { startDaemon } from "../support/daemon.ts";
import { openSwitch, type Switch } from "../support/switch.ts";

// Processes start, and some wait for real silence.
vi.setConfig({ testTimeout: 60_000 });

let muster: TestServer;
let gate: Switch | undefined;

afterEach(async () => {
  await muster.close();
  await gate?.close();
  gate = undefined;
});

const quick = { heartbeatMs: 200, staleMs: 600, reclaimAfterMs: 1_200, outageGraceMs: 0 };

async function submit(kind: string, payload: unknown): Promise<string> {
  const content = { case: "data" as const, value: Buffer.from(JSON.stringify(payload)) };
  return (await muster.client(JobService).submitJob({ job: { kind, payload: { content } } })).jobId;
}

/** A program of `sh`; `$0` is the folder of the server. */
const shell = (script: string) => submit("shell.run", { argv: ["sh", "-c", script, muster.folder] });

const counters = async (jobId: string) => {
  const { job } = await muster.client(JobService).getJob({ jobId });
  return { state: job?.state, failures: job?.failures, losses: job?.losses, releases: job?.releases };
};

async function pidIn(name: string): Promise<number> {
  const read = async () => Number((await readFile(join(muster.folder, name), "utf8").catch(() => "")).trim());
  await expect.poll(read, { timeout: 10_000, interval: 10 }).toBeGreaterThan(0);
  return read();
}

const isDead = (pid: number) => readProcess(pid)?.isDead ?? true;

describe("a daemon that is killed", () => {
  test("and started again has killed what it left before the job runs again", async () => {
    muster = await startTestServer({ ...quick, reclaimAfterMs: 60_000 });
    const key = await muster.workerKey();
    const first = await startDaemon(muster, "state", { key });
    // The second attempt says whether the processes of the first, one that ignores SIGTERM among them, still run.
    const jobId = await shell(`
      if [ -f "$0/child" ]; then
        for pid in $(cat "$0/leader" "$0/child"); do
          state=$(cut -d " " -f 3 /proc/$pid/stat 2>/dev/null)
          case "$state" in Z | X | "") ;; *) echo "$pid runs" ;; esac
        done
        echo looked; exit
      fi
      sh -c 'trap "" TERM; echo $$ > "$0/child.new"; mv "$0/child.new" "$0/child"; while :; do sleep 1; done' "$0" &
      echo $$ > "$0/leader"; wait`);
    const child = await pidIn("child");
    first.process.kill("SIGKILL");
    await first.exit;
    expect(isDead(child)).toBe(false);
    await startDaemon(muster, "state", { key });
    const job = await muster.reach(jobId, JobState.SUCCEEDED);
    expect(job).toMatchObject({ attempt: 2, losses: 1, failures: 0 });
    const content = job.result?.content;
    const result = Buffer.from(content?.case === "data" ? content.value : []).toString();
    expect(JSON.parse(result)).toMatchObject({ stdoutTail: "looked\n" });
    expect(isDead(child)).toBe(true);
  });
});

describe("a daemon that is told to stop", () => {
  test("lets what can end end, and gives the rest back before its machine is gone", async () => {
    muster = await startTestServer(quick);
    const key = await muster.workerKey();
    const daemon = await startDaemon(muster, "state", { key, drainDeadlineMs: 21_500 });
    const short = await shell('echo $$ > "$0/short"; while [ ! -f "$0/go" ]; do sleep 0.02; done');
    const long = await shell('echo $$ > "$0/long"; sleep 600');
    await pidIn("short");
    const pid = await pidIn("long");
    daemon.process.kill("SIGTERM");
    await daemon.line(({ message }) => String(message).startsWith("draining"));
    await writeFile(join(muster.folder, "go"), "");
    expect(await daemon.exit).toBe(0);
    expect(isDead(pid)).toBe(true);
    expect(await counters(short)).toEqual({
      state: JobState.SUCCEEDED,
      failures: 0,
      losses: 0,
      releases: 0,
    });
    expect(await counters(long)).toMatchObject({ failures: 0, losses: 0, releases: 1 });
  });

  test("gives everything back at once on a second signal", async () => {
    muster = await startTestServer(quick);
    const daemon = await startDaemon(muster, "state", { key: await muster.workerKey() });
    const jobId = await shell('echo $$ > "$0/long"; sleep 600');
    const pid = await pidIn("long");
    daemon.process.kill("SIGTERM");
    await daemon.line(({ message }) => String(message).startsWith("draining"));
    daemon.process.kill("SIGTERM");
    expect(await daemon.exit).toBe(143);
    expect(isDead(pid)).toBe(true);
    const { attempts } = await muster.client(JobService).listAttempts({ jobId });
    expect(attempts.map(({ outcome }) => outcome)).toEqual([AttemptOutcome.RELEASED]);
    expect(await counters(jobId)).toMatchObject({ failures: 0, losses: 0, releases: 1 });
  });
});

test("results of a worker that was killed get in by a call alone, once", async () => {
  muster = await startTestServer({ ...quick, reclaimAfterMs: 60_000 });
  gate = await openSwitch(muster.server.workerAddress);
  const key = await muster.workerKey();
  const daemon = await startDaemon(muster, "state", { key, address: gate.address, transport: "stream" });
  const jobId = await shell('echo $$ > "$0/leader"; while [ ! -f "$0/go" ]; do sleep 0.02; done; echo once');
  await pidIn("leader");
  await muster.reach(jobId, JobState.RUNNING);
  gate.pointTo(null);
  gate.cut();
  await daemon.line(({ message }) => message === "not attached");
  await writeFile(join(muster.folder, "go"), "");
  const directory = join(muster.folder, "state", "outbox");
  await expect.poll(() => readAllResults(directory), { timeout: 10_000, interval: 20 }).toHaveLength(1);
  daemon.process.kill("SIGKILL");
  await daemon.exit;
  await using outbox = await Outbox.open({ directory, signal: new AbortController().signal });
  const results = new PendingResults(outbox, "").take(1024 * 1024, 0);
  const calls = createMusterClient(WorkerService, { address: muster.server.apiAddress, key });
  const statuses = [];
  for (let n = 0; n < 2; n++) {
    const { ack } = await calls.submitResults({ results: results ?? {} });
    statuses.push(ack?.items.map(({ status }) => status));
  }
  expect(statuses).toEqual([[ResultStatus.COMMITTED], [ResultStatus.DUPLICATE]]);
  expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
});

describe("a worker that was away for too long", () => {
  test("kills its superseded job within a second after it was frozen", async () => {
    muster = await startTestServer(quick);
    const frozen = await startDaemon(muster, "state", { key: await muster.workerKey() });
    const script = 'trap "" TERM; echo $$ > "$0/stubborn"; while :; do sleep 0.1; done';
    const jobId = await shell(script);
    const pid = await pidIn("stubborn");
    await muster.reach(jobId, JobState.RUNNING);
    frozen.process.kill("SIGSTOP");
    const frozenAtMs = performance.now();
    await muster.startWorker({ handlers: { "shell.run": () => "elsewhere" } });
    expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 2, losses: 1 });
    const isLong = () => performance.now() - frozenAtMs > 3 * quick.reclaimAfterMs;
    await expect.poll(isLong, { timeout: 10_000 }).toBe(true);
    expect(isDead(pid)).toBe(false);
    frozen.process.kill("SIGCONT");
    const thawedAtMs = performance.now();
    await expect.poll(() => isDead(pid), { timeout: 10_000, interval: 5 }).toBe(true);
    expect(performance.now() - thawedAtMs).toBeLessThan(1_000);
    expect(await counters(jobId)).toMatchObject({ state: JobState.SUCCEEDED, losses: 1 });
  });

  test("delivers its result late: superseded, and kept", async () => {
    muster = await startTestServer(quick);
    gate = await openSwitch(muster.server.workerAddress);
    const started = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    await muster.startWorker({
      address: gate.address,
      transport: "stream",
      handlers: {
        slow: async () => {
          started.resolve();
          await go.promise;
          return "late";
        },
      },
    });
    const jobId = await submit("slow", {});
    await started.promise;
    await muster.reach(jobId, JobState.RUNNING);
    gate.pointTo(null);
    gate.cut();
    go.resolve();
    await muster.startWorker({ handlers: { slow: () => "in time" } });
    await muster.reach(jobId, JobState.SUCCEEDED);
    gate.pointTo(muster.server.workerAddress);
    const kept = async () =>
      (await muster.database.admin`select attempt from muster.late_results`).map((row) => ({ ...row }));
    await expect.poll(kept, { timeout: 15_000 }).toEqual([{ attempt: 1 }]);
    expect(await counters(jobId)).toMatchObject({ state: JobState.SUCCEEDED, losses: 1, failures: 0 });
  });
});

test("a handler that blocks its event loop for longer than the silence that loses leases loses nothing", async () => {
  muster = await startTestServer(quick);
  const daemon = await startDaemon(muster, "state", { key: await muster.workerKey() });
  const jobId = await submit("busy", 3 * quick.reclaimAfterMs);
  const job = await muster.reach(jobId, JobState.SUCCEEDED);
  expect(job).toMatchObject({ attempt: 1, losses: 0, failures: 0 });
  const warning = await daemon.line(({ message }) => String(message).includes("event loop"));
  expect(warning).toMatchObject({ level: "warn", attempts: `${jobId}#1` });
  expect(Number(warning["delayMs"])).toBeGreaterThan(2 * quick.reclaimAfterMs);
});
