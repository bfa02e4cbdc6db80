import type { KindContext } from "../../server/kinds/context.ts";

/** Thrown where the worker's own `park` would throw. */
export class Parked extends Error {
  readonly wakeAfterMs: number | undefined;

  constructor(reason: string, wakeAfterMs: number | undefined) {
    super(reason);
    this.wakeAfterMs = wakeAfterMs;
  }
}

/** The context of an attempt of a built-in kind that nobody watches. */
export function kindContext(given: Partial<KindContext> = {}): KindContext {
  return {
    payload: {},
    idempotencyKey: "job_1",
    signal: new AbortController().signal,
    log: () => {},
    progress: () => {},
    submit: () => Promise.reject(new Error("this attempt submits nothing")),
    park: ({ reason, wakeAfterMs }) => {
      throw new Parked(reason, wakeAfterMs);
    },
    ...given,
  };
}

/** An error that ends a job for good. */
export function kindFailure(message: string, code: string): Error {
  return Object.assign(new Error(message), { code });
}
