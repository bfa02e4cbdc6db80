import { inOrg } from "../store/database.ts";
import { noteKeyUses } from "../store/keys.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";

/** A key that was refused although its id is known. */
export interface RefusedKey {
  readonly orgId: string;
  readonly keyId: string;
  /** Why, for the audit log alone: the caller is not told. */
  readonly cause:
    | "wrong secret"
    | "revoked"
    | "expired"
    | "its worker is gone"
    | "its secret was dropped"
    | "no enrolment"
    | "used up"
    | "repeated too late"
    | "repeated by another machine";
  /** Where the call came from; empty: it is not known. */
  readonly address: string;
}

/** Once in so long the use of a key, and why it was refused, is written. */
const noteEveryMs = 60_000;

/** Uses wait so long for others, to be written together. */
const usesEveryMs = 15_000;

/**
 * When keys were last used, and why they were refused: kept in memory in the calls, and written behind them, at most
 * once a minute a key, and once a minute a key and reason. Bounded: what does not fit is not noted.
 */
export class KeyNotes {
  readonly #c: Pick<Coordinator, "db" | "newId" | "log">;
  readonly #nowMs: () => number;
  readonly #maxEntries: number;
  /** What was noted lately: a use by the key's id, a refusal by id and cause; with the time. */
  readonly #notedMs = new Map<string, number>();
  #uses = new Map<string, Set<string>>();
  #refusals: RefusedKey[] = [];
  #usesWrittenMs = Number.NEGATIVE_INFINITY;

  constructor(
    c: Pick<Coordinator, "db" | "newId" | "log">,
    { nowMs, maxEntries = 50_000 }: { readonly nowMs: () => number; readonly maxEntries?: number },
  ) {
    this.#c = c;
    this.#nowMs = nowMs;
    this.#maxEntries = maxEntries;
  }

  /** A key was used. Costs a look into a map. */
  used(orgId: string, keyId: string): void {
    if (!this.#isNews(keyId)) return;
    const keys = this.#uses.get(orgId);
    if (keys) keys.add(keyId);
    else this.#uses.set(orgId, new Set([keyId]));
  }

  /** A key was refused. */
  refused(refusal: RefusedKey): void {
    if (this.#isNews(`${refusal.keyId} ${refusal.cause}`)) this.#refusals.push(refusal);
  }

  /** Writes what was noted: refusals at once, uses some seconds after those before. An org whose write fails loses its notes: they are of no matter. */
  async write(): Promise<void> {
    const now = this.#nowMs();
    const areUsesDue = now - this.#usesWrittenMs >= usesEveryMs;
    const uses = areUsesDue ? this.#uses : new Map<string, Set<string>>();
    const refusals = Map.groupBy(this.#refusals, (one) => one.orgId);
    if (areUsesDue && uses.size > 0) {
      this.#uses = new Map();
      this.#usesWrittenMs = now;
    }
    this.#refusals = [];
    for (const orgId of new Set([...uses.keys(), ...refusals.keys()])) {
      const keyIds = [...(uses.get(orgId) ?? [])];
      await inOrg(this.#c.db.app, orgId, async (tx) => {
        if (keyIds.length > 0) await noteKeyUses(tx, orgId, keyIds);
        for (const { keyId, cause, address } of refusals.get(orgId) ?? []) {
          await audit(tx, this.#c, noCaller(orgId), {
            action: "key.refuse",
            target: keyId,
            reason: cause,
            details: { address },
          });
        }
      }).catch((error: unknown) => this.#c.log.warn({ err: error, orgId }, "uses of keys could not be kept"));
    }
    for (const [name, atMs] of this.#notedMs) if (now - atMs >= noteEveryMs) this.#notedMs.delete(name);
  }

  #isNews(name: string): boolean {
    const now = this.#nowMs();
    const atMs = this.#notedMs.get(name);
    if (atMs !== undefined && now - atMs < noteEveryMs) return false;
    if (atMs === undefined && this.#notedMs.size >= this.#maxEntries) return false;
    this.#notedMs.set(name, now);
    return true;
  }
}

// Who sent a key that is refused is not known to be its owner.
function noCaller(orgId: string): Caller {
  return { orgId, actor: "system", type: "api", keyId: "", workerId: null, scopes: [], requestId: "" };
}
