import { handlerPrefix, isHandlerPattern } from "./handler-events.ts";
import { nearestWord } from "./spelling.ts";
import { JobState } from "./states.ts";

/**
 * What a row of the change feed tells besides a transition: its number within its transaction says which. Transitions
 * have numbers below 10.
 */
export const changeNumbers = { edit: 10, cancelRequest: 20, removal: 30 } as const;

const byState: { readonly [S in JobState]: string } = {
  [JobState.blocked]: "job.blocked",
  [JobState.scheduled]: "job.scheduled",
  [JobState.ready]: "job.ready",
  [JobState.offered]: "job.offered",
  [JobState.running]: "job.started",
  [JobState.parked]: "job.parked",
  [JobState.succeeded]: "job.succeeded",
  [JobState.cancelled]: "job.cancelled",
  [JobState.dead]: "job.dead",
};

const byNumber = new Map<number, string>([
  [changeNumbers.edit, "job.edited"],
  [changeNumbers.cancelRequest, "job.cancel-requested"],
  [changeNumbers.removal, "job.deleted"],
]);

/** The type of the event of a submission: the job comes to be. */
export const submittedType = "job.submitted";

/** Types of events that are no transitions of jobs. */
export const toldTypes = [
  "worker.connected",
  "worker.draining",
  "worker.resumed",
  "worker.disabled",
  "worker.enabled",
  "worker.stale",
  "worker.lost",
  "worker.recovered",
  "project.changed",
  "project.deleted",
  "alert.fired",
  "alert.resolved",
] as const;

/** One of them. */
export type ToldType = (typeof toldTypes)[number];

/** Every type of event. */
export const eventTypes: readonly string[] = [
  submittedType,
  ...Object.values(byState),
  ...byNumber.values(),
  ...toldTypes,
];

/** The type of the event that a change is, for a job that was there before. */
export function typeOfChange({ n, state }: { readonly n: number; readonly state: JobState }): string {
  return byNumber.get(n) ?? byState[state];
}

/** The types that a change may be: that of a submission, too, where nothing but the job's own row tells it. */
export function possibleTypes(change: {
  readonly n: number;
  readonly state: JobState;
  readonly attempt: number;
}): readonly string[] {
  const type = typeOfChange(change);
  return change.attempt === 0 && !byNumber.has(change.n) && change.state <= JobState.ready
    ? [submittedType, type]
    : [type];
}

/** Whether a type is among patterns: types, or beginnings that end in `.*`. None: every type is. */
export function isTypeAmong(type: string, patterns: readonly string[]): boolean {
  return (
    patterns.length === 0 ||
    patterns.some((pattern) =>
      pattern.endsWith("*") ? type.startsWith(pattern.slice(0, -1)) : pattern === type,
    )
  );
}

/** Patterns that one filter has at most. */
export const mostPatterns = 50;

/** What is wrong with patterns of types, by their places. */
export function patternViolations(
  field: string,
  patterns: readonly string[],
): { readonly field: string; readonly message: string }[] {
  if (patterns.length > mostPatterns) return [{ field, message: `must have at most ${mostPatterns} types` }];
  return patterns.flatMap((pattern, index) => {
    if (isHandlerPattern(pattern)) return [];
    const isKnown = pattern === "*" || eventTypes.some((type) => isTypeAmong(type, [pattern]));
    if (isKnown && (!pattern.includes("*") || /^(\*|[^*]+\.\*)$/.test(pattern))) return [];
    const groups = [...new Set(eventTypes.map((type) => `${type.split(".")[0]}.*`)), `${handlerPrefix}*`];
    const near = nearestWord(pattern, [...eventTypes, ...groups]);
    const hint = near === undefined ? `; groups are ${groups.join(", ")}` : `; did you mean ${near}?`;
    return [{ field: `${field}[${index}]`, message: `is not a type of event${hint}` }];
  });
}
