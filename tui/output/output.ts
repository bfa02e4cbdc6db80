import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { usageError } from "../errors.ts";
import type { OutputStream, Surroundings } from "../surroundings.ts";
import {
  type ChosenFields,
  chooseFields,
  type FieldPath,
  fieldRows,
  mainField,
  pickFields,
} from "./fields.ts";
import { type Paint, paintFor, paintLevel } from "./paint.ts";
import { escapeJson, sanitizeLines } from "./sanitize.ts";
import { type GlyphSet, glyphSetOf } from "./states.ts";
import { layTable, type TableOptions } from "./table.ts";
import { showAge, showTimeAndAge, type TimeStyle } from "./time.ts";

/** How answers are printed; `wide` is text with everything in it. */
export type Format = "text" | "json" | "jsonl" | "yaml" | "name" | "none";

/** Every word that `-o` takes. */
export const formats: readonly (Format | "wide")[] = [
  "text",
  "wide",
  "json",
  "jsonl",
  "yaml",
  "name",
  "none",
];

/** What the global options say about output. */
export interface OutputOptions {
  readonly format: Format;
  readonly isQuiet: boolean;
  readonly noColor: boolean;
  /** Colours wherever it goes. */
  readonly forceColor: boolean;
  readonly ascii: boolean;
  readonly isWide: boolean;
  readonly noHeaders: boolean;
  /** Undefined when nobody said. */
  readonly timeStyle: TimeStyle | undefined;
  /** What `--fields` names; undefined for everything. */
  readonly fields: readonly FieldPath[] | undefined;
  /** Writes YAML; there when the format is yaml. */
  readonly showYaml: ((value: unknown) => string) | undefined;
}

/** How one answer looks in each format. */
export interface Answer<Desc extends DescMessage> {
  readonly schema: Desc;
  readonly message: MessageShape<Desc>;
  /** Lines for people; every untrusted string in them is sanitized already. */
  readonly text: () => readonly string[];
  /** The ids alone, where the answer has any. */
  readonly names?: () => readonly string[];
}

/** Where the program prints: data on stdout, everything else on stderr. */
export class Output {
  /** Of data; `wide` is text. */
  readonly format: Format;
  readonly isWide: boolean;
  readonly paint: Paint;
  /** The paint of stderr. */
  readonly notePaint: Paint;
  readonly glyphs: GlyphSet;
  readonly isTty: boolean;
  readonly #stdout: OutputStream;
  readonly #stderr: OutputStream;
  readonly #options: OutputOptions;
  #documents = 0;

  constructor(surroundings: Surroundings, options: OutputOptions) {
    const { stdout, stderr, env } = surroundings;
    const { noColor, forceColor: isForced } = options;
    this.format = options.format;
    this.isWide = options.isWide;
    this.isTty = stdout.isTTY === true;
    this.paint = paintFor(paintLevel({ isTty: this.isTty, noColor, isForced, env }));
    this.notePaint = paintFor(paintLevel({ isTty: stderr.isTTY === true, noColor, isForced, env }));
    this.glyphs = options.ascii ? "ascii" : glyphSetOf(env);
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.#options = options;
  }

