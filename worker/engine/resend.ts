import type { LeaseRef } from "@muster/client/v1/job_service";
import type { LogFields } from "./messages.ts";
import type { PendingResult, PendingResults } from "./pending-results.ts";

/** Acknowledged results that are still kept, and the epoch of the cluster that they were acknowledged in. */
export interface Retention {
  /** The last epoch under which everything kept was acknowledged; 0 when unknown. */
  readonly epoch: bigint;
  /** Leases of what was kept at the start, oldest first. */
  readonly leases: readonly LeaseRef[];
  /** What is kept, oldest first. */
  results(): Promise<readonly { readonly resultId: string; readonly body: Uint8Array }[]>;
  /** Everything that is kept is acknowledged under this epoch. */
  remember(epoch: bigint): Promise<void>;
}

/** Leases that a Hello lists besides those in the outbox. */
const maxListed = 1000;

/** What a Resend works on. */
export interface ResendOptions {
  /** Absent: nothing is kept once it is acknowledged. */
  readonly retention: Retention | undefined;
  readonly results: PendingResults;
  /** Results wait to be sent again. */
  readonly changed: () => void;
  readonly log: (level: "info" | "warn", message: string, fields: LogFields) => void;
}

/**
 * Sends acknowledged results again when the cluster's epoch has grown: then the database has lost commits.
 * The fences decide which of them still count. An epoch is remembered when all were acknowledged under it, so a
 * worker that ends before that begins anew.
 */
export class Resend {
  readonly #options: ResendOptions;
  readonly #unacknowledged = new Set<string>();
  readonly #acknowledged: LeaseRef[];
  #epoch: bigint;
  #work: Promise<void> = Promise.resolve();

  constructor(options: ResendOptions) {
    this.#options = options;
    this.#epoch = options.retention?.epoch ?? 0n;
    this.#acknowledged = options.retention?.leases.slice(-maxListed) ?? [];
  }

  /**
   * Leases whose results were acknowledged last. A Hello lists them as in the outbox, because only its answer tells
   * whether they are wanted again, and an unlisted lease would be given to another worker meanwhile.
   */
  leases(): readonly LeaseRef[] {
    return this.#acknowledged;
  }

  /** Resolves when what was begun has ended. */
  get idle(): Promise<void> {
    return this.#work;
  }

  /** A coordinator named its epoch. */
  welcomed(epoch: bigint): void {
    const { retention } = this.#options;
    if (retention === undefined || epoch <= this.#epoch) return;
    const last = this.#epoch;
    this.#epoch = epoch;
    this.#work = this.#work.then(() => this.#begin(retention, last));
  }

  /** A result was acknowledged; true when it was sent again only for the epoch. */
  acknowledged(result: PendingResult): boolean {
    const { retention } = this.#options;
    if (retention === undefined) return false;
    if (result.lease !== undefined) this.#acknowledged.push(result.lease);
    if (this.#acknowledged.length > 2 * maxListed) this.#acknowledged.splice(0, maxListed);
    const isAgain = this.#unacknowledged.delete(result.resultId);
    if (isAgain && this.#unacknowledged.size === 0) this.#remember(retention);
    return isAgain;
  }

  async #begin(retention: Retention, last: bigint): Promise<void> {
    const { results, changed, log } = this.#options;
    try {
      const again = results.revive(await retention.results());
      for (const resultId of again) this.#unacknowledged.add(resultId);
      if (again.length > 0) {
        const fields = { results: again.length, epoch: Number(this.#epoch), lastEpoch: Number(last) };
        log("warn", "the database lost commits; results are sent again", fields);
      }
      if (this.#unacknowledged.size === 0) this.#remember(retention);
      changed();
    } catch (error) {
      log("warn", "kept results could not be read", { error: String(error) });
    }
  }

  #remember(retention: Retention): void {
    const epoch = this.#epoch;
    this.#work = this.#work
      .then(() => retention.remember(epoch))
      .catch((error: unknown) =>
        this.#options.log("warn", "the epoch could not be remembered", { error: String(error) }),
      );
  }
}
