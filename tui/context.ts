import { readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { CliError, usageError } from "./errors.ts";
import { exitCodes } from "./exit-codes.ts";
import { systemReason } from "./input/files.ts";
import type { Surroundings } from "./surroundings.ts";

/** Which coordinator is called, and with which key. */
export interface Context {
  /** URL of the API, without a trailing slash. */
  readonly address: string;
  /** ` --address <url>` if the command line named it, else empty: for commands that are suggested. */
  readonly addressFlag: string;
  readonly key: string | undefined;
  /** Where the key came from, for messages; undefined without one. */
  readonly keySource: string | undefined;
  /** Things to tell the user that do not stop the command. */
  readonly warnings: readonly string[];
}

/** What the command line says about it. */
export interface ContextOptions {
  readonly address?: string | undefined;
  readonly apiKeyFile?: string | undefined;
}

/** The address when none is given: where `muster dev` and `muster server` listen. */
export const defaultAddress = "http://127.0.0.1:7070";

/**
 * Finds address and key: flags, then environment, then the local default; without a key the admin key that the
 * `muster dev` or `muster server` of this user at that very address left. It goes to this machine only.
 */
export function findContext(options: ContextOptions, surroundings: Surroundings): Context {
  const { env } = surroundings;
  const address = readAddress(
    options.address ?? (env["MUSTER_ADDRESS"] || defaultAddress),
    options.address === undefined ? "MUSTER_ADDRESS" : "--address",
  );
  const addressFlag = options.address === undefined ? "" : ` --address ${quote(address)}`;
  return { address, addressFlag, ...findKey(address, options, surroundings) };
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

type Key = Pick<Context, "key" | "keySource" | "warnings">;

function findKey(address: string, options: ContextOptions, surroundings: Surroundings): Key {
  const { env } = surroundings;
  const path = options.apiKeyFile ?? (env["MUSTER_API_KEY"] ? undefined : env["MUSTER_API_KEY_FILE"]);
  if (path) {
    const flag = options.apiKeyFile === undefined ? "MUSTER_API_KEY_FILE" : "--api-key-file";
    return keyFromFile(path, flag, surroundings);
  }
  const key = env["MUSTER_API_KEY"];
  if (key) return { key: readKey(key, "MUSTER_API_KEY"), keySource: "MUSTER_API_KEY", warnings: [] };
  return localKey(address, surroundings);
}

// Safe to copy into a shell: a path may hold what it would read as its own.
function quote(address: string): string {
  return /^[\w.:/-]+$/.test(address) ? address : `'${address.replaceAll("'", "%27")}'`;
}

function readAddress(text: string, source: string): string {
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.parse(full);
  const isPlain = url !== null && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "";
  if (!isPlain || url.username !== "" || url.password !== "") {
    throw usageError(
      `${source} is not the address of a coordinator: ${JSON.stringify(text)}`,
      "Write it like http://127.0.0.1:7070.",
    );
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

function keyFromFile(path: string, source: string, surroundings: Surroundings): Key {
  const full = resolve(surroundings.cwd, path);
  try {
    const warnings =
      (statSync(full).mode & 0o077) === 0
        ? []
        : [`the key file ${path} can be read by others on this machine; run: chmod 600 ${path}`];
    return { key: readKey(readFileSync(full, "utf8"), path), keySource: path, warnings };
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw usageError(
      `${source}: cannot read ${path}: ${systemReason(cause)}`,
      "Check the path, and who may read it.",
    );
  }
}

function localKey(address: string, surroundings: Surroundings): Key {
  const none = { key: undefined, keySource: undefined, warnings: [] };
  if (!isLoopback(address)) return none;
  const path = localKeyPath(address, surroundings);
  try {
    return { key: readKey(readFileSync(path, "utf8"), path), keySource: path, warnings: [] };
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    return none;
  }
}

function readKey(text: string, source: string): string {
  const key = text.trim();
  if (/^[\u0021-\u007e]+$/.test(key)) return key;
  throw new CliError(`${source} does not hold a key`, {
    reason: "KEY_MALFORMED",
    exitCode: exitCodes.notAllowed,
    suggestion: "A key is one word, like mk_api_...; write it to the file again.",
  });
}
