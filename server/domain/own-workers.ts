import { inOrg, type Tx } from "../store/database.ts";
import { inNamedOrg, lockOrg } from "../store/orgs.ts";
import { type NamedWorker, readNamedWorkers, revokeKeys, revokeWorkerKeys } from "../store/own-workers.ts";
import { insertWorker } from "../store/workers.ts";
import { audit } from "./audit.ts";
import { DomainError, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { createKey, defaultOrgName, type KeyContext, systemCaller } from "./keys.ts";

/** The worker that a coordinator runs itself in an org, for the built-in kinds. */
export interface OwnWorker {
  /** `coordinator`; `coordinator-2` and so on beside other coordinators of the database. */
  readonly name: string;
  readonly orgId: string;
  readonly orgName: string;
  /** A key that was made for this start; it may work, read and retry. */
  readonly key: string;
  /** Takes the key back, at a stop: the next coordinator may have the name at once. */
  release(): Promise<void>;
}

/**
 * Registers the worker of a coordinator in an org, `default` unless told otherwise, under the first name that no other
 * coordinator uses: one that crashed keeps its name for 30 s. Keys of earlier starts under the name are revoked. A
 * worker that somebody else registered keeps its name. Refused where somebody disabled such a worker, and in an org
 * that may do nothing now.
 */
export async function registerOwnWorker(c: KeyContext, orgId?: string): Promise<OwnWorker> {
  if (orgId === undefined) {
    return inNamedOrg(c.db, defaultOrgName, c.newId, (tx, org) =>
      registerIn(c, tx, { orgId: org.orgId, orgName: defaultOrgName }),
    );
  }
  return inOrg(c.db.app, orgId, async (tx) => {
    // Another coordinator may be about to take the same name.
    const org = await lockOrg(tx, orgId);
    if (org === null || org.deletedAt !== null) throw notFound("ORG_NOT_FOUND", encodeId("org", orgId));
    if (org.suspendedAt !== null) throw new DomainError("ORG_SUSPENDED", { details: { org: org.name } });
    return registerIn(c, tx, { orgId, orgName: org.name });
  });
}

async function registerIn(
  c: KeyContext,
  tx: Tx,
  { orgId, orgName }: { readonly orgId: string; readonly orgName: string },
): Promise<OwnWorker> {
  const known = await readNamedWorkers(tx, orgId, { prefix, keyName, recentMs: 30_000 });
  const disabled = known.find((one) => one.isOwn && one.isDisabled);
  if (disabled) throw new DomainError("WORKER_DISABLED", { details: { worker: disabled.name } });
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
  await audit(tx, c, systemCaller(orgId), {
    action: worker === undefined ? "worker.create" : "key.create",
    target: encodeId("worker", workerId),
    details: { name, keyId: key.id },
  });
  return {
    name,
    orgId,
    orgName,
    key: key.text,
    release: () => inOrg(c.db.app, orgId, (other) => revokeKeys(other, orgId, [key.id])),
  };
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
