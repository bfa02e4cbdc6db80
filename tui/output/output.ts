import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import { usageError } from "../errors.ts";
import type { OutputStream, Surroundings } from "../surroundings.ts";
import { type Paint, paintFor, paintLevel } from "./paint.ts";
import { escapeJson, sanitizeLines } from "./sanitize.ts";
import { type GlyphSet, glyphSetOf } from "./states.ts";
import type { TableOptions } from "./table.ts";

/** How answers are printed. */
export type Format = "text" | "json" | "jsonl" | "name";

/** Every format, for help and checks. */
export const formats: readonly Format[] = ["text", "json", "jsonl", "name"];

/** What the global options say about output. */
export interface OutputOptions {
  readonly format: Format;
  readonly isQuiet: boolean;
  readonly noColor: boolean;
  readonly ascii: boolean;
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
  readonly format: Format;
  readonly paint: Paint;
  /** The paint of stderr. */
  readonly notePaint: Paint;
  readonly glyphs: GlyphSet;
  readonly isTty: boolean;
  readonly #stdout: OutputStream;
  readonly #stderr: OutputStream;
  readonly #isQuiet: boolean;

  constructor(surroundings: Surroundings, options: OutputOptions) {
    const { stdout, stderr, env } = surroundings;
    const { noColor } = options;
    this.format = options.format;
    this.isTty = stdout.isTTY === true;
    this.paint = paintFor(paintLevel({ isTty: this.isTty, noColor, env }));
    this.notePaint = paintFor(paintLevel({ isTty: stderr.isTTY === true, noColor, env }));
    this.glyphs = options.ascii ? "ascii" : glyphSetOf(env);
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.#isQuiet = options.isQuiet;
  }

  /** How tables and facts are laid out here. */
  get layout(): TableOptions {
    return { columns: this.isTty ? (this.#stdout.columns ?? 80) : undefined, paint: this.paint };
  }

  /** Prints the one answer of a command. */
  print<Desc extends DescMessage>(answer: Answer<Desc>): void {
    this.#print(answer, 2);
  }

  /** Prints one of several answers: in JSON a line each. */
  printOne<Desc extends DescMessage>(answer: Answer<Desc>): void {
    this.#print(answer, undefined);
  }

  /** Prints a JSON value that is no message, or the lines for people. */
  printValue(value: unknown, text: () => readonly string[]): void {
    if (this.format === "json") this.#json(value, 2);
    else if (this.format === "jsonl") this.#json(value, undefined);
    else for (const line of text()) this.data(line);
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
    if (!this.#isQuiet) this.#stderr.write(`${sanitizeLines(message)}\n`);
  }

  /** A warning on stderr, also with --quiet. */
  warn(message: string): void {
    this.#stderr.write(`${this.notePaint("yellow", "warning:")} ${sanitizeLines(message)}\n`);
  }

  #json(value: unknown, indent: number | undefined): void {
    this.data(escapeJson(JSON.stringify(value, null, indent)));
  }

  #print<Desc extends DescMessage>(answer: Answer<Desc>, indent: number | undefined): void {
    switch (this.format) {
      case "text":
        for (const line of answer.text()) this.data(line);
        return;
      case "json":
        this.#json(messageJson(answer.schema, answer.message), indent);
        return;
      case "jsonl":
        this.#json(messageJson(answer.schema, answer.message), undefined);
        return;
      case "name":
        for (const name of namesOf(answer)) this.data(sanitizeLines(name));
    }
  }
}

/** A message in proto3 JSON, with the fields that have their default value. */
export function messageJson<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): unknown {
  return toJson(schema, message, { alwaysEmitImplicit: true });
}

function namesOf<Desc extends DescMessage>(answer: Answer<Desc>): readonly string[] {
  if (answer.names !== undefined) return answer.names();
  throw usageError("this command has no names to print", "Use -o text, json or jsonl.");
}
