import type { UnreadableSegment } from "./outbox-segment.ts";

/** Why an outbox refused. */
export type OutboxErrorCode =
  | "OUTBOX_IN_USE"
  | "OUTBOX_UNKNOWN_VERSION"
  | "OUTBOX_FOREIGN_FILE"
  | "OUTBOX_WRITE_FAILED"
  | "OUTBOX_FULL"
  | "OUTBOX_ENTRY_INVALID"
  | "OUTBOX_CLOSED";

/** An outbox could not be opened, or an entry is not durable. */
export class OutboxError extends Error {
  override readonly name = "OutboxError";
  readonly code: OutboxErrorCode;
  /** What to do about it, in one sentence. */
  readonly suggestion: string;

  constructor(code: OutboxErrorCode, message: string, suggestion: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.suggestion = suggestion;
  }
}

/** Another outbox has the directory open. */
export function inUse(directory: string, pid: number): OutboxError {
  return new OutboxError(
    "OUTBOX_IN_USE",
    `the outbox ${directory} is in use by process ${pid}`,
    "Stop that worker, or give this one a state directory of its own.",
  );
}

/** A segment that this version cannot read; it is never changed. */
export function unreadable(path: string, contents: UnreadableSegment): OutboxError {
  if (contents.kind === "foreign")
    return new OutboxError(
      "OUTBOX_FOREIGN_FILE",
      `${path} is not an outbox segment, or its first bytes are damaged; it was left as it is`,
      "Move the file away; results that it may hold are lost, and their jobs run again.",
    );
  return new OutboxError(
    "OUTBOX_UNKNOWN_VERSION",
    `${path} has format version ${contents.version}, which this version of Muster does not know; it was left as it is`,
    "Start the version of Muster that wrote it, and let it deliver its results.",
  );
}

/** A write or its fdatasync failed. */
export function writeFailed(directory: string, resultId: string, cause: unknown): OutboxError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new OutboxError(
    "OUTBOX_WRITE_FAILED",
    `result ${resultId} could not be made durable in ${directory}: ${why}`,
    "Make room on the disk, or repair it; then the result can be given again.",
    cause,
  );
}

/** An entry that the outbox does not take. */
export function invalid(message: string, suggestion: string): OutboxError {
  return new OutboxError("OUTBOX_ENTRY_INVALID", message, suggestion);
}
