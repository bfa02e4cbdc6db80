import { Code, ConnectError } from "@connectrpc/connect";
import { didYouMean } from "../../input/suggest.ts";
import type { FilterTerm } from "./filter-terms.ts";

/**
 * The values of a filter of `name:value` terms, for lists whose requests have a field for each. Values with blanks
 * stand in double quotes. Throws INVALID_ARGUMENT, which says where the mistake is.
 */
export function readTerms(text: string, terms: readonly FilterTerm[]): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const names = terms.map(({ name }) => name);
  for (const match of text.matchAll(/[^\s"]*"[^"]*"?|\S+/gu)) {
    const [word] = match;
    const written = /^([a-z]+):(?:"(.*)"|(.+))$/u.exec(word);
    const name = written?.[1];
    const at = `at position ${match.index + 1}`;
    if (written === null || name === undefined) {
      throw mistake(`${JSON.stringify(word)} ${at} is not a term like ${names[0] ?? "name"}:VALUE`);
    }
    if (!names.includes(name)) {
      const meant = didYouMean(name, names) ?? `Terms here are: ${names.join(", ")}.`;
      throw mistake(`there is no term ${JSON.stringify(name)} ${at}. ${meant}`);
    }
    if (values.has(name)) throw mistake(`${name} ${at} was given before`);
    const value = written[2] ?? written[3] ?? "";
    const known = terms.find((term) => term.name === name)?.values;
    if (known !== undefined && !known.includes(value)) {
      throw mistake(`${name} ${at} must be ${known.join(" or ")}`);
    }
    values.set(name, value);
  }
  return values;
}

/** The same for what is only shown: a filter with a mistake has no values. */
export function knownTerms(text: string, terms: readonly FilterTerm[]): ReadonlyMap<string, string> {
  try {
    return readTerms(text, terms);
  } catch {
    return new Map();
  }
}

/** A term as a filter writes it. */
export function writeTerm(name: string, value: string): string {
  return /[\s"]/u.test(value) ? `${name}:"${value.replaceAll('"', "")}"` : `${name}:${value}`;
}

function mistake(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument);
}
