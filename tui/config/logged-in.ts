import { closeSync, mkdirSync, openSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Transport } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import { PersonService, type Tokens } from "@muster/client/v1/person_service";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { type Credential, readCredentials, storeCredential } from "./credentials.ts";

/** A person's login that is kept. */
export interface LoginPlace {
  /** The file of credentials. */
  readonly path: string;
  /** The context that it is of. */
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** An access token that ends sooner is made anew. */
const leastLeftMs = 30_000;

/** Answers with the access token of a login, made anew when it ends. `plain` makes a transport without one. */
export function accessTokens(place: LoginPlace, plain: () => Transport): () => Promise<string> {
  let refreshing: Promise<Credential> | undefined;
  return async () => {
    const kept = read(place);
    if (!isEnding(place, kept)) return kept.key;
    refreshing ??= refresh(place, plain()).finally(() => {
      refreshing = undefined;
    });
    return (await refreshing).key;
  };
}

/** What is kept of tokens. */
export function credentialOf(address: string, tokens: Tokens): Credential {
  const { accessToken: key, refreshToken, accessExpireTime } = tokens;
  const accessEndsMs = accessExpireTime === undefined ? 0 : timestampMs(accessExpireTime);
  return { address, key, login: { refreshToken, accessEndsMs } };
}

/** One program of this user at a time: who comes second finds what the first was given. */
async function refresh(place: LoginPlace, transport: Transport): Promise<Credential> {
  return locked(place.path, async () => {
    const kept = read(place);
    if (kept.login === undefined || !isEnding(place, kept)) return kept;
    const { refreshToken } = kept.login;
    const { tokens } = await createClient(PersonService, transport).refresh(
      { refreshToken },
      { timeoutMs: 30_000 },
    );
    if (tokens === undefined) throw notLoggedIn(place);
    const next = credentialOf(kept.address, tokens);
    storeCredential(place.path, place.name, next);
    return next;
  });
}

function read(place: LoginPlace): Credential {
  const kept = readCredentials(place.path).get(place.name);
  if (kept === undefined) throw notLoggedIn(place);
  return kept;
}

function isEnding({ now }: LoginPlace, { login }: Credential): boolean {
  return login !== undefined && login.accessEndsMs - now() < leastLeftMs;
}

function notLoggedIn({ name }: LoginPlace): CliError {
  return new CliError(`the login of ${name} is gone`, {
    reason: "LOGIN_ENDED",
    exitCode: exitCodes.notAllowed,
    suggestion: `Log in again: muster login -c ${name}`,
  });
}

/** A lock that is older was left by a program that was killed: a refresh takes 30 s at most. */
const staleLockMs = 60_000;

/** Does something while no other program of this user does the same. */
export async function locked<T>(path: string, body: () => Promise<T>): Promise<T> {
  const lock = `${path}.lock`;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  for (;;) {
    try {
      closeSync(openSync(lock, "wx", 0o600));
      break;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
      if (isStale(lock)) rmSync(lock, { force: true });
      else await wait(50);
    }
  }
  try {
    return await body();
  } finally {
    rmSync(lock, { force: true });
  }
}

function isStale(lock: string): boolean {
  try {
    return Date.now() - statSync(lock).mtimeMs > staleLockMs;
  } catch {
    return false;
  }
}
