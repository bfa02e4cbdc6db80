import type { Duration } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";

/** One page. Page tokens are offsets: the peer is no model of how the coordinator makes them. */
export function page<Row>(
  rows: readonly Row[],
  { pageSize, pageToken }: { pageSize: number; pageToken: string },
): { rows: Row[]; nextPageToken: string } {
  const start = Number(pageToken || 0);
  const end = start + (pageSize || 50);
  return { rows: rows.slice(start, end), nextPageToken: end < rows.length ? String(end) : "" };
}

/** The row of an id; throws NOT_FOUND. */
export function found<Row>(rows: Map<string, Row>, id: string, noun: string): Row {
  const row = rows.get(id);
  if (row === undefined) throw notFound(noun, id);
  return row;
}

/** What the coordinator answers about an id that is not there. */
export function notFound(noun: string, id: string): ConnectError {
  return makeError(Code.NotFound, `there is no ${noun} ${id}`, {
    reason: `${noun.toUpperCase().replaceAll(" ", "_")}_NOT_FOUND`,
    metadata: { id },
    suggestion: `List them with: muster ${noun} list`,
    requestId: "req_404",
  });
}

/** An id with a prefix. */
export function newId(prefix: string): string {
  return `${prefix}_${crypto.randomUUID().replaceAll("-", "").slice(0, 26)}`;
}

/** How long to wait, 30 s unless told. */
export function timeoutMs(timeout: Duration | undefined): number {
  return timeout === undefined ? 30_000 : Number(timeout.seconds) * 1000 + timeout.nanos / 1e6;
}

/** Resolves once the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
