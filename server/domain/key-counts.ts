import { inOrg } from "../store/database.ts";
import { type Counted, countKey } from "../store/key-counts.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError } from "./errors.ts";

/**
 * Counts a call against the limit of its key, across all coordinators; RATE_LIMITED above it, with the time until the
 * next minute. Costs nothing for a key without a limit.
 */
export function countCall(c: Pick<Coordinator, "db">, caller: Caller): Promise<void> | undefined {
  const limit = caller.limits?.callsPerMinute ?? null;
  return limit === null ? undefined : count(c, caller, { counted: "calls", by: 1, limit });
}

/**
 * Counts jobs that are asked for, whole or not at all, against the limit of the key; RATE_LIMITED above it, with the
 * time until midnight UTC. Jobs that are then refused for another reason stay counted.
 */
export function countJobs(c: Pick<Coordinator, "db">, caller: Caller, by: number): Promise<void> | undefined {
  const limit = caller.limits?.jobsPerDay ?? null;
  return limit === null ? undefined : count(c, caller, { counted: "jobs", by, limit });
}

async function count(
  c: Pick<Coordinator, "db">,
  { orgId, keyId }: Caller,
  asked: { readonly counted: Counted; readonly by: number; readonly limit: number },
): Promise<void> {
  const { isCounted, leftMs } = await inOrg(c.db.app, orgId, (tx) =>
    countKey(tx, { orgId, keyId, ...asked }),
  );
  if (isCounted) return;
  const { counted, limit } = asked;
  throw new DomainError("RATE_LIMITED", {
    message: `The key may ${counted === "calls" ? `make ${limit} calls a minute` : `submit ${limit} jobs a day`}`,
    details: { keyId, limit: String(limit), counted },
    suggestion: "Try again after the time given, or ask for a key with a higher limit.",
    retryAfterMs: leftMs,
  });
}
