import { writeSync } from "node:fs";
import { processSignals, runDaemon } from "@muster/worker/daemon";

// A daemon in a process of its own, as `muster worker run` is one, for tests that send it signals. Tells on
// descriptor 3, a line each, what it logs and that it is ready.
const say = (line: object) => writeSync(3, `${JSON.stringify(line)}\n`);
process.exitCode = await runDaemon({
  ...JSON.parse(process.argv[2] ?? "{}"),
  env: process.env,
  signals: processSignals,
  logger: (level, message, fields) => say({ level, message, ...fields }),
  onReady: () => say({ ready: true }),
  handlers: {
    // Computes, and lets nothing else run meanwhile.
    busy: ({ payload }) => {
      const untilMs = performance.now() + Number(payload);
      while (performance.now() < untilMs);
      return "done";
    },
  },
});
