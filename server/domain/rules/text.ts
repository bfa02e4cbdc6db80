/**
 * What is wrong with a text that is to be stored and shown, to be read after the field's name; null when nothing
 * is. Postgres refuses NUL, a terminal obeys control characters, and UTF-8 has no lone surrogates.
 * `allowsLines` lets line feeds and tabs through. Lengths count characters, not code units.
 */
export function textFault(
  text: string,
  limits: { readonly min?: number; readonly max: number; readonly allowsLines?: boolean },
): string | null {
  const { min = 0, max, allowsLines = false } = limits;
  if (text.length < min) return text === "" ? "is required" : `must have at least ${min} characters`;
  if (text.length > max && characterCount(text, max) > max) return `must have at most ${max} characters`;
  if (plainText.test(text)) return null;
  if (!text.isWellFormed()) return "must be well-formed Unicode: it has half of a surrogate pair";
  if (text.includes("\0")) return "must not have NUL characters";
  return (allowsLines ? controlsButLines : controls).test(text) ? "must not have control characters" : null;
}

/** What is wrong with a name of `a-z 0-9 . _ -` (kinds, queues, skills, pools), as in `textFault`. */
export function nameFault(name: string): string | null {
  if (lowerName.test(name)) return null;
  if (name === "") return "is required";
  if (name.length > 100) return "must have at most 100 characters";
  return "must be of the characters a-z 0-9 . _ -";
}

/** What is wrong with the name of a project, as in `textFault`. */
export function projectNameFault(name: string): string | null {
  if (projectName.test(name)) return null;
  if (name === "") return "is required";
  if (name.length > 200) return "must have at most 200 characters";
  return "must be of the characters a-z A-Z 0-9 . _ - /";
}

const plainText = /^[\x20-\x7e]*$/;
const controls = /\p{Cc}/u;
const controlsButLines = /[^\P{Cc}\n\t]/u;
const lowerName = /^[a-z0-9._-]{1,100}$/;
const projectName = /^[a-zA-Z0-9._/-]{1,200}$/;

// Stops as soon as the answer is known: the text may be as long as a message.
function characterCount(text: string, enough: number): number {
  let count = 0;
  for (const _ of text) {
    count++;
    if (count > enough) break;
  }
  return count;
}
