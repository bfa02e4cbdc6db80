import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Dependency, type DependencySchema, DependencyPolicy as Policy } from "@muster/client/v1/job";
import {
  type DependencyPolicy,
  type DependentJob,
  dependenciesWithin,
  findCycle,
  maxDependencies,
  type ParentName,
  showCycle,
} from "../domain/rules/dependencies.ts";
import { nearestWord } from "../domain/rules/spelling.ts";
import { isHopeless, type Problems, readId, writeId } from "./messages.ts";

/** Unknown names for which a known one is looked for that is spelled like them, and how many are looked at. */
const maxHints = 10;
const maxKnown = 1_000;

/** What must succeed first, as a request names it. */
export function readDependencies(
  problems: Problems,
  path: string,
  dependencies: readonly Dependency[],
): ParentName[] {
  const parents: ParentName[] = [];
  for (const [index, { parent }] of dependencies.entries()) {
    const field = `${path}[${index}]`;
    switch (parent.case) {
      case "jobId": {
        const jobId = readId(problems, "job", parent.value, `${field}.jobId`);
        parents.push({ type: "job", jobId: jobId ?? unread(index) });
        break;
      }
      case "externalId":
        parents.push({ type: "external", externalId: parent.value });
        break;
      case "ref":
        parents.push({ type: "ref", ref: parent.value });
        break;
      case undefined:
        problems.push({ field, message: "must name a job: by jobId, externalId or ref" });
        parents.push({ type: "job", jobId: unread(index) });
    }
    if (isHopeless(problems)) break;
  }
  return parents;
}

// Keeps the places of the others; the request is refused.
function unread(index: number): string {
  return `unread ${index}`;
}

/** What becomes of a job when one that it depends on dies. */
export function readPolicy(policy: Policy): DependencyPolicy {
  return policy === Policy.RELEASE ? "release" : "cancel";
}

/**
 * Checks what the jobs of one request are to each other: each `ref` stands once, those that are named exist, and
 * nothing waits for itself. `pathOf` names the place of a job in the request.
 */
export function checkDependencies(
  problems: Problems,
  jobs: readonly DependentJob[],
  pathOf: (index: number) => string,
): void {
  const refs = new Map<string, number>();
  let count = 0;
  for (const [index, { ref, dependsOn }] of jobs.entries()) {
    count += dependsOn.length;
    if (ref === null) continue;
    const before = refs.get(ref);
    if (before === undefined) refs.set(ref, index);
    else problems.push({ field: `${pathOf(index)}.ref`, message: `is that of ${pathOf(before)}` });
  }
  if (count > maxDependencies) {
    const message = `must have at most ${maxDependencies} dependencies in all, and have ${count}`;
    problems.push({ field: "jobs", message });
    return;
  }
  let hints = 0;
  for (const [index, { dependsOn }] of jobs.entries()) {
    for (const [place, parent] of dependsOn.entries()) {
      if (parent.type !== "ref" || refs.has(parent.ref)) continue;
      if (isHopeless(problems)) return;
      const known = hints++ < maxHints ? [...refs.keys()].slice(0, maxKnown) : [];
      const near = nearestWord(parent.ref, known);
      const hint = near === undefined ? "" : `; did you mean ${near}?`;
      const field = `${pathOf(index)}.dependsOn[${place}].ref`;
      problems.push({ field, message: `is the ref of no job of this request${hint}` });
    }
  }
  const cycle = findCycle(dependenciesWithin(jobs));
  if (cycle === null) return;
  problems.push({
    field: `${pathOf(cycle[0] ?? 0)}.dependsOn`,
    message: `is part of a cycle: ${showCycle(cycle, jobs)}`,
    reason: "DEPENDENCY_CYCLE",
  });
}

/** Dependencies as a message: by id. */
export function writeDependencies(parents: readonly string[]): MessageInitShape<typeof DependencySchema>[] {
  return parents.map((jobId) => ({ parent: { case: "jobId", value: writeId("job", jobId) } }));
}

/** The policy as a message; unspecified for a job that depends on none. */
export function writePolicy(policy: DependencyPolicy | null): Policy {
  if (policy === null) return Policy.UNSPECIFIED;
  return policy === "release" ? Policy.RELEASE : Policy.CANCEL;
}
