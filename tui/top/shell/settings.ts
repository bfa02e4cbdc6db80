import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, YAMLError } from "yaml";
import { didYouMean } from "../../input/suggest.ts";
import { sanitize } from "../../output/sanitize.ts";
import type { Surroundings } from "../../surroundings.ts";
import type { KeyChoices } from "./bindings.ts";
import { isKeyName } from "./keys.ts";
import { type ThemeName, themeNames } from "./themes.ts";

/** How times are shown: how long ago, the time of day here, RFC 3339 in UTC. */
export type TimeFormat = "relative" | "clock" | "iso";

/** What the user chose. */
export interface Settings {
  readonly theme: ThemeName;
  readonly time: TimeFormat;
  readonly mouse: boolean;
  /** Id of the view that is shown first. */
  readonly view: string;
  readonly keys: KeyChoices;
  /** Ids of columns by view, in their order. */
  readonly columns: ReadonlyMap<string, readonly string[]>;
  /** Publications of data a second at most: 1 to 8. */
  readonly refresh: number;
}

/** What holds without a configuration. */
export const defaultSettings: Settings = {
  theme: "terminal",
  time: "relative",
  mouse: false,
  view: "overview",
  keys: new Map(),
  columns: new Map(),
  refresh: 8,
};

/** The formats in the order in which `T` goes through them. */
export const timeFormats: readonly TimeFormat[] = ["relative", "clock", "iso"];

/** Settings, and what is wrong with the file that they come from. A mistake never keeps the console from starting. */
export interface SettingsReading {
  readonly settings: Settings;
  readonly warnings: readonly string[];
}

/** Where the configuration of the console is: `$XDG_CONFIG_HOME/muster/tui.yaml`. */
export function settingsPath({ env, home }: Pick<Surroundings, "env" | "home">): string {
  const config = env["XDG_CONFIG_HOME"];
  return join(config?.startsWith("/") ? config : join(home, ".config"), "muster", "tui.yaml");
}

/** Reads the configuration; without a file the defaults hold. */
export function loadSettings(surroundings: Pick<Surroundings, "env" | "home">): SettingsReading {
  const path = settingsPath(surroundings);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const isAbsent = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    return { settings: defaultSettings, warnings: isAbsent ? [] : [`cannot read ${path}`] };
  }
  const { settings, warnings } = readSettings(text);
  return { settings, warnings: warnings.map((warning) => `${path}: ${warning}`) };
}

/** Reads the text of a configuration. What it does not know, it names; the rest holds. */
export function readSettings(text: string): SettingsReading {
  let value: unknown;
  try {
    value = parse(text) ?? {};
  } catch (cause) {
    const why = cause instanceof YAMLError ? cause.message.split("\n")[0] : "not YAML";
    return { settings: defaultSettings, warnings: [sanitize(why ?? "not YAML")] };
  }
  if (!isRecord(value)) return { settings: defaultSettings, warnings: ["it must be a map"] };
  const warnings: string[] = [];
  const warn = (path: string, message: string): void => {
    warnings.push(sanitize(`${path} ${message}`));
  };
  let settings = defaultSettings;
  for (const [key, given] of Object.entries(value)) {
    const change = readers.get(key)?.(given, warn);
    if (change !== undefined) settings = { ...settings, ...change };
    else if (!readers.has(key)) {
      const meant = didYouMean(key, readers.keys());
      warn(key, `is not known${meant === undefined ? "" : `. ${meant}`}`);
    }
  }
  return { settings, warnings };
}

type Warn = (path: string, message: string) => void;
type Reader = (value: unknown, warn: Warn) => Partial<Settings> | undefined;

const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ["theme", (value, warn) => oneOf("theme", value, themeNames, warn)],
  ["time", (value, warn) => oneOf("time", value, timeFormats, warn)],
  [
    "mouse",
    (value, warn) => (typeof value === "boolean" ? { mouse: value } : refuse("mouse", "true or false", warn)),
  ],
  [
    "view",
    (value, warn) =>
      typeof value === "string" ? { view: value } : refuse("view", "the name of a view", warn),
  ],
  [
    "refresh",
    (value, warn) =>
      typeof value === "number" && value >= 1 && value <= 8
        ? { refresh: value }
        : refuse("refresh", "1 to 8 times a second", warn),
  ],
  ["keys", (value, warn) => ({ keys: readLists("keys", value, warn, isKeyName) })],
  ["columns", (value, warn) => ({ columns: readLists("columns", value, warn, () => true) })],
]);

function oneOf<Key extends "theme" | "time">(
  key: Key,
  value: unknown,
  known: readonly Settings[Key][],
  warn: Warn,
): Partial<Settings> | undefined {
  const found = known.find((name) => name === value);
  return found === undefined ? refuse(key, `one of ${known.join(", ")}`, warn) : { [key]: found };
}

function refuse(path: string, wanted: string, warn: Warn): Partial<Settings> {
  warn(path, `must be ${wanted}`);
  return {};
}

// A map of names to one word or several.
function readLists(
  path: string,
  value: unknown,
  warn: Warn,
  isGood: (word: string) => boolean,
): ReadonlyMap<string, readonly string[]> {
  if (!isRecord(value)) {
    warn(path, "must be a map of names to lists");
    return new Map();
  }
  const lists = new Map<string, readonly string[]>();
  for (const [name, given] of Object.entries(value)) {
    const words = (Array.isArray(given) ? given : [given]).map(String);
    const bad = words.filter((word) => !isGood(word));
    for (const word of bad) warn(`${path}.${name}`, `does not know ${JSON.stringify(word)}`);
    if (bad.length === 0) lists.set(name, words);
  }
  return lists;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
