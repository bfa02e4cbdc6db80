import type { KeyContext } from "../domain/keys.ts";
import { type OrgRemovalContext, removeOrgs } from "../domain/org-removals.ts";
import { forgetOrg } from "../domain/org-states.ts";
import { readHeldBackOrgs } from "../store/orgs.ts";
import { sealAudits } from "./audit-seals.ts";
import type { Loop } from "./loop.ts";

/** What the loops of orgs work with. */
export type OrgSweepContext = OrgRemovalContext & Pick<KeyContext, "streams" | "orgStates">;

/**
 * Ends the streams of orgs that may do nothing, whichever coordinator was told; removes deleted orgs; seals the audit
 * logs of all. `nowMs` is a clock that never goes back.
 */
export function keepOrgs(c: OrgSweepContext, nowMs: () => number): Loop[] {
  return [
    sealAudits(c, nowMs),
    { name: "orgs", intervalMs: 1_600, pass: () => endHeldBack(c) },
    { name: "org removal", intervalMs: 5_000, pass: (signal) => removeOrgs(c, signal) },
  ];
}

/** Ends the streams here of orgs that may do nothing. */
export async function endHeldBack(c: Pick<OrgSweepContext, "db" | "streams" | "orgStates">): Promise<void> {
  if (c.streams.size === 0) return;
  for (const org of await readHeldBackOrgs(c.db.sweep)) {
    forgetOrg(c, org);
    c.streams.endStreamsOf({ orgId: org.orgId, withWorkers: org.deletedAt !== null });
  }
}
