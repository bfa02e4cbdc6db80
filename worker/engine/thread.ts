import { parentPort, workerData } from "node:worker_threads";
import type { ToEngine, ToHandlers } from "./messages.ts";
import { threadPort } from "./port.ts";
import { type EngineOptions, runEngine } from "./start-engine.ts";

/*
 * The entry of the thread in which the link lives: no handler can block it. Does nothing when it is imported
 * anywhere else.
 */
if (parentPort !== null && isEngineOptions(workerData)) {
  const channel = parentPort;
  const port = threadPort<ToHandlers, ToEngine>(channel);
  void runEngine(workerData, port).finally(() => channel.close());
}

// Safe: the only starter of this thread is engine-host.ts, which gives it an EngineOptions under this mark.
function isEngineOptions(value: unknown): value is EngineOptions {
  return typeof value === "object" && value !== null && "identity" in value && "transport" in value;
}
