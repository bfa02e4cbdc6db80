import { writeSync } from "node:fs";
import { Worker } from "@muster/worker";

// A worker in a process of its own, for tests that kill it. Its one kind
// reports each start on descriptor 3 and never ends by itself.
const { address, key, stateDir } = JSON.parse(process.argv[2] ?? "{}");
const worker = new Worker({
  address,
  key,
  stateDir,
  handlers: {
    stuck: (ctx) => {
      writeSync(3, `${JSON.stringify({ started: ctx.job.id, attempt: ctx.job.attempt })}\n`);
      return new Promise((_, reject) =>
        ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason)),
      );
    },
  },
});
await worker.start();
writeSync(3, `${JSON.stringify({ ready: true })}\n`);
