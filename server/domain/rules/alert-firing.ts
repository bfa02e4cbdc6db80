/** A group of a rule, as it was left by the last look. */
export interface Standing {
  /** It fires. */
  readonly isFiring: boolean;
  /** How often it happened since it fires, and how many of those were told. */
  readonly occurrences: number;
  readonly told: number;
  /** When a firing of the group was last told, of this or an earlier alert. */
  readonly notifiedAtMs: number | null;
}

/** What is seen of it now. */
export interface Sight {
  readonly isFiring: boolean;
  /** How often it happened since the last look. */
  readonly more: number;
  readonly isSilenced: boolean;
}

/** What becomes of it. */
export interface Step {
  readonly change: "begin" | "go-on" | "end" | "none";
  readonly occurrences: number;
  /** What is to be told. */
  readonly tell: "firing" | "resolved" | null;
}

/**
 * quiet --seen--> firing --not seen--> quiet. A firing is told when something of it was not told yet, no silence holds,
 * and the last message of the group is `throttleMs` old; so one that stands is told once, and one that happens again
 * and again with each throttle. An end is told of what was told.
 */
export function stepGroup(
  { isFiring, occurrences, told, notifiedAtMs }: Standing,
  sight: Sight,
  { nowMs, throttleMs, resolveMessage }: { nowMs: number; throttleMs: number; resolveMessage: boolean },
): Step {
  if (!sight.isFiring) {
    if (!isFiring) return { change: "none", occurrences: 0, tell: null };
    const isTold = told > 0 && resolveMessage && !sight.isSilenced;
    return { change: "end", occurrences: occurrences + sight.more, tell: isTold ? "resolved" : null };
  }
  const now = isFiring ? occurrences + sight.more : Math.max(1, sight.more);
  const untold = isFiring ? told : 0;
  const isThrottled = notifiedAtMs !== null && nowMs - notifiedAtMs < throttleMs;
  const isTold = now > untold && !sight.isSilenced && !isThrottled;
  return { change: isFiring ? "go-on" : "begin", occurrences: now, tell: isTold ? "firing" : null };
}
