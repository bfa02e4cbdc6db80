import { inOrg } from "../store/database.ts";
import { inNamedOrg } from "../store/orgs.ts";
import { type NamedWorker, readNamedWorkers, revokeKeys, revokeWorkerKeys } from "../store/own-workers.ts";
import { insertWorker } from "../store/workers.ts";
import { audit } from "./audit.ts";
import { encodeId } from "./ids.ts";
import { createKey, defaultOrgName, type KeyContext, systemCaller } from "./keys.ts";

/** The worker that a coordinator runs itself, for the built-in kinds. */
export interface OwnWorker {
  /** `coordinator`; `coordinator-2` and so on beside other coordinators of the database. */
  readonly name: string;
  readonly orgId: string;
  /** A key that was made for this start; it may work, read and retry. */
  readonly key: string;
  /** Takes the key back, at a stop: the next coordinator may have the name at once. */
  release(): Promise<void>;
}

/**
 * Registers the worker of a coordinator in the org `default`, under the first name that no other coordinator uses:
 * one that crashed keeps its name for 30 s. Keys of earlier starts under the name are revoked. A worker that somebody
 * else registered keeps its name.
 */
export async function registerOwnWorker(c: KeyContext): Promise<OwnWorker> {
  return inNamedOrg(c.db, defaultOrgName, c.newId, async (tx, { orgId }) => {
    const known = await readNamedWorkers(tx, orgId, { prefix, keyName, recentMs: 30_000 });
    const { name, worker } = firstFree(known);
    const workerId = worker?.workerId ?? c.newId();
    if (worker === undefined) await insertWorker(tx, { orgId, workerId, name });
    else await revokeWorkerKeys(tx, orgId, workerId);
    const key = await createKey(c, tx, {
      orgId,
      workerId,
      type: "worker",
      name: keyName,
      scopes: ["work", "read", "operate"],
    });
    const caller = systemCaller(orgId);
    await audit(tx, c, caller, {
      action: worker === undefined ? "worker.create" : "key.create",
      target: encodeId("worker", workerId),
      details: { name, keyId: key.id },
    });
    return {
      name,
      orgId,
      key: key.text,
      release: () => inOrg(c.db.app, orgId, (other) => revokeKeys(other, orgId, [key.id])),
    };
  });
}

const prefix = "coordinator";
const keyName = "the coordinator's own worker";

function firstFree(known: readonly NamedWorker[]): {
  readonly name: string;
  readonly worker: NamedWorker | undefined;
} {
  const byName = new Map(known.map((worker) => [worker.name, worker]));
  for (let number = 1; ; number++) {
    const name = number === 1 ? prefix : `${prefix}-${number}`;
    const worker = byName.get(name);
    if (worker === undefined || (worker.isOwn && !worker.isInUse)) return { name, worker };
  }
}
