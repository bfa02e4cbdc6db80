import type { DescMessage } from "@bufbuild/protobuf";
import { type Document, isScalar, LineCounter, parseAllDocuments, visit } from "yaml";
import type { Violation } from "../errors.ts";
import { offsetOf } from "../input/jobs-file.ts";
import {
  type JsonObject,
  type Path,
  readMessage,
  type SpecProblem,
  showPath,
} from "../input/message-document.ts";
import { nearest } from "../input/suggest.ts";
import { quote } from "../input/values.ts";
import type { NameForm } from "./bounds.ts";

/** A sort of thing that documents describe: what `kind:` says. */
export interface DocumentKind {
  readonly kind: string;
  /** The message that `spec` is. */
  readonly schema: DescMessage;
  /** Fields of it that the server sets, or that stand elsewhere in the document, by their JSON names. */
  readonly without: readonly string[];
  /** What its names are made of, where the server has no dry run that would say so. */
  readonly names?: NameForm;
}

/** One thing that a file asks for. */
export interface WantedDocument {
  readonly kind: string;
  readonly name: string;
  /** The JSON form of the message, without its name. */
  readonly spec: JsonObject;
  /** `muster.yaml:12:1`. */
  readonly place: string;
  /** Where a field of the spec is, by its path in the message. */
  readonly locate: (path: Path) => string;
}

/** What files say, and what is wrong with them. */
export interface ReadDocuments {
  readonly documents: readonly WantedDocument[];
  readonly violations: readonly Violation[];
}

/** What reading a file needs besides its text. */
export interface DocumentsInput {
  /** What messages call the file. */
  readonly name: string;
  readonly kinds: readonly DocumentKind[];
  readonly nowMs: number;
  /** For `!env NAME`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For `!file PATH`: the text of a file, or what is wrong with it. */
  readonly fileText: (path: string) => { readonly text: string } | { readonly problem: string };
}

/**
 * Reads YAML documents, each a mapping of `kind`, `name` and `spec`. `!env NAME` as a value is the variable of the
 * environment, for secrets, and `!file PATH` the text of a file, for long texts. Every problem has its file, line and
 * column.
 */
export function readDocuments(text: string, input: DocumentsInput): ReadDocuments {
  const documents: WantedDocument[] = [];
  const violations: Violation[] = [];
  for (const { document, placeOf } of parseYaml(text, input.name, violations)) {
    const problems: SpecProblem[] = [];
    const fromEnv = takeVariables(document, input, (offset, message) => {
      violations.push({ field: placeOf(offset), message });
    });
    const value = plainValue(document, problems);
    const locate = (path: Path, isKey = false): string => placeOf(offsetOf(document, path, isKey));
    const read = value === undefined || !fromEnv ? undefined : readDocument(value, input, problems);
    for (const { path, message, isKey } of problems) {
      const where = showPath(path);
      violations.push({
        field: locate(path, isKey),
        message: where === "" ? message : `${where}: ${message}`,
      });
    }
    if (read !== undefined && problems.length === 0) {
      documents.push({ ...read, place: locate([]), locate: (path) => locate(["spec", ...path]) });
    }
  }
  return { documents, violations };
}

/** The documents of YAML text that has some; what is no YAML becomes violations. */
export function parseYaml(
  text: string,
  name: string,
  violations: Violation[],
): { readonly document: Document; readonly placeOf: (offset: number) => string }[] {
  const lines = new LineCounter();
  const clean = text.replace(/^\ufeff/, "");
  const parsed = parseAllDocuments(clean, { lineCounter: lines, prettyErrors: false });
  const placeOf = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  if (!Array.isArray(parsed)) return [];
  return parsed.flatMap((document) => {
    // One mistake may make the parser stumble over all that follows.
    const tab = document.errors.find(({ code }) => code === "TAB_AS_INDENT");
    const errors = tab === undefined ? document.errors.slice(0, 5) : [tab];
    for (const { code, pos, message } of errors) {
      const words =
        code === "TAB_AS_INDENT"
          ? "is indented with a tab: YAML wants spaces, so replace the tab by two of them"
          : `is not YAML: ${message}`;
      violations.push({ field: placeOf(pos[0]), message: words });
    }
    return document.errors.length > 0 || document.contents === null ? [] : [{ document, placeOf }];
  });
}

/** What a document says as plain values; undefined, and a problem, when its aliases cannot be followed. */
export function plainValue(document: Document, problems: SpecProblem[]): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    // An alias without an anchor, or so many of them that the document would explode.
    problems.push({
      path: [],
      message: cause instanceof Error ? cause.message : String(cause),
      isKey: false,
    });
    return undefined;
  }
}

const topKeys = ["kind", "name", "spec"];

function readDocument(
  value: unknown,
  { kinds, nowMs }: DocumentsInput,
  problems: SpecProblem[],
): Pick<WantedDocument, "kind" | "name" | "spec"> | undefined {
  const wrong = (path: Path, message: string, isKey = false): void => {
    problems.push({ path, message, isKey });
  };
  if (value === null) return undefined;
  if (!isMapping(value)) {
    wrong([], "must be a mapping of kind, name and spec");
    return undefined;
  }
  for (const key of Object.keys(value)) {
    if (topKeys.includes(key)) continue;
    const near = nearest(key, topKeys);
    wrong(
      [key],
      `unknown field ${quote(key)}; ${near === undefined ? "known are: kind, name, spec" : `did you mean ${near}?`}`,
      true,
    );
  }
  const { kind, name, spec = {} } = value;
  if (typeof name !== "string" || name === "")
    wrong(name === undefined ? [] : ["name"], "needs a name: text");
  const found = kinds.find((one) => one.kind === kind);
  if (found === undefined) {
    const words = kinds.map((one) => one.kind);
    const near = typeof kind === "string" ? nearest(kind, words) : undefined;
    const meant = near === undefined ? `use one of ${words.join(", ")}` : `did you mean ${near}?`;
    wrong(
      kind === undefined ? [] : ["kind"],
      kind === undefined ? `needs a kind; ${meant}` : `there is no kind ${quote(String(kind))}; ${meant}`,
    );
    return undefined;
  }
  const json = readMessage(found.schema, spec ?? {}, ["spec"], { nowMs, problems, without: found.without });
  return typeof name === "string" ? { kind: found.kind, name, spec: json } : undefined;
}

// Replaces `!env NAME` by the variable, and `!file PATH` by the text. False: one is not there, or another tag is.
function takeVariables(
  document: Document,
  { env, fileText }: DocumentsInput,
  wrong: (offset: number, message: string) => void,
): boolean {
  let isWhole = true;
  visit(document, {
    Value(_, node) {
      const { tag } = node;
      if (tag === undefined || plainTags.test(tag)) return;
      const offset = node.range?.[0] ?? 0;
      const refuse = (message: string): void => {
        isWhole = false;
        wrong(offset, message);
      };
      if (!isScalar(node) || (tag !== "!env" && tag !== "!file")) {
        return refuse(`has the tag ${quote(tag)}; there are only !env NAME and !file PATH`);
      }
      const named = String(node.value);
      const variable = env[named];
      const found =
        tag === "!file"
          ? fileText(named)
          : variable === undefined
            ? { problem: `the variable ${quote(named)} is not set` }
            : { text: variable };
      if ("problem" in found) return refuse(found.problem);
      node.value = found.text;
    },
  });
  return isWhole;
}

/** Types that plain YAML has. */
const plainTags = /^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/;

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
