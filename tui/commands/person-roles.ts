import { Role } from "@muster/client/v1/person_service";
import { usageError } from "../errors.ts";
import { didYouMean } from "../input/suggest.ts";

const words = { viewer: Role.VIEWER, operator: Role.OPERATOR, admin: Role.ADMIN } as const;

/** The word of a role; empty for none. */
export function roleWord(role: Role): string {
  return Object.entries(words).find(([, number]) => number === role)?.[0] ?? "";
}

/** The role of a word. Throws a usage error. */
export function readRole(text: string): Role {
  const found = Object.entries(words).find(([word]) => word === text)?.[1];
  if (found !== undefined) return found;
  const known = Object.keys(words);
  throw usageError(
    `there is no role ${JSON.stringify(text)}`,
    didYouMean(text, known) ?? `Use one of ${known.join(", ")}.`,
  );
}
