import { type FileHandle, mkdir, open, rm, truncate } from "node:fs/promises";
import { type Clock, systemClock } from "./clock.ts";
import { type DirectoryLock, lockDirectory } from "./directory-lock.ts";
import { inUse, invalid, OutboxError, writeFailed } from "./outbox-error.ts";
import { type Held, type Leftovers, readLeftovers, type Segment, segmentPath } from "./outbox-recovery.ts";
import { RetainedSegments, readAllResults } from "./outbox-retention.ts";
import {
  encodeRecords,
  encodeSegmentHeader,
  maxBodyBytes,
  maxResultIdBytes,
  newMark,
  segmentHeaderBytes,
  writeFully,
} from "./outbox-segment.ts";

/** A result that is not acknowledged yet. */
export interface OutboxEntry {
  /** Unique among the results of the worker; 1 to 256 bytes of UTF-8. */
  readonly resultId: string;
  /** The result as its owner serialised it; at most 4 MiB. Must not be changed once given. */
  readonly body: Uint8Array;
}

/** Where an outbox lives, and what it writes with. */
export interface OutboxOptions {
  /** A folder of its own; made with mode 0700 when missing. Used by one process at a time. */
  readonly directory: string;
  /** Ends the opening; has no part in the outbox once it is open. */
  readonly signal: AbortSignal;
  /** Bytes of results that may be waiting or unacknowledged, each counted 256 more. Default: 512 MiB. */
  readonly maxHeldBytes?: number;
  /** Makes what was written durable. Default: `handle.datasync()`. */
  readonly fdatasync?: (handle: FileHandle) => Promise<void>;
  /** How long results are kept once they are acknowledged, for `retained`. Default: 0. */
  readonly retentionMs?: number;
  /** Bytes of acknowledged results that are kept; beyond it the oldest go before their time. Default: 256 MiB. */
  readonly maxRetainedBytes?: number;
  /** Tells when a kept result goes. Default: the process's. */
  readonly clock?: Clock;
}

/** What opening found that a clean end does not leave. */
export interface OutboxRecovery {
  /** Bytes of a torn tail that were cut: a write that no append was resolved for. */
  readonly tornBytes: number;
  /** Bytes of damaged records between whole ones, whose results are lost: worth a warning about the disk. */
  readonly damagedBytes: number;
}

type Fdatasync = (handle: FileHandle) => Promise<void>;

type HeldLock = Extract<DirectoryLock, { kind: "held" }>;

interface ActiveSegment {
  readonly segment: Segment;
  readonly file: FileHandle;
  /** Length of the file; behind the segment's end it is zeros. */
  fileBytes: number;
  readonly startedMs: number;
}

/** Called with the id of a result once it is durable, or cannot be. */
type Kept = (resultId: string, error?: OutboxError) => void;

interface Append extends Held {
  readonly kept: Kept;
}

const rollBytes = 8 * 1024 * 1024;
const idleRollBytes = 1024 * 1024;
/** A file grows by this: the fdatasync of a write inside it costs half of one that makes it longer. */
const growthBytes = 256 * 1024;
const maxBatchBytes = 8 * 1024 * 1024;
const defaultMaxHeldBytes = 512 * 1024 * 1024;
const defaultMaxRetainedBytes = 256 * 1024 * 1024;
const entryOverheadBytes = 256;

/**
 * The results of a worker process that no coordinator has acknowledged, on disk.
 *
 * An append resolves when its record is durable, and only then is it pending: nothing goes on the wire that a
 * crash could take back. Appends that come while a write is under way share the next write and fdatasync.
 * Acknowledgements are appended without fdatasync; one that a crash loses costs a result sent twice. Each
 * process writes segments of its own, and deletes any segment of which all is acknowledged, or `retentionMs`
 * later.
 *
 * Bound: `maxHeldBytes` of results that are waiting or unacknowledged; more are refused with OUTBOX_FULL.
 */
