import { processSignals, runDaemon, type SignalSource } from "@muster/worker/daemon";
import { hearParent, tellReady } from "./parent.ts";

/*
 * A worker as `muster worker run` is one: what the demo starts three of, and kills one of. Drains at SIGTERM, and
 * when the demo is gone.
 */
const { settings, gone } = await hearParent();
// At the end nothing runs; before it, nobody waits for a job that does.
const drainGraceMs = 1_000;
const { address = "", key = "", stateDir = "", slots = "" } = settings;
const signals: SignalSource = (listen) => {
  gone.addEventListener("abort", () => listen("SIGTERM"), { once: true });
  return processSignals(listen);
};
process.exit(
  await runDaemon({
    address,
    key,
    stateDir,
    drainGraceMs,
    slots: Number(slots),
    env: process.env,
    signals,
    logger: (level, message, fields) =>
      process.stderr.write(`${level} ${message} ${JSON.stringify(fields ?? {})}\n`),
    onReady: ({ workerId }) => tellReady({ workerId }),
  }),
);
