import { setTimeout as sleep } from "node:timers/promises";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Problems, readDurationIn } from "./messages.ts";

/** Silence after which a stream shows that it lives. */
export const aliveMs = 15_000;

/** The timeout of a call that waits: up to 10 min, 30 s unless given. */
export function readWaitTimeout(problems: Problems, timeout: Duration | undefined): number {
  const bounds = { minMs: 0, maxMs: 600_000, fallbackMs: 30_000, words: "from 0s to 10m" };
  return readDurationIn(problems, "timeout", timeout, bounds);
}

/** Resolves after a time, or when the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

/** Throws what a call was ended with: the stop of the coordinator, its deadline, or that its caller has gone. */
export function throwIfEnded(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw signal.reason instanceof ConnectError
    ? signal.reason
    : new ConnectError("the call has ended", Code.Canceled);
}