  /** How tables and facts are laid out here. */
  get layout(): TableOptions {
    const { isWide, noHeaders } = this.#options;
    const columns = this.isTty ? (this.#stdout.columns ?? 80) : undefined;
    return { columns, paint: this.paint, isWide, noHeaders };
  }

  /** How long ago a time was, or the time itself, as `--time` wants it; `-` for none. */
  age(time: Timestamp | undefined, nowMs: number): string {
    return showAge(time, nowMs, this.#options.timeStyle);
  }

  /** A time with how long ago it was, or as `--time` wants it; empty for none. */
  timeAndAge(time: Timestamp | undefined, nowMs: number): string {
    return showTimeAndAge(time, nowMs, this.#options.timeStyle);
  }

  /** Prints the one answer of a command; a list in JSON lines is a row a line. */
  print<Desc extends DescMessage>(answer: Answer<Desc>): void {
    this.#print(answer, 2);
  }

  /** Prints one of several answers: in JSON a line each, in YAML a document each. */
  printOne<Desc extends DescMessage>(answer: Answer<Desc>): void {
    this.#print(answer, undefined);
  }

  /** Prints a JSON value that is no message, or the lines for people; they are the name, too, where it has none. */
  printValue(value: unknown, text: () => readonly string[], names: () => readonly string[] = text): void {
    const { fields } = this.#options;
    const chosen =
      fields === undefined ? undefined : { part: undefined, isList: Array.isArray(value), paths: fields };
    if (this.format === "name") for (const line of names()) this.data(line);
    else if (this.format !== "text") this.#value(chosen === undefined ? value : pickFields(value, chosen), 2);
    else if (chosen === undefined) for (const line of text()) this.data(line);
    else this.#fieldTable(value, chosen);
  }

  /** A line on stdout, safe already. */
  data(line: string): void {
    this.#stdout.write(`${line}\n`);
  }

  /** Bytes on stdout, as they are. Resolves when there is room for more. */
  async bytes(chunk: Uint8Array): Promise<void> {
    if (this.#stdout.write(chunk)) return;
    await new Promise<void>((resolve) => this.#stdout.once("drain", resolve));
  }

  /** A message for people, on stderr; none with --quiet. */
  note(message: string): void {
    if (!this.#options.isQuiet) this.#stderr.write(`${sanitizeLines(message)}\n`);
  }

  /** A warning on stderr, also with --quiet. */
  warn(message: string): void {
    this.#stderr.write(`${this.notePaint("yellow", "warning:")} ${sanitizeLines(message)}\n`);
  }

  #json(value: unknown, indent: number | undefined): void {
    this.data(escapeJson(JSON.stringify(value, null, indent)));
  }

  // Documents of a stream are told apart by `---`.
  #yaml(value: unknown): void {
    if (this.#documents++ > 0) this.data("---");
    this.data(this.#options.showYaml?.(value) ?? "");
  }

  #value(value: unknown, indent: number | undefined): void {
    if (this.format === "yaml") this.#yaml(value);
    else if (this.format !== "none") this.#json(value, this.format === "json" ? indent : undefined);
  }

  #fieldTable(json: unknown, chosen: ChosenFields): void {
    const columns = chosen.paths.map((path) => ({ title: path.join(".") }));
    for (const line of layTable(columns, fieldRows(json, chosen), this.layout)) this.data(line);
  }

  #print<Desc extends DescMessage>(answer: Answer<Desc>, indent: number | undefined): void {
    const { fields } = this.#options;
    const chosen = fields === undefined ? undefined : chooseFields(answer.schema, fields);
    if (this.format === "none") return;
    if (this.format === "name") {
      for (const name of namesOf(answer)) this.data(sanitizeLines(name));
      return;
    }
    if (this.format === "text" && chosen === undefined) {
      for (const line of answer.text()) this.data(line);
      return;
    }
    const json = messageJson(answer.schema, answer.message);
    if (this.format === "text" && chosen !== undefined) return this.#fieldTable(json, chosen);
    const picked = chosen === undefined ? json : pickFields(json, chosen);
    const rows = this.format === "jsonl" && indent !== undefined ? rowsOf(answer.schema, picked) : undefined;
    if (rows === undefined) this.#value(picked, indent);
    else for (const row of rows) this.#value(row, undefined);
  }
}

/** A message in proto3 JSON, with the fields that have their default value. */
export function messageJson<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): unknown {
  return toJson(schema, message, { alwaysEmitImplicit: true });
}

// The rows of what is a list and nothing else.
function rowsOf(schema: DescMessage, json: unknown): readonly unknown[] | undefined {
  const main = mainField(schema);
  if (main?.fieldKind !== "list") return undefined;
  const found: unknown = Object.entries(json ?? {}).find(([name]) => name === main.jsonName)?.[1];
  return Array.isArray(found) ? found : undefined;
}

function namesOf<Desc extends DescMessage>(answer: Answer<Desc>): readonly string[] {
  if (answer.names !== undefined) return answer.names();
  throw usageError("this command has no names to print", "Use -o text, json, jsonl or yaml.");
}
