import { builtInKind } from "./built-in-kinds.ts";
import type { Caller } from "./context.ts";
import { scopeMissing } from "./errors.ts";

/** What submitting a kind asks for beside `submit`, in the org of a caller; null: nothing. */
export function kindScope({ isTenant }: Pick<Caller, "isTenant">, kind: string): string | null {
  const known = builtInKind(kind);
  return (isTenant === true ? known?.tenantScope : known?.scope) ?? null;
}

/**
 * Refuses jobs of built-in kinds that ask for more than the right to submit: they do what only the scope may. Whoever
 * keeps what submits jobs later (a schedule) asks this when it is kept.
 */
export function requireKindScopes(
  caller: Pick<Caller, "scopes" | "isTenant">,
  kinds: Iterable<string>,
): void {
  for (const kind of kinds) {
    const scope = kindScope(caller, kind);
    if (scope === null || caller.scopes.includes(scope)) continue;
    // As everywhere: an admin may all that is the org's, and nothing that is the installation's.
    if (scope !== "platform" && caller.scopes.includes("admin")) continue;
    throw scopeMissing(scope);
  }
}
