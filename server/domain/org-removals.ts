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
import { audit } from "./audit.ts";
import type { Coordinator } from "./context.ts";
import { encodeId } from "./ids.ts";
import { systemCaller } from "./keys.ts";

/** What the removal of orgs works with. */
export type OrgRemovalContext = Pick<Coordinator, "db" | "newId" | "log"> & {
  readonly artifacts: Pick<ArtifactStore, "delete">;
};

/**
 * Removes what deleted orgs have, in steps of a bounded number of rows, any of which may be the last of this process:
 * another pass, here or elsewhere, goes on. At the end the org's own row goes with an audit row in the org from which
 * it was deleted, in one commit.
 */
export async function removeOrgs(c: OrgRemovalContext, signal: AbortSignal): Promise<void> {
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
  c: Pick<OrgRemovalContext, "db" | "artifacts">,
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
