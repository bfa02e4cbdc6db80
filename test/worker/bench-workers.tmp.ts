import { mkdtempSync } from "node:fs";
import { Outbox } from "../../worker/outbox.ts";
import { Worker } from "../../worker/worker.ts";

const [address, key, links, slots] = process.argv.slice(2);
const outbox = await Outbox.open({
  directory: mkdtempSync("/tmp/wbench/o-"),
  signal: new AbortController().signal,
});
const workers = Array.from(
  { length: Number(links) },
  (_, i) =>
    new Worker({
      address: address!,
      key: key!,
      name: `w${i}`,
      slots: Number(slots),
      outbox,
      handlers: { noop: () => ({ ok: true }) },
    }),
);
const u0 = process.cpuUsage();
await Promise.all(workers.map((w) => w.start()));
process.on("SIGTERM", () => {
  const u = process.cpuUsage(u0);
  console.log("workers cpu", (u.user + u.system) / 1e6, "rss", process.memoryUsage().rss / 1e6);
  process.exit(0);
});
