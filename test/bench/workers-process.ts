import { writeSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "@muster/worker";
import { defineHandler } from "@muster/worker/context";
import { Outbox } from "@muster/worker/outbox";

// Many light workers in one process, each on a connection of its own, with one outbox. Reports when all are attached;
// then, for `bench.noop`, how long the jobs from the `from`th to the `to`th took, and for `bench.step` when each job
// of a chain began and ended.
const { address, keys, slots, skills, folder, from, to } = JSON.parse(process.argv[2] ?? "{}");
const outbox = await Outbox.open({ directory: join(folder, "outbox"), signal: new AbortController().signal });
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
  "bench.step": defineHandler(({ job }) => {
    const startedMs = performance.now();
    write({ step: job.id, startedMs, endedMs: performance.now() });
    return null;
  }),
};
const workers = keys.map(
  (key: string, index: number) =>
    new Worker({
      address,
      key,
      slots,
      skills,
      handlers,
      outbox,
      linkThread: false,
      transport: "stream",
      stateDir: join(folder, `worker-${index}`),
    }),
);
for (let next = 0; next < workers.length; next += 50) {
  await Promise.all(workers.slice(next, next + 50).map((worker: Worker) => worker.start()));
}
write({ attached: workers.length });
process.on("SIGTERM", async () => {
  await Promise.all(workers.map((worker: Worker) => worker.stop({ graceMs: 200 })));
  await outbox.close();
  process.exit(0);
});

function write(value: unknown): void {
  writeSync(3, `${JSON.stringify(value)}\n`);
}
