/** What a handler gets of its attempt: a part of the worker's own context. */
export interface KindContext {
  readonly payload: unknown;
  /** The same for every attempt of the job. */
  readonly idempotencyKey: string;
  readonly signal: AbortSignal;
  readonly log: (level: "info" | "warn", text: string) => void;
  progress(fraction?: number, message?: string): void;
  /** Submits a child job. */
  submit(
    job: { readonly kind: string; readonly payload?: unknown } & Readonly<Record<string, unknown>>,
    options?: { readonly idempotencyKey?: string },
  ): Promise<{ readonly replayed: boolean }>;
  park(options: { readonly reason: string; readonly wakeAfterMs?: number }): never;
}

/** What every handler needs of who runs it. */
export interface KindParts {
  /** Makes the error that ends a job for good. */
  readonly failure: (message: string, code: string) => Error;
}
