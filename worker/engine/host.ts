import { Worker as Thread } from "node:worker_threads";
import type { CloseReason, Port, ToEngine, ToHandlers } from "./messages.ts";
import type { ResultOutbox } from "./pending-results.ts";
import { inlinePorts, threadPort } from "./port.ts";
import { type EngineOptions, runEngine } from "./start-engine.ts";

/** An engine that runs, as the handlers' side sees it. */
export interface RunningEngine {
  /** The way to it. */
  readonly port: Port<ToEngine, ToHandlers>;
  /** Resolves when it has ended and has let go of its state directory; never rejects. */
  readonly ended: Promise<CloseReason>;
}

/** Runs an engine in this thread: a handler that computes stops its heartbeats. For many workers in one process. */
export function startInlineEngine(options: EngineOptions, sharedOutbox?: ResultOutbox): RunningEngine {
  const [port, enginePort] = inlinePorts<ToEngine, ToHandlers>();
  return { port, ended: runEngine(options, enginePort, sharedOutbox) };
}

/** Runs an engine in a thread of its own, which ends with it. */
export function startThreadedEngine(options: EngineOptions): RunningEngine {
  // From the sources .ts runs by type stripping; built, the same module is .js.
  const file = import.meta.url.endsWith(".ts") ? "./thread.ts" : "./thread.js";
  const thread = new Thread(new URL(file, import.meta.url), { workerData: options, name: "muster-link" });
  let reason: CloseReason | undefined;
  const ended = new Promise<CloseReason>((resolve) => {
    thread.on("message", (value: unknown) => {
      reason ??= closedIn(value);
    });
    thread.on("error", (error) => {
      reason ??= failed(`the link's thread failed: ${error instanceof Error ? error.stack : String(error)}`);
    });
    thread.on("exit", (code) => resolve(reason ?? failed(`the link's thread ended with code ${code}`)));
  });
  return { port: threadPort<ToEngine, ToHandlers>(thread), ended };
}

function failed(detail: string): CloseReason {
  return { kind: "failed", detail, errorReason: "", errorCode: 0 };
}

function closedIn(batch: unknown): CloseReason | undefined {
  if (!Array.isArray(batch)) return undefined;
  const closed: ToHandlers | undefined = batch.find((message: ToHandlers) => message.type === "closed");
  return closed?.type === "closed" ? closed.reason : undefined;
}
