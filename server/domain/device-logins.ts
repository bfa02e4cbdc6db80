import { createHash, randomBytes, randomInt } from "node:crypto";
import { inOrg } from "../store/database.ts";
import {
  approveDeviceRow,
  deleteDeviceLogin,
  goOnInOrg,
  insertDeviceLogin,
  lockDeviceLogin,
  noOrg,
  noteDevicePoll,
} from "../store/device-logins.ts";
import { readAccount, readMember } from "../store/people.ts";
import type { Stranger } from "./accounts.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { DomainError, invalidArgument, overloaded, scopeMissing } from "./errors.ts";
import { encodeId } from "./ids.ts";
import type { KeyContext } from "./keys.ts";
import { logIn, type PersonTokens } from "./logins.ts";
import { notFoundPerson, readNamed } from "./people.ts";
import { readUserCode, writeUserCode } from "./rules/people.ts";

/** How long the codes are good. */
const ttlMs = 10 * 60_000;
/** How long to wait between two questions, at first; and by how much longer after one that came too soon. */
const stepMs = 5_000;
/** Logins that wait at most, of all machines together. */
const mostWaiting = 10_000;

/** What a machine and its people are told. */
export interface DeviceCodes {
  readonly deviceCode: string;
  readonly userCode: string;
  readonly expiresAt: Date;
  readonly intervalMs: number;
}

/** Begins the login of a machine without a browser (RFC 8628). Slowed by address: anybody may ask. */
export async function startDeviceLogin(c: KeyContext, { address }: Stranger): Promise<DeviceCodes> {
  const names = address === "" ? [] : [{ name: `device ${address}`, free: 30 }];
  // Each one counts: there is no wrong answer to tell apart.
  await c.people.brake
    .attempt(names, () => Promise.reject(new DomainError("CODE_NOT_FOUND")))
    .catch((error: unknown) => {
      if (!(error instanceof DomainError) || error.reason !== "CODE_NOT_FOUND") throw error;
    });
  for (let tries = 1; tries <= 3; tries++) {
    const deviceCode = randomBytes(32).toString("base64url");
    const userCode = writeUserCode(Array.from({ length: 8 }, () => randomInt(20)));
    const row = { deviceHash: hashOf(deviceCode), userCode, intervalMs: stepMs, ttlMs, most: mostWaiting };
    const expiresAt = await inOrg(c.db.app, noOrg, (tx) => insertDeviceLogin(tx, row));
    if (expiresAt !== null) return { deviceCode, userCode, expiresAt, intervalMs: stepMs };
  }
  throw overloaded(30_000);
}

/** How far the login of a machine has come. */
export type DeviceAnswer =
  | { readonly state: "approved"; readonly tokens: PersonTokens }
  | { readonly state: "authorization_pending" | "slow_down"; readonly intervalMs: number }
  | { readonly state: "expired_token" };

/** Asks whether a login was approved; hands the tokens out once. Too soon is `slow_down`, which makes the interval longer. */
export async function finishDeviceLogin(
  c: KeyContext,
  deviceCode: string,
  stranger: Stranger,
): Promise<DeviceAnswer> {
  if (!/^[\w-]{43}$/.test(deviceCode)) return { state: "expired_token" };
  const deviceHash = hashOf(deviceCode);
  const found = await inOrg(c.db.app, noOrg, async (tx) => {
    const row = await lockDeviceLogin(tx, deviceHash);
    if (row === null) return { state: "expired_token" } as const;
    const { personId, homeOrgId, onlyOrgId, sincePollMs } = row;
    if (personId !== null && homeOrgId !== null) {
      await deleteDeviceLogin(tx, deviceHash);
      return { state: "approved", personId, homeOrgId, onlyOrgId } as const;
    }
    const isSoon = sincePollMs !== null && sincePollMs < row.intervalMs - 500;
    const intervalMs = isSoon ? row.intervalMs + stepMs : row.intervalMs;
    await noteDevicePoll(tx, deviceHash, intervalMs);
    return { state: isSoon ? "slow_down" : "authorization_pending", intervalMs } as const;
  });
  if (found.state !== "approved") return found;
  const { personId, homeOrgId, onlyOrgId } = found;
  const account = await inOrg(c.db.app, homeOrgId, (tx) => readAccount(tx, homeOrgId, personId));
  if (account === null) return { state: "expired_token" };
  return {
    state: "approved",
    tokens: await logIn(c, { account, method: "device", onlyOrgId, ...stranger }),
  };
}

/**
 * Logs a waiting machine in: as the person who calls; or, by a key with the scope admin, as a named member of its org, for
 * that org alone. CODE_NOT_FOUND for any code that nobody waits with. Guesses are slowed by who guesses.
 */
export async function approveDeviceLogin(
  c: KeyContext,
  caller: Caller,
  { userCode: typed, person }: { readonly userCode: string; readonly person: string },
): Promise<string> {
  const { orgId, personId, login } = caller;
  if (login === undefined && !caller.scopes.includes("admin")) throw scopeMissing("admin");
  if (login !== undefined && person !== "") {
    throw invalidArgument([
      { field: "person", message: "is for keys alone: a person approves for themselves" },
    ]);
  }
  return c.people.brake.attempt([{ name: `approve ${caller.actor}`, free: 10 }], async () => {
    const userCode = readUserCode(typed);
    if (userCode === null) throw new DomainError("CODE_NOT_FOUND");
    const who =
      login !== undefined && personId !== undefined
        ? { personId, homeOrgId: login.homeOrgId, onlyOrgId: login.onlyOrgId, email: login.email }
        : await memberFor(c, orgId, person);
    const { email, ...by } = who;
    await inOrg(c.db.app, noOrg, async (tx) => {
      if (!(await approveDeviceRow(tx, userCode, by))) throw new DomainError("CODE_NOT_FOUND");
      await goOnInOrg(tx, orgId);
      await audit(tx, c, caller, {
        action: "login.approve",
        target: encodeId("person", by.personId),
        details: { email, onlyThisOrg: by.onlyOrgId !== null },
      });
    });
    return email;
  });
}

async function memberFor(c: KeyContext, orgId: string, person: string) {
  const named = readNamed(person);
  const member = await inOrg(c.db.app, orgId, (tx) => readMember(tx, orgId, named));
  if (member === null) throw notFoundPerson(named);
  const { personId, homeOrgId, email, disabledAt } = member;
  if (disabledAt !== null) throw new DomainError("NOT_MEMBER");
  return { personId, homeOrgId, email, onlyOrgId: orgId };
}

// 256 random bits need no secret to be hashed under.
function hashOf(deviceCode: string): Buffer {
  return createHash("sha256").update(deviceCode).digest();
}
