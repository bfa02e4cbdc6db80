import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "./clock.ts";
import { segmentName } from "./outbox-recovery.ts";
import { decodeSegment } from "./outbox-segment.ts";

/** How long, and how much of it. */
export interface RetentionOptions {
  /** How long a segment stays after all in it was acknowledged; 0 keeps none. */
  readonly retentionMs: number;
  /** Bytes of such segments; beyond it the oldest go before their time. */
  readonly maxBytes: number;
  readonly clock: Clock;
}

interface Kept {
  readonly path: string;
  readonly bytes: number;
  readonly callOff: () => void;
}

/**
 * Segments of which all is acknowledged, kept for a while: a database that fails over to a replica which was
 * behind has lost commits that were acknowledged. A file's time of change is when its last acknowledgement was
 * written, so the time goes on over restarts.
 */
export class RetainedSegments {
  readonly #options: RetentionOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #going = new Set<Promise<void>>();
  #bytes = 0;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** Segments are kept at all. */
  get isOn(): boolean {
    return this.#options.retentionMs > 0;
  }

  /** How long a segment may be written to when all in it is acknowledged; a young one holds what is still needed. */
  get rollAfterMs(): number {
    return this.isOn ? this.#options.retentionMs / 4 : Number.POSITIVE_INFINITY;
  }

  /** Takes a segment of which all is acknowledged; it goes when its time is over. */
  async keep(path: string): Promise<void> {
    const { retentionMs, maxBytes, clock } = this.#options;
    const { mtimeMs, size } = await stat(path);
    // The clock of the files: the one that outlives this process.
    const leftMs = retentionMs - Math.max(0, Date.now() - mtimeMs);
    if (leftMs <= 0) return await rm(path, { force: true });
    this.#kept.set(path, { path, bytes: size, callOff: clock.after(leftMs, () => this.#drop(path)) });
    this.#bytes += size;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= maxBytes) break;
      this.#drop(oldest);
    }
  }

  /** Calls all timers off; what is kept stays for the next boot. */
  async close(): Promise<void> {
    for (const { callOff } of this.#kept.values()) callOff();
    this.#kept.clear();
    await Promise.all(this.#going);
  }

  #drop(path: string): void {
    const kept = this.#kept.get(path);
    if (kept === undefined) return;
    this.#kept.delete(path);
    kept.callOff();
    this.#bytes -= kept.bytes;
    const going = rm(path, { force: true })
      .catch(ignore)
      .then(() => void this.#going.delete(going));
    this.#going.add(going);
  }
}

/** All results in the segments of a directory, oldest first, whether acknowledged or not. */
export async function readAllResults(
  directory: string,
): Promise<{ readonly resultId: string; readonly body: Uint8Array }[]> {
  const found = new Map<string, Uint8Array>();
  for (const name of (await readdir(directory)).filter((one) => segmentName.test(one)).sort()) {
    // Gone since: its time was over.
    const bytes = await readFile(join(directory, name)).catch(() => Buffer.alloc(0));
    const contents = decodeSegment(bytes);
    if (contents.kind !== "records") continue;
    for (const { type, resultId, body } of contents.records)
      if (type === "entry") found.set(resultId, new Uint8Array(body));
  }
  return Array.from(found, ([resultId, body]) => ({ resultId, body }));
}

function ignore(): void {}
