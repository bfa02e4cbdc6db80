import { nearestWord } from "./spelling.ts";

/** What a member may do in an org, least first. */
export const roles = ["viewer", "operator", "admin"] as const;

/** One of `roles`. */
export type Role = (typeof roles)[number];

/** Whether text is a role. */
export function isRole(text: string): text is Role {
  return roles.some((role) => role === text);
}

/** What a role allows, in the scopes of keys. */
export const roleScopes = {
  viewer: ["read"],
  operator: ["read", "submit", "operate"],
  admin: ["read", "submit", "work", "operate", "admin"],
} as const satisfies Record<Role, readonly string[]>;

/** The role of a word; what is wrong with it otherwise. */
export function readRole(text: string): Role | { readonly wrong: string } {
  if (isRole(text)) return text;
  const near = nearestWord(text, roles);
  return {
    wrong: `must be one of ${roles.join(", ")}${near === undefined ? "" : `; did you mean ${near}?`}`,
  };
}

/** An e-mail as it is kept: in lower case. Null when it is none: one part before the @, a host with a dot or localhost behind. */
export function normalizeEmail(text: string): string | null {
  if (text.length > 254) return null;
  const email = text.trim().normalize("NFKC").toLowerCase();
  return emailForm.test(email) && email.length <= 254 && email.isWellFormed() ? email : null;
}

const emailForm = /^[^\s@"\\<>()[\],;:\p{Cc}]{1,64}@[\p{L}\p{N}]([\p{L}\p{N}.-]{0,250}[\p{L}\p{N}])?$/u;

/** Letters of codes that people type: consonants without Y, so that no words come of them, and none is taken for another. */
const userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ";

/** A code that people type, from 8 random numbers in [0, 20): `WDJB-MJHT`. */
export function writeUserCode(numbers: readonly number[]): string {
  const letters = numbers.map((number) => userCodeLetters[number % userCodeLetters.length]).join("");
  return `${letters.slice(0, 4)}-${letters.slice(4)}`;
}

/** A typed code in the form in which it was written; null when it is none. */
export function readUserCode(typed: string): string | null {
  if (typed.length > 40) return null;
  const letters = typed.toUpperCase().replaceAll(/[\s-]/g, "");
  return /^[BCDFGHJKLMNPQRSTVWXZ]{8}$/.test(letters) ? `${letters.slice(0, 4)}-${letters.slice(4)}` : null;
}
