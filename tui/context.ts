import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type ChosenContext, chooseContext, expandHome } from "./config/choose.ts";
import { type ClientConfig, emptyConfig } from "./config/files.ts";
import { findKey } from "./config/keys.ts";
import { normalizeAddress, orgForm } from "./config/settings.ts";
import { usageError } from "./errors.ts";
import { systemReason } from "./input/files.ts";
import type { Surroundings } from "./surroundings.ts";

/** Which coordinator is called, and with which key. */
export interface Context {
  /** Its name in the configuration; undefined when none was used. */
  readonly name: string | undefined;
  /** URL of the API, without a trailing slash. */
  readonly address: string;
  /** Who named the address, for messages: `--address`, `MUSTER_ADDRESS`, `context prod`, `default`. */
  readonly addressSource: string;
  /** ` --address <url>` or ` -c <name>` if the command line named it, else empty: for commands that are suggested. */
  readonly addressFlag: string;
  readonly key: string | undefined;
  /** Where the key came from, for messages; undefined without one. */
  readonly keySource: string | undefined;
  /** Name or id of the org that calls are for; undefined: that of the key. */
  readonly org: string | undefined;
  /** The context whose login of a person makes `key` anew when it has run out; absent: it is a key. */
  readonly loginName?: string;
  /** Calls that change something are refused. */
  readonly isReadOnly: boolean;
  /** PEM texts for https addresses. */
  readonly tls: {
    readonly ca?: string;
    readonly certificate?: { readonly cert: string; readonly key: string };
  };
  /** Things to tell the user that do not stop the command. */
  readonly warnings: readonly string[];
}

/** What the command line says about it. */
export interface ContextOptions {
  readonly context?: string | undefined;
  readonly address?: string | undefined;
  readonly apiKeyFile?: string | undefined;
  readonly org?: string | undefined;
  readonly readOnly?: boolean | undefined;
  readonly tlsCa?: string | undefined;
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
}

/** The address when none is given: where `muster dev` and `muster server` listen. */
export const defaultAddress = "http://127.0.0.1:7070";

/**
 * Finds address and key: flags, then environment, then the context of the project, of the user, of the machine, then
 * the local default; without a key the admin key that the `muster dev` or `muster server` of this user at that very
 * address left. It goes to this machine only. Throws usage errors.
 */
export function findContext(
  options: ContextOptions,
  surroundings: Surroundings,
  config: ClientConfig = emptyConfig,
): Context {
  const { env } = surroundings;
  const chosen = chooseContext(options, surroundings, config);
  const { address: written, source } = chooseAddress(options, env, chosen);
  const address = readAddress(written, source);
  const key = findKey({ address, options, chosen, config, surroundings });
  const addressFlag =
    options.address !== undefined
      ? ` --address ${quote(address)}`
      : chosen.source === "flag"
        ? ` -c ${chosen.name}`
        : "";
  return {
    name: chosen.name,
    address,
    addressSource: source,
    addressFlag,
    ...key,
    org: chooseOrg(options, env, chosen),
    isReadOnly: isReadOnly(options, env, config, chosen),
    tls: readTls(options, surroundings, chosen),
    warnings: [...config.warnings, ...key.warnings],
  };
}

/** The file where a coordinator of this user and this address leaves its admin key for the commands of this user. */
export function localKeyPath(address: string, { env, home }: Pick<Surroundings, "env" | "home">): string {
  const { hostname, port, protocol } = new URL(address);
  // The same machine under three names.
  const host = /^(\[::1\]|localhost)$/.test(hostname) ? "127.0.0.1" : hostname;
  const name = `${host}_${port || (protocol === "https:" ? "443" : "80")}.key`;
  return join(stateDirectory({ env, home }), "keys", name);
}

/** Where the program keeps what it must remember: `$XDG_STATE_HOME/muster`. */
export function stateDirectory({ env, home }: Pick<Surroundings, "env" | "home">): string {
  const state = env["XDG_STATE_HOME"];
  return join(state?.startsWith("/") ? state : join(home, ".local", "state"), "muster");
}

/** Whether an address is one of this machine. */
export function isLoopback(address: string): boolean {
  const host = URL.parse(address)?.hostname ?? "";
  return /^(127(\.\d{1,3}){3}|\[::1\]|localhost)$/i.test(host);
}

