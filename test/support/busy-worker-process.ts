import { writeSync } from "node:fs";
import { Worker } from "@muster/worker";
import type { JobContext } from "@muster/worker/context";
import { JobFailure } from "@muster/worker/failure";

// A worker in a process of its own, with handlers that only wait: for what shows work being done. A payload says for
// how many milliseconds; the work tells how far it is.
const { address, key, stateDir, slots } = JSON.parse(process.argv[2] ?? "{}");
const worker = new Worker({
  address,
  key,
  stateDir,
  slots,
  logger: () => {},
  skills: ["gpu", "blender"],
  handlers: {
    "render.frame": (ctx) => work(ctx, (step) => `frame ${step * 4}/400`),
    "agent.codegen": (ctx) => work(ctx, (step) => `step ${Math.ceil(step / 12)} of 9`),
    "index.repo": (ctx) => work(ctx, () => ""),
    "backup.s3": () => {
      throw new JobFailure("the bucket does not exist", { code: "NO_BUCKET", retryable: false });
    },
  },
});
await worker.start();
writeSync(3, `${JSON.stringify({ ready: true })}\n`);

async function work(ctx: JobContext, message: (step: number) => string): Promise<string> {
  const stepMs = Number(ctx.payload) / 100;
  for (let step = 1; step <= 100; step++) {
    await pause(stepMs, ctx.signal);
    const text = message(step);
    if (text !== "") ctx.progress(step / 100, text);
    if (text !== "" && step % 5 === 0) ctx.log(`${text} done`);
  }
  return "done";
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(signal.reason);
      },
      { once: true },
    );
  });
}
