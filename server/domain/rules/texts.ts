/** What a text may be. */
export interface TextRule {
  /** In characters (code points). */
  readonly min: number;
  readonly max: number;
  /** Line breaks and tabs are allowed; other control characters never are. */
  readonly isMultiline?: boolean;
}

/** A field that is wrong, and what it must be. */
export interface TextViolation {
  readonly field: string;
  readonly message: string;
}

/** Names of queues, kinds and skills. */
export const slugRule = { form: /^[a-z0-9._-]{1,100}$/, words: "1 to 100 characters of a-z 0-9 . _ -" };

/** Names of projects. */
export const projectRule = {
  form: /^[a-zA-Z0-9._/-]{1,200}$/,
  words: "1 to 200 characters of a-z A-Z 0-9 . _ - /",
};

/** Repositories at GitHub. */
export const repositoryRule = {
  form: /^[a-zA-Z0-9_-]{1,100}\/[a-zA-Z0-9._-]{1,99}$/,
  words: "the form owner/name of a repository at GitHub",
};

/** What is wrong with a text that people wrote: nothing, or one violation. */
export function textViolations(field: string, text: string, rule: TextRule): TextViolation[] {
  const { min, max, isMultiline = false } = rule;
  // Counting code points of a text that is far too long would be work for nothing.
  const length = text.length > 2 * max ? text.length : [...text].length;
  if (length < min || length > max || (min > 0 && text.trim() === "")) {
    const limits = min > 0 ? `must have ${min} to ${max} characters` : `must have at most ${max} characters`;
    return [{ field, message: min > 0 && text.trim() === "" ? "must not be empty" : limits }];
  }
  if (!text.isWellFormed()) return [{ field, message: "must be well-formed Unicode" }];
  if ((isMultiline ? controlsButLines : controls).test(text)) {
    return [{ field, message: "must not have control characters" }];
  }
  return [];
}

/** What is wrong with a name of a closed form: nothing, or one violation. */
export function nameViolations(
  field: string,
  name: string,
  rule: { readonly form: RegExp; readonly words: string },
): TextViolation[] {
  return rule.form.test(name) ? [] : [{ field, message: `must have ${rule.words}` }];
}

const controls = /\p{Cc}/u;
const controlsButLines = /[^\P{Cc}\t\n\r]/u;
