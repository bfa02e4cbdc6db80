import { isMap, isScalar, LineCounter, type Pair, parseDocument, type YAMLMap } from "yaml";
import type { Violation } from "../errors.ts";
import { didYouMean } from "../input/suggest.ts";
import type { ConfigFile } from "./files.ts";
import {
  type ConfigLevel,
  contextName,
  contextSettings,
  type Setting,
  type SettingValue,
  settings,
} from "./settings.ts";

/** A file as it was read, and all that is wrong with it: `config.yaml:3:5`. */
export interface ParsedConfig {
  readonly file: ConfigFile;
  readonly violations: readonly Violation[];
}

/** Reads the text of a configuration file. What is wrong is left out of what it answers. */
export function parseConfig(text: string, path: string, level: ConfigLevel): ParsedConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const violations: Violation[] = [];
  const wrongAt = (offset: number, message: string): void => {
    const { line, col } = lines.linePos(offset);
    violations.push({ field: `${path}:${line}:${col}`, message });
  };
  const read: Map<string, SettingValue> = new Map();
  const contexts = new Map<string, ReadonlyMap<string, SettingValue>>();
  const file: ConfigFile = { level, path, settings: read, contexts };
  for (const error of document.errors) wrongAt(error.pos[0], `is not YAML: ${error.message}`);
  if (document.errors.length > 0 || document.contents === null) return { file, violations };
  if (!isMap(document.contents)) {
    wrongAt(0, "must hold settings, a line each, like context: prod");
    return { file, violations };
  }
  const reading: Reading = { level, wrongAt };
  const lists = level === "project" ? [] : ["contexts"];
  readMap(document.contents, settings, read, reading, lists, (name, value, offset) => {
    if (name !== "contexts") return;
    if (!isMap(value)) wrongAt(offset, "contexts: must hold contexts by their names");
    else readContexts(value, contexts, reading);
  });
  return { file, violations };
}

interface Reading {
  readonly level: ConfigLevel;
  readonly wrongAt: (offset: number, message: string) => void;
}

function readContexts(
  map: YAMLMap,
  contexts: Map<string, ReadonlyMap<string, SettingValue>>,
  reading: Reading,
): void {
  for (const pair of map.items) {
    const { name, offset } = keyOf(pair);
    if (!contextName.test(name)) {
      reading.wrongAt(offset, `${JSON.stringify(name)} is not a name of a context: letters, digits, _ and -`);
    }
    const of = new Map<string, SettingValue>();
    if (!isMap(pair.value)) reading.wrongAt(offset, `contexts.${name}: must hold settings, like address`);
    else {
      readMap(pair.value, contextSettings, of, reading, [], () => {}, `contexts.${name}.`);
      if (!of.has("address") && !pair.value.has("address")) {
        reading.wrongAt(offset, `contexts.${name}: has no address`);
      }
    }
    contexts.set(name, of);
  }
}

function readMap(
  map: YAMLMap,
  known: readonly Setting[],
  into: Map<string, SettingValue>,
  reading: Reading,
  others: readonly string[],
  onOther: (name: string, value: unknown, offset: number) => void,
  prefix = "",
): void {
  for (const pair of map.items) {
    const { name, offset } = keyOf(pair);
    const setting = known.find((one) => one.name === name);
    if (others.includes(name)) onOther(name, pair.value, offset);
    else if (setting === undefined)
      reading.wrongAt(offset, unknownKey(name, known, others, reading.level, prefix));
    else {
      const value = isScalar(pair.value) ? pair.value.value : pair.value;
      const answer = setting.read(value);
      const at = isScalar(pair.value) ? (pair.value.range?.[0] ?? offset) : offset;
      if (answer.kind === "wrong") reading.wrongAt(at, `${prefix}${name}: ${answer.message}`);
      else into.set(name, answer.value);
    }
  }
}

// A repository that somebody cloned must not be able to say where a key is sent.
function unknownKey(
  name: string,
  known: readonly Setting[],
  others: readonly string[],
  level: ConfigLevel,
  prefix: string,
): string {
  const isElsewhere = ["contexts", ...contextSettings.map((one) => one.name)].includes(name);
  if (level === "project" && isElsewhere) {
    return `${name}: a project may name a context, and only you say where it is: muster context add`;
  }
  if (prefix === "" && isElsewhere)
    return `${name}: belongs to a context: contexts: { NAME: { ${name}: ... } }`;
  const names = known.map((one) => one.name).concat(others);
  const meant = didYouMean(name, names) ?? `There are ${names.join(", ")}.`;
  return `unknown setting ${JSON.stringify(`${prefix}${name}`)}; ${meant}`;
}

function keyOf(pair: Pair): { readonly name: string; readonly offset: number } {
  const { key } = pair;
  return isScalar(key)
    ? { name: String(key.value), offset: key.range?.[0] ?? 0 }
    : { name: String(key), offset: 0 };
}
