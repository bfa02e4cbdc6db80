import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { Coordinator } from "../domain/context.ts";
import { inOrg } from "../store/database.ts";
import { readStanding } from "../store/disabled-workers.ts";

/** What looking at the standing of workers needs. */
interface StandingParts {
  readonly coordinator: Pick<Coordinator, "db">;
  readonly dispatcher: Pick<Dispatcher, "linksOf" | "wake">;
}

/**
 * Whether the links of an org here are not as a look found their workers. Those of disabled workers end, and are not
 * among the links then.
 */
export function isStandingOld(
  { dispatcher }: Pick<StandingParts, "dispatcher">,
  orgId: string,
  found: { readonly disabled: readonly string[]; readonly quarantined: readonly string[] },
): boolean {
  const links = dispatcher.linksOf(orgId);
  if (found.disabled.some((workerId) => links.has(workerId))) return true;
  const quarantined = new Set(found.quarantined);
  return links.values().some((link) => link.isQuarantined !== quarantined.has(link.workerId));
}

/**
 * Reads which workers of the links of an org here are quarantined or disabled, whichever coordinator found out, or was
 * told. A claim asks the store anyhow; this saves it from planning for links that get nothing. The link of a disabled
 * worker ends.
 */
export async function refreshStandingOf(
  { coordinator, dispatcher }: StandingParts,
  orgId: string,
): Promise<void> {
  const links = dispatcher.linksOf(orgId);
  if (links.size === 0) return;
  const rows = await inOrg(coordinator.db.sweep, orgId, (tx) => readStanding(tx, orgId, [...links.keys()]));
  const standing = new Map(rows.map((row) => [row.workerId, row]));
  for (const link of [...links.values()]) {
    const { isDisabled = false, isQuarantined = false } = standing.get(link.workerId) ?? {};
    if (isDisabled) link.port.goAway("revoked", "the worker was disabled");
    const wasQuarantined = link.isQuarantined;
    link.isQuarantined = isQuarantined;
    if (wasQuarantined && !isQuarantined) dispatcher.wake(orgId);
  }
}
