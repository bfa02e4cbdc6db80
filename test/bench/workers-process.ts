import { writeSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "@muster/worker";
import { Outbox } from "@muster/worker/outbox";

// Many light workers in one process, each on a connection of its own, with one
// outbox: no-op handlers. Reports when all are attached, and when `count` jobs are done.
const { address, keys, slots, folder } = JSON.parse(process.argv[2] ?? "{}");
const outbox = await Outbox.open({ directory: join(folder, "outbox"), signal: new AbortController().signal });
let done = 0;
let firstMs = 0;
let expected = Number.POSITIVE_INFINITY;
const handlers = {
  "bench.noop": () => {
    firstMs ||= performance.now();
    done++;
    if (done === expected) report();
    return null;
  },
  "bench.stamp": () => ({ startedMs: performance.timeOrigin + performance.now() }),
  "bench.expect": ({ payload }: { payload: unknown }) => {
    expected = Number(payload);
    done = 0;
    firstMs = 0;
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

function report(): void {
  write({ jobs: done, ms: performance.now() - firstMs });
}

function write(value: unknown): void {
  writeSync(3, `${JSON.stringify(value)}\n`);
}
