import { isIP } from "node:net";
import { dirname, join } from "node:path";
import {
  durationUnits,
  invalid,
  isOrigin,
  numberIn,
  quantity,
  type Reading,
  readPath,
  shown,
  sizeUnits,
  valid,
} from "./config-values.ts";
import { defaultKeyPrefix, keyPrefixForm } from "./domain/rules/keys.ts";

/** The environment, as in process.env. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a default may be derived from: the environment, and the values of the fields above it. */
export interface DefaultInput {
  readonly env: Environment;
  readonly settled: Readonly<Record<string, unknown>>;
}

/** One setting of the coordinator. */
export interface Field<Value> {
  /** Its name in kebab-case: flag `--<key>`, environment `MUSTER_<KEY>` and file key follow from it. */
  readonly key: string;
  /** The form of its value, for help: `duration`, `port`, `a|b`. */
  readonly form: string;
  readonly description: string;
  /** Never printed; not taken from a flag; may be given as a file by `<key>-file` in any source. */
  readonly isSecret: boolean;
  /** Its value is the path of a file that must be readable at start. */
  readonly isInputFile: boolean;
  /** Environment variables besides `MUSTER_<KEY>`, weaker than it. */
  readonly alsoFrom: readonly string[];
  /** The default in words. */
  readonly fallbackText: string;
  readonly fallback: (input: DefaultInput) => Reading<Value>;
  /** Reads what a source gave: text from flags and the environment, a YAML value from the file. */
  readonly read: (raw: unknown) => Reading<Value>;
}

/** A host name or address. */
export function host(key: string, byDefault: string, description: string): Field<string> {
  return field(key, "host", description, byDefault, (raw) => {
    const text = typeof raw === "string" ? raw.replace(/^\[(.*)\]$/, "$1") : "";
    if (isIP(text) !== 0 || /^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$/.test(text)) return valid(text);
    return invalid(
      `is not a host name or IP address: ${shown(raw)}`,
      "Write a host alone, like 127.0.0.1 or ::1.",
    );
  });
}

/** A port of TCP. */
export function port(key: string, byDefault: number, description: string): Field<number> {
  return { ...whole(key, byDefault, 0, 65_535, description), form: "port", description };
}

/** A whole number within bounds. */
export function whole(
  key: string,
  byDefault: number,
  min: number,
  max: number,
  description: string,
): Field<number> {
  return field(key, "number", `${description} ${min} to ${max}.`, String(byDefault), (raw) =>
    numberIn(raw, /^\d{1,15}$/, min, max, "a whole number"),
  );
}

/** A number within bounds. */
export function decimal(
  key: string,
  byDefault: number,
  min: number,
  max: number,
  description: string,
): Field<number> {
  return field(key, "number", `${description} ${min} to ${max}.`, String(byDefault), (raw) =>
    numberIn(raw, /^\d{1,9}(\.\d{1,9})?$/, min, max, "a number"),
  );
}

/** A duration within bounds, in milliseconds. */
export function duration(
  key: string,
  byDefault: string,
  min: string,
  max: string,
  description: string,
): Field<number> {
  const form = `${description} ${min} to ${max}.`;
  return field(key, "duration", form, byDefault, (raw) =>
    quantity(raw, durationUnits, min, max, "a duration", "30s"),
  );
}

/** Twice the kill grace, unless given. */
export function afterKillGrace(key: string, description: string): Field<number> {
  const fallback = ({ settled }: DefaultInput): Reading<number> =>
    valid(Math.max(1_000, 2 * Number(settled["killGraceMs"])));
  return { ...duration(key, "20s", "50ms", "1h", description), fallback, fallbackText: "2 × kill grace" };
}

/** A size within bounds, in bytes. */
export function size(
  key: string,
  byDefault: string,
  min: string,
  max: string,
  description: string,
): Field<number> {
  const form = `${description} ${min} to ${max}.`;
  return field(key, "size", form, byDefault, (raw) => quantity(raw, sizeUnits, min, max, "a size", "512KiB"));
}

/** On or off. */
export function toggle(key: string, byDefault: boolean, description: string): Field<boolean> {
  return field(key, "", description, byDefault ? "on" : "off", (raw) => {
    const text = String(raw).toLowerCase();
    if (/^(true|yes|on|1)$/.test(text)) return valid(true);
    if (/^(false|no|off|0)$/.test(text)) return valid(false);
    return invalid(`is neither true nor false: ${shown(raw)}`, "Write true or false.");
  });
}

/** The first choice is the default. */
export function choice<const Choice extends string>(
  key: string,
  choices: readonly [Choice, ...Choice[]],
  description: string,
): Field<Choice> {
  return field(key, choices.join("|"), description, choices[0], (raw) => {
    const found = choices.find((one) => one === raw);
    if (found !== undefined) return valid(found);
    return invalid(`is not one of its values: ${shown(raw)}`, `Write one of ${choices.join(", ")}.`);
  });
}

/** The origin of an http or https URL. */
export function address(key: string, fallbackText: string, description: string): Field<string | undefined> {
  return optional(key, "url", fallbackText, description, (raw) => {
    if (typeof raw === "string" && isOrigin(raw)) return valid(new URL(raw).origin);
    return invalid(
      `is not an http or https address: ${shown(raw)}`,
      "Write it like https://muster.example:7070.",
    );
  });
}

