import { workerStateWords } from "@muster/client/filter";
import type { Term, TextMatch } from "./filter.ts";
import type { WorkerState } from "./worker-states.ts";

/** What a filter may ask of a worker. */
export interface WorkerFacts {
  readonly workerId: string;
  readonly name: string;
  readonly state: WorkerState;
  readonly skills: readonly { readonly name: string }[];
  readonly kinds: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly version: string;
  readonly host: string;
  /** Empty: nobody's. */
  readonly owner: string;
  readonly leases: number;
}

/** A worker, with its projects, and its id as people see it. */
export interface FilteredWorker {
  readonly worker: WorkerFacts;
  readonly projects: readonly string[];
  readonly shownId: string;
}

/** Whether a worker meets all terms. */
export function isWorkerMatch(terms: readonly Term[], one: FilteredWorker): boolean {
  return terms.every((term) => holds(term, one) !== term.isNegated);
}

function holds(term: Term, { worker, projects, shownId }: FilteredWorker): boolean {
  switch (term.type) {
    case "free": {
      const text = term.text.toLowerCase();
      return [worker.name, worker.host, shownId].some((field) => field.toLowerCase().includes(text));
    }
    case "word":
      return term.any.some((word) => workerStateWords[word]?.includes(worker.state) === true);
    case "id":
      return matches(term.any, [shownId]);
    case "text":
      return matches(term.any, textsOf(term.key, worker, projects));
    case "pair":
      return term.any.some(({ name, value }) => {
        const label = Object.hasOwn(worker.labels, name) ? worker.labels[name] : undefined;
        return label !== undefined && matches([value], [label]);
      });
    case "number": {
      const [number = 0] = term.any;
      if (term.operator === ":") return term.any.includes(worker.leases);
      if (term.operator === ">") return worker.leases > number;
      if (term.operator === ">=") return worker.leases >= number;
      return term.operator === "<" ? worker.leases < number : worker.leases <= number;
    }
    case "duration":
      return false;
  }
}

function textsOf(key: string, worker: WorkerFacts, projects: readonly string[]): readonly string[] {
  if (key === "name") return [worker.name];
  if (key === "skill") return worker.skills.map(({ name }) => name);
  if (key === "kind") return worker.kinds;
  if (key === "version") return worker.version === "" ? [] : [worker.version];
  if (key === "owner") return worker.owner === "" ? [] : [worker.owner];
  if (key === "host") return worker.host === "" ? [] : [worker.host];
  return key === "project" ? projects : [];
}

function matches(any: readonly TextMatch[], texts: readonly string[]): boolean {
  return texts.some((text) =>
    any.some((match) => (match.isPrefix ? text.startsWith(match.text) : text === match.text)),
  );
}
