import { ConnectError } from "@connectrpc/connect";
import { layLine, type Piece } from "../lines.ts";
import type { KeyPress } from "../shell/keys.ts";
import type { Overlay, ScreenFrame } from "../shell/screen.ts";
import { editText, insertText, type TextInput, textInput } from "../shell/text-input.ts";
import { inputPieces, insideBox, layBox, wrapText } from "./box.ts";
import { asciiHint } from "./help.ts";

/** What the server counted beforehand. */
export interface Checked {
  /** What will happen, in sentences with the server's numbers. */
  readonly lines: readonly string[];
  /** How many it concerns; 0: there is nothing to do. */
  readonly count: number;
  /** What must be typed, when that makes it severe: the count. */
  readonly typed?: string;
}

/** A question before an action. The focus is on keeping everything as it is. */
export interface Question {
  readonly title: string;
  /** What will happen, known without the server. */
  readonly lines: readonly string[];
  /** The button: `Cancel them`. */
  readonly verb: string;
  /** What must be typed: a name. Absent: it is moderate, unless the check says otherwise. */
  readonly typed?: string;
  /** Asks the server what it would do. */
  readonly check?: (signal: AbortSignal) => Promise<Checked>;
  /** The command line that does the same. */
  readonly command: (reason: string, checked: Checked | undefined) => string;
  /** Whether a reason can be given. Default true. */
  readonly hasReason?: boolean;
  readonly act: (reason: string, checked: Checked | undefined) => void;
  /** It was left, and everything stays as it is. */
  readonly kept?: () => void;
}

type Field = "reason" | "typed" | "keep" | "act";

/** Asks before a moderate or severe action. `changed` is called when the answer of the check is there. */
export function confirmOverlay(question: Question, changed: () => void, close: () => void): Overlay {
  const ending = new AbortController();
  let reason = textInput();
  let typed = textInput();
  let focus: Field = "keep";
  let checked: Checked | undefined;
  let failure: string | undefined;
  if (question.check !== undefined) {
    void question.check(ending.signal).then(
      (answer) => {
        checked = answer;
        changed();
      },
      (error: unknown) => {
        if (ending.signal.aborted) return;
        failure = ConnectError.from(error).rawMessage;
        changed();
      },
    );
  }
  const wanted = (): string | undefined => checked?.typed ?? question.typed;
  // From keeping it on to the fields, and only behind them to the act: nobody passes a field unseen.
  const fields = (): Field[] => [
    "keep",
    ...(question.hasReason === false ? [] : ["reason" as const]),
    ...(wanted() === undefined ? [] : ["typed" as const]),
    "act",
  ];
  const barrier = (): string | undefined => {
    if (failure !== undefined) return failure;
    if (question.check !== undefined && checked === undefined) return "the server is still counting";
    if (checked?.count === 0) return "there is nothing to do";
    const text = wanted();
    return text !== undefined && typed.text.trim() !== text ? `type ${text} first` : undefined;
  };
  const go = (by: number): void => {
    const all = fields();
    focus = all[(all.indexOf(focus) + by + all.length) % all.length] ?? "keep";
  };
  const keep = (): void => {
    close();
    question.kept?.();
  };
  const press = (key: KeyPress): void => {
    if (key.name === "esc") return keep();
    if (key.name === "tab" || key.name === "down") return go(1);
    if (key.name === "shift-tab" || key.name === "up") return go(-1);
    if (focus === "reason" || focus === "typed") {
      if (key.name === "enter") return go(1);
      if (focus === "reason") reason = editText(reason, key) ?? reason;
      else typed = editText(typed, key) ?? typed;
      return;
    }
    if (key.name === "left" || key.name === "h") focus = "keep";
    else if (key.name === "right" || key.name === "l") focus = "act";
    else if (key.name === "q" || (key.name === "enter" && focus === "keep")) keep();
    else if (key.name === "enter" && barrier() === undefined) {
      close();
      question.act(reason.text.trim(), checked);
    }
  };
  return {
    id: "confirm",
    place: "body",
    press,
    paste: (text) => {
      if (focus === "reason") reason = insertText(reason, text);
      if (focus === "typed") typed = insertText(typed, text);
    },
    closed: () => ending.abort(),
    view: (frame) =>
      confirmLines(
        { question, reason, typed, focus, checked, failure, wanted: wanted(), barrier: barrier() },
        frame,
      ),
  };
}

interface ConfirmState {
  readonly question: Question;
  readonly reason: TextInput;
  readonly typed: TextInput;
  readonly focus: Field;
  readonly checked: Checked | undefined;
  readonly failure: string | undefined;
  readonly wanted: string | undefined;
  readonly barrier: string | undefined;
}

function confirmLines(state: ConfirmState, frame: ScreenFrame): string[] {
  const { question, checked, failure, wanted, barrier, focus } = state;
  const inner = insideBox(frame);
  const told = [...question.lines, ...(checked?.lines ?? [])];
  const counting = question.check !== undefined && checked === undefined && failure === undefined;
  const command = question.command(state.reason.text.trim(), checked);
  const tail = [
    ...(counting
      ? [layLine([{ text: "Asking the server what this would do...", style: "dim" }], inner)]
      : []),
    ...(failure === undefined ? [] : [layLine([{ text: failure, style: "red" }], inner)]),
    ...(question.hasReason === false ? [] : [fieldLine("Reason ", state.reason, focus === "reason", inner)]),
    ...(wanted === undefined
      ? []
      : [fieldLine(`Type ${wanted} to confirm `, state.typed, focus === "typed", inner)]),
    ...wrapText(command, inner.columns).map((text) => layLine([{ text, style: "dim" }], inner)),
    buttonsLine(question.verb, focus, barrier, inner),
  ];
  const texts = told.flatMap((text) => wrapText(text, inner.columns));
  return layBox(
    question.title,
    [...fitTexts(texts, inner.rows - tail.length, inner), ...tail],
    asciiHint("Tab next · Enter choose · Esc keeps all as it is", frame),
    frame,
  );
}

// The buttons are always there: what is told gives way to them.
function fitTexts(texts: readonly string[], rows: number, frame: ScreenFrame): string[] {
  const lay = (text: string): string => layLine([{ text }], frame);
  if (texts.length <= rows || frame.isLinear) return texts.map(lay);
  const shown = texts.slice(0, Math.max(0, rows - 1));
  return [
    ...shown.map(lay),
    layLine([{ text: `${texts.length - shown.length} more lines`, style: "dim" }], frame),
  ];
}

/** A named field of a dialog or a form. */
export function fieldLine(label: string, input: TextInput, isFocused: boolean, frame: ScreenFrame): string {
  const room = Math.max(8, Math.min(60, frame.columns - label.length - 3));
  const pieces: Piece[] = isFocused ? inputPieces(input, room, frame) : [{ text: input.text }];
  return layLine(
    [{ text: label, style: isFocused ? "bold" : "dim" }, { text: "[" }, ...pieces, { text: "]" }],
    frame,
  );
}

function buttonsLine(verb: string, focus: Field, barrier: string | undefined, frame: ScreenFrame): string {
  const button = (label: string, isFocused: boolean): Piece => ({
    text: isFocused ? `< ${label} >` : `( ${label} )`,
    style: isFocused ? "selected" : "plain",
  });
  const why =
    focus === "act" && barrier !== undefined ? [{ text: `  ${barrier}`, style: "yellow" as const }] : [];
  return layLine(
    [
      { text: "  " },
      button("Keep", focus === "keep"),
      { text: "   " },
      button(verb, focus === "act"),
      ...why,
    ],
    frame,
  );
}