// A context on the command line is stronger than an address in the environment.
function chooseAddress(
  options: ContextOptions,
  env: Surroundings["env"],
  chosen: ChosenContext,
): { readonly address: string; readonly source: string } {
  if (options.address !== undefined) return { address: options.address, source: "--address" };
  const fromEnv = env["MUSTER_ADDRESS"];
  if (fromEnv && chosen.source !== "flag") return { address: fromEnv, source: "MUSTER_ADDRESS" };
  if (chosen.name === undefined) return { address: defaultAddress, source: "default" };
  return { address: String(chosen.settings.get("address")), source: `context ${chosen.name}` };
}

// As an address: a context on the command line is stronger than the environment.
function chooseOrg(
  options: ContextOptions,
  env: Surroundings["env"],
  chosen: ChosenContext,
): string | undefined {
  const ofContext = chosen.settings.get("org");
  const fromEnv = env["MUSTER_ORG"] || undefined;
  const isContextFirst = chosen.source === "flag" && typeof ofContext === "string";
  const named = options.org ?? (isContextFirst ? ofContext : (fromEnv ?? ofContext));
  if (named === undefined || typeof named !== "string") return undefined;
  if (orgForm.test(named)) return named;
  const source = options.org !== undefined ? "--org" : "MUSTER_ORG";
  throw usageError(
    `${source} is not the name or id of an org: ${JSON.stringify(named)}`,
    "See those that there are with: muster org list",
  );
}

// Nobody can take it back: what any of them forbids is forbidden.
function isReadOnly(
  options: ContextOptions,
  env: Surroundings["env"],
  config: ClientConfig,
  chosen: ChosenContext,
): boolean {
  const fromEnv = env["MUSTER_READ_ONLY"];
  return (
    options.readOnly === true ||
    (fromEnv !== undefined && !["", "0", "false"].includes(fromEnv)) ||
    config.files.some(({ settings }) => settings.get("readOnly") === true) ||
    chosen.settings.get("readOnly") === true
  );
}

/** The PEM texts that the flags and the environment name, without a context. Throws usage errors. */
export function givenTls(options: ContextOptions, surroundings: Surroundings): Context["tls"] {
  return readTls(options, surroundings, {
    name: undefined,
    source: "nobody",
    settings: new Map(),
    path: undefined,
  });
}

function readTls(options: ContextOptions, surroundings: Surroundings, chosen: ChosenContext): Context["tls"] {
  const { env, cwd } = surroundings;
  const read = (flag: string, given: string | undefined, variable: string, setting: string) => {
    const ofContext = chosen.settings.get(setting);
    if (given !== undefined) return readPem(resolve(cwd, given), flag);
    if (env[variable]) return readPem(resolve(cwd, env[variable]), variable);
    if (typeof ofContext !== "string") return undefined;
    return readPem(expandHome(ofContext, chosen, surroundings), `${setting} of context ${chosen.name}`);
  };
  const ca = read("--tls-ca", options.tlsCa, "MUSTER_CLIENT_TLS_CA", "tlsCa");
  const cert = read("--tls-cert", options.tlsCert, "MUSTER_CLIENT_TLS_CERT", "tlsCert");
  const key = read("--tls-key", options.tlsKey, "MUSTER_CLIENT_TLS_KEY", "tlsKey");
  if ((cert === undefined) !== (key === undefined)) {
    throw usageError(
      "a certificate needs its key, and a key its certificate",
      "Give both of --tls-cert, --tls-key.",
    );
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { certificate: { cert, key } }),
  };
}

function readPem(path: string, source: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw usageError(
      `${source}: cannot read ${path}: ${systemReason(cause)}`,
      "Check the path, and who may read it.",
    );
  }
  if (text.includes("-----BEGIN ")) return text;
  throw usageError(`${source}: ${path} is not a PEM file`, "It must hold -----BEGIN ... lines.");
}

// Safe to copy into a shell: a path may hold what it would read as its own.
function quote(address: string): string {
  return /^[\w.:/-]+$/.test(address) ? address : `'${address.replaceAll("'", "%27")}'`;
}

function readAddress(written: string, source: string): string {
  const address = normalizeAddress(written);
  if (address !== undefined) return address;
  throw usageError(
    `${source} is not the address of a coordinator: ${JSON.stringify(written)}`,
    "Write it like http://127.0.0.1:7070.",
  );
}
