import { readCurrentAttempt } from "../store/attempts.ts";
import { inOrg } from "../store/database.ts";
import { readLeaseHolder } from "../store/job-tokens.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, scopeMissing, unauthenticated } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { type KeyParts, readJobToken, writeJobToken } from "./rules/keys.ts";
import type { Lease } from "./submit.ts";
import { superseded } from "./superseded.ts";

/** What tokens of jobs work with. Nothing is stored of them. */
interface TokenContext extends Pick<Coordinator, "db" | "config"> {
  readonly pepper: Buffer;
  readonly olderPeppers: readonly Buffer[];
}

/**
 * A token with which what runs an attempt may call for its own job, as long as the lease is current: read the job, keep
 * artifacts, submit child jobs. Only the worker that holds the lease gets one; the same each time.
 */
export async function createJobToken(c: TokenContext, caller: Caller, lease: Lease): Promise<string> {
  const { orgId, workerId } = caller;
  if (workerId === null || caller.lease !== undefined) throw scopeMissing("work");
  const holder = await readLeaseHolder(c.db.app, orgId, lease);
  if (holder?.workerId !== workerId) throw await supersededLease(c, orgId, lease);
  return writeJobToken(c.pepper, { orgId, ...lease }, c.config.keyPrefix);
}

/** Tells for whom a token calls. One that is not ours is KEY_INVALID; one whose lease has ended is SUPERSEDED. */
export async function readTokenHolder(c: TokenContext, parts: KeyParts): Promise<Omit<Caller, "requestId">> {
  const token = readJobToken([c.pepper, ...c.olderPeppers], parts);
  if (token === null) throw unauthenticated();
  const { orgId, ...lease } = token;
  // Asked at every call: a token ends with its lease, and not a moment later.
  const holder = await readLeaseHolder(c.db.app, orgId, lease);
  if (holder === null) throw await supersededLease(c, orgId, lease);
  return {
    orgId,
    actor: `worker:${holder.workerName}`,
    type: "job",
    keyId: "",
    workerId: holder.workerId,
    scopes: ["job"],
    lease,
  };
}

/** The lease that a call is under: a token's own, whether it is named or not. Another one is refused. */
export function leaseOfCall<L extends Lease | null>(caller: Caller, named: L): L | Lease {
  const { lease } = caller;
  if (lease === undefined) return named;
  const isOwn =
    named === null ||
    (named.jobId === lease.jobId && named.attempt === lease.attempt && named.leaseId === lease.leaseId);
  if (!isOwn) throw foreignJob(lease.jobId);
  return lease;
}

/** Refuses a call by the token of another job, whether that job exists or not. */
export function requireOwnJob(caller: Caller, jobId: string | null): void {
  if (caller.lease !== undefined && caller.lease.jobId !== jobId) throw foreignJob(caller.lease.jobId);
}

function foreignJob(jobId: string): DomainError {
  return new DomainError("NOT_OWN_JOB", { details: { jobId: encodeId("job", jobId) } });
}

async function supersededLease(c: TokenContext, orgId: string, lease: Lease): Promise<DomainError> {
  return superseded(lease, await inOrg(c.db.app, orgId, (tx) => readCurrentAttempt(tx, orgId, lease.jobId)));
}
