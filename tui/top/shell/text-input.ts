import type { KeyPress } from "./keys.ts";

/** A line of text that is being written. */
export interface TextInput {
  readonly text: string;
  /** Place of the cursor, in UTF-16 units, always between two graphemes. */
  readonly cursor: number;
}

/** An empty line, or one with the cursor at the end of this text. */
export function textInput(text = ""): TextInput {
  return { text, cursor: text.length };
}

/** The line after a key; undefined when the key does not write. */
export function editText(input: TextInput, press: KeyPress): TextInput | undefined {
  const { text, cursor } = input;
  switch (press.name) {
    case "left":
    case "ctrl-b":
      return { text, cursor: before(text, cursor) };
    case "right":
    case "ctrl-f":
      return { text, cursor: behind(text, cursor) };
    case "home":
    case "ctrl-a":
      return { text, cursor: 0 };
    case "end":
    case "ctrl-e":
      return { text, cursor: text.length };
    case "ctrl-left":
    case "alt-left":
    case "alt-b":
      return { text, cursor: wordBefore(text, cursor) };
    case "ctrl-right":
    case "alt-right":
    case "alt-f":
      return { text, cursor: wordBehind(text, cursor) };
    case "backspace":
    case "ctrl-h":
      return cut(text, before(text, cursor), cursor);
    case "delete":
    case "ctrl-d":
      return cut(text, cursor, behind(text, cursor));
    case "ctrl-w":
    case "alt-backspace":
      return cut(text, wordBefore(text, cursor), cursor);
    case "ctrl-u":
      return cut(text, 0, cursor);
    case "ctrl-k":
      return cut(text, cursor, text.length);
    default:
      return press.text === "" ? undefined : insertText(input, press.text);
  }
}

/** The line after text was typed or pasted: newlines and tabs become blanks, other control characters go. */
export function insertText({ text, cursor }: TextInput, added: string): TextInput {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is for
  const clean = added.replace(/[\r\n\t]+/g, " ").replace(/[\u0000-\u001f\u007f-\u009f]/g, "");
  return { text: text.slice(0, cursor) + clean + text.slice(cursor), cursor: cursor + clean.length };
}

function cut(text: string, from: number, to: number): TextInput {
  return { text: text.slice(0, from) + text.slice(to), cursor: from };
}

function before(text: string, cursor: number): number {
  let at = 0;
  for (const { index } of new Intl.Segmenter().segment(text)) {
    if (index >= cursor) break;
    at = index;
  }
  return at;
}

function behind(text: string, cursor: number): number {
  for (const { index } of new Intl.Segmenter().segment(text)) if (index > cursor) return index;
  return text.length;
}

function wordBefore(text: string, cursor: number): number {
  return /\S*\s*$/u.exec(text.slice(0, cursor))?.index ?? 0;
}

function wordBehind(text: string, cursor: number): number {
  return cursor + (/^\s*\S*/u.exec(text.slice(cursor))?.[0].length ?? 0);
}
