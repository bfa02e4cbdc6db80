import { join } from "node:path";
import { Worker } from "@muster/worker";
import { defineHandler } from "@muster/worker/context";
import { Outbox } from "@muster/worker/outbox";
import { sharedMs } from "./clock.ts";
import { answerCommands, report } from "./commands.ts";
import { type BenchPayload, Seen } from "./seen.ts";

/*
 * Many light workers in one process, each on a connection of its own, with one outbox. It is loaded when it reports,
 * and attaches them at `start`, which is answered when all are there. It reports, for `bench.noop`, how long the jobs
 * from the `from`th to the `to`th took, if it was told, and for `bench.step` when each job of a chain began and ended.
 */
const { address, keys, slots, skills, folder, from, to, ownState } = JSON.parse(process.argv[2] ?? "{}");
const outbox = await Outbox.open({ directory: join(folder, "outbox"), signal: new AbortController().signal });
const seen = new Seen();
let done = 0;
let fromMs = 0;
const handlers = {
  "bench.noop": defineHandler<BenchPayload>(({ payload }) => {
    seen.add(payload);
    done++;
    if (done === from) fromMs = sharedMs();
    if (done === to) report({ jobs: to - from, ms: sharedMs() - fromMs });
    return null;
  }),
  "bench.stamp": () => {
    report({ startedMs: sharedMs() });
    return null;
  },
  "bench.step": defineHandler(({ job }) => {
    const startedMs = sharedMs();
    report({ step: job.id, startedMs, endedMs: sharedMs() });
    return null;
  }),
  // Holds its slot until it is given back: who starts it again after its worker died?
  "bench.hold": defineHandler(async ({ job, signal }) => {
    report({ held: job.id, attempt: job.attempt, startedMs: sharedMs() });
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    signal.throwIfAborted();
  }),
  "bench.log": defineHandler<{ readonly lines: number; readonly text: string }>(async (context) => {
    const { lines, text } = context.payload;
    for (let line = 0; line < lines; line++) {
      context.log(`${line} ${Math.random()} ${text}`);
      if (line % 10 === 0) context.progress(line / lines, text);
      // As work does that says something now and then.
      if (line % 50 === 49) await new Promise((resolve) => setImmediate(resolve));
    }
    return null;
  }),
};
const workers: Worker[] = keys.map(
  (key: string, index: number) =>
    new Worker({
      address,
      key,
      slots,
      skills,
      handlers,
      // With a record of its boot beside it, as a daemon has it.
      ...(ownState ? {} : { outbox }),
      linkThread: false,
      transport: "stream",
      stateDir: join(folder, `worker-${index}`),
    }),
);
answerCommands({
  ...seen.commands(),
  start: async () => {
    for (let next = 0; next < workers.length; next += 50) {
      await Promise.all(workers.slice(next, next + 50).map((worker) => worker.start()));
    }
    return { attached: workers.length };
  },
});
report({ ready: true });
process.on("SIGTERM", async () => {
  await Promise.all(workers.map((worker) => worker.stop({ graceMs: 200 })));
  await outbox.close();
  process.exit(0);
});