export class Outbox implements AsyncDisposable {
  /** What opening found. */
  readonly recovery: OutboxRecovery;
  readonly #directory: string;
  readonly #lock: HeldLock;
  readonly #fdatasync: Fdatasync;
  readonly #maxHeldBytes: number;
  /** What is not acknowledged, what waits to be written included, oldest first. */
  readonly #held: Map<string, Held>;
  #waiting: Append[] = [];
  /** Segments that are not written to any more, but have acknowledgements to write or can go. */
  readonly #settling: Set<Segment>;
  readonly #retention: RetainedSegments;
  readonly #clock: Clock;
  #active: ActiveSegment | null = null;
  #nextSegment: number;
  #heldBytes: number;
  #writing: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  private constructor(options: Required<OutboxOptions>, lock: HeldLock, found: Leftovers) {
    this.recovery = { tornBytes: found.tornBytes, damagedBytes: found.damagedBytes };
    this.#directory = options.directory;
    this.#lock = lock;
    this.#fdatasync = options.fdatasync;
    this.#maxHeldBytes = options.maxHeldBytes;
    this.#clock = options.clock;
    const { retentionMs, maxRetainedBytes: maxBytes, clock } = options;
    this.#retention = new RetainedSegments({ retentionMs, maxBytes, clock });
    this.#held = found.pending;
    this.#settling = new Set(found.segments);
    this.#nextSegment = found.nextSegment;
    this.#heldBytes = found.pending.values().reduce((sum, { entry }) => sum + heldBytes(entry), 0);
  }

  /**
   * Opens the outbox of a directory, with what earlier boots left in it. Fails with OUTBOX_IN_USE while
   * another outbox, of any process on this machine, has it open, and with OUTBOX_UNKNOWN_VERSION or
   * OUTBOX_FOREIGN_FILE on a segment that it cannot read; then it has changed nothing.
   */
  static async open(options: OutboxOptions): Promise<Outbox> {
    const { directory, signal, fdatasync = datasync } = options;
    const given = {
      fdatasync,
      maxHeldBytes: options.maxHeldBytes ?? defaultMaxHeldBytes,
      retentionMs: options.retentionMs ?? 0,
      maxRetainedBytes: options.maxRetainedBytes ?? defaultMaxRetainedBytes,
      clock: options.clock ?? systemClock(),
    };
    signal.throwIfAborted();
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const lock = await lockDirectory(directory, signal);
    if (lock.kind === "in use") throw inUse(directory, lock.pid);
    try {
      const found = await readLeftovers(directory, fdatasync, signal);
      const outbox = new Outbox({ directory, signal, ...given }, lock, found);
      outbox.#wake();
      return outbox;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** What is durable and not acknowledged, oldest first, earlier boots' results included. */
  pending(): OutboxEntry[] {
    const pending: OutboxEntry[] = [];
    for (const { entry, segment } of this.#held.values()) if (segment !== undefined) pending.push(entry);
    return pending;
  }

  /** What was acknowledged and is kept for its retention, oldest first: to be sent again when commits were lost. */
  async retained(): Promise<OutboxEntry[]> {
    const all = this.#retention.isOn ? await readAllResults(this.#directory) : [];
    return all.filter(({ resultId }) => !this.#held.has(resultId));
  }

  /**
   * Keeps a result; resolves when it is durable. Rejects with an OutboxError when it cannot be: then it is
   * not pending, and the same entry may be tried again.
   */
  append(entry: OutboxEntry): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.keep(entry, (_, error) => (error === undefined ? resolve() : reject(error)));
    return promise;
  }

  /** As `append`, for many: calls `kept`, which must not throw, in a later turn, and with the error when it rejects. */
  keep(entry: OutboxEntry, kept: Kept): void {
    const refusal = this.#refuse(entry);
    if (refusal !== null) {
      queueMicrotask(() => kept(entry.resultId, refusal));
      return;
    }
    const append: Append = { entry, segment: undefined, kept };
    this.#heldBytes += heldBytes(entry);
    this.#held.set(entry.resultId, append);
    this.#waiting.push(append);
    this.#wake();
  }

  /** Forgets results that the coordinator has; ids that are not pending are ignored. */
  acknowledge(resultIds: readonly string[]): void {
    if (this.#closing !== null) return;
    for (const resultId of resultIds) {
      const found = this.#held.get(resultId);
      if (found?.segment === undefined) continue;
      const { entry, segment } = found;
      this.#held.delete(resultId);
      this.#heldBytes -= heldBytes(entry);
      segment.unacknowledged -= 1;
      segment.acknowledged.push(resultId);
      if (segment !== this.#active?.segment) this.#settling.add(segment);
    }
    this.#wake();
  }

  /** Writes what is waiting, deletes what is done, and frees the directory. Later appends are refused. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  /** As `close`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(): Promise<void> {
    await this.#writing;
    await this.#retireActive();
    for (const segment of this.#settling) await this.#settle(segment);
    await this.#retention.close();
    await this.#lock.release();
  }

  #refuse({ resultId, body }: OutboxEntry): OutboxError | null {
    // A character has at most three bytes for each of its units.
    const idBytes = resultId.length * 3 > maxResultIdBytes ? Buffer.byteLength(resultId) : resultId.length;
    if (this.#closing !== null)
      return new OutboxError(
        "OUTBOX_CLOSED",
        "the outbox is closed",
        "Give results before the worker stops.",
      );
    if (idBytes < 1 || idBytes > maxResultIdBytes || !resultId.isWellFormed())
      return invalid(
        `a result id must have 1 to ${maxResultIdBytes} bytes of UTF-8`,
        "Make ids with a UUID.",
      );
    if (body.length > maxBodyBytes)
      return invalid(
        `result ${resultId} has ${body.length} bytes`,
        `Keep results within ${maxBodyBytes} bytes.`,
      );
    if (this.#held.has(resultId))
      return invalid(`result ${resultId} is in the outbox already`, "Use an id once.");
    if (this.#heldBytes + heldBytes({ resultId, body }) > this.#maxHeldBytes)
      return new OutboxError(
        "OUTBOX_FULL",
        `${this.#held.size} results are not acknowledged (at most ${this.#maxHeldBytes} bytes are held)`,
        "Try again when the coordinator answers.",
      );
    return null;
  }

  #wake(): void {
    if (this.#writing === null && this.#hasWork()) this.#writing = this.#writeAll();
  }

  #hasWork(): boolean {
    const hasAcknowledged = (this.#active?.segment.acknowledged.length ?? 0) > 0;
    return this.#waiting.length > 0 || this.#settling.size > 0 || hasAcknowledged;
  }

  async #writeAll(): Promise<void> {
    // Whatever the same turn of the event loop appends goes into one batch.
    await null;
    while (this.#hasWork()) {
      await this.#rollActive();
      await this.#writeBatch();
      const [segment] = this.#settling;
      if (segment !== undefined) await this.#settle(segment);
    }
    this.#writing = null;
  }

  async #writeBatch(): Promise<void> {
    const batch = this.#nextBatch();
    const acknowledged = this.#active?.segment.acknowledged.splice(0) ?? [];
    if (batch.length === 0 && acknowledged.length === 0) return;
    try {
      this.#active ??= await this.#startSegment();
      const active = this.#active;
      const { segment, file } = active;
      const entries = batch.map(({ entry }) => entry);
      const bytes = encodeRecords(acknowledged, entries, segment.mark);
      const endBytes = segment.endBytes + bytes.length;
      const growsBy = endBytes > active.fileBytes ? growthBytes - (endBytes % growthBytes) : 0;
      // What concat is not given it fills with zeros.
      const written = growsBy > 0 ? Buffer.concat([bytes], bytes.length + growsBy) : bytes;
      await writeFully(file, written, segment.endBytes);
      if (batch.length > 0) await this.#fdatasync(file);
      active.fileBytes = Math.max(active.fileBytes, segment.endBytes + written.length);
      segment.endBytes = endBytes;
      segment.unacknowledged += batch.length;
      for (const append of batch) append.segment = segment;
    } catch (cause) {
      await this.#abandonActive();
      for (const { entry } of batch) {
        this.#held.delete(entry.resultId);
        this.#heldBytes -= heldBytes(entry);
      }
      for (const { entry, kept } of batch)
        kept(entry.resultId, writeFailed(this.#directory, entry.resultId, cause));
      return;
    }
    for (const { entry, kept } of batch) kept(entry.resultId);
  }

  #nextBatch(): Append[] {
    let bytes = 0;
    let count = 0;
    for (const { entry } of this.#waiting) {
      bytes += entry.body.length;
      if (count > 0 && bytes > maxBatchBytes) break;
      count++;
    }
    const batch = this.#waiting;
    this.#waiting = count === batch.length ? [] : batch.splice(count);
    return batch;
  }

  async #startSegment(): Promise<ActiveSegment> {
    const path = segmentPath(this.#directory, this.#nextSegment);
    this.#nextSegment += 1;
    const file = await open(path, "wx", 0o600);
    try {
      const mark = newMark();
      // Durable with the first batch; its name in the directory is not.
      await writeFully(file, encodeSegmentHeader(mark), 0);
      await syncDirectory(this.#directory);
      const segment = { path, mark, endBytes: segmentHeaderBytes, unacknowledged: 0, acknowledged: [] };
      return { segment, file, fileBytes: segmentHeaderBytes, startedMs: this.#clock.nowMs() };
    } catch (error) {
      await file.close();
      await rm(path, { force: true });
      throw error;
    }
  }

  async #rollActive(): Promise<void> {
    if (this.#active === null) return;
    const { segment, startedMs } = this.#active;
    const { endBytes, unacknowledged } = segment;
    const isOld = this.#clock.nowMs() - startedMs >= this.#retention.rollAfterMs;
    if (endBytes >= rollBytes || (unacknowledged === 0 && (isOld || endBytes > idleRollBytes)))
      await this.#retireActive();
  }

  async #retireActive(): Promise<void> {
    if (this.#active === null) return;
    const { segment, file } = this.#active;
    this.#active = null;
    this.#settling.add(segment);
    await file.close().catch(ignore);
  }

  /** After a failed write nothing of the file's end can be trusted: what is durable stays, the rest is cut. */
  async #abandonActive(): Promise<void> {
    const segment = this.#active?.segment;
    await this.#retireActive();
    if (segment !== undefined) await truncate(segment.path, segment.endBytes).catch(ignore);
  }

  /** A failure here costs a result that is sent twice and answered as a duplicate. */
  async #settle(segment: Segment): Promise<void> {
    this.#settling.delete(segment);
    const acknowledged = segment.acknowledged.splice(0);
    try {
      const isDone = segment.unacknowledged === 0;
      if (isDone && !this.#retention.isOn) return await rm(segment.path, { force: true });
      if (acknowledged.length > 0) {
        const bytes = encodeRecords(acknowledged, [], segment.mark);
        await using file = await open(segment.path, "r+");
        await writeFully(file, bytes, segment.endBytes);
        segment.endBytes += bytes.length;
      }
      if (isDone) await this.#retention.keep(segment.path);
    } catch {
      return;
    }
  }
}

function heldBytes({ body }: OutboxEntry): number {
  return body.length + entryOverheadBytes;
}

function datasync(handle: FileHandle): Promise<void> {
  return handle.datasync();
}

async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, "r");
  await handle.sync();
}

function ignore(): void {}
