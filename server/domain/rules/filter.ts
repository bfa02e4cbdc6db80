import {
  type FilterTerm,
  filterLimits,
  jobFilterTerms,
  priorityNames,
  workerFilterTerms,
} from "@muster/client/filter";
import {
  type FilterOperator,
  type FilterProblem,
  readTerms,
  type WrittenTerm,
  type WrittenValue,
  writeValue,
} from "./filter-syntax.ts";
import { nearestWord } from "./spelling.ts";

/** A text, or the beginning of one; the beginning "" is that of any text. */
export interface TextMatch {
  readonly text: string;
  readonly isPrefix: boolean;
}

/** One condition of a filter. All of them must hold; of the values of one, any. */
export type Term =
  | { readonly type: "free"; readonly isNegated: boolean; readonly text: string }
  | {
      readonly type: "word";
      readonly key: string;
      readonly isNegated: boolean;
      readonly any: readonly string[];
    }
  | MatchTerm<"text">
  | MatchTerm<"id">
  | {
      readonly type: "pair";
      readonly key: string;
      readonly isNegated: boolean;
      readonly any: readonly { readonly name: string; readonly value: TextMatch }[];
    }
  | {
      readonly type: "number";
      readonly key: string;
      readonly isNegated: boolean;
      readonly operator: FilterOperator;
      readonly any: readonly number[];
    }
  | {
      readonly type: "duration";
      readonly key: string;
      readonly isNegated: boolean;
      readonly operator: FilterOperator;
      readonly ms: number;
    };

interface MatchTerm<Type extends "text" | "id"> {
  readonly type: Type;
  readonly key: string;
  readonly isNegated: boolean;
  readonly any: readonly TextMatch[];
}

/** A filter that was read, or all that is wrong with it. */
export type FilterReading =
  | { readonly terms: readonly Term[] }
  | { readonly problems: readonly FilterProblem[] };

/** What is wrong with an id, as a clause that follows it; null when it is one. */
export type IdCheck = (key: string, id: TextMatch) => string | null;

/** Reads a filter of jobs. */
export function readJobTerms(text: string, checkId: IdCheck): FilterReading {
  return readFilter(text, jobFilterTerms, checkId);
}

/** Reads a filter of workers. */
export function readWorkerTerms(text: string, checkId: IdCheck): FilterReading {
  return readFilter(text, workerFilterTerms, checkId);
}

/** The terms as a filter that is read as the same terms. */
export function writeTerms(terms: readonly Term[]): string {
  return terms.map((term) => `${term.isNegated ? "-" : ""}${writeTerm(term)}`).join(" ");
}

function readFilter(text: string, known: readonly FilterTerm[], checkId: IdCheck): FilterReading {
  const outer = outerProblem(text);
  if (outer !== null) return { problems: [outer] };
  const { terms: written, problems: wrong } = readTerms(text);
  const problems = [...wrong];
  const extra = written[filterLimits.terms];
  if (extra !== undefined) {
    problems.push({ column: extra.column, message: `are more than ${filterLimits.terms} terms` });
  }
  const terms = written
    .slice(0, filterLimits.terms)
    .map((term) => readTerm(term, known, checkId, problems))
    .filter((term) => term !== null);
  if (problems.length > 0) return { problems: problems.sort((a, b) => a.column - b.column) };
  return { terms };
}

function outerProblem(text: string): FilterProblem | null {
  const { characters: most } = filterLimits;
  // Counting the characters of a text that is far too long would be work for nothing.
  if (text.length > 2 * most || [...text].length > most) {
    return { column: most + 1, message: `must have at most ${most} characters` };
  }
  const odd = [...text].findIndex((character) => /[^\P{Cc}\t\n\r]|\p{Cs}/u.test(character));
  return odd < 0 ? null : { column: odd + 1, message: "must not have control characters" };
}

