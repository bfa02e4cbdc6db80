import type { Link, Transport } from "./transport.ts";

/**
 * Several coordinators of one database, tried in their order: when a link could
 * not be opened, or has ended however it did, the next one is tried, and after
 * the last the first again. A link that ends for a better transport stays.
 */
export function rotatingTransport(transports: readonly [Transport, ...Transport[]]): Transport {
  let current = 0;
  let isOpen = false;
  const moveOn = (): void => {
    current = (current + 1) % transports.length;
  };
  return {
    async open(hello, options) {
      // One link at a time: that there was one means that it has ended.
      if (isOpen) moveOn();
      isOpen = false;
      try {
        const link = await (transports[current] ?? transports[0]).open(hello, options);
        isOpen = true;
        return staying(link, () => {
          isOpen = false;
        });
      } catch (error) {
        moveOn();
        throw error;
      }
    },
  };
}

/** A link that says so when it ends for a better transport at the same place. */
function staying(link: Link, onImprove: () => void): Link {
  return {
    welcome: link.welcome,
    transport: link.transport,
    improveAfterMs: link.improveAfterMs,
    frames: link.frames,
    send: (frame) => link.send(frame),
    close: (cause) => {
      if (cause === "improve") onImprove();
      link.close(cause);
    },
  };
}
