import { layLine, type Piece } from "../lines.ts";
import type { KeyPress } from "../shell/keys.ts";
import type { Overlay, ScreenFrame } from "../shell/screen.ts";
import { editText, insertText, type TextInput, textInput } from "../shell/text-input.ts";
import { inputPieces, insideBox, layBox, wrapText } from "./box.ts";
import { asciiHint } from "./help.ts";

/** One field of a form. */
export interface FormField {
  /** Name of the field in the request, for what the server finds wrong: `retry.maxAttempts`. */
  readonly name: string;
  readonly label: string;
  readonly value: string;
  /** What is expected, shown while the field has the focus; may go by what the other fields say. */
  readonly about: string | ((values: FormValues) => string);
  /** Values to go through with left and right; absent: free text. */
  readonly choices?: readonly string[];
  /** What is wrong with the value; undefined when nothing is. */
  readonly check?: (value: string) => string | undefined;
  /** Opens in the editor, with files named so: `json`. */
  readonly editor?: string;
  /** A secret: what is typed is not shown. */
  readonly isHidden?: boolean;
}

/** The values of a form by field. */
export type FormValues = Readonly<Record<string, string>>;

/** A wrong field, as the server names it. */
export interface FormProblem {
  readonly field: string;
  readonly message: string;
}

/** A form that makes or changes something. */
export interface FormOptions {
  readonly title: string;
  readonly verb: string;
  readonly fields: readonly FormField[];
  /** The command line that does the same. */
  readonly command: (values: FormValues) => string;
  /** Does it: answers with what is wrong, or nothing when it is done and the form closes. */
  readonly save: (values: FormValues) => Promise<readonly FormProblem[]>;
  readonly edit: (text: string, extension: string) => Promise<string | undefined>;
}

/** A form: Tab goes through the fields, ^S saves, ^E opens a long field in the editor. Nothing is lost by a mistake. */
export function formOverlay(options: FormOptions, changed: () => void, close: () => void): Overlay {
  const { fields } = options;
  const inputs = new Map<string, TextInput>(fields.map(({ name, value }) => [name, textInput(value)]));
  let at = 0;
  let problems: readonly FormProblem[] = [];
  let isSaving = false;
  const values = (): FormValues => Object.fromEntries([...inputs].map(([name, { text }]) => [name, text]));
  const set = (name: string, text: string): void => {
    inputs.set(name, textInput(text));
    problems = problems.filter(({ field }) => field !== name);
  };
  const save = async (): Promise<void> => {
    problems = fields.flatMap(({ name, check }) => {
      const message = check?.(inputs.get(name)?.text ?? "");
      return message === undefined ? [] : [{ field: name, message }];
    });
    if (problems.length === 0) {
      isSaving = true;
      changed();
      problems = await options.save(values());
      isSaving = false;
      if (problems.length === 0) return close();
    }
    const wrong = fields.findIndex(({ name }) => problems.some(({ field }) => belongsTo(field, name)));
    if (wrong >= 0) at = wrong;
    changed();
  };
  const edit = async (field: FormField): Promise<void> => {
    const text = await options.edit(inputs.get(field.name)?.text ?? "", field.editor ?? "txt");
    if (text !== undefined) set(field.name, text.trimEnd());
    changed();
  };
  const press = (key: KeyPress): void => {
    const field = fields[at];
    if (key.name === "esc") return close();
    if (isSaving || field === undefined) return;
    if (key.name === "ctrl-s") return void save();
    if (["tab", "down", "enter"].includes(key.name)) at = (at + 1) % fields.length;
    else if (["shift-tab", "up"].includes(key.name)) at = (at - 1 + fields.length) % fields.length;
    else if (key.name === "ctrl-x" && field.editor !== undefined) void edit(field);
    else if (field.choices !== undefined) choose(field, key);
    else {
      const input = inputs.get(field.name) ?? textInput();
      const edited = editText(input, key);
      if (edited === undefined) return;
      if (edited.text !== input.text) problems = problems.filter((one) => !belongsTo(one.field, field.name));
      inputs.set(field.name, edited);
    }
  };
  const choose = ({ name, choices = [] }: FormField, key: KeyPress): void => {
    const now = choices.indexOf(inputs.get(name)?.text ?? "");
    const step = key.name === "left" ? -1 : ["right", "space"].includes(key.name) ? 1 : 0;
    const named = key.text === "" ? -1 : choices.findIndex((choice) => choice.startsWith(key.text));
    const to = step === 0 ? named : (now + step + choices.length) % choices.length;
    if (to >= 0) set(name, choices[to] ?? "");
  };
  return {
    id: "form",
    place: "body",
    press,
    paste: (text) => {
      const field = fields[at];
      if (field === undefined || field.choices !== undefined) return;
      inputs.set(field.name, insertText(inputs.get(field.name) ?? textInput(), text));
    },
    view: (frame) => formLines({ options, inputs, at, problems, isSaving, values: values() }, frame),
  };
}

