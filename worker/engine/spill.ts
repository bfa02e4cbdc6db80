import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";

/** Bounds of what waits on disk. */
export interface SpillLimits {
  /** Bytes of one attempt's file. */
  readonly fileBytes: number;
  /** Bytes of all files of the worker. */
  readonly totalBytes: number;
}

/** Where reports wait that memory has no room for: a folder of the worker, with a file for each attempt that needs one. */
export class SpillFolder {
  readonly directory: string;
  readonly limits: SpillLimits;
  /** Bytes that all files hold. */
  usedBytes = 0;
  #files = 0;

  private constructor(directory: string, limits: SpillLimits) {
    this.directory = directory;
    this.limits = limits;
  }

  /** Opens the folder of a worker, without what an earlier boot left in it: nobody waits for that any more. */
  static async open(directory: string, limits: SpillLimits): Promise<SpillFolder> {
    await rm(directory, { recursive: true, force: true });
    return new SpillFolder(directory, limits);
  }

  /** A file that is made when something is written to it. */
  file(): SpillFile {
    this.#files += 1;
    return new SpillFile(this, join(this.directory, `${this.#files}.spill`));
  }

  /** Removes the folder. */
  async close(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true }).catch(ignore);
  }
}

/** A piece of a SpillFile. */
export interface SpillPlace {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/**
 * A ring of pieces on disk: written at one end, read and given back at the other. What is written takes place at
 * once, so that order and room are known; the file follows, one operation after the other.
 */
export class SpillFile {
  readonly #folder: SpillFolder;
  readonly #path: string;
  /** In order of age; the first is the next to be given back. */
  readonly #places: SpillPlace[] = [];
  #endBytes = 0;
  #handle: FileHandle | undefined;
  #work: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(folder: SpillFolder, path: string) {
    this.#folder = folder;
    this.#path = path;
  }

  /** Finds room; undefined when there is none until older pieces are given back. */
  reserve(lengthBytes: number): SpillPlace | undefined {
    const { limits, usedBytes } = this.#folder;
    const offsetBytes = usedBytes + lengthBytes > limits.totalBytes ? undefined : this.#room(lengthBytes);
    if (offsetBytes === undefined) return undefined;
    const place = { offsetBytes, lengthBytes };
    this.#places.push(place);
    this.#endBytes = offsetBytes + lengthBytes;
    this.#folder.usedBytes += lengthBytes;
    return place;
  }

  /** Gives room back. */
  free(place: SpillPlace): void {
    const index = this.#places.indexOf(place);
    if (index === -1) return;
    this.#places.splice(index, 1);
    this.#folder.usedBytes -= place.lengthBytes;
    if (this.#places.length === 0) this.#endBytes = 0;
  }

  /** Writes a piece to its place. */
  write(bytes: Uint8Array, { offsetBytes }: SpillPlace): Promise<void> {
    return this.#next(async () => {
      if (this.#isClosed) return;
      this.#handle ??= await this.#create();
      for (let done = 0; done < bytes.length; ) {
        const left = bytes.length - done;
        done += (await this.#handle.write(bytes, done, left, offsetBytes + done)).bytesWritten;
      }
    });
  }

  /** Reads a piece. */
  read({ offsetBytes, lengthBytes }: SpillPlace): Promise<Uint8Array> {
    return this.#next(async () => {
      if (this.#handle === undefined) throw new Error("nothing was written");
      const bytes = Buffer.alloc(lengthBytes);
      for (let done = 0; done < lengthBytes; ) {
        const { bytesRead } = await this.#handle.read(bytes, done, lengthBytes - done, offsetBytes + done);
        if (bytesRead === 0) throw new Error("the file is too short");
        done += bytesRead;
      }
      return bytes;
    });
  }

  /** Removes the file, unless something was written since this was asked for. */
  empty(): Promise<void> {
    return this.#next(async () => {
      if (this.#places.length === 0) await this.#remove();
    });
  }

  /** Resolves when all that was asked for is done. */
  get idle(): Promise<unknown> {
    return this.#work;
  }

  /** Removes the file for good. */
  close(): Promise<void> {
    this.#isClosed = true;
    for (const place of [...this.#places]) this.free(place);
    return this.#next(() => this.#remove());
  }

  #room(lengthBytes: number): number | undefined {
    const { fileBytes } = this.#folder.limits;
    const first = this.#places[0];
    if (first === undefined) return lengthBytes <= fileBytes ? 0 : undefined;
    const isWrapped = this.#endBytes <= first.offsetBytes;
    if (isWrapped) return this.#endBytes + lengthBytes <= first.offsetBytes ? this.#endBytes : undefined;
    if (this.#endBytes + lengthBytes <= fileBytes) return this.#endBytes;
    return lengthBytes <= first.offsetBytes ? 0 : undefined;
  }

  async #create(): Promise<FileHandle> {
    await mkdir(this.#folder.directory, { recursive: true, mode: 0o700 });
    return await open(this.#path, "wx+", 0o600);
  }

  async #remove(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    if (handle === undefined) return;
    await handle.close().catch(ignore);
    await rm(this.#path, { force: true }).catch(ignore);
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work);
    this.#work = done.catch(ignore);
    return done;
  }
}

function ignore(): void {}
