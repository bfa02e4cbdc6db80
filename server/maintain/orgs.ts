import { audit } from "../domain/audit.ts";
import type { Coordinator } from "../domain/context.ts";
import { encodeId } from "../domain/ids.ts";
import type { KeyContext } from "../domain/keys.ts";
import { systemCaller } from "../domain/keys.ts";
import { forgetOrg } from "../domain/org-states.ts";
import type { ArtifactStore } from "../outbound/artifact-store.ts";
import {
  hasOrgRows,
  orgTables,
  readOrgFiles,
  readOrgsToRemove,
  removeOrgFiles,
  removeOrgRow,
  removeOrgRows,
} from "../store/org-removals.ts";
import { readHeldBackOrgs } from "../store/orgs.ts";
import { sealAudits } from "./audit-seals.ts";
import type { Loop } from "./loop.ts";

/** What the loops of orgs work with. */
export type OrgSweepContext = Pick<Coordinator, "db" | "newId" | "log"> &
  Pick<KeyContext, "streams" | "orgStates"> & { readonly artifacts: Pick<ArtifactStore, "delete"> };

/**
 * Ends the streams of orgs that may do nothing, whichever coordinator was told; removes deleted orgs; seals the audit
 * logs of all. `nowMs` is a clock that never goes back.
 */
export function keepOrgs(c: OrgSweepContext, nowMs: () => number): Loop[] {
  return [
    sealAudits(c, nowMs),
    { name: "orgs", intervalMs: 1_000, pass: () => endHeldBack(c) },
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

/**
 * Removes what deleted orgs have, in steps of a bounded number of rows, any of which may be the last of this process:
 * another pass, here or elsewhere, goes on. At the end the org's own row goes with an audit row in the org from which
 * it was deleted, in one commit.
 */
export async function removeOrgs(
  c: Omit<OrgSweepContext, "streams" | "orgStates">,
  signal: AbortSignal,
): Promise<void> {
  for (const { orgId, name, deletedBy } of await readOrgsToRemove(c.db.sweep)) {
    await removeFiles(c, orgId, signal);
    for (const table of orgTables) {
      for (let more = true; more && !signal.aborted; ) more = await removeOrgRows(c.db.sweep, orgId, table);
    }
    if (signal.aborted || (await hasOrgRows(c.db.sweep, orgId))) continue;
    const home = deletedBy ?? orgId;
    const isGone = await removeOrgRow(c.db.sweep, orgId, home, (tx) =>
      audit(tx, c, systemCaller(home), {
        action: "org.remove",
        target: encodeId("org", orgId),
        details: { name },
      }),
    );
    if (isGone) c.log.info({ orgId, org: name }, "an org was removed with all that it had");
  }
}

const filesAtOnce = 16;

async function removeFiles(
  c: Pick<OrgSweepContext, "db" | "artifacts">,
  orgId: string,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const files = await readOrgFiles(c.db.sweep, orgId, filesAtOnce);
    if (files.length === 0) return;
    await Promise.all(files.map((key) => c.artifacts.delete(key)));
    await removeOrgFiles(
      c.db.sweep,
      orgId,
      files.map((file) => file.artifactId),
    );
  }
}