interface FormState {
  readonly options: FormOptions;
  readonly inputs: ReadonlyMap<string, TextInput>;
  readonly at: number;
  readonly problems: readonly FormProblem[];
  readonly isSaving: boolean;
  readonly values: FormValues;
}

function formLines(
  { options, inputs, at, problems, isSaving, values }: FormState,
  frame: ScreenFrame,
): string[] {
  const { fields } = options;
  const inner = insideBox(frame);
  const width = Math.max(...fields.map(({ label }) => label.length)) + 1;
  const rest = problems.filter(({ field }) => !fields.some(({ name }) => belongsTo(field, name)));
  const tail = [
    ...rest.flatMap(({ field, message }) =>
      wrapText(field === "" ? message : `${field}: ${message}`, inner.columns).map((text) =>
        layLine([{ text, style: "red" }], inner),
      ),
    ),
    layLine([{ text: aboutOf(fields[at], values), style: "dim" }], inner),
    ...wrapText(options.command(values), inner.columns)
      .slice(0, 3)
      .map((text) => layLine([{ text, style: "dim" }], inner)),
  ];
  const rows = fields.map((field, index) => {
    const problem = problems.find((one) => belongsTo(one.field, field.name));
    const input = inputs.get(field.name) ?? textInput();
    const shown = field.isHidden === true ? hiddenInput(input, frame) : input;
    return fieldRow(field, shown, index === at, width, problem?.message, inner);
  });
  const room = Math.max(1, inner.rows - tail.length);
  const top = Math.max(0, Math.min(at - Math.floor(room / 2), rows.length - room));
  const isLong = fields[at]?.editor !== undefined;
  const hint = isSaving
    ? "saving..."
    : asciiHint(`Tab next · ^S ${options.verb}${isLong ? " · ^X editor" : ""} · Esc`, frame);
  return layBox(options.title, [...rows.slice(top, top + room), ...tail], hint, frame);
}

function aboutOf(field: FormField | undefined, values: FormValues): string {
  const about = field?.about ?? "";
  return typeof about === "string" ? about : about(values);
}

// A sign for each that was typed: what it is stays with the field.
function hiddenInput({ text, cursor }: TextInput, { glyphs }: ScreenFrame): TextInput {
  const sign = glyphs === "ascii" ? "*" : "•";
  return { text: sign.repeat(text.length), cursor };
}

function fieldRow(
  field: FormField,
  input: TextInput,
  isFocused: boolean,
  width: number,
  problem: string | undefined,
  frame: ScreenFrame,
): string {
  const label: Piece = { text: field.label.padEnd(width), style: isFocused ? "bold" : "dim" };
  const wrong: Piece[] = problem === undefined ? [] : [{ text: `  ${problem}`, style: "red" }];
  if (field.choices !== undefined) {
    const arrows = frame.glyphs === "ascii" ? ["< ", " >"] : ["◂ ", " ▸"];
    return layLine(
      [
        label,
        { text: arrows[0] ?? "" },
        { text: input.text, style: isFocused ? "selected" : "plain" },
        { text: arrows[1] ?? "" },
        ...wrong,
      ],
      frame,
    );
  }
  const room = Math.max(8, Math.min(problem === undefined ? 60 : 24, frame.columns - width - 3));
  const pieces: Piece[] = isFocused ? inputPieces(input, room, frame) : [{ text: input.text }];
  return layLine([label, { text: "[" }, ...pieces, { text: "]" }, ...wrong], frame);
}

// The server names fields by their whole path: `job.kind` is the field `kind`.
function belongsTo(path: string, name: string): boolean {
  return path === name || path.endsWith(`.${name}`) || path.includes(`${name}.`) || path.includes(`${name}[`);
}
