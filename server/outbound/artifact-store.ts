/**
 * Where the bytes of an artifact are. Its digest is part of the place: under a key there are these bytes
 * or none, so whoever finds something there need not read it to know what it is.
 */
export interface ArtifactKey {
  readonly orgId: string;
  readonly jobId: string;
  readonly attempt: number;
  readonly artifactId: string;
  /** Of the bytes, in lower-case hex. */
  readonly sha256: string;
}

/** What a signed URL lets its holder do. */
export type SignedRequest =
  | {
      /** Put exactly these bytes, once. */
      readonly method: "PUT";
      readonly key: ArtifactKey;
      readonly sizeBytes: number;
      readonly contentType: string;
    }
  | {
      /** Get the bytes, served under this name. */
      readonly method: "GET";
      readonly key: ArtifactKey;
      readonly name: string;
      readonly contentType: string;
    };

/** How long a signed URL is good for. */
export const signedUrlMs = 10 * 60_000;

/** Keeps the bytes of artifacts. Who may have which, and what they are called, is the database's. */
export interface ArtifactStore {
  /**
   * Keeps the bytes. Rejects with ArtifactMismatchError, and keeps nothing, when their number or digest
   * differs from what was said.
   */
  put(
    key: ArtifactKey,
    body: AsyncIterable<Uint8Array>,
    expected: { readonly sizeBytes: number },
    signal: AbortSignal,
  ): Promise<void>;
  /** The bytes; null when there are none. */
  get(key: ArtifactKey, signal: AbortSignal): Promise<AsyncIterable<Uint8Array> | null>;
  /** How many bytes there are; null when there are none. */
  stat(key: ArtifactKey): Promise<{ readonly sizeBytes: number } | null>;
  /** Removes the bytes, if there are any. */
  delete(key: ArtifactKey): Promise<void>;
  /** A URL for one request, good for `signedUrlMs`. */
  signedUrl(request: SignedRequest): Promise<string>;
}

/** What was sent is not what was announced. */
export class ArtifactMismatchError extends Error {
  override readonly name = "ArtifactMismatchError";
}
