/**
 * Where backups are: each a name with files below it. A backup is not to be seen before it is whole; names and files
 * have closed forms, so that none leads elsewhere.
 */
export interface BackupPlace {
  /** As it is told to people. */
  readonly shown: string;
  /** Keeps a file of a backup that is being made, in bounded memory. Resolves when it is safe; the digest is of its bytes. */
  write(
    backup: string,
    file: string,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<{ readonly sizeBytes: number }>;
  /** Says that a backup is whole: `manifest` is its last file. */
  finish(backup: string, manifest: Uint8Array, signal: AbortSignal): Promise<void>;
  /** Names of the whole backups, oldest first. */
  list(signal: AbortSignal): Promise<string[]>;
  /** The bytes of a file of a whole backup; null when there is none. */
  read(backup: string, file: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array> | null>;
  /** Removes a backup, whole or not. */
  remove(backup: string, signal: AbortSignal): Promise<void>;
}

/** Where the place is, as it was configured. */
export interface PlaceSettings {
  /** A directory, or `s3://bucket/prefix`. */
  readonly place: string;
  /** Of an S3 that is not Amazon's; undefined: Amazon's. */
  readonly endpoint: string | undefined;
  readonly region: string;
}

/** The file that says what a backup holds. */
export const manifestFile = "manifest.json";

/** What the name of a backup looks like: when, of what, and something that no other has. */
export const backupNameForm = /^muster-(\d{8}T\d{6}Z)-([a-z0-9][a-z0-9-]{0,62})-([0-9a-f]{6})$/;

const fileForm = /^[a-z0-9][a-z0-9_.-]{0,99}$/;

/** Refuses what is not the name of a backup, or of a file of one. */
export function checkNames(backup: string, file = manifestFile): void {
  if (!backupNameForm.test(backup)) throw new Error(`not the name of a backup: ${backup.slice(0, 100)}`);
  if (!fileForm.test(file)) throw new Error(`not the name of a file of a backup: ${file.slice(0, 100)}`);
}
