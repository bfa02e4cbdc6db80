import type { KeyContext } from "../domain/keys.ts";
import type { Loop } from "./loop.ts";

/**
 * Ends the streams whose keys have ended, whichever coordinator was told, and writes what was noted of keys: when they
 * were last used, and why they were refused. A stream uses its key as long as it is open.
 */
export function keepKeys(c: Pick<KeyContext, "db" | "streams" | "keyNotes">): Loop {
  return {
    name: "keys",
    // What ended is to be over within 2 s.
    intervalMs: 1_600,
    pass: async () => {
      await c.streams.poll(c.db.sweep);
      for (const { orgId, keyOrgId = orgId, keyId } of c.streams.callers()) {
        if (keyId !== "") c.keyNotes.used(keyOrgId, keyId);
      }
      await c.keyNotes.write();
    },
  };
}
