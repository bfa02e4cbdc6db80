import { widthOf } from "../../output/width.ts";
import { layLine, type Piece } from "../lines.ts";
import { type KeyBinding, type KeyGroup, labelOf } from "../shell/bindings.ts";
import { type KeyPress, showKey } from "../shell/keys.ts";
import type { Overlay, ScreenFrame } from "../shell/screen.ts";
import { editText, type TextInput, textInput } from "../shell/text-input.ts";
import { insideBox, layBox } from "./box.ts";
import { fuzzyScore } from "./fuzzy.ts";

/** All keys of a screen, made from its table; what cannot be done now is dim and says why. `/` searches. */
export function helpOverlay(title: string, bindings: readonly KeyBinding[], close: () => void): Overlay {
  let search: TextInput | undefined;
  let top = 0;
  const shown = (): readonly KeyBinding[] => {
    const wanted = search?.text ?? "";
    if (wanted === "") return bindings;
    return bindings.filter(
      (binding) => fuzzyScore(wanted, `${labelOf(binding)} ${binding.keys.join(" ")}`) !== undefined,
    );
  };
  const press = (key: KeyPress): void => {
    if (key.name === "down" || (search === undefined && key.name === "j")) top += 1;
    else if (key.name === "up" || (search === undefined && key.name === "k")) top = Math.max(0, top - 1);
    else if (key.name === "pagedown") top += 10;
    else if (key.name === "pageup") top = Math.max(0, top - 10);
    else if (search === undefined && key.name === "/") search = textInput();
    else if (key.name === "esc" && search !== undefined) search = undefined;
    else if (search !== undefined && key.name !== "enter") search = editText(search, key) ?? search;
    else if (["esc", "q", "?", "enter"].includes(key.name)) close();
  };
  return {
    id: "help",
    place: "body",
    press,
    view: (frame) => {
      const inner = insideBox(frame);
      const lines = helpLines(shown(), inner);
      top = Math.max(0, Math.min(top, lines.length - inner.rows));
      const more = lines.length > inner.rows ? " · j k scroll" : "";
      const hint = search === undefined ? `/ search${more} · Esc` : `/${search.text}  Esc: all keys`;
      return layBox(`Help: ${title}`, lines.slice(top), asciiHint(hint, frame), frame);
    },
  };
}

const groupTitles: readonly (readonly [group: KeyGroup, title: string])[] = [
  ["act", "ACT"],
  ["look", "LOOK"],
  ["move", "MOVE"],
  ["go", "GO"],
];

/** The keys by what they are for, in one column or two. */
export function helpLines(bindings: readonly KeyBinding[], frame: ScreenFrame): string[] {
  const groups = groupTitles.map(([group, title]) => ({
    title,
    bindings: bindings.filter((binding) => binding.group === group),
  }));
  return groups
    .filter((group) => group.bindings.length > 0)
    .flatMap(({ title, bindings: own }) => [
      layLine([{ text: title, style: "bold" }], frame),
      ...bindingLines(own, frame),
    ]);
}

function bindingLines(bindings: readonly KeyBinding[], frame: ScreenFrame): string[] {
  const isAscii = frame.glyphs === "ascii";
  const keysOf = (binding: KeyBinding): string => binding.keys.map((key) => showKey(key, isAscii)).join(" ");
  const width = Math.max(6, ...bindings.map((binding) => Math.min(16, widthOf(keysOf(binding)))));
  return bindings.map((binding) => {
    const why = binding.when?.();
    const dash = isAscii ? "-" : "–";
    const pieces: Piece[] = [
      { text: keysOf(binding).padEnd(width), style: why === undefined ? "cyan" : "dim" },
      { text: `  ${labelOf(binding)}`, style: why === undefined ? "plain" : "dim" },
    ];
    if (binding.danger !== "none" && why === undefined)
      pieces.push({ text: `  ${binding.danger}`, style: "yellow" });
    if (why !== undefined) pieces.push({ text: `  ${dash} ${why}`, style: "dim" });
    return layLine(pieces, frame);
  });
}

/** A hint as the terminal can show it. */
export function asciiHint(hint: string, { glyphs }: ScreenFrame): string {
  return glyphs === "ascii" ? hint.replaceAll("·", "-").replaceAll("↑↓", "Up/Down") : hint;
}
