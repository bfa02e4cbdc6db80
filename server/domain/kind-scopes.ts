import { builtInKind } from "./built-in-kinds.ts";
import type { Caller } from "./context.ts";
import { scopeMissing } from "./errors.ts";

/**
 * Refuses jobs of built-in kinds that ask for more than the right to submit: they do what only the scope may. Whoever
 * keeps what submits jobs later (a schedule) asks this when it is kept.
 */
export function requireKindScopes(caller: Pick<Caller, "scopes">, kinds: Iterable<string>): void {
  for (const kind of kinds) {
    const scope = builtInKind(kind)?.scope;
    if (scope === undefined || scope === null || caller.scopes.includes(scope)) continue;
    // As everywhere: an admin may all that is the org's, and nothing that is the installation's.
    if (scope !== "platform" && caller.scopes.includes("admin")) continue;
    throw scopeMissing(scope);
  }
}
