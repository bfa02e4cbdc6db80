import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Child, startChild } from "./child.ts";
import { Cluster } from "./cluster.ts";
import { startDatabase } from "./database.ts";
import { doHarm } from "./faults.ts";
import { type ChaosOptions, readOptions } from "./options.ts";
import { startProxies } from "./proxies.ts";
import { seededRandom } from "./random.ts";
import { judge, printJudgement, type RunFacts } from "./report.ts";
import { countLive, openAdmin, tailChanges, writeTables } from "./tail.ts";

/*
 * `npm run chaos`: real coordinators, workers, clients and Postgres, a fault proxy between all of them, and harm of
 * every sort while jobs are submitted. Then all is healed, the jobs come to their ends, and the checker reads what
 * everybody wrote down. The last line is one JSON object; the exit code is 1 when a promise was broken.
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
  const database = await startDatabase(into);
  const proxies = startProxies(of.seed);
  const cluster = new Cluster({ options: of, folder: into, database, proxies });
  const admin = openAdmin(database.url);
  const submitting: Child[] = [];
  // The first signal ends the submission, and what was submitted is judged; the second ends all.
  const interrupted = new AbortController();
  let signals = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (++signals > 1) interrupted.abort();
      else for (const client of submitting) client.signal("SIGTERM");
    });
  }
  try {
    await cluster.start();
    say(`${of.coordinators} coordinators and ${of.workers} workers run; seed ${of.seed}`);
    const tail = tailChanges(admin, into);
    const harm = new AbortController();
    const harmed = doHarm({ cluster, admin, random: seededRandom(of.seed), signal: harm.signal });
    for (let index = 0; index < of.clients; index++) submitting.push(startClient(cluster, index));
    const retries = await Promise.race([
      allDone(submitting),
      // Without any fault, or after the last one, the clients go on alone.
      harmed.then(() => new Promise<never>(() => {})),
      aborted(interrupted.signal),
    ]);
    say("all jobs are submitted; healing");
    harm.abort();
    await harmed;
    const live = await settle(() => countLive(admin), interrupted.signal);
    say(live === 0 ? "all jobs have ended" : `${live} jobs have not ended`);
    const did = await proxies.counts();
    await cluster.stop();
    await tail.stop();
    await writeTables(admin, into);
    return { retries, harm: did };
  } finally {
    await Promise.all(submitting.map((client) => client.stop(0)));
    await cluster.stop().catch(() => {});
    await proxies.close();
    await admin.end({ timeout: 1 });
    await database.stop();
  }
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

async function settle(live: () => Promise<number>, signal: AbortSignal): Promise<number> {
  const giveUpAt = performance.now() + settleMs;
  for (;;) {
    const count = await live().catch(() => -1);
    if (count === 0 || performance.now() > giveUpAt || signal.aborted) return count;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("interrupted")), { once: true });
  });
}

function say(text: string): void {
  if (!options.isJson) process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}