function readTerm(
  written: WrittenTerm,
  known: readonly FilterTerm[],
  checkId: IdCheck,
  problems: FilterProblem[],
): Term | null {
  const { isNegated, operator } = written;
  const [value] = written.values;
  refuseOperators(written, known, problems);
  if (written.key === null || value === undefined) {
    return { type: "free", isNegated, text: value?.text ?? "" };
  }
  const { key, labelName } = splitKey(written.key);
  const term = known.find((one) => one.key === key);
  const wrong = (
    message: string,
    suggestion?: string,
    column = written.column + (isNegated ? 1 : 0),
  ): null => {
    problems.push({ column, message, ...(suggestion === undefined ? {} : { suggestion }) });
    return null;
  };
  if (term === undefined) return wrong(`${written.key} is not a term`, unknownKey(key, known));
  if (operator !== ":" && !term.isCompared) {
    return wrong(`${key} takes a colon, not ${operator}`, `Write it like ${term.example}.`);
  }
  const starred = written.values.find((one) => one.isPrefix);
  if (starred !== undefined && !term.hasPrefixes) {
    return wrong(`${key} takes no *`, `Write it like ${term.example}.`, starred.column);
  }
  const each = <T>(read: (one: WrittenValue) => T | string): T[] =>
    written.values.flatMap((one) => {
      const found = read(one);
      if (typeof found !== "string") return [found];
      wrong(`${shown(one.text)} ${found}`, undefined, one.column);
      return [];
    });
  const match = ({ text, isPrefix }: WrittenValue): TextMatch => ({ text, isPrefix });
  switch (term.form) {
    case "word": {
      const any = written.values.map((one) => one.text.toLowerCase());
      for (const [index, given] of any.entries()) {
        if (term.values.includes(given)) continue;
        const near = nearestWord(given, term.values);
        const meant = near === undefined ? "" : `Did you mean ${near}? `;
        const words = `${meant}Words are: ${term.values.join(", ")}.`;
        wrong(`${shown(given)} is not a ${key}`, words, written.values[index]?.column);
      }
      return { type: "word", key, isNegated, any };
    }
    case "text":
      return { type: "text", key, isNegated, any: written.values.map(match) };
    case "id":
      return {
        type: "id",
        key,
        isNegated,
        any: each((one) => checkId(key, match(one)) ?? match(one)),
      };
    case "pair":
      return { type: "pair", key, isNegated, any: each((one) => readPair(one, labelName)) };
    case "number": {
      if (operator !== ":" && written.values.length > 1) {
        return wrong(`${key}${operator} takes one number`, undefined, written.values[1]?.column);
      }
      const any = each((one) => {
        const number = key === "priority" ? readPriority(one.text) : readNumber(one.text);
        return number ?? `is not a whole number${key === "priority" ? " or the name of a priority" : ""}`;
      });
      return { type: "number", key, isNegated, operator, any };
    }
    case "duration": {
      if (operator === ":" || written.values.length > 1) {
        return wrong(`${key} is compared with one duration`, `Write it like ${term.example}.`);
      }
      const [ms] = each((one) => readDuration(one.text) ?? "is not a duration like 90s, 10m or 1h30m");
      return ms === undefined ? null : { type: "duration", key, isNegated, operator, ms };
    }
  }
}

function writeTerm(term: Term): string {
  switch (term.type) {
    case "free":
      return writeFree(term.text);
    case "word":
      return `${term.key}:${term.any.join(",")}`;
    case "text":
    case "id":
      return `${term.key}:${term.any.map(writeValue).join(",")}`;
    case "pair":
      return `${term.key}:${term.any.map(writePair).join(",")}`;
    case "number":
      return `${term.key}${term.operator}${term.any.join(",")}`;
    case "duration":
      return `${term.key}${term.operator}${term.ms / 1_000}s`;
  }
}

// A word that begins like a key or a negation would be read as one, and one of other languages refused.
function writeFree(text: string): string {
  return /^[a-zA-Z0-9._/]+$/.test(text) && !operatorWords.has(text)
    ? text
    : `"${text.replace(/["\\]/g, "\\$&")}"`;
}

function writePair({ name, value }: { readonly name: string; readonly value: TextMatch }): string {
  const isAny = value.isPrefix && value.text === "";
  return writeValue(isAny ? { text: name, isPrefix: false } : { ...value, text: `${name}=${value.text}` });
}

