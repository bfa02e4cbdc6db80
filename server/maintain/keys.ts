import type { KeyContext } from "../domain/keys.ts";
import { forgetOrg } from "../domain/org-states.ts";
import type { Loop } from "./loop.ts";

/**
 * Ends the streams whose keys, logins or orgs have ended, whichever coordinator was told, and writes what was noted of
 * keys: when they were last used, and why they were refused. A stream uses its key as long as it is open.
 */
export function keepKeys(c: Pick<KeyContext, "db" | "streams" | "keyNotes" | "orgStates">): Loop {
  return {
    name: "keys",
    // What ended is to be over within 2 s, of which the statement and the word to its holder take some.
    intervalMs: 1_200,
    pass: async () => {
      for (const org of await c.streams.poll(c.db.sweep)) forgetOrg(c, org);
      for (const { orgId, keyOrgId = orgId, keyId } of c.streams.callers()) {
        if (keyId !== "") c.keyNotes.used(keyOrgId, keyId);
      }
      await c.keyNotes.write();
    },
  };
}
