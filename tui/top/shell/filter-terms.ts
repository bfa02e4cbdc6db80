import { type FilterTerm as GrammarTerm, jobFilterTerms, workerFilterTerms } from "@muster/client/filter";

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

/** The terms of lists of jobs, as the server reads them. */
export const jobTerms: readonly FilterTerm[] = jobFilterTerms.map(termOf);

/** The terms of lists of workers, as the server reads them. */
export const workerTerms: readonly FilterTerm[] = workerFilterTerms.map(termOf);

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

function termOf({ key, doc, values, isCompared, form }: GrammarTerm): FilterTerm {
  // A length of time is never equal to another.
  const compared = form === "duration" ? [">", "<"] : [":", ">", ">=", "<", "<="];
  return { name: key, about: doc, values, ...(isCompared ? { operators: compared } : {}) };
}
