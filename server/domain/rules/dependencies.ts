import type { JobViolation } from "./job-spec.ts";
import { nameViolations, slugRule, textViolations } from "./texts.ts";

/** What becomes of a job when one that it depends on dies or is cancelled. */
export type DependencyPolicy = "cancel" | "release";

/** How a submitter names a job that must succeed first: by its id, a uuid; by its external id; by its name in the batch. */
export type ParentName =
  | { readonly type: "job"; readonly jobId: string }
  | { readonly type: "external"; readonly externalId: string }
  | { readonly type: "ref"; readonly ref: string };

/** What of a job decides on its dependencies. */
export interface DependentJob {
  readonly ref: string | null;
  readonly externalId: string | null;
  readonly dependsOn: readonly ParentName[];
}

/** Jobs that one may depend on at most. */
export const maxParents = 10_000;

/** Dependencies of one submission at most: they are written in one transaction. */
export const maxDependencies = 100_000;

/** The fields of the proto3 JSON form, by what they name. */
export const parentFields = { job: "jobId", external: "externalId", ref: "ref" } as const;

/** What is wrong with the dependencies of one job by itself. Fields are named from `path`, the place of the job. */
export function dependencyViolations({ ref, dependsOn }: DependentJob, path: string): JobViolation[] {
  const found = ref === null ? [] : nameViolations(`${path}.ref`, ref, slugRule);
  if (dependsOn.length > maxParents) {
    const message = `must have at most ${maxParents} entries, and has ${dependsOn.length}`;
    return [...found, { field: `${path}.dependsOn`, message }];
  }
  const first = new Map<string, number>();
  for (const [index, parent] of dependsOn.entries()) {
    const field = `${path}.dependsOn[${index}]`;
    const name = nameOf(parent);
    const before = first.get(name);
    if (before === undefined) first.set(name, index);
    else found.push({ field, message: `is the same job as dependsOn[${before}]` });
    if (parent.type === "external") {
      found.push(...textViolations(`${field}.externalId`, parent.externalId, { min: 1, max: 200 }));
    } else if (parent.type === "ref") {
      found.push(...nameViolations(`${field}.ref`, parent.ref, slugRule));
    }
  }
  return found;
}

/**
 * The jobs of one submission that each depends on, by their places in it: by `ref`, or by an external id that one of
 * them takes. What it names besides is not among them.
 */
export function dependenciesWithin(jobs: readonly DependentJob[]): number[][] {
  const places = new Map<string, number>();
  for (const [index, { ref, externalId }] of jobs.entries()) {
    if (ref !== null) places.set(nameOf({ type: "ref", ref }), index);
    if (externalId !== null) places.set(nameOf({ type: "external", externalId }), index);
  }
  return jobs.map(({ dependsOn }) =>
    dependsOn.flatMap((parent) => {
      const place = places.get(nameOf(parent));
      return place === undefined ? [] : [place];
    }),
  );
}

/**
 * A cycle, as places in their order: each depends on the next one, and the last on the first. Null when there is none.
 * `parents[n]` are the places that `n` depends on. Time linear in all of them; no recursion: a chain may have
 * thousands.
 */
export function findCycle(parents: readonly (readonly number[])[]): number[] | null {
  const isDone = new Array<boolean>(parents.length).fill(false);
  const depth = new Array<number>(parents.length).fill(-1);
  for (const start of parents.keys()) {
    if (isDone[start]) continue;
    const path = [{ place: start, next: 0 }];
    depth[start] = 0;
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const parent = parents[top.place]?.[top.next++];
      if (parent === undefined) {
        isDone[top.place] = true;
        depth[top.place] = -1;
        path.pop();
      } else if ((depth[parent] ?? -1) >= 0) {
        return path.slice(depth[parent]).map(({ place }) => place);
      } else if (!isDone[parent]) {
        depth[parent] = path.length;
        path.push({ place: parent, next: 0 });
      }
    }
  }
  return null;
}

/** A cycle in words, `a → b → a`; of a long one its ends. */
export function showCycle(cycle: readonly number[], jobs: readonly DependentJob[]): string {
  const names = [...cycle, ...cycle.slice(0, 1)].map((place) => {
    const job = jobs[place];
    return job?.ref ?? job?.externalId ?? `jobs[${place}]`;
  });
  const shown = names.length <= shownMax ? names : [...names.slice(0, shownMax - 3), "…", ...names.slice(-2)];
  return shown.join(" → ");
}

const shownMax = 20;

function nameOf(parent: ParentName): string {
  switch (parent.type) {
    case "job":
      return `job:${parent.jobId}`;
    case "external":
      return `external:${parent.externalId}`;
    case "ref":
      return `ref:${parent.ref}`;
  }
}
