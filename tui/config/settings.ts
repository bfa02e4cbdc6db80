import { didYouMean } from "../input/suggest.ts";
import { type Reading, readDuration } from "../input/values.ts";
import { formats } from "../output/output.ts";
import { timeStyles } from "../output/time.ts";

/** Where a configuration file lies; a project's is found in the directory of work or above it. */
export type ConfigLevel = "project" | "user" | "system";

/** What a setting may hold: as YAML has it. */
export type SettingValue = string | boolean;

/** A setting of the configuration. */
export interface Setting {
  /** Its name in the file; `contexts.NAME.…` has these below. */
  readonly name: string;
  readonly help: string;
  readonly read: (value: unknown) => Reading<SettingValue>;
  /** The variable that is stronger than every file. */
  readonly variable?: string;
  /** The values that it takes, where they are few. */
  readonly choices?: readonly string[];
}

/** How a context may be called. */
export const contextName = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;

/** What a name or an id of an org may look like. */
export const orgForm = /^[A-Za-z0-9_-]{1,100}$/;

/** The settings that every file may have. */
export const settings: readonly Setting[] = [
  {
    name: "context",
    help: "the context that is used when none is named",
    variable: "MUSTER_CONTEXT",
    read: text((value) => (contextName.test(value) ? undefined : "is not the name of a context")),
  },
  choice("output", "how answers are printed", formats, "MUSTER_OUTPUT"),
  choice("time", "how points in time are shown", timeStyles),
  choice("color", "when to use colours", ["auto", "always", "never"]),
  {
    name: "timeout",
    help: "how long a call may take, like 30s",
    read: text((value) => {
      const reading = readDuration(value);
      return reading.kind === "wrong" ? reading.message : undefined;
    }),
  },
  { name: "readOnly", help: "refuse every call that changes something", read: truth },
];

/** The settings of a context. */
export const contextSettings: readonly Setting[] = [
  {
    name: "address",
    help: "URL of the coordinator's API",
    read: text((value) =>
      isAddress(value) ? undefined : "is not an address like https://muster.example:7070",
    ),
  },
  {
    name: "org",
    help: "name or id of the org that calls are for, with a key that acts for several",
    read: text((value) => (orgForm.test(value) ? undefined : "is not the name or id of an org")),
  },
  { name: "keyFile", help: "file that holds the key, instead of muster login", read: text(anyText) },
  { name: "readOnly", help: "refuse every call that changes something", read: truth },
  { name: "tlsCa", help: "file of the authority (PEM) that signed the certificate", read: text(anyText) },
  { name: "tlsCert", help: "file of the certificate (PEM) to show", read: text(anyText) },
  { name: "tlsKey", help: "file of the key (PEM) of that certificate", read: text(anyText) },
  { name: "description", help: "for people", read: text(anyText) },
];

/** The URL of an API without a trailing slash, from what a person wrote; undefined when it is none. */
export function normalizeAddress(written: string): string | undefined {
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(written) ? written : `http://${written}`;
  const url = URL.parse(full);
  const isPlain = url !== null && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "";
  if (!isPlain || url.username !== "" || url.password !== "") return undefined;
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

function isAddress(written: string): boolean {
  return normalizeAddress(written) !== undefined;
}

function anyText(value: string): string | undefined {
  return value === "" ? "is empty" : undefined;
}

function text(check: (value: string) => string | undefined): Setting["read"] {
  return (value) => {
    if (typeof value !== "string") return { kind: "wrong", message: "must be text" };
    const wrong = check(value);
    return wrong === undefined ? { kind: "value", value } : { kind: "wrong", message: wrong };
  };
}

function truth(value: unknown): Reading<SettingValue> {
  return typeof value === "boolean"
    ? { kind: "value", value }
    : { kind: "wrong", message: "must be true or false" };
}

function choice(name: string, help: string, choices: readonly string[], variable?: string): Setting {
  const check = (value: string): string | undefined =>
    choices.includes(value)
      ? undefined
      : `has no value ${JSON.stringify(value)}; ${didYouMean(value, choices) ?? `use one of ${choices.join(", ")}`}`;
  return { name, help, choices, read: text(check), ...(variable === undefined ? {} : { variable }) };
}
