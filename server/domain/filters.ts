import { DomainError } from "./errors.ts";
import { decodeId, type IdNoun, idPrefixes } from "./ids.ts";
import {
  type FilterReading,
  readJobTerms,
  readWorkerTerms,
  type Term,
  type TextMatch,
} from "./rules/filter.ts";

/** The terms of a filter of jobs as people write it. Throws FILTER_INVALID that names `field` and the column. */
export function jobTerms(text: string, field = "filterText"): readonly Term[] {
  return termsOf(readJobTerms(text, checkId("job")), field);
}

/** The same for workers. */
export function workerTerms(text: string, field = "filterText"): readonly Term[] {
  return termsOf(readWorkerTerms(text, checkId("worker")), field);
}

/** The ids that a match means: from the first to the last one, both included. */
export function idRange(noun: IdNoun, { text, isPrefix }: TextMatch): { first: string; last: string } {
  const prefix = `${idPrefixes[noun]}_`;
  if (!isPrefix) {
    const id = decodeId(noun, text);
    return { first: id, last: id };
  }
  // Shorter than the prefix: any id.
  const begun = text.length <= prefix.length ? prefix : text;
  const full = prefix.length + 26;
  return {
    first: decodeId(noun, begun.padEnd(full, "0")),
    // The first digit carries two bits that are zero.
    last: decodeId(noun, (begun === prefix ? `${begun}7` : begun).padEnd(full, "z")),
  };
}

/** The noun of the ids of a term; `own` is that of what is filtered. */
export function nounOf(key: string, own: IdNoun): IdNoun {
  if (key === "batch") return "batch";
  return key === "parent" ? "job" : own;
}

function checkId(own: IdNoun) {
  return (key: string, match: TextMatch): string | null => {
    const noun = nounOf(key, own);
    const prefix = `${idPrefixes[noun]}_`;
    if (match.isPrefix && prefix.startsWith(match.text)) return null;
    try {
      idRange(noun, match);
      return null;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      return match.isPrefix
        ? `is not the beginning of a ${noun} id`
        : (error.violations[0]?.message ?? "is no id");
    }
  };
}

function termsOf(reading: FilterReading, field: string): readonly Term[] {
  if ("terms" in reading) return reading.terms;
  const [first] = reading.problems;
  const violations = reading.problems.map(({ column, message }) => ({
    field,
    message: `column ${column}: ${message}`,
  }));
  const { column = 1, message = "", suggestion } = first ?? {};
  throw new DomainError("FILTER_INVALID", {
    message: `The filter cannot be read at column ${column}: ${message}`,
    details: { column: String(column), expected: message },
    violations,
    ...(suggestion === undefined ? {} : { suggestion }),
  });
}
