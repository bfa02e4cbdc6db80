import type { JobRequest } from "./job-spec.ts";

const ownFields: ReadonlySet<keyof JobRequest> = new Set([
  ...(["title", "payload", "labels", "runAt", "deadline", "externalId", "dependsOn", "ref"] as const),
]);

/** All that is not a job's own, as text; jobs of a batch share it. */
export function templateKey(job: JobRequest): string {
  const { title, payload, labels, runAt, deadline, externalId, dependsOn, ref, ...shared } = job;
  return JSON.stringify(shared);
}

/**
 * Whether a job has the key of the one before, as most of a batch have: seen sooner than the key is written. False may
 * also mean that it takes a longer look.
 */
export function isLikeBefore(job: JobRequest, before: JobRequest): boolean {
  const names = fieldsOf(job);
  if (names.length !== fieldsOf(before).length) return false;
  return names.every((name) => ownFields.has(name) || isSame(job[name], before[name]));
}

function isSame(one: unknown, other: unknown): boolean {
  const areEmpty = Array.isArray(one) && Array.isArray(other) && one.length + other.length === 0;
  return one === other || areEmpty;
}

// The keys of an object are those of its type: nothing else is ever put into it.
function fieldsOf(job: JobRequest): (keyof JobRequest)[] {
  return Object.keys(job) as (keyof JobRequest)[];
}
