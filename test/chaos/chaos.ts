import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Child, startChild } from "./child.ts";
import { Cluster } from "./cluster.ts";
import { startDatabase } from "./database.ts";
import { doHarm } from "./faults.ts";
import { type FaultLine, openHistory } from "./history.ts";
import { type ChaosOptions, readOptions } from "./options.ts";
import { startProxies } from "./proxies.ts";
import { seededRandom } from "./random.ts";
import { judge, printJudgement, type RunFacts } from "./report.ts";
import { countLive, openAdmin, tailChanges, writeTables } from "./tail.ts";

/*
 * `npm run chaos`: real coordinators, workers, clients and Postgres, a fault proxy between all of them, and harm of
 * every sort while jobs are submitted. Then all is healed, the jobs come to their ends, and the checker reads what
 * everybody wrote down. The last line is one JSON object; the exit code is 1 when a promise was broken, a process
 * crashed, or the run ended early by an error.
 */

/** How long the jobs have to come to their ends after the last fault. */
const settleMs = 180_000;

const options = readOptions(process.argv.slice(2));
const folder = options.folder ?? mkdtempSync(join(tmpdir(), "muster-chaos-"));
mkdirSync(folder, { recursive: true });
chmodSync(folder, 0o755);
const startedMs = performance.now();
const facts = await runAll(options, folder);
const judgement = await judge(folder, options, { ...facts, ms: performance.now() - startedMs });
printJudgement(judgement, options);
if (options.isKept || options.folder !== null || !judgement.isRight) {
  process.stderr.write(`the history is in ${folder}\n`);
} else rmSync(folder, { recursive: true, force: true });
process.exit(judgement.isRight ? 0 : 1);

async function runAll(of: ChaosOptions, into: string): Promise<Omit<RunFacts, "ms">> {
  const faults = openHistory<FaultLine>(into, "faults");
  const submitting: Child[] = [];
  const harm = new AbortController();
  // The first signal ends the submission, and what was submitted is judged; the second ends all, as does what nobody
  // expected.
  const broken = new AbortController();
  let signals = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (++signals > 1) broken.abort(new Error("interrupted"));
      else for (const client of submitting) client.signal("SIGTERM");
    });
  }
  const unexpected = (error: Error) => broken.abort(error);
  process.on("uncaughtException", unexpected);
  const unlessBroken = <T>(promise: Promise<T>): Promise<T> =>
    Promise.race([promise, aborted(broken.signal)]);
  const endings: (() => Promise<unknown>)[] = [];
  let facts: Omit<RunFacts, "ms"> = { retries: 0, harm: {}, error: null };
  try {
    const crashed = (how: string) =>
      faults.write({ type: "crash", at: Date.now(), target: "postgres", detail: how });
    const database = await startDatabase(into, crashed);
    endings.unshift(() => database.stop());
    const admin = openAdmin(database.url);
    endings.unshift(() => admin.end({ timeout: 1 }));
    const proxies = startProxies(of.seed);
    endings.unshift(() => proxies.close());
    const cluster = new Cluster({ options: of, folder: into, database, proxies, faults });
    endings.unshift(() => cluster.stop());
    await unlessBroken(cluster.start());
    say(`${of.coordinators} coordinators and ${of.workers} workers run; seed ${of.seed}`);
    const tail = tailChanges(admin, into);
    const record = once(async () => {
      await tail.stop();
      await writeTables(admin, into);
    });
    const { healed, over } = doHarm({ cluster, admin, random: seededRandom(of.seed), signal: harm.signal });
    endings.unshift(async () => {
      harm.abort();
      await cluster.stop();
      await over;
      await record();
    });
    for (let index = 0; index < of.clients; index++) submitting.push(startClient(cluster, index));
    endings.unshift(() => Promise.all(submitting.map((client) => client.stop(0))));
    // Without any fault, or after the last one, the clients go on alone.
    const harmFailed = healed.then(() => new Promise<never>(() => {}));
    const retries = await unlessBroken(Promise.race([allDone(submitting), harmFailed]));
    facts = { ...facts, retries };
    say("all jobs are submitted; healing");
    harm.abort();
    await unlessBroken(healed);
    const live = await unlessBroken(settle(() => countLive(admin)));
    say(live === 0 ? "all jobs have ended" : `${live} jobs have not ended`);
    facts = { ...facts, harm: await proxies.counts() };
    await cluster.stop();
    await record();
  } catch (error) {
    facts = { ...facts, error: errorOf(error) };
    process.stderr.write(`the run ends early: ${errorOf(error).stack}\n`);
  }
  // All of them, whatever becomes of one; the first error is the one to tell.
  for (const end of endings) {
    await end().catch((error: unknown) => {
      facts = { ...facts, error: facts.error ?? errorOf(error) };
    });
  }
  faults.close();
  process.off("uncaughtException", unexpected);
  if (facts.error === null && broken.signal.aborted)
    facts = { ...facts, error: errorOf(broken.signal.reason) };
  return facts;
}

function startClient(cluster: Cluster, index: number): Child {
  const { jobs, clients, seconds, seed, scale } = cluster.options;
  const share = Math.floor(jobs / clients) + (index < jobs % clients ? 1 : 0);
  return startChild({
    name: `client ${index}`,
    program: "./client-process.ts",
    argument: {
      address: cluster.clientAddress,
      key: cluster.adminKey,
      name: String(index),
      folder: cluster.folder,
      jobs: share,
      seconds,
      seed,
      scale,
      maxWaiting: 20_000,
    },
    logFile: join(cluster.folder, `client-${index}.log`),
    crashed: (how) => {
      if (how !== "0") cluster.note("crash", `client ${index}`, { detail: how });
    },
  });
}

// Resolves with how many calls were repeated.
async function allDone(children: readonly Child[]): Promise<number> {
  const done = await Promise.all(
    children.map(
      (child) =>
        new Promise<number>((resolve, reject) => {
          child.onLine((line) => resolve(Number(line["retries"])));
          void child.exited.then(() => reject(new Error(`${child.name} ended before it was done`)));
        }),
    ),
  );
  return done.reduce((sum, retries) => sum + retries, 0);
}

async function settle(live: () => Promise<number>): Promise<number> {
  const giveUpAt = performance.now() + settleMs;
  for (;;) {
    const count = await live().catch(() => -1);
    if (count === 0 || performance.now() > giveUpAt) return count;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function once(step: () => Promise<void>): () => Promise<void> {
  let taken: Promise<void> | undefined;
  return () => {
    taken ??= step();
    return taken;
  };
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function say(text: string): void {
  if (!options.isJson) process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}
