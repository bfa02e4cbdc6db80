import { layLine } from "../lines.ts";
import type { Overlay } from "../shell/screen.ts";
import { insideBox, layBox, wrapText } from "./box.ts";
import { asciiHint } from "./help.ts";

/** Shows a text that is never shown again; Esc alone closes it, so that no other key loses it. */
export function secretOverlay(
  title: string,
  text: string,
  copy: (text: string) => void,
  close: () => void,
): Overlay {
  return {
    id: "secret",
    place: "body",
    press: ({ name }) => {
      if (name === "esc") close();
      if (name === "y") copy(text);
    },
    view: (frame) => {
      const inner = insideBox(frame);
      const lines = [
        layLine(
          [{ text: "This is the only time that it is shown. Whoever has it, has the key.", style: "yellow" }],
          inner,
        ),
        ...wrapText(text, inner.columns).map((line) => layLine([{ text: line, style: "bold" }], inner)),
      ];
      return layBox(title, lines, asciiHint("y copy · Esc close, and forget it", frame), frame);
    },
  };
}
