import { type OrgRemovalContext, removeOrgs } from "../domain/org-removals.ts";
import { sealAudits } from "./audit-seals.ts";
import type { Loop } from "./loop.ts";

/** Removes deleted orgs, and seals the audit logs of all. `nowMs` is a clock that never goes back. */
export function keepOrgs(c: OrgRemovalContext, nowMs: () => number): Loop[] {
  return [
    sealAudits(c, nowMs),
    { name: "org removal", intervalMs: 10_000, pass: (signal) => removeOrgs(c, signal) },
  ];
}
