import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { type Context, type ContextOptions, isLoopback, localKeyPath } from "../context.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { systemReason } from "../input/files.ts";
import type { Surroundings } from "../surroundings.ts";
import { type ChosenContext, expandHome } from "./choose.ts";
import type { ClientConfig } from "./files.ts";
import { normalizeAddress } from "./settings.ts";

/** What the key depends on. */
export interface KeyQuestion {
  /** Where it would be sent, normalized. */
  readonly address: string;
  readonly options: ContextOptions;
  readonly chosen: ChosenContext;
  readonly config: ClientConfig;
  readonly surroundings: Surroundings;
}

/** A key, and where it came from. */
export type FoundKey = Pick<Context, "key" | "keySource" | "warnings"> & Partial<Pick<Context, "loginName">>;

/**
 * Finds the key for an address. What the command line names goes first. The key of a context goes to the address of
 * the context alone. A key of the environment goes where flag, environment or the user's own configuration point,
 * never where a project's file points: who clones a repository has not said so.
 */
export function findKey(question: KeyQuestion): FoundKey {
  const { address, options, chosen, surroundings } = question;
  if (options.apiKeyFile !== undefined) {
    return keyFromFile(resolve(surroundings.cwd, options.apiKeyFile), options.apiKeyFile, "--api-key-file");
  }
  const ofContext = (): FoundKey | undefined => keyOfContext(question);
  const ofEnvironment = (): FoundKey | undefined => keyOfEnvironment(surroundings);
  const isSteered =
    chosen.source === "project" && normalizeAddress(String(chosen.settings.get("address"))) === address;
  if (isSteered) {
    const found = ofContext() ?? localKey(address, surroundings);
    if (found.key !== undefined || ofEnvironment() === undefined) return found;
    const warning = `the key of the environment is not sent to ${address}, which only .muster.yaml of this project chose; name it with -c ${chosen.name}`;
    return { ...found, warnings: [...found.warnings, warning] };
  }
  const order = chosen.source === "flag" ? [ofContext, ofEnvironment] : [ofEnvironment, ofContext];
  return order[0]?.() ?? order[1]?.() ?? localKey(address, surroundings);
}

/** The key in a text of one word. Throws KEY_MALFORMED; the text is in no message. */
export function readKey(text: string, source: string): string {
  const key = text.trim();
  if (/^[\u0021-\u007e]+$/.test(key)) return key;
  throw new CliError(`${source} does not hold a key`, {
    reason: "KEY_MALFORMED",
    exitCode: exitCodes.notAllowed,
    suggestion: "A key is one word, like mk_api_...; write it to the file again.",
  });
}

/** The key in a file. `shown` is what a message calls it. */
export function keyFromFile(path: string, shown: string, source: string): FoundKey {
  try {
    const warnings =
      (statSync(path).mode & 0o077) === 0
        ? []
        : [`the key file ${shown} can be read by others on this machine; run: chmod 600 ${shown}`];
    return { key: readKey(readFileSync(path, "utf8"), shown), keySource: shown, warnings };
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw usageError(
      `${source}: cannot read ${shown}: ${systemReason(cause)}`,
      "Check the path, and who may read it.",
    );
  }
}

function keyOfEnvironment(surroundings: Surroundings): FoundKey | undefined {
  const { env, cwd } = surroundings;
  const key = env["MUSTER_API_KEY"];
  if (key) return { key: readKey(key, "MUSTER_API_KEY"), keySource: "MUSTER_API_KEY", warnings: [] };
  const path = env["MUSTER_API_KEY_FILE"];
  return path ? keyFromFile(resolve(cwd, path), path, "MUSTER_API_KEY_FILE") : undefined;
}

function keyOfContext({ address, chosen, config, surroundings }: KeyQuestion): FoundKey | undefined {
  const { name, settings } = chosen;
  if (name === undefined || normalizeAddress(String(settings.get("address"))) !== address) return undefined;
  const path = settings.get("keyFile");
  if (typeof path === "string") {
    return keyFromFile(expandHome(path, chosen, surroundings), path, `keyFile of context ${name}`);
  }
  const kept = config.keys().get(name);
  // A key is bound to the address that it was checked at: whoever moves the context does not get it.
  if (kept === undefined || normalizeAddress(kept.address) !== address) return undefined;
  const login = kept.login === undefined ? {} : { loginName: name };
  return { key: kept.key, keySource: `muster login -c ${name}`, warnings: [], ...login };
}

function localKey(address: string, surroundings: Surroundings): FoundKey {
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
