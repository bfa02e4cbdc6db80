import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import type { BenchPayload } from "../seen.ts";
import type { Peer, PeerOptions } from "./peer.ts";

const name = "bench";

/** BullMQ: finished jobs are removed, or all kept when `keepsHistory`. */
export const bullmq: Peer = {
  async openProducer(options) {
    const connection = connect(options);
    const queue = new Queue<BenchPayload>(options.queue, { connection });
    const opts = options.keepsHistory ? {} : { removeOnComplete: true };
    await queue.waitUntilReady();
    return {
      async submitBatch(payloads) {
        await queue.addBulk(payloads.map((data) => ({ name, data, opts })));
      },
      async submitOne(payload) {
        await queue.add(name, payload, opts);
      },
      async close() {
        await queue.close();
        connection.disconnect();
      },
    };
  },
  async startConsumer(options, seen) {
    const connection = connect(options);
    const worker = new Worker<BenchPayload>(
      options.queue,
      async ({ data }) => {
        seen.add(data);
        return { ok: true };
      },
      { connection, concurrency: options.concurrency ?? 200 },
    );
    worker.on("error", () => {});
    await worker.waitUntilReady();
    return {
      async close() {
        await worker.close();
        connection.disconnect();
      },
    };
  },
};

function connect({ url }: PeerOptions): Redis {
  return new Redis(url, { maxRetriesPerRequest: null });
}
