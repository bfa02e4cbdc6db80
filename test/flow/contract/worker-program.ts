import { writeSync } from "node:fs";
import { Worker } from "@muster/worker";

/*
 * A worker in a process of its own, for tests that kill it or set its clock wrong. Its parameters are one argument
 * of JSON; each start of a handler is a line on descriptor 3, after a line that says that it is ready.
 */
const { address, key, stateDir } = JSON.parse(process.argv[2] ?? "{}");
const say = (line: object): void => {
  writeSync(3, `${JSON.stringify(line)}\n`);
};
let failures = 0;
const worker = new Worker({
  address,
  key,
  stateDir,
  transport: "stream",
  handlers: {
    quick: ({ job }) => {
      say({ started: job.kind, attempt: job.attempt });
      return "quick";
    },
    flaky: ({ job }) => {
      say({ started: job.kind, attempt: job.attempt });
      failures += 1;
      if (failures === 1) throw new Error("the first time it fails");
      return "flaky";
    },
    stuck: ({ job, signal }) => {
      say({ started: job.kind, attempt: job.attempt });
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    },
  },
});
await worker.start();
say({ ready: true, hour: new Date().getUTCHours() });
