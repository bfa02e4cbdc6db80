import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  WorkerApproval,
  type WorkerAvailability,
  type WorkerAvailabilitySchema,
  type WorkerLimits,
  type WorkerLimitsSchema,
} from "@muster/client/v1/worker";
import * as rules from "../domain/rules/worker-limits.ts";
import type { Availability } from "../domain/worker-limits.ts";
import type { WorkerView } from "../domain/workers.ts";

/** Stands for any skill where absent ones are none. */
const anyName = "*";

/** Limits, where absent names are any. */
export function readLimits(message: WorkerLimits): rules.WorkerLimits {
  const { skills, kinds, slots, points, labels, openPrs } = message;
  return {
    skills: skills === undefined || isAny(skills.names) ? null : distinct(skills.names),
    kinds: kinds === undefined || isAny(kinds.names) ? null : distinct(kinds.names),
    slots: orNull(slots),
    points: orNull(points),
    labels: { ...labels },
    openPrs: orNull(openPrs),
  };
}

/** Limits, where absent skills are none: what a machine may do is to be said. */
export function readStrictLimits(message: WorkerLimits | undefined): rules.WorkerLimits {
  const limits = message === undefined ? null : readLimits(message);
  const skills = message?.skills === undefined ? [] : (limits?.skills ?? null);
  return { ...(limits ?? rules.noLimits), skills };
}

/** Limits as a message; absent for null. */
export function limitsMessage(
  limits: rules.WorkerLimits | null,
): MessageInitShape<typeof WorkerLimitsSchema> | undefined {
  if (limits === null) return undefined;
  const { skills, kinds, slots, points, labels, openPrs } = limits;
  return {
    ...(skills === null ? {} : { skills: { names: [...skills] } }),
    ...(kinds === null ? {} : { kinds: { names: [...kinds] } }),
    slots: slots ?? 0,
    points: points ?? 0,
    labels: { ...labels },
    openPrs: openPrs ?? 0,
  };
}

/** How much of a machine is given, and when; absent: all, always. */
export function readAvailability(message: WorkerAvailability | undefined): Availability {
  if (message === undefined) return { limits: null, hours: null };
  const { slots, points, hours } = message;
  const limits = { slots: orNull(slots), points: orNull(points) };
  return {
    limits: limits.slots === null && limits.points === null ? null : limits,
    hours:
      hours === undefined
        ? null
        : {
            zone: hours.timeZone,
            windows: hours.windows.map(({ days, startMinute, endMinute }) => ({
              days: [...new Set(days)].sort((a, b) => a - b),
              start: startMinute,
              end: endMinute,
            })),
          },
  };
}

/** How much of a machine is given, as a message; absent: all, always. */
export function availabilityMessage({
  ownerLimits,
  hours,
}: Pick<WorkerView, "ownerLimits" | "hours">): MessageInitShape<typeof WorkerAvailabilitySchema> | undefined {
  if (ownerLimits === null && hours === null) return undefined;
  const windows = hours?.windows.map(({ days, start, end }) => ({
    days: [...days],
    startMinute: start,
    endMinute: end,
  }));
  return {
    slots: ownerLimits?.slots ?? 0,
    points: ownerLimits?.points ?? 0,
    ...(hours === null ? {} : { hours: { timeZone: hours.zone, windows: windows ?? [] } }),
  };
}

/** An approval as its number in the protocol. */
export function approvalNumber(approval: WorkerView["approval"]): WorkerApproval {
  return approval === null ? WorkerApproval.UNSPECIFIED : approvals[approval];
}

const approvals = {
  pending: WorkerApproval.PENDING,
  newcomer: WorkerApproval.NEWCOMER,
  approved: WorkerApproval.APPROVED,
  rejected: WorkerApproval.REJECTED,
} as const;

function orNull(count: number): number | null {
  return count === 0 ? null : count;
}

function isAny(names: readonly string[]): boolean {
  return names.length === 1 && names[0] === anyName;
}

function distinct(names: readonly string[]): string[] {
  return [...new Set(names)];
}
