import type { AlertRuleDefinition } from "./alert-rules.ts";

/** What is kept of the runs of a group that ended within a window. */
export interface RunCounts {
  /** Pieces of the window, oldest first: when each began, and what ended in it. */
  readonly pieces: readonly (readonly [atMs: number, ended: number, dead: number])[];
  /** Dead ones since the last that succeeded. */
  readonly trailing: number;
  /** The newest five that are dead. */
  readonly jobIds: readonly string[];
}

/** What ended of a group since the last look. */
export interface NewRuns {
  readonly ended: number;
  readonly dead: number;
  readonly trailing: number;
  readonly hasSucceeded: boolean;
  readonly jobIds: readonly string[];
}

/** What a group comes to by a rule. */
export interface Judgement {
  readonly value: number;
  readonly isFiring: boolean;
}

/** Nothing ended. */
export const noRuns: RunCounts = { pieces: [], trailing: 0, jobIds: [] };

/** Pieces of a window: what leaves it leaves it in so many steps. */
const piecesOfWindow = 20;

/** The counts with what ended since, and without what has left the window. */
export function addRuns(counts: RunCounts, runs: NewRuns | null, nowMs: number, windowMs: number): RunCounts {
  const stepMs = windowMs / piecesOfWindow;
  const atMs = Math.floor(nowMs / stepMs) * stepMs;
  const kept = counts.pieces.filter(([at]) => at > nowMs - windowMs);
  if (runs === null) return { ...counts, pieces: kept };
  const last = kept.at(-1);
  const pieces =
    last?.[0] === atMs
      ? [...kept.slice(0, -1), [atMs, last[1] + runs.ended, last[2] + runs.dead] as const]
      : [...kept, [atMs, runs.ended, runs.dead] as const];
  return {
    pieces,
    trailing: runs.hasSucceeded ? runs.trailing : counts.trailing + runs.trailing,
    jobIds: [...runs.jobIds, ...counts.jobIds].slice(0, 5),
  };
}

/** What the counts of a group come to by a rule on runs. */
export function judgeRuns(
  { condition, threshold, least }: Pick<AlertRuleDefinition, "condition" | "threshold" | "least">,
  { pieces, trailing }: RunCounts,
): Judgement {
  const ended = pieces.reduce((sum, [, of]) => sum + of, 0);
  const dead = pieces.reduce((sum, [, , of]) => sum + of, 0);
  if (condition === "consecutive-failures") return { value: trailing, isFiring: trailing >= threshold };
  if (condition === "job-dead") return { value: dead, isFiring: dead >= threshold };
  const rate = ended === 0 ? 0 : (100 * dead) / ended;
  return { value: rate, isFiring: ended >= least && rate >= threshold };
}

/** Reads counts that were kept as JSON; nothing, where they are none. */
export function readCounts(value: unknown): RunCounts {
  if (typeof value !== "object" || value === null || !("pieces" in value)) return noRuns;
  // Written by `addRuns` alone.
  return value as RunCounts;
}

/** Whether there is nothing to keep. */
export function isQuiet({ pieces, trailing }: RunCounts): boolean {
  return pieces.length === 0 && trailing === 0;
}
