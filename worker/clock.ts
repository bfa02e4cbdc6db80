/** Time as waits inside a process see it. Tests hand in one that they move by hand. */
export interface Clock {
  /** Milliseconds on a clock that never goes back; only differences mean something. */
  nowMs(): number;
  /** Calls `then` once after `delayMs` (at least 0, of any length). Returns what calls it off; safe to call late. */
  after(delayMs: number, then: () => void): () => void;
}

// setTimeout takes a signed 32-bit number and fires at once beyond it.
const maxTimerMs = 2 ** 31 - 1;

/** The monotonic clock and the timers of this process. A timer keeps the process alive until called off. */
export function systemClock(): Clock {
  return { nowMs: () => performance.now(), after: afterTimeout };
}

/** Resolves after `delayMs`, or at once when `signal` aborts; never rejects. */
export function waitMs(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      callOff();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const callOff = clock.after(delayMs, done);
    signal.addEventListener("abort", done, { once: true });
  });
}

/** Resolves as the promise does, or with `otherwise` after `ms`. Leaves no timer behind. */
export async function withinMs<T>(ms: number, promise: Promise<T>, otherwise: T): Promise<T> {
  const late = Promise.withResolvers<T>();
  const timer = setTimeout(() => late.resolve(otherwise), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function afterTimeout(delayMs: number, then: () => void): () => void {
  let timer: NodeJS.Timeout;
  const arm = (leftMs: number) => {
    timer =
      leftMs > maxTimerMs
        ? setTimeout(() => arm(leftMs - maxTimerMs), maxTimerMs)
        : setTimeout(then, Math.max(0, leftMs));
  };
  arm(delayMs);
  return () => clearTimeout(timer);
}
