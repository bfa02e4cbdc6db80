import { join } from "node:path";
import type { LinksChanged } from "@muster/client/v1/link";
import { type Clock, systemClock } from "../clock.ts";
import { readClusterEpoch, writeClusterEpoch } from "../cluster-epoch.ts";
import { Outbox } from "../outbox.ts";
import { chooseTransport, type TransportOptions } from "../transport/choose.ts";
import { LinkEngine, type WorkerIdentity } from "./link-engine.ts";
import type { CloseReason, Port, ToEngine, ToHandlers } from "./messages.ts";
import { PendingResults, type ResultOutbox } from "./pending-results.ts";
import type { Retention } from "./resend.ts";
import { SpillFolder } from "./spill.ts";

/** What an engine is told: plain data, because it may go to a thread. */
export interface EngineOptions {
  readonly identity: WorkerIdentity;
  /** What the worker publishes from the start. */
  readonly links?: LinksChanged | undefined;
  readonly transport: TransportOptions;
  /** Folder for its outbox and for reports; absent when the outbox is handed in. */
  readonly stateDirectory: string | undefined;
  /** How long results are kept once they are acknowledged; not in an outbox that is handed in. */
  readonly resultRetentionMs: number;
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
  let spill: SpillFolder | undefined;
  try {
    const { stateDirectory } = options;
    if (sharedOutbox === undefined && stateDirectory !== undefined) {
      own = await openOwn(stateDirectory, options.resultRetentionMs, port, clock);
      spill = await SpillFolder.open(join(stateDirectory, "spill"), spillLimits);
    }
    const outbox = sharedOutbox ?? own;
    if (outbox === undefined) throw new TypeError("an engine needs an outbox or a folder for one");
    const results = new PendingResults(outbox, sharedOutbox === undefined ? "" : options.owner);
    const engine = new LinkEngine({
      identity: options.identity,
      transport: chooseTransport(options.transport, clock),
      results,
      links: options.links,
      retention: await retentionOf(options, own, results),
      spill,
      port,
      clock,
      random: Math.random,
    });
    return await engine.run();
  } catch (error) {
    const suggestion = error instanceof Error && "suggestion" in error ? ` ${String(error.suggestion)}` : "";
    const detail = `${error instanceof Error ? error.message : String(error)}${suggestion}`;
    const reason: CloseReason = { kind: "failed", detail, errorReason: "", errorCode: 0 };
    port.post({ type: "closed", reason, isDone: false });
    port.close();
    return reason;
  } finally {
    await spill?.close();
    await own?.close();
  }
}

const spillLimits = { fileBytes: 64 * 1024 * 1024, totalBytes: 1024 * 1024 * 1024 };

function outboxDirectory(stateDirectory: string): string {
  return join(stateDirectory, "outbox");
}

async function retentionOf(
  { stateDirectory, resultRetentionMs }: EngineOptions,
  outbox: Outbox | undefined,
  results: PendingResults,
): Promise<Retention | undefined> {
  if (outbox === undefined || stateDirectory === undefined || resultRetentionMs === 0) return undefined;
  const directory = outboxDirectory(stateDirectory);
  return {
    epoch: await readClusterEpoch(directory),
    leases: results.leasesOf(await outbox.retained()),
    results: () => outbox.retained(),
    remember: (epoch) => writeClusterEpoch(directory, epoch),
  };
}

async function openOwn(
  stateDirectory: string,
  retentionMs: number,
  port: Port<ToHandlers, ToEngine>,
  clock: Clock,
): Promise<Outbox> {
  const directory = outboxDirectory(stateDirectory);
  const { signal } = new AbortController();
  const outbox = await Outbox.open({ directory, signal, retentionMs, clock });
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
