import type { Log } from "../domain/context.ts";

/** Work that nobody awaits; a stop waits for it before it closes the database. */
export class Attempts {
  readonly #log: Log;
  readonly #running = new Set<Promise<void>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Runs it; a failure is one line of the log, `what` says of what. Never rejects. */
  readonly run = (what: string, body: () => Promise<unknown>): Promise<void> => {
    const running = body()
      .then(
        () => {},
        (error: unknown) => this.#log.warn({ err: error }, `could not ${what}`),
      )
      .then(() => void this.#running.delete(running));
    this.#running.add(running);
    return running;
  };

  /** Resolves when all that runs has ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }
}
