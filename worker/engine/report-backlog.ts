import { deserialize, serialize } from "node:v8";
import type { Sequenced } from "./report-buffer.ts";
import type { SpillFile, SpillPlace } from "./spill.ts";

/** A record with its number. */
export interface Entry {
  sequence: number;
  /** What it counts for. */
  readonly bytes: number;
  readonly body: Sequenced;
}

/** Records that go to disk, and come back, together; or the numbers of records that were dropped. */
interface Block {
  readonly from: number;
  to: number;
  bytes: number;
  /** Absent when they are on disk alone. */
  entries: Entry[] | undefined;
  place: SpillPlace | undefined;
  /** No more is added to it. */
  isSealed: boolean;
  /** Its records are gone: they were taken, or what is left is a gap. */
  isDropped: boolean;
}

/** A block is full at so many bytes. */
const blockBytes = 64 * 1024;
/**
 * On their way to the disk: what a handler may say in one turn of the loop, or while the disk hangs. What is more
 * waits in memory.
 */
const maxWritingBytes = 16 * 1024 * 1024;
const gapBytes = 128;

/** What a ReportBacklog needs. */
export interface ReportBacklogOptions {
  /** Bytes in memory that have no place on disk. */
  readonly memoryBytes: number;
  /** Absent: memory only. */
  readonly spill: SpillFile | undefined;
  /** Something can be taken that could not before. */
  readonly changed: () => void;
}

/**
 * The records of one attempt that its buffer has no room for, in order. Full blocks go to the disk, and come back
 * one at a time. Beyond the bound of the disk the oldest block there is dropped and a gap stands for it, and beyond
 * that of memory the oldest that is in memory alone: what the disk has already is not lost because it is slow, or
 * fails, which is never an error here.
 */
export class ReportBacklog {
  readonly #options: ReportBacklogOptions;
  readonly #blocks: Block[] = [];
  #memoryBytes = 0;
  #writingBytes = 0;
  #spill: SpillFile | undefined;
  #reading: Block | undefined;

  constructor(options: ReportBacklogOptions) {
    this.#options = options;
    this.#spill = options.spill;
  }

  /** Nothing waits here. */
  get isEmpty(): boolean {
    return this.#blocks.length === 0;
  }

  /** Adds the newest record. */
  push(entry: Entry): void {
    let block = this.#blocks.at(-1);
    if (block === undefined || block.isSealed) {
      block = { from: entry.sequence, to: entry.sequence, bytes: 0, entries: [], ...freshBlock };
      this.#blocks.push(block);
    }
    block.entries?.push(entry);
    block.to = entry.sequence;
    block.bytes += entry.bytes;
    this.#memoryBytes += entry.bytes;
    if (block.bytes >= blockBytes) this.#seal(block);
    // What was said last is never dropped, however large.
    while (this.#memoryBytes > this.#options.memoryBytes) {
      const oldest = this.#blocks.findIndex(({ place, isDropped }) => place === undefined && !isDropped);
      if (oldest === -1 || oldest === this.#blocks.length - 1) break;
      this.#drop(oldest);
    }
  }

  /** Takes the oldest records, or the gap before them; empty when there are none, or they are still being read. */
  take(): Entry[] {
    const block = this.#blocks[0];
    if (block === undefined) return [];
    if (block.isDropped) {
      this.#blocks.shift();
      const { from, to } = block;
      return [{ sequence: to, bytes: gapBytes, body: { kind: "gap", from, to } }];
    }
    if (block.entries === undefined) {
      this.#read(block);
      return [];
    }
    const { entries } = block;
    this.#blocks.shift();
    this.#forget(block);
    if (this.#blocks.length === 0) void this.#spill?.empty();
    return entries;
  }

  /** Resolves when the disk has what it was given. */
  async flushed(): Promise<void> {
    await this.#options.spill?.idle;
  }

  /** Forgets everything, and removes its file. */
  async close(): Promise<void> {
    for (const block of this.#blocks.splice(0)) block.isDropped = true;
    await this.#options.spill?.close();
  }

  #seal(block: Block): void {
    block.isSealed = true;
    const spill = this.#spill;
    const { entries } = block;
    if (spill === undefined || entries === undefined) return;
    // The disk is slow: memory has to do.
    if (this.#writingBytes + block.bytes > maxWritingBytes) return;
    const bytes = serialize(entries);
    let place = spill.reserve(bytes.length);
    while (place === undefined) {
      const oldest = this.#blocks.findIndex((one) => one.place !== undefined && !one.isDropped);
      if (oldest === -1) break;
      this.#drop(oldest);
      place = spill.reserve(bytes.length);
    }
    // The disk is full of other attempts: memory has to do.
    if (place === undefined) return;
    block.place = place;
    this.#memoryBytes -= block.bytes;
    void this.#write(spill, block, bytes, place);
  }

  async #write(spill: SpillFile, block: Block, bytes: Uint8Array, place: SpillPlace): Promise<void> {
    this.#writingBytes += block.bytes;
    try {
      await spill.write(bytes, place);
      if (!block.isDropped) block.entries = undefined;
    } catch {
      // The disk is full, or gone: from now on memory has to do.
      this.#spill = undefined;
      spill.free(place);
      if (!block.isDropped) {
        block.place = undefined;
        this.#memoryBytes += block.bytes;
      }
    }
    this.#writingBytes -= block.bytes;
  }

  #read(block: Block): void {
    const { place } = block;
    const spill = this.#options.spill;
    if (this.#reading === block || place === undefined || spill === undefined) return;
    this.#reading = block;
    spill.read(place).then(
      (bytes) => this.#came(block, entriesOf(bytes)),
      () => this.#came(block, undefined),
    );
  }

  #came(block: Block, entries: Entry[] | undefined): void {
    this.#reading = undefined;
    if (block.isDropped) return;
    if (entries === undefined) this.#drop(this.#blocks.indexOf(block));
    else block.entries = entries;
    this.#options.changed();
  }

  /** Leaves a gap where a block was, one with the gaps beside it. */
  #drop(index: number): void {
    const block = this.#blocks[index];
    if (block === undefined) return;
    this.#forget(block);
    const [before, after] = [this.#blocks[index - 1], this.#blocks[index + 1]];
    const first = before?.isDropped ? index - 1 : index;
    const last = after?.isDropped ? index + 1 : index;
    const from = (first === index ? block : before)?.from ?? block.from;
    const to = (last === index ? block : after)?.to ?? block.to;
    const gap = { from, to, bytes: 0, entries: undefined, ...freshBlock, isSealed: true, isDropped: true };
    this.#blocks.splice(first, last - first + 1, gap);
  }

  #forget(block: Block): void {
    block.isDropped = true;
    if (block.place === undefined) this.#memoryBytes -= block.bytes;
    else this.#options.spill?.free(block.place);
  }
}

const freshBlock = { place: undefined, isSealed: false, isDropped: false };

// Safe: the bytes are what `#seal` of this process made of entries.
function entriesOf(bytes: Uint8Array): Entry[] {
  return deserialize(bytes) as Entry[];
}
