import { Code, ConnectError } from "@connectrpc/connect";
import { FallbackRefusedError } from "./fallback.ts";
import { isAnswer } from "./refusal.ts";
import type { Link, Transport } from "./transport.ts";

/** Failures of the stream in a row after which the twins are tried. */
const streamTries = 2;
/** How long a worker polls before it tries the stream again; doubles each time. */
const firstPollingMs = 60_000;
const maxPollingMs = 3_600_000;

/**
 * Tries the stream first. When it could not be opened twice in a row, or at once when the server does not know
 * it, polls instead, for as long as that works. A coordinator's own answer (a refusal, "wait", "replaced")
 * is the answer: it came through.
 *
 * An outage looks like a proxy that lets no stream pass; so unless the server said that it knows no stream,
 * a polling link asks to be replaced after a minute, then two, up to an hour.
 */
export function autoTransport(stream: Transport, twins: Transport): Transport {
  let streamFailures = 0;
  let isPolling = false;
  let pollingMs = firstPollingMs;
  let isStreamUnknown = false;

  const poll: Transport["open"] = async (hello, options) => {
    isPolling = false;
    const link = await twins.open(hello, options);
    isPolling = true;
    if (isStreamUnknown) return link;
    const improveAfterMs = pollingMs;
    pollingMs = Math.min(maxPollingMs, pollingMs * 2);
    return improving(link, improveAfterMs, () => {
      isPolling = false;
      // One try is enough: leases must not wait for a second.
      streamFailures = streamTries - 1;
    });
  };

  return {
    async open(hello, options) {
      if (isPolling) return poll(hello, options);
      try {
        const link = await stream.open(hello, options);
        streamFailures = 0;
        pollingMs = firstPollingMs;
        return link;
      } catch (error) {
        if (isAnswer(error) || options.signal.aborted) throw error;
        isStreamUnknown = ConnectError.from(error).code === Code.Unimplemented;
        streamFailures++;
        if (!isStreamUnknown && streamFailures < streamTries) throw error;
        streamFailures = 0;
        return poll(hello, options).catch((pollError: unknown) => {
          // Of the two the stream's error says more, unless the twins got an answer.
          throw isAnswer(pollError) || pollError instanceof FallbackRefusedError ? pollError : error;
        });
      }
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
