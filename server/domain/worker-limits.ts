import { putCommand } from "../store/commands.ts";
import type { Tx } from "../store/database.ts";
import { detachLinkRow } from "../store/disabled-workers.ts";
import { isTimeZone, updateWorkerTerms } from "../store/worker-limits.ts";
import type { WorkerCommand } from "./commands.ts";
import type { Caller, Coordinator } from "./context.ts";
import { changeWorker, readView, type WorkerContext } from "./disabled-workers.ts";
import { invalidArgument, type Violation } from "./errors.ts";
import { hoursViolations, limitViolations, ownerLimitViolations } from "./rules/limit-checks.ts";
import {
  bothLimits,
  noLimits,
  type OwnerLimits,
  type WeekHours,
  type WorkerLimits,
} from "./rules/worker-limits.ts";
import { actsAsOwner } from "./worker-owners.ts";
import type { WorkerView } from "./workers.ts";

/** How much of a machine its owner gives, and when; null: all, always. */
export interface Availability {
  readonly limits: OwnerLimits | null;
  readonly hours: WeekHours | null;
}

/**
 * Changes what the server allows a worker, whatever it says of itself; null: anything. No claim that commits after this
 * one gives it more: its link ends, it attaches anew within the limits, and keeps what it holds.
 */
export async function limitWorker(
  c: WorkerContext,
  caller: Caller,
  command: WorkerCommand & { readonly limits: WorkerLimits | null },
): Promise<WorkerView> {
  const { limits, ...named } = command;
  const violations = limits === null ? [] : limitViolations("limits", limits);
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const { workerId } = await changeWorker(c, caller, "worker.limit", named, async (tx, worker) => {
    const { openPrs: maxOpenPrs } = bothLimits(limits ?? noLimits, worker.newcomerLimits ?? noLimits);
    await updateWorkerTerms(tx, orgId, worker.workerId, { limits, maxOpenPrs });
    await attachAnew(c, tx, orgId, worker.workerId);
    return { workerId: worker.workerId, details: { before: worker.limits, after: limits } };
  });
  c.wakes.command(orgId);
  return readView(c, orgId, workerId);
}

/** Changes how much of a machine its owner gives, and when: for the owner, and for operators. As `limitWorker`. */
export async function setWorkerAvailability(
  c: WorkerContext,
  caller: Caller,
  command: WorkerCommand & Availability,
): Promise<WorkerView> {
  const { limits, hours, ...named } = command;
  const violations = availabilityViolations("availability", { limits, hours });
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const { workerId } = await changeWorker(c, caller, "worker.availability", named, async (tx, worker) => {
    actsAsOwner(caller, worker, "operate");
    await checkZone(tx, "availability", hours);
    await updateWorkerTerms(tx, orgId, worker.workerId, { ownerLimits: limits, hours });
    await attachAnew(c, tx, orgId, worker.workerId);
    const before = { limits: worker.ownerLimits, hours: worker.hours };
    return { workerId: worker.workerId, details: { before, after: { limits, hours } } };
  });
  c.wakes.command(orgId);
  return readView(c, orgId, workerId);
}

/** What is wrong with how much of a machine is given. */
export function availabilityViolations(field: string, { limits, hours }: Availability): Violation[] {
  return [
    ...(limits === null ? [] : ownerLimitViolations(field, limits)),
    ...(hours === null ? [] : hoursViolations(`${field}.hours`, hours)),
  ];
}

/** Refuses hours of a time zone that the database does not know: it judges them. */
export async function checkZone(tx: Tx, field: string, hours: WeekHours | null): Promise<void> {
  if (hours === null || (await isTimeZone(tx, hours.zone))) return;
  throw invalidArgument([
    { field: `${field}.hours.timeZone`, message: "must be an IANA name like Europe/Berlin" },
  ]);
}

/**
 * Ends the link of a worker, so that its next Hello settles what it may do. Claims for the link that it had find
 * another epoch; whoever holds it is told until it has ended.
 */
export async function attachAnew(
  { newId }: Pick<Coordinator, "newId">,
  tx: Tx,
  orgId: string,
  workerId: string,
): Promise<void> {
  await detachLinkRow(tx, orgId, workerId);
  await putCommand(tx, orgId, { commandId: newId(), workerId, action: "reattach" });
}
