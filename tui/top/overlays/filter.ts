import { layLine } from "../lines.ts";
import { completeFilter, type FilterSubject } from "../shell/filter-terms.ts";
import type { KeyPress } from "../shell/keys.ts";
import type { Overlay } from "../shell/screen.ts";
import { editText, insertText, type TextInput, textInput } from "../shell/text-input.ts";
import { inputPieces } from "./box.ts";

/**
 * The filter line: Tab completes terms and values, Enter lists anew, Esc leaves the filter as it was. Up and down
 * go through the filters of before.
 */
export function filterOverlay(subject: FilterSubject, history: string[], close: () => void): Overlay {
  let input: TextInput = textInput(subject.text() === "" ? "" : `${subject.text()} `);
  let at = history.length;
  let choice = 0;
  const completion = () => completeFilter(subject.terms, input.text, input.cursor);
  const recall = (by: number): void => {
    at = Math.max(0, Math.min(history.length, at + by));
    input = textInput(history[at] ?? "");
  };
  const complete = (): void => {
    const { from, choices } = completion();
    const chosen = choices[choice % Math.max(1, choices.length)];
    if (chosen === undefined) return;
    const text = input.text.slice(0, from) + chosen.text + input.text.slice(input.cursor);
    input = { text, cursor: from + chosen.text.length };
    choice = 0;
  };
  const press = (key: KeyPress): void => {
    switch (key.name) {
      case "esc":
        return close();
      case "enter": {
        const text = input.text.trim();
        if (text !== "" && history.at(-1) !== text) history.push(text);
        close();
        return subject.apply(text);
      }
      case "tab":
        return complete();
      case "shift-tab":
        choice += 1;
        return;
      case "up":
        return recall(-1);
      case "down":
        return recall(1);
      default:
        input = editText(input, key) ?? input;
        choice = 0;
    }
  };
  return {
    id: "filter",
    place: "footer",
    press,
    paste: (text) => {
      input = insertText(input, text);
    },
    view: (frame) => {
      const { choices } = completion();
      const first = choice % Math.max(1, choices.length);
      const offered = [...choices.slice(first), ...choices.slice(0, first)];
      const list = offered.flatMap(({ text }, index) => [
        { text: "  " },
        { text, style: index === 0 ? ("cyan" as const) : ("dim" as const) },
      ]);
      const hint =
        choices.length === 0
          ? [{ text: "  Enter lists, Esc leaves it as it was", style: "dim" as const }]
          : [{ text: "  Tab:", style: "dim" as const }, ...list];
      return [
        layLine(hint, frame),
        layLine([{ text: " / ", style: "bold" }, ...inputPieces(input, frame.columns - 4, frame)], frame),
      ];
    },
  };
}