function readPair(
  { text, isPrefix }: WrittenValue,
  labelName: string | null,
): { readonly name: string; readonly value: TextMatch } | string {
  if (labelName !== null) return { name: labelName, value: { text, isPrefix } };
  const split = text.indexOf("=");
  const name = split < 0 ? text : text.slice(0, split);
  if (name === "") return "must have the form KEY=VALUE";
  if (split >= 0) return { name, value: { text: text.slice(split + 1), isPrefix } };
  return isPrefix ? "must have the whole KEY; * is for the value" : { name, value: anyText };
}

const anyText: TextMatch = { text: "", isPrefix: true };

function splitKey(written: string): { readonly key: string; readonly labelName: string | null } {
  const split = written.indexOf(".");
  const key = written.toLowerCase();
  if (split < 0 || key.slice(0, split) !== "label" || split === written.length - 1) {
    return { key, labelName: null };
  }
  return { key: "label", labelName: written.slice(split + 1) };
}

function readPriority(text: string): number | null {
  return priorityNames[text.toLowerCase()] ?? readNumber(text);
}

function readNumber(text: string): number | null {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  return number <= 2_147_483_647 ? number : null;
}

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
const tenYearsMs = 3_650 * 86_400_000;

function readDuration(text: string): number | null {
  if (!/^(\d{1,9}[smhdw])+$/.test(text)) return null;
  let ms = 0;
  for (const [, count, unit = ""] of text.matchAll(/(\d+)([smhdw])/g)) {
    ms += Number(count) * (unitSeconds[unit] ?? 0) * 1_000;
  }
  return ms <= tenYearsMs ? ms : null;
}

// Words of other languages of filters would be free text that hardly anything has, and the answer an empty list.
function refuseOperators(
  { key, values, column }: WrittenTerm,
  known: readonly FilterTerm[],
  problems: FilterProblem[],
): void {
  for (const value of values) {
    if (value.isQuoted) continue;
    const { text } = value;
    const opens = /^!?\(/.test(text);
    if (opens || (text.endsWith(")") && !text.includes("("))) {
      const at = value.column + (opens ? text.indexOf("(") : text.length - 1);
      problems.push({
        column: at,
        message: "terms take no parentheses",
        suggestion: `${howToJoin} ${quoteIt}`,
      });
    }
    if (key !== null) continue;
    const instead = operatorWords.get(text);
    if (instead !== undefined) {
      const suggestion = `${instead} ${quoteIt}`;
      problems.push({ column: value.column, message: `${text} is no operator of filters`, suggestion });
    }
    const equals = equalsProblem(text, column, known);
    if (equals !== undefined) problems.push(equals);
  }
}

const quoteIt = "To look for the text itself, quote it.";
const howToJoin = "All terms must hold; for any of several values write state:ready,running.";
const operatorWords: ReadonlyMap<string, string> = new Map([
  ...["AND", "&&", "&"].map((word) => [word, "Leave it out: all terms must hold."] as const),
  ...["OR", "||", "|"].map((word) => [word, howToJoin] as const),
  ...["NOT", "!"].map((word) => [word, "Write -state:ready for a term that must not hold."] as const),
  ...["=", "==", "!=", ":", ">", ">=", "<", "<="].map(
    (word) => [word, "Write key, operator and value without spaces, like age>10m."] as const,
  ),
]);

function equalsProblem(
  text: string,
  column: number,
  known: readonly FilterTerm[],
): FilterProblem | undefined {
  const [, key, not, rest = ""] = /^([a-z]+)(!?)==?(.*)$/i.exec(text) ?? [];
  const term = known.find((one) => one.key === key?.toLowerCase());
  if (term === undefined) return undefined;
  const meant = `Did you mean ${not === "" ? "" : "-"}${term.key}:${rest}?`;
  return {
    column,
    message: `${term.key} takes a colon, not ${not}=`,
    suggestion: term.isCompared ? `Write it like ${term.example}.` : meant,
  };
}

function unknownKey(key: string, known: readonly FilterTerm[]): string {
  const keys = known.map((one) => one.key);
  const near = nearestWord(key, keys);
  const meant = near === undefined ? "" : `Did you mean ${near}? `;
  return `${meant}Terms are: ${keys.join(", ")}. To look for the text itself, quote it.`;
}

function shown(text: string): string {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text === "" ? '""' : text;
}
