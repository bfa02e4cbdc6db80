import {
  type Document,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  parseDocument,
  type YAMLParseError,
} from "yaml";
import { type ConfigName, clientVariables, configEntries } from "./config-fields.ts";
import type { Environment, Field } from "./config-forms.ts";
import { invalid, type Reading, valid, type Wrong } from "./config-values.ts";

/** What a configuration is made from. */
export interface ConfigInput {
  /** By flag name without dashes, in kebab-case or camelCase. */
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  /** A variable that is set and empty counts as absent. */
  readonly env: Environment;
  /** The text of a file; throws if it cannot be read. */
  readonly readFile: (path: string) => string;
  /** `MUSTER_*` variables that somebody else in this process reads, and that are not mistakes. */
  readonly otherVariables?: readonly string[];
}

/** Where a value, or a problem, comes from. */
export type ConfigSource = "flag" | "environment" | "file" | "default";

/** One thing that is wrong; `name` is spelled as in its source. `message` never holds the value of a secret. */
export interface ConfigProblem {
  readonly source: ConfigSource;
  readonly name: string;
  readonly message: string;
  readonly suggestion?: string;
}

/** A value that a source gave, and the name that it has there. */
export interface Given {
  readonly source: ConfigSource;
  readonly name: string;
  readonly raw: unknown;
  /** The value is not `raw` but what is in the file of that name. */
  readonly isPath: boolean;
  /** `muster.yaml:3`, for what a file says. */
  readonly place?: string;
}

/** What the sources give, by setting; the stronger source has already won. */
export type GivenByName = ReadonlyMap<ConfigName, Given>;

/** Reads flags, environment and file, in this order of strength; adds what is wrong to `problems`. */
export function givenBySources(input: ConfigInput, problems: ConfigProblem[]): GivenByName {
  const flags = givenByFlags(input, problems);
  const env = givenByEnvironment(input, problems);
  const file = givenByFile(flags.get("config") ?? env.get("config"), input, problems);
  const merged = new Map<ConfigName, Given>();
  for (const [name] of configEntries()) {
    const given = flags.get(name) ?? env.get(name) ?? file.get(name);
    if (given !== undefined) merged.set(name, given);
  }
  return merged;
}

/** The value of a setting from what was given; a secret's file, or an input file, is read here. */
export function readGiven(given: Given, field: Field<unknown>, input: ConfigInput): Reading<unknown> {
  if (given.isPath) {
    const text = readText(given.raw, input);
    return text.kind === "invalid" ? text : field.read(text.value.trim());
  }
  const reading = field.read(given.raw);
  if (!field.isInputFile || reading.kind === "invalid") return reading;
  const text = readText(reading.value, input);
  return text.kind === "invalid" ? text : reading;
}

/** The problem of a value, named as its source names it. */
export function problemAt(given: Given, wrong: Wrong): ConfigProblem {
  const { source, name, place } = given;
  const message = place === undefined ? wrong.message : `${wrong.message} (${place})`;
  return {
    source,
    name,
    message,
    ...(wrong.suggestion === undefined ? {} : { suggestion: wrong.suggestion }),
  };
}

/** How a flag spells a setting. */
export function flagName(key: string): string {
  return `--${key}`;
}

/** How the environment spells a setting. */
export function variableName(key: string): string {
  return `MUSTER_${key.replaceAll("-", "_").toUpperCase()}`;
}

/** How the file spells a setting. */
export function fileKey(key: string): string {
  return key.replaceAll("-", "_");
}

/** A setting under one of its spellings; `config` names the file itself. */
interface Target {
  readonly setting: ConfigName | "config";
  readonly isSecret: boolean;
  /** The spelling for a file that holds the value. */
  readonly isPath: boolean;
}

type Collected = Map<ConfigName | "config", Given>;

function givenByFlags(input: ConfigInput, problems: ConfigProblem[]): Collected {
  const all: Collected = new Map();
  const known = spellings(flagName);
  const usable = [...known].filter(([, target]) => !isRefusedFlag(target)).map(([name]) => name);
  for (const [rawName, raw] of Object.entries(input.flags)) {
    if (raw === undefined) continue;
    const key = rawName.replace(/^--/, "").replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const name = flagName(key);
    const target = known.get(name);
    const given: Given = { source: "flag", name, raw, isPath: target?.isPath ?? false };
    if (target === undefined) problems.push(unknownSetting(given, usable));
    else if (isRefusedFlag(target)) problems.push(problemAt(given, secretFlag(key)));
    else collect(all, target, given, problems);
  }
  return all;
}