/** A list of web origins. */
export function origins(key: string, description: string): Field<readonly string[]> {
  const read = (raw: unknown): Reading<readonly string[]> => {
    const listed: unknown[] = Array.isArray(raw) ? raw : String(raw).split(",");
    const trimmed = listed.map((one) => String(one).trim()).filter((one) => one !== "");
    const wrong = trimmed.find((one) => !isOrigin(one));
    if (wrong === undefined) return valid(trimmed.map((one) => new URL(one).origin));
    return invalid(
      `has an entry that is not a web origin: ${shown(wrong)}`,
      "Write it like https://app.example.",
    );
  };
  return { ...field(key, "url,…", description, "", read), fallbackText: "none" };
}

/** The path of a file that is read at start. */
export function inputFile(key: string, description: string): Field<string | undefined> {
  return { ...optional(key, "path", "none", description, readPath), isInputFile: true };
}

/** The address of a Postgres: a secret. */
export function databaseUrl(
  key: string,
  description: string,
  ...alsoFrom: string[]
): Field<string | undefined> {
  const read = (raw: unknown): Reading<string> =>
    typeof raw === "string" && /^postgres(ql)?:\/\/\S+$/.test(raw)
      ? valid(raw)
      : invalid("is not a Postgres address", "Write it like postgres://user:password@host:5432/database.");
  return { ...optional(key, "url", "none", description, read), isSecret: true, alsoFrom };
}

const secretForm = /^\S{32,}$/;
const noSecret = invalid(
  "must have at least 32 characters and no spaces",
  "Make one with: openssl rand -base64 32",
);

/** Several secrets of our own. */
export function secretTexts(key: string, description: string): Field<readonly string[] | undefined> {
  const read = (raw: unknown): Reading<readonly string[]> => {
    const listed: unknown[] = Array.isArray(raw) ? raw : String(raw).split(/[\s,]+/);
    const texts = listed.map(String).filter((one) => one !== "");
    return texts.every((one) => secretForm.test(one)) ? valid(texts) : noSecret;
  };
  return { ...optional(key, "text,…", "none", description, read), isSecret: true };
}

/** What keys begin with. */
export function keyPrefix(key: string, description: string): Field<string> {
  return field(key, "letters", description, defaultKeyPrefix, (raw) =>
    typeof raw === "string" && keyPrefixForm.test(raw)
      ? valid(raw)
      : invalid(`is not 2 to 8 letters a-z: ${shown(raw)}`, `Write it like ${defaultKeyPrefix}.`),
  );
}

/** A secret of at least 32 characters. */
export function secretText(
  key: string,
  fallbackText: string,
  description: string,
): Field<string | undefined> {
  const read = (raw: unknown): Reading<string> =>
    typeof raw === "string" && secretForm.test(raw) ? valid(raw) : noSecret;
  return { ...optional(key, "text", fallbackText, description, read), isSecret: true };
}

/** A secret that another service gave. */
export function tokenText(key: string, description: string): Field<string | undefined> {
  const read = (raw: unknown): Reading<string> =>
    typeof raw === "string" && /^[\x21-\x7e]{1,1000}$/.test(raw)
      ? valid(raw)
      : invalid("is not a token: it has spaces, or is empty", "Copy it whole.");
  return { ...optional(key, "text", "none", description, read), isSecret: true };
}

/** An address that paths are added to. */
export function baseUrl(key: string, byDefault: string, description: string): Field<string> {
  return field(key, "url", description, byDefault, (raw) => {
    const url = typeof raw === "string" && /^https?:\/\/[^?#@\\\s]+$/i.test(raw) ? URL.parse(raw) : null;
    if (url !== null) return valid(url.href.replace(/\/+$/, ""));
    return invalid(`is not an http or https address: ${shown(raw)}`, `Write it like ${byDefault}.`);
  });
}

/** A directory of this account. */
export function stateDir(key: string, description: string): Field<string> {
  const fallback = ({ env }: DefaultInput): Reading<string> => {
    const { XDG_STATE_HOME: state, HOME: home } = env;
    if (state?.startsWith("/")) return valid(join(state, "muster", "data"));
    if (home) return valid(join(home, ".local", "state", "muster", "data"));
    return invalid(
      "has no default: neither XDG_STATE_HOME nor HOME is set",
      `Give a directory with --${key}.`,
    );
  };
  const fallbackText = "$XDG_STATE_HOME/muster/data, or ~/.local/state/muster/data";
  return { ...field(key, "path", description, "", readPath), fallback, fallbackText };
}

/** A directory beside the data directory. */
export function besideDataDir(key: string, description: string, name: string): Field<string> {
  const fallback = ({ settled }: DefaultInput): Reading<string> =>
    valid(join(dirname(String(settled["dataDir"])), name));
  return {
    ...field(key, "path", description, "", readPath),
    fallback,
    fallbackText: `${name} beside the data directory`,
  };
}

/** A field that may be left out. */
export function optional<Value>(
  key: string,
  form: string,
  fallbackText: string,
  description: string,
  read: (raw: unknown) => Reading<Value>,
): Field<Value | undefined> {
  return {
    ...field<Value | undefined>(key, form, description, "", read),
    fallback: () => valid(undefined),
    fallbackText,
  };
}

/** A field whose default is written as a user would write it, and read the same way. */
export function field<Value>(
  key: string,
  form: string,
  description: string,
  byDefault: string,
  read: (raw: unknown) => Reading<Value>,
): Field<Value> {
  const fallback = (): Reading<Value> => read(byDefault);
  return {
    key,
    form,
    description,
    isSecret: false,
    isInputFile: false,
    alsoFrom: [],
    fallbackText: byDefault,
    fallback,
    read,
  };
}
