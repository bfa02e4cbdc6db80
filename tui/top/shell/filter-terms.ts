/** A term of the filter grammar, as completion and help show it. */
export interface FilterTerm {
  /** `state`, `age`. */
  readonly name: string;
  /** What it compares, in a few words. */
  readonly about: string;
  /** Values that are known beforehand. */
  readonly values?: readonly string[];
  /** Operators: `:` alone unless it compares. */
  readonly operators?: readonly string[];
}

/** What the filter line of a screen edits. */
export interface FilterSubject {
  readonly terms: readonly FilterTerm[];
  readonly text: () => string;
  /** Takes the new filter and lists anew. */
  readonly apply: (text: string) => void;
}

/** The terms of lists of jobs. */
export const jobTerms: readonly FilterTerm[] = [
  {
    name: "state",
    about: "where it stands",
    values: [
      "blocked",
      "scheduled",
      "retry",
      "ready",
      "offered",
      "running",
      "parked",
      "succeeded",
      "cancelled",
      "dead",
    ],
  },
  { name: "kind", about: "what sort of work; * at the end for any ending" },
  { name: "queue", about: "its lane" },
  { name: "project", about: "its project" },
  { name: "worker", about: "who has or had it: name or id" },
  { name: "skill", about: "a skill that it requires" },
  { name: "label", about: "a label, as label:KEY=VALUE" },
  { name: "batch", about: "its batch" },
  { name: "parent", about: "the job that submitted it" },
  { name: "external", about: "the submitter's own id" },
  { name: "session", about: "its session" },
  { name: "pool", about: "its pool" },
  {
    name: "priority",
    about: "0 to 255, or a word",
    values: ["low", "normal", "high", "critical"],
    operators: [":", ">", ">=", "<", "<="],
  },
  { name: "points", about: "its size", operators: [":", ">", ">=", "<", "<="] },
  { name: "attempt", about: "number of its latest attempt", operators: [":", ">", ">=", "<", "<="] },
  { name: "age", about: "time since it was submitted", operators: [">", "<"], values: ["10m", "1h", "24h"] },
  { name: "error", about: "text of its last error" },
  { name: "fingerprint", about: "a dead letter of this group; * for any" },
  { name: "id", about: "its id" },
];

/** The terms of lists of workers. */
export const workerTerms: readonly FilterTerm[] = [
  {
    name: "state",
    about: "what it does",
    values: ["idle", "busy", "draining", "stale", "offline", "disabled", "quarantined"],
  },
  { name: "skill", about: "a skill that it has" },
  { name: "kind", about: "a kind that it has a handler for" },
  { name: "name", about: "its name" },
  { name: "label", about: "a label, as label:KEY=VALUE" },
  { name: "version", about: "version of its software" },
  { name: "project", about: "a project that is linked on it" },
];

/** What may stand at the end of a filter, and where what it replaces begins. */
export interface Completion {
  /** Place in the text from which on a choice replaces everything up to the cursor. */
  readonly from: number;
  readonly choices: readonly { readonly text: string; readonly about: string }[];
}

/** What may stand where the cursor is: names of terms, or values of the term that is being written. */
export function completeFilter(terms: readonly FilterTerm[], text: string, cursor: number): Completion {
  const before = text.slice(0, cursor);
  const start = before.search(/\S*$/u);
  const word = before.slice(start);
  const minus = word.startsWith("-") ? 1 : 0;
  const written = /^-?([a-z]+)(:|>=|<=|>|<)(?:.*,)?(.*)$/u.exec(word);
  if (written === null) {
    const name = word.slice(minus).toLowerCase();
    const choices = terms
      .filter((term) => term.name.startsWith(name))
      .map((term) => ({ text: `${term.name}${term.operators?.[0] ?? ":"}`, about: term.about }));
    return { from: start + minus, choices };
  }
  const [, name, , value = ""] = written;
  const values = terms.find((term) => term.name === name)?.values ?? [];
  return {
    from: cursor - value.length,
    choices: values
      .filter((known) => known.startsWith(value.toLowerCase()) && known !== value)
      .map((known) => ({ text: known, about: "" })),
  };
}