function givenByEnvironment(input: ConfigInput, problems: ConfigProblem[]): Collected {
  const all: Collected = new Map();
  const known = spellings(variableName);
  const foreign = new Set([...clientVariables, ...(input.otherVariables ?? [])]);
  for (const [name, raw] of Object.entries(input.env)) {
    if (raw === undefined || raw === "" || !name.startsWith("MUSTER_")) continue;
    const target = known.get(name);
    const given: Given = { source: "environment", name, raw, isPath: target?.isPath ?? false };
    if (target !== undefined) collect(all, target, given, problems);
    else if (!foreign.has(name)) problems.push(unknownSetting(given, known.keys()));
  }
  for (const [setting, field] of configEntries()) {
    const name = field.alsoFrom.find((variable) => input.env[variable]);
    if (name === undefined || all.has(setting)) continue;
    all.set(setting, { source: "environment", name, raw: input.env[name], isPath: false });
  }
  return all;
}

function givenByFile(from: Given | undefined, input: ConfigInput, problems: ConfigProblem[]): Collected {
  const all: Collected = new Map();
  if (from === undefined) return all;
  const text = readText(from.raw, input);
  if (text.kind === "invalid") {
    problems.push(problemAt(from, text));
    return all;
  }
  const path = String(from.raw);
  const lines = new LineCounter();
  // Pretty errors quote the line, and the line may hold a secret.
  const document = parseDocument(text.value, { lineCounter: lines, prettyErrors: false });
  const givenAt = (name: string, offset: number): Given => {
    const place = `${path}:${lines.linePos(offset).line}`;
    return { source: "file", name, raw: undefined, isPath: false, place };
  };
  for (const error of document.errors) {
    problems.push(problemAt(givenAt(path, error.pos[0]), invalid(`is not YAML: ${withoutQuote(error)}`)));
  }
  if (document.errors.length > 0 || document.contents === null) return all;
  if (!isMap(document.contents)) {
    const wrong = invalid("does not hold settings", "Write a line a setting, like heartbeat: 5s.");
    problems.push(problemAt(givenAt(path, 0), wrong));
    return all;
  }
  const known = spellings(fileKey);
  known.delete("config");
  for (const { key, value } of document.contents.items) {
    const name = isScalar(key) ? String(key.value) : String(key);
    const given = givenAt(name, isNode(key) ? (key.range?.[0] ?? 0) : 0);
    const target = known.get(name);
    const raw = plainValue(value, document);
    if (target === undefined) problems.push(unknownSetting(given, known.keys()));
    else if (raw !== null) collect(all, target, { ...given, raw, isPath: target.isPath }, problems);
  }
  return all;
}

/** What the parser says, without the piece of the file that it quotes, which may be of a secret. */
function withoutQuote({ code, message }: YAMLParseError): string {
  const quotesAnywhere = ["BAD_DIRECTIVE", "BAD_DQ_ESCAPE", "TAG_RESOLVE_FAILED", "BAD_COLLECTION_TYPE"];
  return quotesAnywhere.includes(code) ? code : message.replace(/(?<=\S): .*$/s, "");
}

function plainValue(value: unknown, document: Document): unknown {
  if (!isNode(value)) return value;
  try {
    return value.toJS(document);
  } catch {
    // An alias without an anchor, or too many of them: no setting takes either.
    return undefined;
  }
}

function spellings(spell: (key: string) => string): Map<string, Target> {
  const known = new Map<string, Target>();
  known.set(spell("config"), { setting: "config", isSecret: false, isPath: false });
  for (const [setting, { key, isSecret }] of configEntries()) {
    known.set(spell(key), { setting, isSecret, isPath: false });
    if (isSecret) known.set(spell(`${key}-file`), { setting, isSecret, isPath: true });
  }
  return known;
}

function collect(all: Collected, target: Target, given: Given, problems: ConfigProblem[]): void {
  const other = all.get(target.setting);
  if (other === undefined) all.set(target.setting, given);
  else
    problems.push(problemAt(given, invalid(`is the same setting as ${other.name}`, "Give one of the two.")));
}

function isRefusedFlag(target: Target): boolean {
  return target.isSecret && !target.isPath;
}

function secretFlag(key: string): Wrong {
  const message = "is a secret, and everybody on this machine can read a command line";
  return invalid(message, `Use ${flagName(`${key}-file`)}, or the variable ${variableName(key)}.`);
}

function readText(path: unknown, input: ConfigInput): Reading<string> {
  if (typeof path !== "string" || path === "") return invalid("is not a path");
  try {
    return valid(input.readFile(path));
  } catch (error) {
    // The path is not repeated: it may be a secret that was given in place of its file.
    const why = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
    return invalid(`names a file that cannot be read${why}`, "Check the path, and who may read it.");
  }
}

function unknownSetting(given: Given, known: Iterable<string>): ConfigProblem {
  const near = nearest(given.name, known);
  return problemAt(
    given,
    invalid("is not a setting", near === undefined ? undefined : `Did you mean ${near}?`),
  );
}

/** The known name that is the fewest edits away, three at most. */
function nearest(name: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = 4;
  for (const candidate of known) {
    if (Math.abs(candidate.length - name.length) >= bestDistance) continue;
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, n) => n);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
