import { sharedMs } from "./clock.ts";
import { type Commands, report } from "./commands.ts";
import { Histogram } from "./histogram.ts";

/** What every job of a measurement carries, whoever runs it: 100 bytes as JSON. */
export interface BenchPayload {
  /** When it was submitted, by the clock that all processes share. */
  readonly at: number;
  readonly file: string;
}

const payloadBytes = 100;

/** A payload, stamped now. */
export function benchPayload(): BenchPayload {
  const at = Number(sharedMs().toFixed(3));
  const bare = JSON.stringify({ at, file: "" }).length;
  return { at, file: "x".repeat(Math.max(0, payloadBytes - bare)) };
}

/** The jobs that the handlers of a process have seen, and how long after their submit. */
export class Seen {
  #count = 0;
  #isStamping = false;
  readonly #delays = new Histogram();

  /** Called by a handler when it starts; that is all that it does. */
  add({ at }: BenchPayload): void {
    const now = sharedMs();
    this.#count++;
    this.#delays.add(now - at);
    if (this.#isStamping) report({ startedMs: now });
  }

  /**
   * `seen`: how many so far, and the times since the last `clear`. `stamp`: from now on report when each job starts.
   */
  commands(): Commands {
    return {
      seen: () => ({ count: this.#count }),
      delays: () => ({ entries: this.#delays.entries() }),
      clear: () => {
        this.#delays.clear();
        return undefined;
      },
      stamp: () => {
        this.#isStamping = true;
        return undefined;
      },
    };
  }
}
