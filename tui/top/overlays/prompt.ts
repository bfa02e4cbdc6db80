import { layLine } from "../lines.ts";
import type { KeyPress } from "../shell/keys.ts";
import type { Overlay } from "../shell/screen.ts";
import { editText, insertText, textInput } from "../shell/text-input.ts";
import { inputPieces } from "./box.ts";

/** One line to write. */
export interface PromptOptions {
  /** In front of the line: `find`. */
  readonly label: string;
  readonly value: string;
  /** Called with every change, and with the first value when Esc leaves. */
  readonly change: (text: string) => void;
  readonly about: string;
}

/** A line in place of the bottom line: what is written takes effect at once; Esc takes it back. */
export function promptOverlay(options: PromptOptions, close: () => void): Overlay {
  let input = textInput(options.value);
  const set = (next: typeof input): void => {
    input = next;
    options.change(input.text);
  };
  const press = (key: KeyPress): void => {
    if (key.name === "enter") return close();
    if (key.name === "esc") {
      options.change(options.value);
      return close();
    }
    const edited = editText(input, key);
    if (edited !== undefined) set(edited);
  };
  return {
    id: "prompt",
    place: "footer",
    press,
    paste: (text) => set(insertText(input, text)),
    view: (frame) => [
      layLine([{ text: ` ${options.about}`, style: "dim" }], frame),
      layLine(
        [
          { text: ` ${options.label} `, style: "bold" },
          ...inputPieces(input, frame.columns - options.label.length - 4, frame),
        ],
        frame,
      ),
    ],
  };
}
