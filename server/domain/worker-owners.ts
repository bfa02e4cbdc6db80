import type { Caller } from "./context.ts";
import { scopeMissing } from "./errors.ts";
import type { KeyScope } from "./keys.ts";

/** What is known of who owns a worker. */
interface Owned {
  /** Null: no person does. */
  readonly ownerPersonId: string | null;
}

/**
 * Whether a caller acts on a worker as its owner alone: false when a scope allows it to anybody's worker. Refused when
 * neither holds.
 */
export function actsAsOwner(caller: Caller, worker: Owned, scope: KeyScope): boolean {
  if (caller.scopes.includes("admin") || caller.scopes.includes(scope)) return false;
  const isOwner = worker.ownerPersonId !== null && worker.ownerPersonId === (caller.personId ?? null);
  if (!isOwner) throw scopeMissing(scope);
  return true;
}
