import { layEnds, layLine } from "../lines.ts";
import type { KeyPress } from "../shell/keys.ts";
import type { Overlay, ScreenFrame } from "../shell/screen.ts";
import { editText, insertText, textInput } from "../shell/text-input.ts";
import { inputPieces, insideBox, layBox } from "./box.ts";
import { fuzzyFind } from "./fuzzy.ts";
import { asciiHint } from "./help.ts";

/** Something that can be chosen: an action, a view, a row of a menu. */
export interface Choice {
  readonly label: string;
  /** At the right: its key, or what it is. */
  readonly about?: string;
  /** Why it cannot be chosen now. */
  readonly disabled?: string | undefined;
  readonly run: (rest: string) => void;
}

/** What a palette is made of. */
export interface PaletteOptions {
  readonly id: string;
  readonly title: string;
  readonly choices: readonly Choice[];
  /** Choices for the text at hand that go before all others, e.g. what an id means. */
  readonly more?: (text: string) => readonly Choice[];
  /** Letters choose at once instead of searching: for short menus. */
  readonly isMenu?: boolean;
}

/** A list to choose from by writing some letters: `:` over views and actions, and every menu. */
export function paletteOverlay(options: PaletteOptions, close: () => void): Overlay {
  let input = textInput();
  let at = 0;
  const found = (): readonly Choice[] => {
    // `jobs state:running`: the words after the first go to what the first word finds.
    const head = /^\s*\S*/u.exec(input.text)?.[0] ?? "";
    const rest = input.text.slice(head.length).trim();
    const wanted = rest === "" || !/[:<>]/.test(rest) ? input.text : head;
    return [
      ...(options.more?.(input.text.trim()) ?? []),
      ...fuzzyFind(wanted, options.choices, ({ label }) => label),
    ];
  };
  const choose = (): void => {
    const choice = found()[at];
    if (choice === undefined || choice.disabled !== undefined) return;
    const rest = /\s+(\S*[:<>].*)$/u.exec(input.text)?.[1] ?? "";
    close();
    choice.run(rest);
  };
  const press = (key: KeyPress): void => {
    const count = found().length;
    switch (key.name) {
      case "esc":
        return close();
      case "enter":
        return choose();
      case "up":
      case "ctrl-p":
        at = Math.max(0, at - 1);
        return;
      case "down":
      case "ctrl-n":
        at = Math.min(Math.max(0, count - 1), at + 1);
        return;
      case "tab": {
        const label = found()[at]?.label;
        if (label !== undefined) input = textInput(label);
        return;
      }
      default:
        if (key.name === "backspace" && input.text === "" && options.isMenu !== true) return close();
        input = editText(input, key) ?? input;
        at = 0;
    }
  };
  return {
    id: options.id,
    place: "body",
    press,
    paste: (text) => {
      input = insertText(input, text);
      at = 0;
    },
    view: (frame) => {
      const inner = insideBox(frame);
      const choices = found();
      at = Math.max(0, Math.min(at, choices.length - 1));
      const rows = Math.max(1, Math.min(options.isMenu === true ? 16 : 10, inner.rows - 1));
      const top = Math.max(0, Math.min(at - rows + 1, choices.length - rows));
      const prompt = layLine(
        [{ text: ": ", style: "bold" }, ...inputPieces(input, inner.columns - 2, inner)],
        inner,
      );
      const lines = choices
        .slice(top, top + rows)
        .map((choice, row) => choiceLine(choice, top + row === at, inner));
      const none =
        choices.length === 0 ? [layLine([{ text: "  nothing matches", style: "dim" }], inner)] : [];
      const hint = asciiHint("↑↓ choose · Tab complete · Enter run · Esc", frame);
      return layBox(options.title, [prompt, ...lines, ...none], hint, frame);
    },
  };
}

function choiceLine(choice: Choice, isCurrent: boolean, frame: ScreenFrame): string {
  const cursor = frame.glyphs === "ascii" ? "> " : "▌ ";
  const style = choice.disabled === undefined ? "plain" : "dim";
  const about = choice.disabled === undefined ? (choice.about ?? "") : choice.disabled;
  const line = layEnds(
    [
      { text: isCurrent ? cursor : "  " },
      { text: choice.label, style: isCurrent && style === "plain" ? "bold" : style },
    ],
    [{ text: about, style: "dim" }],
    frame,
  );
  return line;
}
