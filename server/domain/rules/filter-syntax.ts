/** What is wrong with a filter, and where. */
export interface FilterProblem {
  /** In characters, from 1. */
  readonly column: number;
  /** What was expected: a clause that begins with the wrong text. */
  readonly message: string;
  /** What was meant, perhaps. */
  readonly suggestion?: string;
}

/** How a term compares. */
export type FilterOperator = ":" | ">" | ">=" | "<" | "<=";

/** A value as it was written. */
export interface WrittenValue {
  readonly text: string;
  /** A `*` stood at its end, outside of quotes. */
  readonly isPrefix: boolean;
  /** Some of it was quoted. */
  readonly isQuoted: boolean;
  readonly column: number;
}

/** A term as it was written; without a key it is free text, with one value. */
export interface WrittenTerm {
  readonly key: string | null;
  readonly isNegated: boolean;
  readonly operator: FilterOperator;
  readonly values: readonly WrittenValue[];
  readonly column: number;
}

/** Terms, as far as they could be read, and all that is wrong. */
export interface WrittenFilter {
  readonly terms: readonly WrittenTerm[];
  readonly problems: readonly FilterProblem[];
}

/**
 * Reads `term { space term }`, where a term is `[-]key:value{,value}`, `[-]key>value` or `[-]text`. A value is any
 * text without spaces, commas and quotes, or a text in double quotes (`\"` and `\\` within), or both in a row.
 * Looks at each character a bounded number of times.
 */
export function readTerms(text: string): WrittenFilter {
  const characters = [...text];
  const terms: WrittenTerm[] = [];
  const problems: FilterProblem[] = [];
  let at = 0;
  while (at < characters.length) {
    if (isSpace(characters[at])) {
      at++;
      continue;
    }
    const start = at;
    const isNegated = characters[at] === "-";
    if (isNegated) at++;
    const key = readKey(characters, at);
    if (key !== null) at = key.end;
    const values: WrittenValue[] = [];
    for (;;) {
      const value = readValue(characters, at, { isFreeText: key === null, problems });
      if (value === null) return { terms, problems };
      values.push(value.value);
      at = value.end;
      if (characters[at] !== ",") break;
      at++;
    }
    const operator = key === null ? ":" : key.operator;
    terms.push({ key: key?.name ?? null, isNegated, operator, values, column: start + 1 });
  }
  return { terms, problems };
}

/** A value such that it is read again as it was. */
export function writeValue({ text, isPrefix }: Pick<WrittenValue, "text" | "isPrefix">): string {
  const star = isPrefix ? "*" : "";
  if (/^[a-zA-Z0-9._/@+=-]+$/.test(text) || (text === "" && isPrefix)) return `${text}${star}`;
  return `"${text.replace(/["\\]/g, "\\$&")}"${star}`;
}

function readKey(
  characters: readonly string[],
  start: number,
): { readonly name: string; readonly operator: FilterOperator; readonly end: number } | null {
  let at = start;
  while (isKeyCharacter(characters[at])) at++;
  const [first, second] = [characters[at], characters[at + 1]];
  if (at === start || (first !== ":" && first !== ">" && first !== "<")) return null;
  const operator = first !== ":" && second === "=" ? (`${first}=` as const) : first;
  return { name: characters.slice(start, at).join(""), operator, end: at + operator.length };
}

// Null: the rest cannot be read.
function readValue(
  characters: readonly string[],
  start: number,
  { isFreeText, problems }: { readonly isFreeText: boolean; readonly problems: FilterProblem[] },
): { readonly value: WrittenValue; readonly end: number } | null {
  const parts: string[] = [];
  let star = -1;
  let isQuoted = false;
  let at = start;
  for (; at < characters.length; at++) {
    const character = characters[at] ?? "";
    if (isSpace(character) || (character === "," && !isFreeText)) break;
    if (star >= 0) {
      problems.push({ column: star + 1, message: "* may stand at the end of a value only; quote it" });
      star = -1;
    }
    if (character === '"') {
      const end = readQuoted(characters, at + 1, parts);
      if (end < 0) {
        problems.push({ column: at + 1, message: "the quote that begins here is not closed" });
        return null;
      }
      isQuoted = true;
      at = end;
    } else if (character === "*") {
      star = at;
    } else {
      parts.push(character);
    }
  }
  if (parts.length === 0 && star < 0 && !isQuoted) {
    problems.push({ column: Math.min(start, characters.length) + 1, message: "a value is missing here" });
  }
  if (star >= 0 && isFreeText) {
    problems.push({ column: star + 1, message: "* is for values of terms: words are found anywhere" });
  }
  return { value: { text: parts.join(""), isPrefix: star >= 0, isQuoted, column: start + 1 }, end: at };
}

// The place of the closing quote; -1: there is none.
function readQuoted(characters: readonly string[], start: number, parts: string[]): number {
  for (let at = start; at < characters.length; at++) {
    const character = characters[at] ?? "";
    if (character === '"') return at;
    if (character === "\\") at++;
    const meant = characters[at];
    if (meant !== undefined) parts.push(meant);
  }
  return -1;
}

function isSpace(character: string | undefined): boolean {
  return character !== undefined && /^\s$/u.test(character);
}

function isKeyCharacter(character: string | undefined): boolean {
  return character !== undefined && /^[a-zA-Z0-9._-]$/.test(character);
}
