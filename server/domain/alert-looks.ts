import type { AlertStateRow, DueRule } from "../store/alert-work.ts";

/** What a look saw of a group. */
export interface Observation {
  readonly group: string;
  readonly isFiring: boolean;
  /** How often it happened since the last look; of what stands, 0. */
  readonly more: number;
  readonly value: number;
  readonly summary: string;
  readonly jobIds: readonly string[];
  /** What is kept for the next look; null: nothing. */
  readonly counts: unknown;
}

/** What a look at a rule saw. */
export interface Look {
  readonly observations: readonly Observation[];
  readonly cursor: string;
  /** When to look again. */
  readonly againInMs: number;
  /** Whether a group that was not seen stays as it is. */
  readonly isKept: (state: AlertStateRow) => boolean;
}

/** What a look works with. */
export interface LookOptions {
  readonly rule: DueRule;
  readonly states: ReadonlyMap<string, AlertStateRow>;
  readonly now: Date;
}

/** Groups that one look tells of at most. */
export const mostGroups = 1_000;
