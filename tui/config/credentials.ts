import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { isMap, parseDocument } from "yaml";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { systemReason } from "../input/files.ts";
import { readConfigText } from "./files.ts";

/** A key that `muster login` kept. It goes to the address that it was made for, and to no other. */
export interface Credential {
  readonly address: string;
  /** A key, or the access token of a person's login. */
  readonly key: string;
  /** How the access token is made anew; absent: it is a key. */
  readonly login?: KeptLogin;
}

/** A person's login, besides its access token. */
export interface KeptLogin {
  readonly refreshToken: string;
  /** When the access token ends, in milliseconds since 1970. */
  readonly accessEndsMs: number;
}

/**
 * Reads the kept keys, by the name of their context; none when there is no file. Throws CREDENTIALS_EXPOSED when
 * others may read it, and CONFIG_INVALID when it is not what login wrote.
 */
export function readCredentials(path: string): ReadonlyMap<string, Credential> {
  const text = readConfigText(path);
  if (text === undefined) return new Map();
  if (process.platform !== "win32" && (statSync(path).mode & 0o077) !== 0) {
    throw new CliError(`${path} can be read by others on this machine, so its keys are not used`, {
      reason: "CREDENTIALS_EXPOSED",
      exitCode: exitCodes.notAllowed,
      suggestion: `Run: chmod 600 ${path}. If others have read it, revoke the keys: muster key revoke`,
    });
  }
  const document = parseDocument(text, { prettyErrors: false });
  const keys: unknown = document.errors.length > 0 ? undefined : document.get("keys");
  if (document.contents === null) return new Map();
  if (!isMap(keys)) throw malformed(path);
  return new Map(
    keys.items.map(({ key: name, value }) => {
      const address = isMap(value) ? value.get("address") : undefined;
      const key = isMap(value) ? value.get("key") : undefined;
      if (typeof address !== "string" || typeof key !== "string") throw malformed(path);
      const login = isMap(value) ? readLogin(value.get("login")) : undefined;
      return [String(name), { address, key, ...(login === undefined ? {} : { login }) }];
    }),
  );
}

function readLogin(value: unknown): KeptLogin | undefined {
  const refreshToken = isMap(value) ? value.get("refreshToken") : undefined;
  const accessEndsMs = isMap(value) ? value.get("accessEndsMs") : undefined;
  if (typeof refreshToken !== "string" || typeof accessEndsMs !== "number") return undefined;
  return { refreshToken, accessEndsMs };
}

/** Keeps a key for a context, in place of what was there. */
export function storeCredential(path: string, context: string, credential: Credential): void {
  writeCredentials(path, new Map([...readCredentials(path), [context, credential]]));
}

/** Forgets the key of a context. Answers whether there was one. */
export function removeCredential(path: string, context: string): boolean {
  const rest = new Map(readCredentials(path));
  if (!rest.delete(context)) return false;
  writeCredentials(path, rest);
  return true;
}

/** Gives the key of a context to another name. */
export function renameCredential(path: string, from: string, to: string): void {
  const all = new Map(readCredentials(path));
  const credential = all.get(from);
  if (credential === undefined) return;
  all.delete(from);
  writeCredentials(path, all.set(to, credential));
}

/** Writes a file for this user alone, whole or not at all. Throws NOT_WRITTEN. */
export function writePrivate(path: string, text: string): void {
  const beside = `${path}.${process.pid}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(beside, text, { mode: 0o600, flag: "wx" });
    renameSync(beside, path);
  } catch (cause) {
    rmSync(beside, { force: true });
    throw new CliError(`cannot write ${path}: ${systemReason(cause)}`, {
      reason: "NOT_WRITTEN",
      exitCode: exitCodes.unexpected,
      suggestion: "Check who may write there, and that the disk has room.",
      cause,
    });
  }
}

function writeCredentials(path: string, all: ReadonlyMap<string, Credential>): void {
  const keys = Object.fromEntries(all);
  // JSON is YAML, and quotes every key safely.
  const lines = Object.entries(keys).map(
    ([name, one]) => `  ${JSON.stringify(name)}: ${JSON.stringify(one)}\n`,
  );
  writePrivate(
    path,
    `# Keys of muster login: for your eyes alone.\nkeys:${lines.length === 0 ? " {}" : ""}\n${lines.join("")}`,
  );
}

function malformed(path: string): CliError {
  return new CliError(`${path} is not what muster login wrote`, {
    reason: "CONFIG_INVALID",
    exitCode: exitCodes.config,
    suggestion: "Remove it, and log in again: muster login",
  });
}
