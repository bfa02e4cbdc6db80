import { sealAudit } from "../domain/audit-seals.ts";
import type { Coordinator } from "../domain/context.ts";
import { readUnsealedOrgs } from "../store/audit-seals.ts";
import type { Loop } from "./loop.ts";

/** How long nothing is looked for while this coordinator does nothing: others may. */
const idleMs = 30_000;

/** Seals the audit logs of all orgs, behind the calls that write them. Any coordinator may; one does. */
export function sealAudits(c: Pick<Coordinator, "db" | "log">, nowMs: () => number): Loop {
  let usesSeen = -1;
  let lookedMs = Number.NEGATIVE_INFINITY;
  return {
    name: "audit seals",
    intervalMs: 5_000,
    pass: async (signal) => {
      const uses = c.db.uses();
      if (uses === usesSeen && nowMs() - lookedMs < idleMs) return;
      const orgIds = await readUnsealedOrgs(c.db.sweep);
      for (const orgId of orgIds) {
        if (signal.aborted) return;
        // What fails for one org is not the others' loss.
        await sealAudit(c, orgId, signal).catch((error: unknown) =>
          c.log.warn(
            { err: error, orgId },
            "the audit log of an org was not sealed; the next pass tries again",
          ),
        );
      }
      // What is not over yet is sealed by a later pass.
      usesSeen = orgIds.length === 0 ? uses : -1;
      lookedMs = nowMs();
    },
  };
}
