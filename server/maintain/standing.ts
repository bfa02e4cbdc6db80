import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { Coordinator } from "../domain/context.ts";
import { quarantinedOf } from "../store/links.ts";

/**
 * Reads which workers of the links here are quarantined, whichever coordinator found out, or cleared them. A
 * claim asks the store anyhow; this saves it from planning for links that get nothing.
 */
export async function refreshStanding(parts: {
  readonly coordinator: Pick<Coordinator, "db">;
  readonly dispatcher: Pick<Dispatcher, "orgs" | "linksOf" | "wake">;
}): Promise<void> {
  for (const orgId of parts.dispatcher.orgs()) {
    const links = parts.dispatcher.linksOf(orgId);
    const quarantined = await quarantinedOf(parts.coordinator.db, orgId, [...links.keys()]);
    for (const link of links.values()) {
      const wasQuarantined = link.isQuarantined;
      link.isQuarantined = quarantined.has(link.workerId);
      if (wasQuarantined && !link.isQuarantined) parts.dispatcher.wake(orgId);
    }
  }
}
