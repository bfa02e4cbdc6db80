/** Tells the screen that something changed, never more often than it can use. */
export interface Publisher {
  /** Grows with each publication: what React compares. */
  readonly version: () => number;
  readonly subscribe: (listener: () => void) => () => void;
  /** Something came from the server: published at most 8 times a second. */
  readonly soon: () => void;
  /** The user did something: published at once, with everything that waits. */
  readonly now: () => void;
  /** Stops the timer. */
  readonly close: () => void;
}

/** How a publisher waits. */
export interface PublisherOptions {
  /** Least time between two publications of data, in milliseconds. */
  readonly everyMs: number;
  /** Calls back once, later; answers how to take that back. Tests hand in their own. */
  readonly later?: (run: () => void, ms: number) => () => void;
  readonly now: () => number;
}

/** Makes a publisher that has published nothing. */
export function createPublisher({ everyMs, later = setLater, now }: PublisherOptions): Publisher {
  const listeners = new Set<() => void>();
  let version = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  let cancel: (() => void) | undefined;
  const publish = (): void => {
    cancel?.();
    cancel = undefined;
    lastMs = now();
    version += 1;
    for (const listener of listeners) listener();
  };
  return {
    version: () => version,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    soon: () => {
      if (cancel !== undefined) return;
      const restMs = Math.max(0, lastMs + everyMs - now());
      if (restMs === 0) publish();
      else cancel = later(publish, restMs);
    },
    now: publish,
    close: () => {
      cancel?.();
      cancel = undefined;
    },
  };
}

function setLater(run: () => void, ms: number): () => void {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
}
