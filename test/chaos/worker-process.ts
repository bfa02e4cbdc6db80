import { writeSync } from "node:fs";
import type { LeaseRef } from "@muster/client/v1/job_service";
import { Worker } from "@muster/worker";
import { Attempt } from "@muster/worker/attempt";
import { defineHandler, type Handler, type JobContext } from "@muster/worker/context";
import { JobFailure } from "@muster/worker/failure";
import { shellRun } from "@muster/worker/kinds/shell-run";
import { type EffectLine, openHistory } from "./history.ts";

/*
 * A worker of a run. Its handlers write down that they start and how they end, each by one `write`, so that
 * `kill -9` takes nothing back. SIGTERM drains; a second one gives back at once.
 */
const { address, key, slots, stateDir, folder, name, drainGraceMs } = JSON.parse(process.argv[2] ?? "{}");
const bootId = `${process.pid}-${Date.now()}`;
const journal = openHistory<EffectLine>(folder, `effects-${name}-${bootId}`);
let workerId = "";
/** Lease ids by job and attempt. */
const unacknowledged = new Map<string, string>();

const worker: Worker = new Worker({
  address,
  key,
  slots,
  stateDir,
  drainGraceMs,
  handlers: {
    "chaos.noop": written(async ({ payload }) => sleep(numberOf(payload, "ms"))),
    "chaos.exclusive": written(async ({ payload, signal }) => sleep(numberOf(payload, "ms"), signal)),
    "chaos.long": written(async (ctx) => {
      ctx.log(`begins attempt ${ctx.job.attempt}`);
      ctx.progress(0.5, "half way");
      await sleep(numberOf(ctx.payload, "ms"), ctx.signal);
      ctx.log("ends");
    }),
    "chaos.flaky": written(async ({ payload, job }) => {
      const failures = numberOf(payload, "failures");
      if (failures < 0 || job.failures < failures)
        throw new JobFailure("as it was asked to", { code: "FLAKY" });
    }),
    "chaos.child": written(shellRun({ env: process.env, envAllow: [], bootRecord: () => worker.bootRecord })),
  },
  logger: (level, message, fields) =>
    process.stdout.write(`${new Date().toISOString()} ${level} ${message} ${JSON.stringify(fields ?? {})}\n`),
});
// What a coordinator says is committed must stay so.
worker.onAttemptEnd(({ jobId, attempt, status }) => {
  const leaseId = unacknowledged.get(`${jobId} ${attempt}`);
  unacknowledged.delete(`${jobId} ${attempt}`);
  if (leaseId !== undefined && (status === "committed" || status === "duplicate")) {
    journal.write({ type: "acknowledged", at: Date.now(), leaseId });
  }
});
let signals = 0;
process.on("SIGTERM", () => void worker.stop(++signals > 1 ? { graceMs: 0 } : {}));
await worker.start();
workerId = worker.attachment?.workerId ?? "";
writeSync(3, `${JSON.stringify({ workerId })}\n`);
const reason = await worker.closed;
process.stdout.write(`closed ${JSON.stringify(reason)}\n`);
process.exit(reason.kind === "stopped" ? 0 : 1);

function written(handler: (ctx: JobContext) => unknown): Handler {
  return defineHandler(async (ctx: JobContext) => {
    const { jobId, attempt, leaseId } = leaseOf(ctx);
    const id = worker.attachment?.workerId ?? workerId;
    const { pid } = process;
    unacknowledged.set(`${jobId} ${attempt}`, leaseId);
    journal.write({ type: "start", at: Date.now(), jobId, attempt, leaseId, workerId: id, bootId, pid });
    try {
      const result = await handler(ctx);
      journal.write({ type: "end", at: Date.now(), leaseId, outcome: "succeeded" });
      return result;
    } catch (error) {
      const outcome = ctx.signal.aborted ? `stopped:${kindOf(ctx.signal.reason)}` : "failed";
      journal.write({ type: "end", at: Date.now(), leaseId, outcome });
      throw error;
    }
  });
}

// A handler has no business with the token of its lease; the journal has.
function leaseOf(ctx: JobContext): LeaseRef {
  if (ctx instanceof Attempt) return ctx.lease;
  throw new Error("the context of a handler is its attempt");
}

function kindOf(reason: unknown): string {
  return typeof reason === "object" && reason !== null && "kind" in reason ? String(reason.kind) : "unknown";
}

function numberOf(payload: unknown, field: string): number {
  const value = typeof payload === "object" && payload !== null ? Object.entries(payload) : [];
  return Number(value.find(([name]) => name === field)?.[1] ?? 0);
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
