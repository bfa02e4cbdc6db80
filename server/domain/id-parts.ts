import { decodeId, type IdNoun, idPrefixes } from "./ids.ts";

/** What a part of an id may mean; null where it cannot be one. */
export interface IdPart {
  /** The ids that begin so: from the first uuid to the last. */
  readonly range: { readonly low: string; readonly high: string } | null;
  /** A regular expression for the 32 hex digits of the uuids whose ids end so. */
  readonly ending: string | null;
}

/**
 * Reads a part of an id of a noun: its beginning, with or without the noun's prefix, or its end. A prefix of TypeIDs is
 * a range of uuids; an end fixes the last bits, five a character.
 */
export function readIdPart(noun: IdNoun, text: string): IdPart {
  const prefix = `${idPrefixes[noun]}_`;
  const given = text.toLowerCase();
  const isBeginning = given.startsWith(prefix);
  const digits = isBeginning ? given.slice(prefix.length) : given;
  if (digits === "") return { range: isBeginning ? rangeOf(noun, digits) : null, ending: null };
  if (!idDigits.test(digits)) return { range: null, ending: null };
  return {
    // The first character holds three bits.
    range: (digits[0] ?? "") <= "7" ? rangeOf(noun, digits) : null,
    ending: isBeginning || digits.length > 25 ? null : endingOf(digits),
  };
}

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
const idDigits = /^[0-9a-hjkmnp-tv-z]{1,26}$/;

function rangeOf(noun: IdNoun, digits: string) {
  const first = digits === "" ? "7" : "";
  const of = (text: string) => decodeId(noun, `${idPrefixes[noun]}_${text}`);
  return { low: of(digits.padEnd(26, "0")), high: of(`${digits}${first}`.padEnd(26, "z")) };
}

function endingOf(digits: string): string {
  const bits = [...digits].map((digit) => alphabet.indexOf(digit).toString(2).padStart(5, "0")).join("");
  const loose = bits.length % 4;
  const hex = (bits.slice(loose).match(/.{4}/g) ?? []).map((four) => Number.parseInt(four, 2).toString(16));
  const open = loose === 0 ? "" : `[${nibblesThatEnd(bits.slice(0, loose))}]`;
  return `${open}${hex.join("")}$`;
}

function nibblesThatEnd(bits: string): string {
  const all = Array.from({ length: 16 }, (_, nibble) => nibble);
  return all
    .filter((nibble) => nibble.toString(2).padStart(4, "0").endsWith(bits))
    .map((nibble) => nibble.toString(16))
    .join("");
}
