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
 * Finds address and key: flags, then environment, then the local default with the admin key that a `muster dev`
 * or `muster server` of this user left. That key goes to addresses of this machine only.
 */
export function findContext(options: ContextOptions, surroundings: Surroundings): Context {
  const { env } = surroundings;
  const address = readAddress(
    options.address ?? (env["MUSTER_ADDRESS"] || defaultAddress),
    options.address === undefined ? "MUSTER_ADDRESS" : "--address",
  );
  const path = options.apiKeyFile ?? (env["MUSTER_API_KEY"] ? undefined : env["MUSTER_API_KEY_FILE"]);
  if (path) {
    const flag = options.apiKeyFile === undefined ? "MUSTER_API_KEY_FILE" : "--api-key-file";
    return { address, ...keyFromFile(path, flag, surroundings) };
  }
  const key = env["MUSTER_API_KEY"];
  if (key) return { address, key: readKey(key, "MUSTER_API_KEY"), keySource: "MUSTER_API_KEY", warnings: [] };
  return { address, ...localKey(address, surroundings) };
}

/** Where a coordinator of this user leaves its admin key for the commands of this user. */
export function localKeyPath({ env, home }: Pick<Surroundings, "env" | "home">): string {
  return join(stateDirectory({ env, home }), "admin.key");
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
  const path = localKeyPath(surroundings);
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
