/**
 * What a terminal may act on or hide: C0 and C1 controls, DEL, line and paragraph separators, bidi controls,
 * zero-width and invisible characters, controls of shorthand and musical notation, tags, and halves of surrogate pairs. The zero-width joiner and the
 * variation selectors stay: emoji and several scripts need them.
 */
const unsafe =
  // biome-ignore lint/suspicious/noMisleadingCharacterClass: each of them alone is meant
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is for
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e00ff}\p{Cs}]/gu;

/**
 * Makes untrusted text (names, errors, logs, labels) fit for a terminal, in one line: whatever could move the
 * cursor, change colours, ring, retitle, reorder or hide is replaced by a visible placeholder (`␛` for ESC,
 * `␊` for a newline, `⟨U+202E⟩` for a bidi override). Text without such characters comes back as it was.
 */
export function sanitize(text: string): string {
  return text.replace(unsafe, placeholder);
}

/** As `sanitize`, for text of several lines: newlines stay, tabs become spaces, `\r\n` counts as a newline. */
export function sanitizeLines(text: string): string {
  return text
    .split(/\r?\n/)
    .map((line) => sanitize(line.replaceAll("\t", "    ")))
    .join("\n");
}

/**
 * Makes JSON text fit for a terminal without changing what it means: the same characters are written as
 * `\\uXXXX`. JSON itself already escapes C0.
 */
export function escapeJson(json: string): string {
  // Newlines of an indented document are outside of its strings.
  return json.replace(unsafe, (character) =>
    character === "\n"
      ? character
      : [...Array(character.length).keys()]
          .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`)
          .join(""),
  );
}

function placeholder(character: string): string {
  const point = character.codePointAt(0) ?? 0;
  if (point < 0x20) return String.fromCodePoint(0x2400 + point);
  if (point === 0x7f) return "␡";
  // A C1 control is a two-character escape in one: CSI, U+009B, is ESC [.
  if (point >= 0x80 && point <= 0x9f) return `␛${String.fromCodePoint(point - 0x40)}`;
  if (point >= 0xd800 && point <= 0xdfff) return "\ufffd";
  return `⟨U+${point.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}
