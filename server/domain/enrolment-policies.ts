import { inOrg } from "../store/database.ts";
import { type PolicyRow, readPolicy, replacePolicy } from "../store/enrolments.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { limitViolations } from "./rules/limit-checks.ts";
import { textViolations } from "./rules/texts.ts";
import { noLimits } from "./rules/worker-limits.ts";

/** Who may enrol own machines, and what those may do. */
export type EnrolmentPolicy = PolicyRow;

/** The policy of an org that has none: nobody may. */
export const closedPolicy: EnrolmentPolicy = {
  mode: "closed",
  machinesPerPerson: 3,
  limits: { ...noLimits, skills: [] },
  newcomerLimits: { ...noLimits, slots: 1, openPrs: 1 },
};

/** Reads who may enrol own machines. */
export function getEnrolmentPolicy(
  c: Pick<Coordinator, "db">,
  { orgId }: Pick<Caller, "orgId">,
): Promise<EnrolmentPolicy> {
  return inOrg(
    c.db.app,
    orgId,
    async (tx) => (await readPolicy(tx, orgId, { isLocked: false })) ?? closedPolicy,
  );
}

/** Replaces the policy. Machines that were enrolled under an earlier one stay as they are. */
export async function putEnrolmentPolicy(
  c: Coordinator,
  caller: Caller,
  { policy, reason }: { readonly policy: EnrolmentPolicy; readonly reason: string },
): Promise<EnrolmentPolicy> {
  const { machinesPerPerson } = policy;
  const isCount = Number.isInteger(machinesPerPerson) && machinesPerPerson >= 1 && machinesPerPerson <= 1_000;
  const violations = [
    ...(isCount ? [] : [{ field: "policy.machinesPerPerson", message: "must be 1 to 1,000, or 0 for 3" }]),
    ...limitViolations("policy.limits", policy.limits),
    ...limitViolations("policy.newcomerLimits", policy.newcomerLimits),
    ...textViolations("reason", reason, { min: 0, max: 500, isMultiline: true }),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const before = await readPolicy(tx, orgId, { isLocked: true });
    await replacePolicy(tx, orgId, policy);
    await audit(tx, c, caller, {
      action: "enrolment.policy",
      target: encodeId("org", orgId),
      reason,
      details: { before, after: policy },
    });
    return policy;
  });
}
