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
  found: { readonly disabled: readonly string[]; readonly heldBack: readonly string[] },
): boolean {
  const links = dispatcher.linksOf(orgId);
  if (found.disabled.some((workerId) => links.has(workerId))) return true;
  const heldBack = new Set(found.heldBack);
  // How many pull requests are open is no part of what a look tells.
  return links
    .values()
    .some((link) => link.maxOpenPrs !== null || link.isHeldBack !== heldBack.has(link.workerId));
}

/**
 * Reads which workers of the links of an org here are disabled or get no offers, whichever coordinator found out, or was
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
    const { isDisabled = false, isHeldBack = false, openPrs = 0 } = standing.get(link.workerId) ?? {};
    if (isDisabled) link.port.goAway("revoked", "the worker was disabled");
    const hadRoom = !link.isHeldBack && link.openPrs <= openPrs;
    link.isHeldBack = isHeldBack;
    link.openPrs = openPrs;
    if (!hadRoom && !isHeldBack) dispatcher.wake(orgId);
  }
}
