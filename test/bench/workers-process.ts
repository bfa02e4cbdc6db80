import { writeSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "@muster/worker";
import { Outbox } from "@muster/worker/outbox";

// Many light workers in one process, each on a connection of its own, with one
// outbox: no-op handlers. Reports when all are attached, and how long the jobs
// between a tenth and nineteen twentieths of `expected` took.
const { address, keys, slots, folder, expected } = JSON.parse(process.argv[2] ?? "{}");
const outbox = await Outbox.open({ directory: join(folder, "outbox"), signal: new AbortController().signal });
const [from, to] = [Math.floor(expected * 0.1), Math.floor(expected * 0.95)];
let done = 0;
let fromMs = 0;
const handlers = {
  "bench.noop": () => {
    done++;
    if (done === from) fromMs = performance.now();
    if (done === to) write({ jobs: to - from, ms: performance.now() - fromMs });
    return null;
  },
  "bench.stamp": () => {
    write({ startedMs: performance.timeOrigin + performance.now() });
    return null;
  },
};
const workers = keys.map(
  (key: string, index: number) =>
    new Worker({
      address,
      key,
      slots,
      handlers,
      outbox,
      linkThread: false,
      transport: "stream",
      stateDir: join(folder, `worker-${index}`),
    }),
);
await Promise.all(workers.map((worker: Worker) => worker.start()));
write({ attached: workers.length });
process.on("SIGTERM", async () => {
  await Promise.all(workers.map((worker: Worker) => worker.stop({ graceMs: 200 })));
  await outbox.close();
  process.exit(0);
});

function write(value: unknown): void {
  writeSync(3, `${JSON.stringify(value)}\n`);
}
