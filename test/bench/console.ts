import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import postgres from "postgres";
import type { FrameLine } from "../../tui/top/shell/frame-log.ts";
import { startOwnPostgres } from "../support/own-postgres.ts";
import { type Child, startChild } from "./child.ts";
import { sharedMs } from "./clock.ts";
import { median, quantile, round } from "./figures.ts";
import { noopSpec } from "./peers/muster.ts";
import { cpuMicrosOf, memoryOf } from "./process-usage.ts";
import { benchPayload } from "./seen.ts";
import { countTallFrames } from "./tall-frames.ts";
import { openTerminalClient, type TerminalClient } from "./terminal-client.ts";

/** How much is measured. */
export interface ConsoleOptions {
  /** Jobs that wait, for whom there is no worker. */
  readonly jobs: number;
  /** Changes of state a second, of other jobs. */
  readonly changes: number;
  /** Seconds under load. */
  readonly seconds: number;
  readonly columns: number;
  readonly rows: number;
  /** Starts; the middle one counts. */
  readonly starts: number;
  readonly log: (line: string) => void;
}

const idleSeconds = 10;
const keyEveryMs = 150;
const muster = fileURLToPath(new URL("../../tui/bin/muster.js", import.meta.url));
const waitingKind = "bench.wait";

/**
 * `npm run bench -- console`: `muster top` on its jobs, the built program in a terminal of its own, against a
 * coordinator with many jobs, workers and a Postgres: how soon it is there, what it costs while nothing changes, and
 * how long frames and keys take while jobs change all the time.
 */
