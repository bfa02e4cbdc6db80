import { inOrg } from "../store/database.ts";
import { endKeyAt, lockKey, revokeKeyRow } from "../store/keys.ts";
import type { KeyView } from "./api-keys.ts";
import { keyIdViolations, readKey, reasonViolations, refuseViolations, requireScopes } from "./api-keys.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { failedPrecondition, notFound } from "./errors.ts";
import { createKey, distrustKeys, type KeyContext } from "./keys.ts";
import { isKeyType } from "./rules/keys.ts";

/** What is asked of a rotation. */
export interface Rotation {
  readonly keyId: string;
  /** How long the old key stays valid; 0: it ends at once. Null: 24 h. */
  readonly overlapMs: number | null;
  readonly reason: string;
}

const dayMs = 86_400_000;
const maxOverlapMs = 90 * dayMs;

/**
 * Makes the successor of a key, with a new id and secret: the same name, scopes, limits and worker, and a life as long
 * as the old one was given. The old one ends after the overlap, or before when it would have. A key that allows more
 * than the caller's own is refused.
 *
 * @returns the new key and its text, here alone; and the old one.
 */
export async function rotateKey(
  c: KeyContext,
  caller: Caller,
  { keyId, overlapMs: asked, reason }: Rotation,
): Promise<{ readonly key: KeyView; readonly text: string; readonly old: KeyView }> {
  const overlapMs = asked ?? dayMs;
  const wrong = overlapMs < 0 || overlapMs > maxOverlapMs;
  refuseViolations([
    ...keyIdViolations(keyId),
    ...(wrong ? [{ field: "overlap", message: "must be 0 s to 90 days" }] : []),
    ...reasonViolations(reason),
  ]);
  const { orgId } = caller;
  const rotated = await inOrg(c.db.app, orgId, async (tx) => {
    const old = await lockKey(tx, orgId, keyId);
    if (old === null) throw notFound("KEY_NOT_FOUND", keyId);
    if (old.isEnded) throw failedPrecondition("KEY_ENDED", { keyId });
    const { type, name, scopes, workerId, createdAt, expiresAt, callsPerMinute, jobsPerDay } = old;
    requireScopes(caller, scopes);
    if (!isKeyType(type)) throw new Error("a key has no type that is known");
    const life =
      expiresAt === null
        ? {}
        : { expiresAt: new Date(old.now.getTime() + expiresAt.getTime() - createdAt.getTime()) };
    const made = await createKey(c, tx, {
      orgId,
      type,
      name,
      scopes,
      ...(workerId === null ? {} : { workerId }),
      ...life,
      limits: { callsPerMinute, jobsPerDay },
    });
    await endKeyAt(tx, orgId, keyId, { overlapMs, successor: made.id });
    if (overlapMs === 0) await revokeKeyRow(tx, orgId, keyId);
    const before = await readKey(tx, orgId, keyId);
    const details = {
      name,
      type,
      scopes,
      worker: before.workerName,
      successor: made.id,
      endTime: (before.revokedAt ?? before.expiresAt)?.toISOString() ?? null,
    };
    await audit(tx, c, caller, { action: "key.rotate", target: keyId, reason, details });
    return { key: await readKey(tx, orgId, made.id), text: made.text, old: before };
  });
  // What is kept of it does not know when it ends.
  if (overlapMs === 0) distrustKeys(c, [keyId]);
  return rotated;
}
