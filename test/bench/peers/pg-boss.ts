import { PgBoss } from "pg-boss";
import type { BenchPayload } from "../seen.ts";
import type { Peer, PeerOptions } from "./peer.ts";

/** pg-boss: `batchSize` × `concurrency`, the next batch at once after a full one, without its own maintenance. */
export const pgBoss: Peer = {
  async openProducer(options) {
    const boss = await open(options);
    await boss.createQueue(options.queue, { partition: true });
    return {
      async submitBatch(payloads) {
        await boss.insert(
          options.queue,
          payloads.map((data) => ({ data })),
        );
      },
      async submitOne(payload) {
        await boss.send(options.queue, payload);
      },
      close: () => boss.stop({ graceful: false }),
    };
  },
  async startConsumer(options, seen) {
    const boss = await open(options);
    await boss.work<BenchPayload>(
      options.queue,
      {
        batchSize: options.batchSize ?? 500,
        localConcurrency: options.concurrency ?? 4,
        pollingIntervalSeconds: 0.5,
        burstWhenBatchFull: true,
        includeMetadata: false,
      },
      async (jobs) => {
        for (const { data } of jobs) seen.add(data);
      },
    );
    return { close: () => boss.stop({ graceful: true, timeout: 5_000 }) };
  },
};

async function open({ url }: PeerOptions): Promise<PgBoss> {
  const boss = new PgBoss({ connectionString: url, max: 20, supervise: false, schedule: false });
  boss.on("error", (error) => process.stderr.write(`pg-boss: ${error.message}\n`));
  await boss.start();
  return boss;
}