export async function benchConsole(options: ConsoleOptions): Promise<Record<string, number | string>> {
  const { log, rows } = options;
  const folder = mkdtempSync(join(tmpdir(), "muster-bench-"));
  chmodSync(folder, 0o755);
  const framesFile = join(folder, "frames.jsonl");
  const terminal = await openTerminalClient(options.columns, rows);
  const database = await startOwnPostgres();
  const sql = postgres(database.url, { max: 1, onnotice: () => {} });
  const children: Child[] = [];
  try {
    const coordinator = await startChild("./coordinator-process.ts", {
      dataDir: join(folder, "data"),
      databaseUrl: database.url,
      secret: randomBytes(24).toString("hex"),
    });
    children.push(coordinator);
    const address = String(coordinator.ready["apiAddress"]);
    const key = String(coordinator.ready["key"]);
    await startWorkers({ coordinator, address, key, folder, children });
    await submitWaiting({ address, key }, options.jobs);
    log(`${options.jobs} jobs wait`);

    const tall = countTallFrames(rows);
    const home = join(folder, "home");
    mkdirSync(home);
    const started = await startConsole(terminal, options.starts, {
      MUSTER_ADDRESS: address,
      MUSTER_API_KEY: key,
      MUSTER_TOP_FRAMES: framesFile,
      HOME: home,
      LANG: "C.UTF-8",
    });
    terminal.onOutput(tall.add);
    const pid = await terminal.pid();
    log(`started in ${round(started.startMs, 0)} ms`);

    await sleep(3_000);
    const idleMicros = await cpuDuring(pid, idleSeconds);
    const idleRss = memoryOf(pid).rssBytes;

    const producer = await startChild("./producer-process.ts", {
      peer: "muster",
      options: { url: address, queue: "", key },
    });
    children.push(producer);
    const changesPerJob = await calibrate(sql, producer, options.changes);
    await producer.call("pace", { perSecond: options.changes / changesPerJob });
    await sleep(3_000);
    const fromMs = sharedMs();
    const before = { changes: await changesOf(sql), cpu: cpuMicrosOf(pid) };
    const presses = await pressKeys(terminal, options.seconds);
    await sleep(500);
    const toMs = sharedMs();
    const seconds = (toMs - fromMs) / 1_000;
    const changed = ((await changesOf(sql)) - before.changes) / seconds;
    const loadedCpu = (cpuMicrosOf(pid) - before.cpu) / 10_000 / seconds;
    log(await terminal.screen());
    await producer.call("halt");
    const { rssBytes, peakRssBytes } = memoryOf(pid);

    const all = framesOf(framesFile, started.lastAskedMs);
    const frames = all.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
    const keyMs = keyTimes(presses, all);
    const at = (values: readonly number[], q: number) => round(quantile(values, q), 2);
    const work = frames.map(({ workMs }) => workMs);
    const cpu = frames.map(({ cpuMs }) => cpuMs);
    return {
      frameP95Ms: at(work, 0.95),
      keyP95Ms: at(keyMs, 0.95),
      idleCpuPercent: round(idleMicros / 10_000 / idleSeconds, 2),
      rssMb: megabytes(rssBytes),
      startMs: round(started.startMs, 0),
      tallFrames: tall.count(),
      frameP50Ms: at(work, 0.5),
      frameCpuP50Ms: at(cpu, 0.5),
      frameCpuP95Ms: at(cpu, 0.95),
      keyP50Ms: at(keyMs, 0.5),
      frames: frames.length,
      keys: keyMs.length,
      loadedCpuPercent: round(loadedCpu, 1),
      idleRssMb: megabytes(idleRss),
      peakRssMb: megabytes(peakRssBytes),
      startCpuMs: round(started.cpuMs, 0),
      changesPerSecond: Math.round(changed),
      jobs: options.jobs,
      size: `${options.columns}x${rows}`,
      against: "a coordinator with its workers and Postgres",
      load1: round(loadavg()[0] ?? 0, 1),
    };
  } finally {
    await terminal.close();
    for (const child of children.reverse()) await child.stop();
    await sql.end();
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function startWorkers(given: {
  readonly coordinator: Child;
  readonly address: string;
  readonly key: string;
  readonly folder: string;
  readonly children: Child[];
}): Promise<void> {
  const { coordinator, address, key, folder, children } = given;
  const admin = createMusterClient(WorkerAdminService, { address, key });
  const keys: string[] = [];
  for (let n = 0; n < 10; n++) keys.push((await admin.createWorker({ name: `bench-${n}` })).key);
  const workers = await startChild("./workers-process.ts", {
    address: coordinator.ready["workerAddress"],
    keys,
    slots: 20,
    skills: [],
    folder: join(folder, "workers"),
    from: -1,
    to: -1,
  });
  children.push(workers);
  await workers.call("start");
}

async function submitWaiting(client: { address: string; key: string }, jobs: number): Promise<void> {
  const batches = createMusterClient(BatchService, client);
  const spec = { ...noopSpec(benchPayload()), kind: waitingKind };
  for (let left = jobs; left > 0; left -= 1_000) {
    await batches.submitBatch({ jobs: Array.from({ length: Math.min(1_000, left) }, () => spec) });
  }
}

// From the order to start it to its list of jobs on the screen. The last one goes on.
async function startConsole(
  terminal: TerminalClient,
  starts: number,
  environment: Readonly<Record<string, string>>,
): Promise<{ readonly startMs: number; readonly cpuMs: number; readonly lastAskedMs: number }> {
  const times: number[] = [];
  const cpuMs: number[] = [];
  let lastAskedMs = 0;
  for (let n = 0; n < starts; n++) {
    const shown = terminal.saw(waitingKind, 30_000).catch(async (error) => {
      throw new Error(`${error.message}:\n${await terminal.screen()}`);
    });
    lastAskedMs = await terminal.run(`${process.execPath} ${muster} top --view jobs`, environment);
    times.push((await shown) - lastAskedMs);
    cpuMs.push(cpuMicrosOf(await terminal.pid()) / 1_000);
    await sleep(1_000);
  }
  return { startMs: median(times), cpuMs: median(cpuMs), lastAskedMs };
}

async function cpuDuring(pid: number, seconds: number): Promise<number> {
  const before = cpuMicrosOf(pid);
  await sleep(seconds * 1_000);
  return cpuMicrosOf(pid) - before;
}

// How often a job changes its state on its way depends on how much a flush of the coordinator takes together.
async function calibrate(sql: postgres.Sql, producer: Child, changes: number): Promise<number> {
  const before = await changesOf(sql);
  await producer.call("pace", { perSecond: changes / 3 });
  await sleep(3_000);
  const { submitted } = await producer.call("halt");
  await sleep(500);
  return Math.max(1, ((await changesOf(sql)) - before) / Number(submitted));
}

async function changesOf(sql: postgres.Sql): Promise<number> {
  const [row] = await sql<{ count: string }[]>`
    select coalesce(sum(cardinality(job_ids)), 0)::text as count from muster.changes`;
  return Number(row?.count ?? 0);
}

// Down the list and up again; what is pressed, and when.
async function pressKeys(terminal: TerminalClient, seconds: number): Promise<number[]> {
  const presses: number[] = [];
  const endMs = sharedMs() + seconds * 1_000;
  while (sharedMs() < endMs) {
    presses.push(terminal.press(presses.length % 20 < 10 ? "j" : "k"));
    // Not in step with the frames.
    await sleep(keyEveryMs + Math.random() * 100);
  }
  return presses;
}

// From a key to the end of the first frame that shows it.
function keyTimes(presses: readonly number[], frames: readonly FrameLine[]): number[] {
  return presses.flatMap((askedMs, n) => {
    const shown = frames.find(({ keys }) => keys > n);
    return shown === undefined ? [] : [shown.atMs - askedMs];
  });
}

function framesOf(file: string, fromMs: number): FrameLine[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line): FrameLine => JSON.parse(line))
    .filter(({ atMs }) => atMs >= fromMs);
}

function megabytes(bytes: number): number {
  return round(bytes / 1_048_576, 1);
}
