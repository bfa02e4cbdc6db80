import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A document as an offer names it. */
export interface DocumentName {
  readonly skill: string;
  /** SHA-256 of the text, in hex. */
  readonly digest: string;
}

/** What the documents of a worker need. */
export interface SkillDocumentsOptions {
  /** Where texts are kept across boots; undefined: nowhere. */
  readonly directory: string | undefined;
  /** Reads a text from the coordinator. Rejects when it cannot. */
  readonly fetch: (name: DocumentName) => Promise<string>;
}

/** Texts that are kept in memory: at most 256 KiB each. */
const maxInMemory = 16;

/** Texts that are kept on disk, one a file. */
const maxOnDisk = 500;

/**
 * The documents of skills that a worker was offered. A text is fetched once, however many attempts ask for it, and kept by
 * its digest, on disk too; whatever does not have its digest is not believed. A disk that fails costs a fetch, no job.
 */
export class SkillDocuments {
  readonly #options: SkillDocumentsOptions;
  /** By digest, the one that was asked for last at the end. */
  readonly #texts = new Map<string, Promise<string>>();

  constructor(options: SkillDocumentsOptions) {
    this.#options = options;
  }

  /** The text of a document. Rejects as `fetch` does, and when what came has another digest. */
  read(name: DocumentName): Promise<string> {
    const { digest } = name;
    const text = this.#texts.get(digest) ?? this.#load(name);
    this.#texts.delete(digest);
    this.#texts.set(digest, text);
    const [oldest = digest] = this.#texts.keys();
    if (this.#texts.size > maxInMemory) this.#texts.delete(oldest);
    text.catch(() => {
      if (this.#texts.get(digest) === text) this.#texts.delete(digest);
    });
    return text;
  }

  async #load(name: DocumentName): Promise<string> {
    // Digests become names of files.
    if (!/^[0-9a-f]{64}$/.test(name.digest)) throw new Error(`the digest of ${name.skill} is none`);
    const kept = await this.#kept(name.digest);
    if (kept !== null) return kept;
    const text = await this.#options.fetch(name);
    if (digestOf(text) !== name.digest) {
      throw new Error(
        `the document of the skill ${name.skill} is not the one that was offered: its digest differs`,
      );
    }
    await this.#keep(name.digest, text).catch(() => {});
    return text;
  }

  async #kept(digest: string): Promise<string | null> {
    const { directory } = this.#options;
    if (directory === undefined) return null;
    const text = await readFile(fileOf(directory, digest), "utf8").catch(() => null);
    return text !== null && digestOf(text) === digest ? text : null;
  }

  // Whole or not at all: another process may read it meanwhile.
  async #keep(digest: string, text: string): Promise<void> {
    const { directory } = this.#options;
    if (directory === undefined) return;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const file = fileOf(directory, digest);
    const unfinished = `${file}.${process.pid}.new`;
    await writeFile(unfinished, text, { mode: 0o600 });
    await rename(unfinished, file);
    await dropOldest(directory);
  }
}

async function dropOldest(directory: string): Promise<void> {
  const names = await readdir(directory);
  if (names.length <= maxOnDisk) return;
  const files = await Promise.all(
    names.map(async (name) => {
      const path = join(directory, name);
      return {
        path,
        writtenMs: await stat(path).then(
          ({ mtimeMs }) => mtimeMs,
          () => 0,
        ),
      };
    }),
  );
  const oldest = files.sort((a, b) => a.writtenMs - b.writtenMs).slice(0, files.length - maxOnDisk);
  await Promise.all(oldest.map(({ path }) => rm(path, { force: true })));
}

function fileOf(directory: string, digest: string): string {
  return join(directory, `${digest}.md`);
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
