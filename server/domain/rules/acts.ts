import type { TextViolation } from "./texts.ts";
import { textViolations } from "./texts.ts";

/** What is done to many jobs. */
export type ActType = "cancel" | "retry" | "park" | "unpark" | "set-priority" | "discard" | "delete";

/** An act, with all that it needs. */
export interface Act {
  readonly type: ActType;
  /** 0 to 255: of `set-priority`. */
  readonly priority: number | null;
  /** When parked jobs go on by themselves; null: not before they are unparked. */
  readonly until: Date | null;
  /** `cancel` ends running jobs at once. */
  readonly isForced: boolean;
  /** For people. */
  readonly reason: string;
}

/** Jobs that one call takes at most. */
export const maxActed = 1_000;

/** What is wrong with an act; empty when nothing is. */
export function actViolations({ type, priority, until, isForced, reason }: Act): TextViolation[] {
  const isPriority = type === "set-priority";
  const found = textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
  if (
    isPriority &&
    (priority === null || !(Number.isInteger(priority) && priority >= 0 && priority <= 255))
  ) {
    found.push({ field: "priority", message: "must be from 0 to 255" });
  }
  if (!isPriority && priority !== null) found.push({ field: "priority", message: onlyOf("SET_PRIORITY") });
  if (type !== "park" && until !== null) found.push({ field: "until", message: onlyOf("PARK") });
  if (type !== "cancel" && isForced) found.push({ field: "force", message: onlyOf("CANCEL") });
  return found;
}

function onlyOf(action: string): string {
  return `belongs to ${action} alone`;
}
