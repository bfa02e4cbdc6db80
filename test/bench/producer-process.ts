import { setTimeout as sleep } from "node:timers/promises";
import { sharedMs } from "./clock.ts";
import { answerCommands, report } from "./commands.ts";
import { Histogram } from "./histogram.ts";
import { openProducer } from "./peers/load.ts";
import { type BenchPayload, benchPayload } from "./seen.ts";

/*
 * Submits to the system that it is told, in a process of its own:
 *
 *   fill   so many jobs, in batches or one a call, so many calls in flight
 *   one    a job, now
 *   keep   as many as hold the depth, while `handled` says how many are done
 *   pace   so many a second, in a batch each 10 ms, whatever becomes of them
 *   halt   ends keep and pace
 */
const { peer, options } = JSON.parse(process.argv[2] ?? "{}");
const producer = await openProducer(peer, options);
const calls = new Histogram();
let submitted = 0;
let handled = 0;
let halting = new AbortController();
let loop: Promise<unknown> = Promise.resolve();

const timed = async (jobs: number, call: () => Promise<void>): Promise<void> => {
  const startedMs = sharedMs();
  await call();
  calls.add(sharedMs() - startedMs);
  submitted += jobs;
};
const submit = (jobs: number): Promise<void> => {
  if (jobs === 1) return timed(1, () => producer.submitOne(benchPayload()));
  const payload = benchPayload();
  const payloads: BenchPayload[] = Array.from({ length: jobs }, () => payload);
  return timed(jobs, () => producer.submitBatch(payloads));
};
const inFlight = (count: number, body: () => Promise<void>) =>
  Promise.all(Array.from({ length: count }, body));

async function fill(jobs: number, batch: number, flights: number): Promise<number> {
  let left = jobs;
  const startedMs = sharedMs();
  await inFlight(flights, async () => {
    while (left > 0) {
      const size = Math.min(batch, left);
      left -= size;
      await submit(size);
    }
  });
  return sharedMs() - startedMs;
}

async function keep(depth: number, batch: number, flights: number, signal: AbortSignal): Promise<void> {
  let asked = submitted;
  await inFlight(flights, async () => {
    while (!signal.aborted) {
      if (asked - handled >= depth) {
        await sleep(1);
        continue;
      }
      asked += batch;
      await submit(batch);
    }
  });
}

// A call that takes long delays no other one: late submits would hide the wait.
async function pace(perSecond: number, signal: AbortSignal): Promise<void> {
  const startedMs = sharedMs();
  const open = new Set<Promise<void>>();
  let asked = 0;
  while (!signal.aborted) {
    const due = Math.floor(((sharedMs() - startedMs) / 1_000) * perSecond) - asked;
    if (due > 0) {
      asked += due;
      const call: Promise<void> = submit(due).finally(() => open.delete(call));
      open.add(call);
    }
    await sleep(10);
  }
  await Promise.all(open);
}

// A loop that fails is told of at once: the measurement would wait for jobs that never come.
function start(body: (signal: AbortSignal) => Promise<void>): undefined {
  halting = new AbortController();
  loop = body(halting.signal).catch((error) => {
    process.stderr.write(`producer: ${error}\n`);
    process.exit(1);
  });
  return undefined;
}

answerCommands({
  fill: async ({ jobs, batch, flights }) => {
    calls.clear();
    const ms = await fill(Number(jobs), Number(batch), Number(flights));
    return { ms, p50Ms: calls.quantile(0.5), p99Ms: calls.quantile(0.99) };
  },
  one: async () => {
    const sentMs = sharedMs();
    await submit(1);
    return { sentMs, acknowledgedMs: sharedMs() };
  },
  keep: ({ depth, batch, flights }) =>
    start((signal) => keep(Number(depth), Number(batch), Number(flights), signal)),
  pace: ({ perSecond }) => start((signal) => pace(Number(perSecond), signal)),
  handled: ({ count }) => {
    handled = Number(count);
    return { submitted };
  },
  submitted: () => ({ submitted }),
  halt: async () => {
    halting.abort();
    await loop;
    return { submitted };
  },
});
report({ ready: true });
process.on("SIGTERM", async () => {
  halting.abort();
  await loop;
  await producer.close().catch(() => {});
  process.exit(0);
});
