import { isUtf8 } from "node:buffer";

/** JSON text that was read from bytes, or what is wrong with them (to be read after the field's name). */
export type JsonReading =
  | { readonly text: string; readonly fault: null }
  | { readonly text: null; readonly fault: string };

/**
 * Reads bytes as a JSON document: UTF-8, well-formed, and without text that Postgres or a strict reader would
 * choke on later: NUL characters and halves of surrogate pairs, also as escapes. No bytes mean `null`.
 */
export function readJsonText(bytes: Uint8Array): JsonReading {
  if (bytes.length === 0) return { text: "null", fault: null };
  if (!isUtf8(bytes)) return refused("must be UTF-8");
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refused(`must be JSON: ${clipped(error instanceof Error ? error.message : String(error))}`);
  }
  // Valid UTF-8 has no surrogates, and JSON no raw control characters: both can only come as escapes.
  return text.includes("\\u") && hasUnfitText(value) ? refused(unfit) : { text, fault: null };
}

/** Writes a JSON value as text; refuses what `readJsonText` refuses. */
export function writeJsonText(value: unknown): JsonReading {
  if (hasUnfitText(value)) return refused(unfit);
  return { text: JSON.stringify(value) ?? "null", fault: null };
}

const unfit = "must not have NUL characters or halves of surrogate pairs";

// Without recursion: a document may be nested as deep as its bytes allow.
function hasUnfitText(document: unknown): boolean {
  const rest: unknown[] = [document];
  while (rest.length > 0) {
    const value = rest.pop();
    if (typeof value === "string") {
      if (value.includes("\0") || !value.isWellFormed()) return true;
    } else if (typeof value === "object" && value !== null) {
      if (!Array.isArray(value)) for (const key of Object.keys(value)) rest.push(key);
      for (const member of Object.values(value)) rest.push(member);
    }
  }
  return false;
}

function refused(fault: string): JsonReading {
  return { text: null, fault };
}

// The parser quotes the document.
function clipped(message: string): string {
  const clean = message.replace(/\p{Cc}/gu, " ").toWellFormed();
  return clean.length > 120 ? `${clean.slice(0, 119)}…` : clean;
}
