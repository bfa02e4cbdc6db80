import type { Coordinator } from "../domain/context.ts";
import { countCall } from "../domain/key-counts.ts";
import { authenticate, bootstrap, createKeyContext, derivePepper, type KeyContext } from "../domain/keys.ts";
import { actFor } from "../domain/org-states.ts";
import { keptAdminKey } from "../kept-files.ts";
import type { Authenticate } from "./auth.ts";

/** What a coordinator knows callers by. */
export interface StartedKeys {
  readonly keys: Coordinator & KeyContext;
  /** Tells who calls, and counts the call against the limit of its key. */
  readonly admit: Authenticate;
  /** Tells who calls. */
  readonly look: Authenticate;
  /** The admin key, if this start made it. */
  readonly bootstrapKey: string | null;
  /** Where it is kept; null with a database of your own. */
  readonly adminKeyFile: string | null;
}

/** Makes the context of keys, the org `default` and its first admin key, where they are absent. `secrets`: newest first. */
export async function startKeys(
  coordinator: Coordinator,
  {
    secrets: [secret, ...olderSecrets],
    isEmbedded,
  }: { readonly secrets: readonly [string, ...string[]]; readonly isEmbedded: boolean },
): Promise<StartedKeys> {
  const { config } = coordinator;
  // The first admin key is on disk before it counts: a start that is cut short loses nothing.
  const kept = isEmbedded && config.adminKey === undefined ? keptAdminKey(config) : null;
  const keys = createKeyContext(
    { ...coordinator, config: kept ? { ...config, adminKey: kept.key } : config },
    { pepper: derivePepper(secret), olderPeppers: olderSecrets.map(derivePepper) },
  );
  const { adminKey } = await bootstrap(keys);
  const find: Authenticate = (token, requestId, address, org) =>
    authenticate(keys, token, requestId, address, org);
  const look: Authenticate = async (token, requestId, address, org) =>
    actFor(keys, await find(token, requestId, address, org), org);
  return {
    keys,
    look,
    admit: async (token, requestId, address, org) => {
      const caller = await find(token, requestId, address, org);
      await countCall(keys, caller);
      return actFor(keys, caller, org);
    },
    bootstrapKey: kept?.isNew ? kept.key : adminKey,
    adminKeyFile: kept?.path ?? null,
  };
}
