import { Code, ConnectError } from "@connectrpc/connect";
import type { Hello } from "@muster/client/v1/link";
import { isAnswered, refusalOf } from "./refusal.ts";
import { GoingAwayError, type Link, type OpenOptions, type Transport } from "./transport.ts";

/** Failures of the stream in a row after which the twins are tried. */
const streamTries = 2;
/** How long a worker polls before it tries the stream again; doubles each time. */
const firstPollingMs = 60_000;
const maxPollingMs = 3_600_000;

/**
 * Tries the stream first. When it could not be opened twice in a row, or at once when the server does not know
 * it, the twins are tried in their order, and what works is kept as long as it does. A coordinator's own
 * answer (a refusal, "wait", "replaced") is final for that try: it came through.
 *
 * An outage looks like a proxy that lets no stream pass; so unless the server said that it knows no stream,
 * a polling link asks to be replaced after a minute, then two, up to an hour.
 */
export function autoTransport(stream: Transport, twins: readonly Transport[]): Transport {
  let streamFailures = 0;
  let kept: Transport | undefined;
  let pollingMs = firstPollingMs;
  let isStreamUnknown = false;

  const openTwin = async (twin: Transport, hello: Hello, options: OpenOptions): Promise<Link> => {
    const link = await twin.open(hello, options);
    kept = twin;
    if (isStreamUnknown) return link;
    const improveAfterMs = pollingMs;
    pollingMs = Math.min(maxPollingMs, pollingMs * 2);
    return improving(link, improveAfterMs, () => {
      kept = undefined;
      // One try is enough: leases must not wait for a second.
      streamFailures = streamTries - 1;
    });
  };

  return {
    async open(hello, options) {
      if (kept !== undefined) {
        const twin = kept;
        kept = undefined;
        return openTwin(twin, hello, options);
      }
      let streamError: unknown;
      try {
        const link = await stream.open(hello, options);
        streamFailures = 0;
        pollingMs = firstPollingMs;
        return link;
      } catch (error) {
        if (isAnswer(error) || options.signal.aborted) throw error;
        streamError = error;
      }
      isStreamUnknown = ConnectError.from(streamError).code === Code.Unimplemented;
      streamFailures++;
      if (!isStreamUnknown && streamFailures < streamTries) throw streamError;
      streamFailures = 0;
      for (const twin of twins) {
        try {
          return await openTwin(twin, hello, options);
        } catch (error) {
          if (isAnswer(error) || options.signal.aborted) throw error;
        }
      }
      // Of all the errors the stream's says most.
      throw streamError;
    },
  };
}

/** A link that asks to be replaced, and says so when that begins. */
function improving(link: Link, improveAfterMs: number, onImprove: () => void): Link {
  return {
    welcome: link.welcome,
    transport: link.transport,
    improveAfterMs,
    frames: link.frames,
    send: (frame) => link.send(frame),
    close: (cause) => {
      if (cause === "improve") onImprove();
      link.close(cause);
    },
  };
}

function isAnswer(error: unknown): boolean {
  const isUnimplemented = ConnectError.from(error).code === Code.Unimplemented;
  return (
    error instanceof GoingAwayError || (!isUnimplemented && (refusalOf(error) !== undefined || isAnswered(error)))
  );
}
