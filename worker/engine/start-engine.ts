import { type Clock, systemClock } from "../clock.ts";
import { Outbox } from "../outbox.ts";
import { chooseTransport, type TransportOptions } from "../transport/choose.ts";
import { LinkEngine, type WorkerIdentity } from "./link-engine.ts";
import type { CloseReason, Port, ToEngine, ToHandlers } from "./messages.ts";
import { PendingResults, type ResultOutbox } from "./pending-results.ts";

/** What an engine is told: plain data, because it may go to a thread. */
export interface EngineOptions {
  readonly identity: WorkerIdentity;
  readonly transport: TransportOptions;
  /** Folder of its own outbox; absent when the outbox is handed in. */
  readonly outboxDirectory: string | undefined;
  /** Who owns its results in an outbox that is handed in. */
  readonly owner: string;
}

/**
 * Runs an engine until its worker ends. A state directory that cannot be used ends it with `failed`, before
 * anything is sent. `sharedOutbox` is left open; an own one is closed.
 */
export async function runEngine(
  options: EngineOptions,
  port: Port<ToHandlers, ToEngine>,
  sharedOutbox?: ResultOutbox,
  clock: Clock = systemClock(),
): Promise<CloseReason> {
  let own: Outbox | undefined;
  try {
    if (sharedOutbox === undefined) own = await openOwn(options.outboxDirectory, port);
    const outbox = sharedOutbox ?? own;
    if (outbox === undefined) throw new TypeError("an engine needs an outbox or a folder for one");
    const engine = new LinkEngine({
      identity: options.identity,
      transport: chooseTransport(options.transport, clock),
      results: new PendingResults(outbox, sharedOutbox === undefined ? "" : options.owner),
      port,
      clock,
      random: Math.random,
    });
    return await engine.run();
  } catch (error) {
    const suggestion = error instanceof Error && "suggestion" in error ? ` ${String(error.suggestion)}` : "";
    const detail = `${error instanceof Error ? error.message : String(error)}${suggestion}`;
    const reason: CloseReason = { kind: "failed", detail, errorReason: "", errorCode: 0 };
    port.post({ type: "closed", reason });
    port.close();
    return reason;
  } finally {
    await own?.close();
  }
}

async function openOwn(directory: string | undefined, port: Port<ToHandlers, ToEngine>) {
  if (directory === undefined) return undefined;
  const outbox = await Outbox.open({ directory, signal: new AbortController().signal });
  const { tornBytes, damagedBytes } = outbox.recovery;
  if (damagedBytes > 0) {
    const fields = { directory, damagedBytes };
    port.post({
      type: "log",
      level: "warn",
      message: "the outbox holds damaged records; check the disk",
      fields,
    });
  } else if (tornBytes > 0) {
    port.post({
      type: "log",
      level: "info",
      message: "cut a torn record off the outbox",
      fields: { tornBytes },
    });
  }
  return outbox;
}
