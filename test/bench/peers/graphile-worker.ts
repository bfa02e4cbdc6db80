import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";
import type { BenchPayload } from "../seen.ts";
import type { Peer, PeerOptions } from "./peer.ts";

const identifier = "bench";

/** graphile-worker: `isBatching` takes 500 jobs at a time and completes them in batches. */
export const graphileWorker: Peer = {
  async openProducer(options) {
    const pgPool = openPool(options);
    const client = await makeWorkerUtils({ pgPool, logger: silent });
    await client.migrate();
    return {
      async submitBatch(payloads) {
        await client.addJobs(payloads.map((payload) => ({ identifier, payload })));
      },
      async submitOne(payload) {
        await client.addJob(identifier, payload);
      },
      async close() {
        await client.release();
        await pgPool.end();
      },
    };
  },
  async startConsumer(options, seen) {
    const pgPool = openPool(options);
    const concurrentJobs = options.concurrency ?? 24;
    const worker = options.isBatching
      ? {
          concurrentJobs,
          localQueue: { size: options.batchSize ?? 500 },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        }
      : { concurrentJobs };
    const runner = await run({
      pgPool,
      noHandleSignals: true,
      preset: { worker },
      logger: silent,
      taskList: { [identifier]: (payload) => seen.add(payloadOf(payload)) },
    });
    return {
      async close() {
        await runner.stop();
        await pgPool.end();
      },
    };
  },
};

const silent = new Logger(() => () => {});

function openPool({ url }: PeerOptions): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: 25 });
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

// Safe: only this bench submits to its database.
function payloadOf(payload: unknown): BenchPayload {
  return payload as BenchPayload;
}
